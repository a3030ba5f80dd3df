package http_test

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// sending is a form that is filled in and about to be sent.
type sending struct {
	b            *browser
	page, action string // an empty page is the one that is shown already
	filled       []string
}

// Whoever presses a button twice, without JavaScript, is shown the answer to the second
// form, which their browser sent before it had the first: it says what happened, and not
// that something is wrong.
func TestEveryFormThatIsSentTwiceIsAnsweredTwice(t *testing.T) {
	t.Parallel()
	forms := map[string]func(w *world) sending{}
	for _, some := range []map[string]func(w *world) sending{doorForms(), ownForms(), personForms(), otherForms()} {
		maps.Copy(forms, some)
	}

	for _, page := range apphttp.PageLines() {
		prepare, known := forms[page.ID]
		switch {
		case page.Method != "POST", page.ID == "check_proof_form": // that looks at files, and changes nothing
			continue
		case !known:
			t.Errorf("nobody sends %s twice", page.ID)
			continue
		}

		t.Run(page.ID, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.define(domain.PlatformTenant(), "newsletter")
			sendTwice(w, page.ID, prepare(w))
		})
	}
}

func sendTwice(w *world, id string, s sending) {
	w.t.Helper()
	if s.page != "" {
		s.b.get(s.page).want(200)
	}
	form := s.b.form(s.action)
	for i := 0; i+1 < len(s.filled); i += 2 {
		form.Set(s.filled[i], s.filled[i+1])
	}

	cookies := maps.Clone(s.b.cookies)
	s.b.post(s.action, form).want(200)
	path, changes := s.b.path, w.changes()
	s.b.cookies = cookies
	s.b.post(s.action, form)

	switch id {
	case "erase_me": // nobody is left to be answered as before
		s.b.page.want(410)
		s.b.says("Your data is erased", "Certificate of the erasure")
		return
	case "lift_hold_form": // says when it was lifted, for it may have been for another reason
		s.b.says("This hold was lifted on")
		path = s.page
	case "sign_in": // opens another session
		changes = w.changes()
	}
	s.b.page.want(200)
	if s.b.path != path || w.changes() != changes {
		w.t.Errorf("the first led to %s, the second to %s, after %d more events", path, s.b.path, w.changes()-changes)
	}
	if strings.Contains(s.b.page.raw, "govuk-error-summary") {
		w.t.Errorf("the second is told of a problem:\n%s", s.b.words())
	}
}

// doorForms are those on the way to a session.
func doorForms() map[string]func(w *world) sending {
	const forgot, redeem = "/console/forgot", "/console/redeem"
	anybody := func(page string, filled ...string) func(w *world) sending {
		return func(w *world) sending {
			w.citizen("thandi@example.org")
			return sending{w.browser(), page + "?lang=en", page, filled}
		}
	}

	return map[string]func(w *world) sending{
		"sign_in": anybody("/console/sign-in", "email", "thandi@example.org", "password", password),
		"register_me": anybody("/console/register", "municipality_code", "CPT", "full_name", "Sipho Zulu",
			"email", "sipho@example.org", "password", password, "consented", "yes"),
		"forget_password": anybody(forgot, "email", "thandi@example.org", "municipality_code", "KZN225"),
		"redeem": func(w *world) sending {
			s := anybody(redeem)(w)
			s.b.get(forgot)
			s.b.send(forgot, "email", "thandi@example.org", "municipality_code", "KZN225").want(200)
			s.filled = []string{"code", codeIn(w.sent()), "password", anotherPassword, "consented", "yes"}
			return s
		},
		"sign_out": mine("/console/account", "/console/sign-out"),
	}
}

// mine is a form on a page of somebody's own.
func mine(page, action string, filled ...string) func(w *world) sending {
	return func(w *world) sending {
		return sending{w.citizen("thandi@example.org").browserOf("KZN225"), page + "?lang=en", action, filled}
	}
}

