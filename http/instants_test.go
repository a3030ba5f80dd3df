package http_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
)

// wantCheck checks an answer of consents/check.
func (a *answer) wantCheck(allowed bool, reason domain.Reason) *answer {
	a.t.Helper()
	a.want(200)
	if a.json["allowed"] != allowed || a.text("reason") != string(reason) {
		a.t.Errorf("%s: want %v, %s: %s", a.what, allowed, reason, a.raw)
	}
	return a
}

// A purpose that a municipality defines today decides nothing about yesterday, whether it
// is new or replaces a default.
func TestAPurposeDecidesNothingBeforeItsWordsWereInUse(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	admin, p := w.staff(domain.Admin, "KZN225"), w.citizen("thandi@example.org")
	check := func(query string) *answer { return p.send("GET", "/api/v1/consents/check?purpose="+query, "") }

	then := p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":false}`).
		want(201).text("given_at")
	for _, code := range []string{"newsletter", "own"} {
		admin.send("POST", "/api/v1/purposes",
			`{"code":"`+code+`","basis":"legal_obligation","special_personal_information":false,
			"retention":"one year","notice":{"texts":{"en":"By law.","zu":"Ngomthetho.","af":"By wet."}}}`).want(201)
	}

	check("newsletter").wantCheck(true, domain.ReasonLawful)
	check("newsletter&at="+then).wantCheck(false, domain.ReasonRefused)
	check("own").wantCheck(true, domain.ReasonLawful)
	check("own&at="+then).wantCheck(false, domain.ReasonNeverAsked)
	check("own&at=1900-01-01T00:00:00Z").wantCheck(false, domain.ReasonNeverAsked)
}

func TestACheckSaysWhy(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	for _, code := range []string{"newsletter", "alerts", "old_survey", "shadowed"} {
		w.define(domain.PlatformTenant(), code)
	}

	w.define(domain.PlatformTenant(), "meter_readings", func(d *domain.DefinePurpose) {
		d.Basis = domain.PublicLawDuty
	})
	w.define(w.tenants["KZN225"], "shadowed", func(d *domain.DefinePurpose) { d.Basis = domain.LegalObligation })
	salga, clerk := w.staff(domain.Admin, "SALGA"), w.staff(domain.FieldWorker, "KZN225")
	p := w.citizen("thandi@example.org")
	check := func(query string) *answer { return p.send("GET", "/api/v1/consents/check?purpose="+query, "") }

	check("newsletter").wantCheck(false, domain.ReasonNeverAsked)
	p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":false}`).want(201)
	check("newsletter").wantCheck(false, domain.ReasonRefused)
	granted := p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).want(201)

	yes := check("Newsletter").wantCheck(true, domain.ReasonGranted)
	decided := yes.json["decided_by"].(map[string]any)
	if yes.text("basis") != "consent" || yes.json["valid_until"] != nil ||
		decided["position"] != granted.json["position"] ||
		yes.json["position"].(float64) < decided["position"].(float64) {
		t.Errorf("granted: %s", yes.raw)
	}

	then := granted.text("given_at")
	p.send("POST", "/api/v1/consents/"+granted.text("id")+"/withdraw", "").want(200)
	check("newsletter").wantCheck(false, domain.ReasonWithdrawn)
	check("newsletter&at="+then).wantCheck(true, domain.ReasonGranted)

	alerts := p.send("POST", "/api/v1/consents", `{"purpose":"alerts","language":"zu","consented":true}`).want(201)
	dayBefore := time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
	check("alerts&at="+dayBefore).wantCheck(false, domain.ReasonNotYetGiven)
	check("alerts&known_at="+dayBefore).wantCheck(false, domain.ReasonUnknownSubject)

	p.send("POST", "/api/v1/consents", `{"purpose":"old_survey","language":"zu","consented":true}`).want(201)
	retired := salga.send("POST", "/api/v1/purposes/old_survey/retire", "").want(200)
	a := check("old_survey").wantCheck(false, domain.ReasonPurposeRetired)
	by, _ := a.json["decided_by"].(map[string]any)
	if fmt.Sprint(by["position"]) != retired.header.Get("Event-Position") {
		t.Errorf("not decided by the retirement: %s", a.raw)
	}
	check("old_survey&at="+alerts.text("given_at")).wantCheck(false, domain.ReasonNotYetGiven)

	for code, basis := range map[string]string{"meter_readings": "public_law_duty", "shadowed": "legal_obligation"} {
		a := check(code).wantCheck(true, domain.ReasonLawful)
		if a.text("basis") != basis || a.json["decided_by"] != nil {
			t.Errorf("%s: %s", code, a.raw)
		}
	}
	check("platform_registration").wantCheck(true, domain.ReasonGranted)
	check("nothing").wantProblem(404, domain.CodeUnknownPurpose)
	check("nothing&at=0001-01-01T00:00:00Z").wantProblem(404, domain.CodeUnknownPurpose)
	clerk.send("GET", "/api/v1/consents/check?purpose=nothing&subject_id="+w.tenants["CPT"].String(), "").
		wantProblem(404, domain.CodeUnknownPurpose)
	clerk.send("GET", "/api/v1/consents/check?purpose=alerts&subject_id="+w.tenants["CPT"].String(), "").
		wantCheck(false, domain.ReasonUnknownSubject)
}

