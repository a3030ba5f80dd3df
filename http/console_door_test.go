package http_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	apphttp "github.com/salga-trust/engine/http"
)

// A word in an address must not be what a purpose may be called, or an id.
func TestNoPageHidesAPurposeOrARecord(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, placeholder := range apphttp.PageLines() {
		for _, named := range apphttp.PageLines() {
			ours, theirs := strings.Split(placeholder.Path, "/"), strings.Split(named.Path, "/")
			i := slices.IndexFunc(ours, func(part string) bool { return strings.HasPrefix(part, "{") })
			if i < 0 || len(theirs) <= i || !slices.Equal(ours[:i], theirs[:i]) || strings.HasPrefix(theirs[i], "{") {
				continue
			}

			compared++
			_, err := uuid.Parse(theirs[i])
			if err == nil || (ours[i] == "{code}" && isPurposeCode(theirs[i])) {
				t.Errorf("%s hides one of %s", named.Path, placeholder.Path)
			}
		}
	}
	if compared == 0 || !isPurposeCode("new") || isPurposeCode("new-purpose") {
		t.Error("nothing was compared")
	}
}

func isPurposeCode(text string) bool {
	_, err := domain.DefinePurpose{
		Code: text, Basis: domain.ConsentBasis, Retention: "a year",
		Texts: map[domain.Language]string{domain.English: "a", domain.Zulu: "b", domain.Afrikaans: "c"},
	}.Decide(domain.Purpose{}, time.Now())
	return err == nil
}

func TestAPurposeMayBeCalledNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(w.tenants["KZN225"], "new")
	b := w.staff(domain.Admin, "KZN225").browserOf("KZN225")
	b.get("/console/purposes/new?lang=en").want(200)
	b.says("Purpose New", "To send you the newsletter.")
	b.get("/console/purposes/new-purpose").want(200)
	b.says("Define a purpose")
}

func TestASlashAtTheEndLeadsToThePage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.staff(domain.Manager, "KZN225").browserOf("KZN225")
	for address, page := range map[string]string{
		"/console/": "/console", "/me/": "/me", "/console/people/?q=a%20b": "/console/people?q=a%20b",
		"/console/people///": "/console/people",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			if a := b.once(method, address, nil).want(303); a.header.Get("Location") != page {
				t.Errorf("%s leads to %q", address, a.header.Get("Location"))
			}
		}
	}
	b.once("POST", "/me/requests/", url.Values{"kind": {"access"}}).want(404)
	b.once("GET", "/console/nothing/", nil).want(404)
	w.send("GET", "/api/v1/purposes/", "").want(404)
}

// South Africa has 257 municipalities. Somebody with an old phone finds theirs, and need
// not find it twice.
func TestAMunicipalityIsFoundAmongAllAndStaysChosen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	provinces := []string{"Western Cape", "North West", "Eastern Cape", "Gauteng"}
	for i := range 255 {
		_, err := w.handler.RegisterMunicipality(t.Context(), commands.System(domain.PlatformTenant()),
			domain.RegisterMunicipality{
				Code: fmt.Sprintf("XY%03d", i), Province: provinces[i%len(provinces)],
				Name: fmt.Sprintf("%c%03d Municipality", "aBcD"[i/len(provinces)%4], i),
			})
		must(t, err)
	}

	b := w.browser()
	b.get("/console/register?lang=af").want(200)
	var seen []string
	for _, label := range allGroups.FindAllStringSubmatch(b.page.raw, -1) {
		seen = append(seen, label[1])
	}
	if want := []string{"Gauteng", "KwaZulu-Natal", "Noordwes", "Oos-Kaap", "Wes-Kaap"}; !slices.Equal(seen, want) {
		t.Errorf("the provinces are %v", seen)
	}
	if n := strings.Count(b.page.raw, "<option value=\"XY"); n != 255 {
		t.Errorf("%d municipalities can be chosen", n)
	}
	if strings.Index(b.page.raw, "a003 ") > strings.Index(b.page.raw, "B007 ") {
		t.Error("capital letters come before small ones")
	}

	for _, page := range []string{"/console/register", "/console/forgot"} {
		b.get(page + "?lang=en").want(200)
		b.send(page, "municipality_code", "XY123", "email", "nobody").want(422)
		if got := b.form(page).Get("municipality_code"); got != "XY123" {
			t.Errorf("%s: the choice is now %q", page, got)
		}
	}
	b.get("/console/register?lang=en").want(200)
	b.send("/console/register", "full_name", somethingTyped, "email", "thandi@example.org", "password", password,
		"consented", "yes").want(422)
	b.says("There is a problem", "Municipality code: Fill this in.")
	if b.form("/console/register").Get("full_name") != somethingTyped {
		t.Error("without a municipality, what was typed is lost")
	}
}

// A form that waits for its sender to sign in waits also while they change the language.
func TestAKeptFormIsKeptInAnotherLanguage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Admin, "KZN225")
	b := p.browserOf("KZN225")
	const form = "/console/purposes/new-purpose"
	b.get(form + "?lang=en").want(200)
	filled := b.form(form)
	filled.Set("code", "library_card")
	w.later(8 * 24 * time.Hour)
	b.post(form, filled).want(401)

	if strings.Contains(b.page.raw, "?lang=zu") {
		t.Errorf("the links lose the form:\n%s", b.page.raw)
	}
	b.speak("zu").want(200)
	b.says("Ngena")
	b.hides("Sign in")

	again := b.form("/console/sign-in")
	again.Set("email", p.email)
	again.Set("password", password)
	b.post("/console/sign-in", again).want(200)
	b.says("library_card", "Usungenile futhi")
}