func ownForms() map[string]func(w *world) sending {
	const account, second = "/console/account", "/console/account/second-factor"
	begun := func(w *world) (s sending, secret string) {
		s = mine(second, second+"/confirm")(w)
		s.b.get(second)
		s.b.send(second, "current_password", password).want(200)
		secret = strings.ReplaceAll(regexp.MustCompile(`<strong class="mono">([A-Z2-7 ]+)`).
			FindStringSubmatch(s.b.page.raw)[1], " ", "")
		return s, secret
	}

	return map[string]func(w *world) sending{
		"decide_mine": mine("/me", "/me/consents", "consented", "yes"),
		"withdraw_mine": func(w *world) sending {
			p := w.citizen("thandi@example.org")
			id := p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"en","consented":true}`).
				want(201).text("id")
			return sending{p.browserOf("KZN225"), "/me", "/me/consents/" + id + "/withdraw", nil}
		},
		"lodge_mine": mine("/me/requests", "/me/requests", "kind", "access"),
		"erase_me":   mine("/me/erase", "/me/erase", "confirmation", "DELETE MY ACCOUNT", "password", password),

		"change_account":  mine(account, account, "full_name", "Thandi Zulu"),
		"verify_my_email": mine(account, account+"/verify-email"),
		"change_my_password": mine(account+"/password", account+"/password", "current_password", password,
			"new_password", anotherPassword),
		"begin_second_factor": mine(second, second, "current_password", password),
		"confirm_second_factor": func(w *world) sending {
			s, secret := begun(w)
			s.page, s.filled = "", []string{"totp", w.codeOf(secret, 0)}
			return s
		},
		"remove_second_factor": func(w *world) sending {
			s, secret := begun(w)
			s.b.send(s.action, "totp", w.codeOf(secret, 0)).want(200)
			return sending{
				s.b, second, second + "/remove",
				[]string{"current_password", password, "totp", w.codeOf(secret, 1)},
			}
		},
	}
}

// staffForm is a form on a page about a person who is made for it.
func staffForm(person func(w *world, admin *person) string, page string, filled ...string) func(w *world) sending {
	return func(w *world) sending {
		admin := w.staff(domain.Admin, "KZN225")
		at := "/console/people/" + person(w, admin) + page
		return sending{admin.browserOf("KZN225"), at, at, filled}
	}
}

func walkIn(_ *world, admin *person) string {
	return admin.send("POST", "/api/v1/residents", `{"full_name":"Nomsa Zulu","phone":"0821234567"}`).
		want(201).text("id")
}

func registered(w *world, _ *person) string { return w.citizen("thandi@example.org").id }

func closed(w *world, admin *person) string {
	id := registered(w, admin)
	admin.send("POST", "/api/v1/users/"+id+"/deactivate", "").want(200)
	return id
}

// personForms are those about one person, filled in by an administrator.
func personForms() map[string]func(w *world) sending {
	return map[string]func(w *world) sending{
		"record_resident_form": staffForm(func(*world, *person) string { return "new" }, "",
			"full_name", "Nomsa Zulu", "phone", "082 123 4567"),
		"create_staff_form": staffForm(func(*world, *person) string { return "staff" }, "", "full_name", "Nomsa Zulu",
			"email", "nomsa@example.org", "password", password, "role", "manager"),
		"change_resident_form": staffForm(walkIn, "/details", "full_name", "Nomsa Ngcobo"),
		"sign_in_code_form":    staffForm(walkIn, "/sign-in-code", "identity_document", "ID card"),
		"reset_code_form":      staffForm(registered, "/reset-code", "identity_document", "ID card"),
		"lodge_request_form":   staffForm(registered, "/requests", "kind", "access"),
		"place_hold_form":      staffForm(registered, "/holds", "reason", "case 114"),
		"change_role_form":     staffForm(registered, "/role", "role", "manager"),
		"deactivate_user_form": staffForm(registered, "/deactivate"),
		"reactivate_user_form": staffForm(closed, "/reactivate"),
		"record_consent_form": staffForm(registered, "/consents", "purpose", "newsletter", "language", "en",
			"consented", "yes", "channel", "counter"),

		"merge_form": func(w *world) sending {
			s := staffForm(walkIn, "/merge")(w)
			s.filled = []string{"into", w.citizen("thandi@example.org").id}
			return s
		},
		"unmerge_form": func(w *world) sending {
			s := staffForm(walkIn, "/unmerge")(w)
			record, _, _ := strings.Cut(strings.TrimPrefix(s.page, "/console/people/"), "/")
			w.staff(domain.Manager, "KZN225").send("POST", "/api/v1/residents/"+record+"/merge",
				fmt.Sprintf(`{"into":%q}`, w.citizen("thandi@example.org").id)).want(200)
			return s
		},
	}
}

// adminForm is a form for an administrator, on a page that something is made for.
func adminForm(thing func(w *world, admin *person) (page, action string), filled ...string) func(w *world) sending {
	return func(w *world) sending {
		admin := w.staff(domain.Admin, "KZN225")
		page, action := thing(w, admin)
		return sending{admin.browserOf("KZN225"), page, action, filled}
	}
}

// otherForms are those of administrators about decisions, requests, purposes and
// programs.
func otherForms() map[string]func(w *world) sending {
	same := func(address string) func(*world, *person) (string, string) {
		return func(*world, *person) (string, string) { return address, address }
	}
	of := func(base, path, body, page, action string) func(*world, *person) (string, string) {
		return func(w *world, admin *person) (string, string) {
			body := strings.ReplaceAll(body, "SUBJECT", w.citizen("thandi@example.org").id)
			one := base + admin.send("POST", path, body).want(201).text("id")
			return one + page, one + action
		}
	}
	const consents, requests, purpose = "/api/v1/consents", requestsPath, "/console/purposes/ward_news"
	const agreed = `{"subject_id":"SUBJECT","purpose":"newsletter","language":"en","consented":true,
		"channel":"counter"}`
	own := func(page string) func(*world, *person) (string, string) {
		return func(w *world, _ *person) (string, string) {
			w.define(w.tenants["KZN225"], "ward_news")
			return purpose + page, purpose + page
		}
	}
	program := `{"name":"SMS","scopes":["consents:check"]}`

	return map[string]func(w *world) sending{
		"withdraw_consent_form": adminForm(of("/console/consents/", consents, agreed, "/withdraw", "/withdraw")),
		"annul_consent_form": adminForm(of("/console/consents/", consents, agreed, "/annul", "/annul"),
			"reason", "entered twice"),
		"fulfil_request_form": adminForm(of("/console/requests/", requests,
			`{"subject_id":"SUBJECT","kind":"correction"}`, "", "/fulfil")),
		"refuse_request_form": adminForm(of("/console/requests/", requests,
			`{"subject_id":"SUBJECT","kind":"objection"}`, "/refuse", "/refuse"), "ground", "unfounded"),
		"lift_hold_form": adminForm(of("/console/holds/", holdsPath, `{"subject_id":"SUBJECT","reason":"case 114"}`,
			"/lift", "/lift"), "reason", "settled"),

		"define_purpose_form": adminForm(same("/console/purposes/new-purpose"), "code", "library", "basis", "consent",
			"special_personal_information", "no", "retention", "a year", "notice.texts.en", "Books",
			"notice.texts.zu", "Izincwadi", "notice.texts.af", "Boeke"),
		"publish_notice_form": adminForm(own("/notices"), "texts.en", "News of your ward"),
		"retire_purpose_form": adminForm(own("/retire")),

		"create_program_form": adminForm(same("/console/programs/new"), "name", "SMS", "scopes", "consents:check"),
		"rotate_secret_form": adminForm(of("/console/programs/", "/api/v1/service-accounts", program, "", "/rotate"),
			"overlap_seconds", "0"),
		"revoke_program_form": adminForm(of("/console/programs/", "/api/v1/service-accounts", program, "/revoke",
			"/revoke")),
	}
}