// 9999-12-31T23:59:59-12:00 is in the year 10000 in UTC, in which answers are written.
func TestAnInstantThatCannotBeWrittenAgainIsRefused(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	admin, p := w.staff(domain.Admin, "KZN225"), w.citizen("thandi@example.org")
	const (
		texts   = `"texts":{"en":"One.","zu":"Kunye.","af":"Een."}`
		purpose = `"code":"own","basis":"consent","special_personal_information":false,"retention":"one year"`
	)
	granted := p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	admin.send("POST", "/api/v1/purposes", `{`+purpose+`,"notice":{`+texts+`}}`).want(201)

	for path, body := range map[string]string{
		"consents {given_at}":    `{"purpose":"newsletter","language":"zu","consented":true,"given_at":%q}`,
		"consents {valid_until}": `{"purpose":"newsletter","language":"zu","consented":true,"valid_until":%q}`,

		"consents/" + granted.text("id") + "/withdraw {given_at}": `{"given_at":%q}`,

		"consents/check {at}":                 `{"purpose":"newsletter","subject_ids":["` + p.id + `"],"at":%q}`,
		"consents/check {known_at}":           `{"purpose":"newsletter","subject_ids":["` + p.id + `"],"known_at":%q}`,
		"purposes {notice.in_use_since}":      `{` + purpose + `,"notice":{` + texts + `,"in_use_since":%q}}`,
		"purposes/own/notices {in_use_since}": `{` + texts + `,"in_use_since":%q}`,
		"purposes/own/notices {reconsent}":    `{` + texts + `,"reconsent":%q}`,
	} {
		for _, text := range []string{"9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"} {
			path, field, _ := strings.Cut(strings.TrimSuffix(path, "}"), " {")
			a := admin.send("POST", "/api/v1/"+path, fmt.Sprintf(body, text))
			a.wantProblem(422, domain.CodeInvalid)
			if a.faults()[field] != "invalid" {
				t.Errorf("%s of %s: %s", text, path, a.raw)
			}
		}
	}
}

func TestTheZeroInstantIsAnInstant(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	officer := w.staff(domain.Manager, "KZN225")
	p := w.citizen("thandi@example.org")
	granted := p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	officer.send("GET", "/api/v1/consents?subject_id="+p.id, "",
		"Min-Event-Position", granted.header.Get("Event-Position")).want(200)

	for _, zero := range []string{"0001-01-01T00:00:00Z", "0001-01-01T00:00:01Z", "0001-01-01T02:00:00%2B02:00"} {
		p.send("GET", "/api/v1/consents/check?purpose=newsletter&at="+zero, "").
			wantCheck(false, domain.ReasonNotYetGiven)
		p.send("GET", "/api/v1/consents/check?purpose=newsletter&known_at="+zero, "").
			wantCheck(false, domain.ReasonUnknownSubject)

		for _, clock := range []string{"as_of", "known_at"} {
			for _, format := range []string{"json", "ndjson"} {
				a := officer.send("GET", "/api/v1/compliance/consents?format="+format+"&"+clock+"="+zero, "").want(200)
				if strings.Contains(a.raw, p.id) {
					t.Errorf("%s=%s shows a later consent: %s", clock, zero, a.raw)
				}
			}
		}
		for query, want := range map[string]bool{"to": false, "from": true} {
			for _, path := range []string{
				"/api/v1/audit-logs?", "/api/v1/compliance/exposure?actor_id=" + officer.id + "&",
			} {
				if n := len(officer.send("GET", path+query+"="+zero, "").want(200).items()); (n > 0) != want {
					t.Errorf("%s%s=%s: %d", path, query, zero, n)
				}
			}
		}
	}

	a := officer.send("GET", "/api/v1/compliance/consents?as_of=0001-01-01T00:00:00Z", "").want(200)
	if a.text("as_of") != "0001-01-01T00:00:00.000000Z" {
		t.Errorf("as_of is not the given instant: %s", a.raw)
	}
}

func TestAnInstantOutsideTheCalendarIsRefused(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	officer := w.staff(domain.Manager, "KZN225")

	for _, instant := range []string{
		"0000-01-01T00:00:00Z", "0001-01-01T00:00:00%2B00:01", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z",
		"%2B010000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2026-03-01T12:00:00,5Z", "2026-03-01T1:00:00Z",
		"2026-03-01", "2026-02-30T00:00:00Z", "0", "1772366400",
	} {
		for _, question := range []string{
			"consents/check?purpose=platform_registration&at=",
			"consents/check?purpose=platform_registration&known_at=",
			"compliance/consents?as_of=", "compliance/consents?known_at=", "audit-logs?from=", "audit-logs?to=",
			"compliance/consents?given_from=", "compliance/consents/summary?by=status&given_to=",
			"compliance/consents/list?as_of=", "compliance/consents/list?given_to=",
			"compliance/exposure?actor_id=" + officer.id + "&from=",
			"compliance/exposure?actor_id=" + officer.id + "&to=",
		} {
			officer.send("GET", "/api/v1/"+question+instant, "").wantProblem(422, domain.CodeInvalid)
		}

		given := strings.ReplaceAll(instant, "%2B", "+")
		officer.send("POST", "/api/v1/consents",
			fmt.Sprintf(`{"purpose":"platform_registration","language":"zu","consented":true,"given_at":%q}`, given)).
			want(422)
	}

	for _, question := range []string{
		"consents/check?purpose=platform_registration&at=", "compliance/consents?as_of=",
		"compliance/consents?known_at=", "audit-logs?from=", "audit-logs?to=", "compliance/consents?given_from=",
		"compliance/consents/summary?by=status&given_to=", "compliance/exposure?actor_id=" + officer.id + "&to=",
		"compliance/consents/list?as_of=", "compliance/consents/list?given_to=",
	} {
		officer.send("GET", "/api/v1/"+question+"9999-12-31T23:59:59.999999999Z", "").want(200)
		officer.send("GET", "/api/v1/"+question+"0001-01-01T00:00:00.000001Z", "").want(200)
	}
}

func TestEveryZeroIsAValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	officer := w.staff(domain.Manager, "KZN225")

	for _, question := range []string{
		"compliance/consents?position=0", "users?limit=0", "audit-logs?limit=0", "consents?limit=0",
		"municipalities?limit=0", "compliance/consents?position=-1", "users?limit=101",
		"compliance/consents?notice_version=0", "compliance/consents/summary?by=status&position=0",
		"compliance/consents?subject_id=00000000-0000-0000-0000-000000000000",
		"audit-logs?user_id=00000000-0000-0000-0000-000000000000",
		"consents?subject_id=00000000-0000-0000-0000-000000000000",
		"consents/check?purpose=newsletter&subject_id=00000000-0000-0000-0000-000000000000",
		"audit-logs?record_id=00000000-0000-0000-0000-000000000000",
		"audit-logs?tenant_id=00000000-0000-0000-0000-000000000000",
	} {
		officer.send("GET", "/api/v1/"+question, "").wantProblem(422, domain.CodeInvalid)
	}

	for _, body := range []string{
		`"notice_version":0`, `"given_at":"0001-01-01T00:00:00Z"`, `"given_at":""`, `"subject_id":""`, `"channel":""`,
		`"evidence":{}`, `"given_by":{}`, `"purpose_description":""`,
	} {
		officer.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true,`+body+"}").
			wantProblem(422, domain.CodeInvalid)
	}
}
