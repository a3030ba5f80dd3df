//go:build far

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/cmd/trust/internal/seed"
	api "github.com/salga-trust/engine/http/client"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The checker itself: what it must find is planted in a page.
func TestFarAPlantedFaultIsFound(t *testing.T) {
	t.Parallel()
	const start, end = `<!doctype html><html lang="en"><head><title>A page</title>` +
		`<meta name="viewport" content="width=device-width"></head><body><main><h1>A page</h1>`, `</main></body></html>`
	pages := map[string]struct{ html, want string }{
		"/none":     {start + end, ""},
		"/script":   {start + `<script>document.title = "changed"</script>` + end, "Content Security Policy"},
		"/style":    {start + `<p style="color: red">Red</p>` + end, "Content Security Policy"},
		"/label":    {start + `<form><input name="email"></form>` + end, "axe label "},
		"/overflow": {start + `<pre>` + strings.Repeat("wide", 200) + `</pre>` + end, "overflow: "},
		"/headings": {start + `<h1>Another</h1>` + end, "2 h1"},
		"/language": {strings.Replace(start, "en", "fr", 1) + end, `its language is "fr"`},
		"/title":    {strings.Replace(start, "A page", "thandi@example.org", 1) + end, "its title is"},
		"/missing":  {start + `<img alt="" src="/nothing.svg">` + end, "404"},
		"/fails":    {start + `<script src="/fails.js"></script>` + end, "a script fails"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'")
		switch planted, is := pages[r.URL.Path]; {
		case is:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = fmt.Fprint(w, planted.html)
		case r.URL.Path == "/fails.js":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = fmt.Fprint(w, "nobody.knows()")
		case r.URL.Path == "/favicon.ico":
			w.WriteHeader(http.StatusNoContent)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)

	check, b := newChecker(t), newChromium(t).window()
	for path, planted := range pages {
		b.goTo(server.URL + path)
		_, faults := check.faults(b, "en")
		if found := strings.Join(faults, "\n"); !strings.Contains(found, planted.want) ||
			(planted.want == "") != (found == "") {
			t.Errorf("%s: want %q, found:\n%s", path, planted.want, found)
		}
	}
}

// visitors are those who look at the console, each in a window of their own.
func (s *stage) visitors() []visitor {
	official := func(role string) visitor {
		return visitor{
			who: role, email: strings.ReplaceAll(role, " ", ".") + ".jhb.1@example.org",
			password: seed.Password, municipality: "JHB",
			from: []string{
				"/console", "/console/account", "/console/people?email=" + s.email, "/console/people/" + s.resident,
			},
		}
	}
	manager, admin := official("manager"), official("admin")
	manager.languages = []string{"zu", "af"}
	admin.from = append(admin.from, s.rare...)

	return []visitor{
		{who: "nobody", from: []string{"/console/sign-in"}},
		{
			who: "citizen", email: s.email, password: journeyPassword, municipality: "JHB",
			from: []string{"/console", "/me", "/console/account"}, languages: []string{"zu", "af"},
		},
		official("field worker"), manager, admin,
		{
			who: "platform admin", email: "admin@salga.example", password: s.site.kept()["ADMIN_PASSWORD"],
			municipality: "SALGA", from: []string{"/console", "/console/account"},
		},
	}
}

// visitor is somebody who looks at every page that links lead to.
type visitor struct {
	who, email, password, municipality string

	from      []string // where they begin
	languages []string // in which they look at everything again, besides English
}

// stage is a system with people in it, and something of every kind to look at.
type stage struct {
	t        *testing.T
	site     *site
	nobody   *api.Client
	email    string   // of a resident with decisions, a request and a hold
	resident string   // their id
	names    []string // of everybody in the municipality
	rare     []string // pages that need something which few people have
}

// newStage starts a system and fills it.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s.run("seed", "--people=60").expect(t, 0, "60 people")

	made := &stage{t: t, site: s, nobody: api.New("http://" + s.addr), email: "nomsa.zondi@example.org"}
	account, err := made.nobody.Register(t.Context(), api.RegisterBody{
		Email: made.email, Password: journeyPassword, FullName: "Nomsa Zondi", MunicipalityCode: "JHB",
		Consent: api.RegisterConsentBody{Purpose: "platform_registration", Language: "en", Consented: true},
	}, nil)
	must(t, err)
	made.resident = account.Body.ID.String()
	made.fill(account.Body.ID)
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	return made
}

// as returns the API as somebody uses it.
func (s *stage) as(email, password string) *api.Client {
	s.t.Helper()
	code := "JHB"
	tokens, err := s.nobody.Login(s.t.Context(),
		api.LoginBody{Email: email, Password: password, MunicipalityCode: &code}, nil)
	must(s.t, err)
	return s.nobody.As(tokens.Body.AccessToken)
}

// fill makes what pages show besides people and their decisions.
func (s *stage) fill(resident uuid.UUID) {
	s.t.Helper()
	ctx := s.t.Context()
	herself, admin := s.as(s.email, journeyPassword), s.as("admin.jhb.1@example.org", seed.Password)

	details := "My surname is Zondi, not Zondo."
	_, err := herself.LodgeRequest(ctx, api.LodgeRequestBody{Kind: "correction", Details: &details}, nil)
	must(s.t, err)
	_, err = admin.PlaceHold(ctx, api.PlaceHoldBody{SubjectID: resident, Reason: "case 114/2026"}, nil)
	must(s.t, err)
	_, err = admin.CreateServiceAccount(ctx, api.CreateServiceAccountBody{
		Name: "SMS alerts", Scopes: []string{"consents:check"},
	}, nil)
	must(s.t, err)

	s.fillRarely(resident)
	limit := int64(100)
	people, err := admin.ListUsers(ctx, &api.ListUsersParams{Limit: &limit})
	must(s.t, err)
	for _, person := range people.Body.Items {
		if !person.IsDeleted {
			s.names = append(s.names, person.FullName)
		}
	}
}

// fillRarely makes what few people have, and notes the pages that need it: an account
// that was closed, two records of one person, a wish to be erased, one to have everything
// on paper, an erasure, and a purpose of the municipality's own.
func (s *stage) fillRarely(resident uuid.UUID) {
	s.t.Helper()
	ctx, admin := s.t.Context(), s.as("admin.jhb.1@example.org", seed.Password)
	record := func(phone string) string {
		made, err := admin.RecordResident(ctx, api.RecordResidentBody{FullName: "Thabo Ndaba", Phone: &phone}, nil)
		must(s.t, err)
		return made.Body.ID.String()
	}
	register := func(email string) api.UserBody {
		made, err := s.nobody.Register(ctx, api.RegisterBody{
			Email: email, Password: journeyPassword, FullName: "Sipho Ndaba", MunicipalityCode: "JHB",
			Consent: api.RegisterConsentBody{Purpose: "platform_registration", Language: "en", Consented: true},
		}, nil)
		must(s.t, err)
		return made.Body
	}

	walkIn, twin := record("082 555 0101"), record("082 555 0102")
	_, err := admin.MergeResidents(ctx, uuid.MustParse(twin), api.MergeBody{Into: uuid.MustParse(walkIn)}, nil)
	must(s.t, err)
	wish, err := admin.LodgeRequest(ctx,
		api.LodgeRequestBody{Kind: "erasure", SubjectID: new(uuid.MustParse(walkIn))}, nil)
	must(s.t, err)

	paper, err := admin.LodgeRequest(ctx, api.LodgeRequestBody{Kind: "access", SubjectID: &resident}, nil)
	must(s.t, err)

	closed := register("closed@example.org").ID.String()
	_, err = admin.DeactivateUser(ctx, uuid.MustParse(closed), nil)
	must(s.t, err)
	_ = register("gone@example.org")
	erased, err := s.as("gone@example.org", journeyPassword).DeleteAccount(ctx,
		&api.EraseBody{Confirmation: "DELETE MY ACCOUNT", Password: journeyPassword}, nil)
	must(s.t, err)

	_, err = admin.DefinePurpose(ctx, api.DefinePurposeBody{
		Code: "ward_news", Basis: "consent", Retention: "until it is withdrawn",
		Notice: api.NoticeStruct{Texts: api.TextsBody{
			En: "We send you news of your ward.", Zu: "Sikuthumelela izindaba zewadi yakho.",
			Af: "Ons stuur vir u nuus van u wyk.",
		}},
	}, nil)
	must(s.t, err)
	given, err := admin.ListConsents(ctx, &api.ListConsentsParams{SubjectID: &resident})
	must(s.t, err)

	consent, person := "/console/consents/"+given.Body.Items[0].ID.String(), "/console/people/"
	s.rare = []string{
		person + walkIn + "/sign-in-code", person + walkIn + "/merge", person + twin + "/unmerge",
		person + closed + "/reactivate", "/console/requests/" + wish.Body.ID.String() + "/erase",
		"/console/requests/" + paper.Body.ID.String() + "/data",
		"/console/certificates/" + erased.Body.CertificateID.String(), consent + "/withdraw", consent + "/annul",
		"/console/purposes/ward_news/notices", "/console/purposes/ward_news/retire",
	}
}

// signIn signs somebody in on the page for it.
func (s *stage) signIn(b *tab, email, password, municipality string) {
	b.t.Helper()
	b.goTo("http://" + s.site.addr + "/console/sign-in?lang=en")
	b.fill("email", email)
	b.fill("password", password)
	b.fill("municipality_code", municipality)
	b.press("password")
	if strings.Contains(b.address(), "/sign-in") {
		b.t.Fatalf("%s is not signed in: %s", email, answer[string](b, "document.body.innerText"))
	}
}

// noPages are addresses that a browser shows no page for, or one that it shows elsewhere.
func noPages() []string {
	return []string{
		"/console/assets/{asset}",    // files that pages are made of
		"/me/data.json",              // a file to keep
		"/me/data.html",              // likewise
		"/console/consents/download", // likewise
		"/console/consents/{id}/proof",
		"/me/consents/{id}/proof",
	}
}

// TestFarEveryPageOfTheConsoleIsReachedAndFlawless follows every link, as everybody who
// may sign in.
func TestFarEveryPageOfTheConsoleIsReachedAndFlawless(t *testing.T) {
	t.Parallel()
	all := pagesInSource(t)
	made := newStage(t)
	browser, check := newChromium(t), newChecker(t)

	reached := map[string][]string{}
	for _, v := range made.visitors() {
		c := crawl{stage: made, visitor: v, tab: browser.window(), check: check, all: all, asked: map[string]bool{}}
		c.tab.screen(wide)
		if v.email != "" {
			made.signIn(c.tab, v.email, v.password, v.municipality)
		}
		c.run()
		for page := range c.asked {
			page, _, _ = strings.Cut(page, "?")
			reached[page] = append(reached[page], v.who)
		}
	}

	for _, page := range all {
		if len(reached[page]) == 0 && !slices.Contains(noPages(), page) {
			t.Errorf("nobody looks at %s", page)
		}
	}
	t.Logf("%d of %d pages were looked at", len(reached), len(all))
}

// crawl is the way of one visitor through the console.
type crawl struct {
	stage   *stage
	visitor visitor
	tab     *tab
	check   *checker
	all     []string        // the pages there are, by the pattern of their address
	asked   map[string]bool // patterns and names of parameters, of which one address each is looked at
	todo    []string
}

// run looks at every page that links lead to, breadth first, and then at all of them in
// the visitor's other languages.
func (c *crawl) run() {
	var seen []string
	for _, address := range c.visitor.from {
		c.add(address)
	}
	for len(c.todo) > 0 {
		next := c.todo[0]
		c.todo = c.todo[1:]
		for _, link := range c.look(next, "en") {
			c.add(link)
		}
		seen = append(seen, next)
	}

	for _, lang := range c.visitor.languages {
		for _, address := range seen {
			c.look(address, lang)
		}
	}
}

// add notes an address, if no address of the same kind was noted before.
func (c *crawl) add(address string) {
	u, err := url.Parse(address)
	must(c.tab.t, err)
	if u.Path != "/me" && u.Path != "/console" && !strings.HasPrefix(u.Path, "/me/") &&
		!strings.HasPrefix(u.Path, "/console/") {
		return
	}

	pattern := patternOf(u.Path, c.all)
	query := u.Query()
	query.Del("lang") // it is the same page
	u.RawQuery = query.Encode()
	if slices.Contains(noPages(), pattern) {
		return
	}
	kind := pattern
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if query.Get(name) != "" {
			kind += "?" + name
		}
	}
	if !c.asked[kind] {
		c.asked[kind] = true
		c.todo = append(c.todo, u.RequestURI())
	}
}

// look looks at one page, and returns its links.
func (c *crawl) look(address, lang string) []string {
	t := c.tab.t
	where := "http://" + c.stage.site.addr + address
	join := "?"
	if strings.Contains(address, "?") {
		join = "&"
	}
	c.tab.goTo(where + join + "lang=" + lang)
	seen, faults := c.check.faults(c.tab, lang)

	if seen.Status != http.StatusOK {
		faults = append(faults, fmt.Sprintf("status %d", seen.Status))
	}
	for _, name := range c.stage.names {
		if strings.Contains(seen.Title, name) {
			faults = append(faults, "its title names a person")
		}
	}
	if strings.Contains(seen.Text, "%!") || strings.Contains(seen.Text, "<no value>") {
		faults = append(faults, "a text is not filled in: "+seen.Text)
	}
	for _, fault := range faults {
		t.Errorf("%s, as %s, in %s: %s", address, c.visitor.who, lang, fault)
	}
	return seen.Links
}

// patternOf returns the pattern of a page's address, or the address if no page has it.
// A word is preferred to a placeholder, as the router does.
func patternOf(path string, all []string) string {
	best := path
	for _, pattern := range all {
		if pattern == path {
			return path
		}
		if strings.Count(pattern, "/") != strings.Count(path, "/") {
			continue
		}
		expression := regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(pattern), "[^/]+")
		if regexp.MustCompile("^"+expression+"$").MatchString(path) &&
			(best == path || strings.Count(pattern, "{") < strings.Count(best, "{")) {
			best = pattern
		}
	}
	return best
}

// pagesInSource returns the addresses of all pages, from the source of their table.
func pagesInSource(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "http", "pages*.go"))
	must(t, err)

	var found []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		must(t, err)
		for _, declaration := range file.Decls {
			found = append(found, pagesOf(t, declaration)...)
		}
	}
	if len(found) < 5 {
		t.Fatalf("the table has the pages %q only", found)
	}
	return found
}

// pagesOf returns the addresses of the pages that one function lists.
func pagesOf(t *testing.T, declaration ast.Node) []string {
	t.Helper()
	constants := map[string]string{}
	var found []string

	ast.Inspect(declaration, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if i < len(n.Values) {
					constants[name.Name] = wordsOf(n.Values[i], constants)
				}
			}
		case *ast.CompositeLit:
			row := map[string]string{}
			for _, element := range n.Elts {
				if pair, is := element.(*ast.KeyValueExpr); is {
					if key, is := pair.Key.(*ast.Ident); is {
						row[key.Name] = wordsOf(pair.Value, constants)
					}
				}
			}
			if strings.HasPrefix(row["id"], "page_") && row["method"] == http.MethodGet {
				found = append(found, row["path"])
			}
		}
		return true
	})
	return found
}

// wordsOf returns the text of an expression: literals, constants, and their sums.
func wordsOf(expression ast.Expr, constants map[string]string) string {
	switch e := expression.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value) // of a number: nothing
		return text
	case *ast.Ident:
		return constants[e.Name]
	case *ast.BinaryExpr:
		return wordsOf(e.X, constants) + wordsOf(e.Y, constants)
	default:
		return ""
	}
}

// TestFarTheConsoleWorksWithAndWithoutScripts does the work of an office in the browser.
func TestFarTheConsoleWorksWithAndWithoutScripts(t *testing.T) {
	t.Parallel()
	made := newStage(t)
	browser := newChromium(t)

	for _, scripts := range []bool{true, false} {
		t.Run(fmt.Sprintf("scripts %t", scripts), func(t *testing.T) {
			d := desk{stage: made, tab: browser.window()}
			d.tab.t = t
			d.tab.screen(wide)
			d.tab.scripts(scripts)
			made.signIn(d.tab, "manager.jhb.1@example.org", seed.Password, "JHB")

			d.findsThePerson()
			d.readsTheAnswerAsOfADate()
			d.recordsAConsentOnce()
			d.withdrawsIt()
			d.keepsAFormWhoseSessionHasEnded()
			d.signsOutEverywhere()
			for _, complaint := range d.tab.complained() {
				t.Errorf("with scripts %t %s", scripts, complaint)
			}
		})
	}
}

// desk is an officer at work on the person of the stage.
type desk struct {
	*stage

	tab *tab
}

func (d *desk) open(path string) {
	d.tab.t.Helper()
	d.tab.goTo("http://" + d.site.addr + path)
}

// decisions counts what is on record about the person.
func (d *desk) decisions() int {
	d.tab.t.Helper()
	pgtest.Eventually(d.tab.t, "the read tables have followed", d.site.caughtUp)
	limit := int64(100)
	officer := d.as("manager.jhb.1@example.org", seed.Password)
	history, err := officer.SubjectHistory(d.tab.t.Context(), uuid.MustParse(d.resident),
		&api.SubjectHistoryParams{Limit: &limit})
	must(d.tab.t, err)
	return len(history.Body.Items)
}

func (d *desk) findsThePerson() {
	d.open("/console/people")
	d.tab.fill("email", d.email)
	d.tab.press("email")
	d.tab.says("Nomsa Zondi")
	d.tab.follow("/console/people/" + d.resident)
	d.tab.says("Nomsa Zondi", "An account on this platform", "Agreed on")
}

func (d *desk) readsTheAnswerAsOfADate() {
	d.tab.fill("as_of", "2020-02-29T12:00")
	d.tab.press("as_of")
	d.tab.says("As it was on", "Was never asked")
}

// recordsAConsentOnce presses the button twice, goes back, and presses it again.
func (d *desk) recordsAConsentOnce() {
	d.open("/console/people/" + d.resident)
	d.tab.follow(d.resident + "/consents")
	d.tab.fill("purpose", "newsletter")
	d.tab.fill("language", "en")
	d.tab.fill("consented", "yes")
	d.tab.fill("channel", "counter")

	before := d.decisions()
	d.tab.after(chromedp.DoubleClick(chromedp.CSS(button("purpose"))))
	pgtest.Eventually(d.tab.t, "the person is shown again", func() bool {
		return strings.HasSuffix(d.tab.address(), "/console/people/"+d.resident)
	})
	d.tab.says("Newsletter", "Withdraw this consent")
	if added := d.decisions() - before; added != 1 {
		d.tab.t.Errorf("a double click makes %d events", added)
	}

	d.tab.history(-1, "/consents")
	d.tab.history(1, d.resident)
	d.tab.do(chromedp.Reload())
	if added := d.decisions() - before; added != 1 {
		d.tab.t.Errorf("with Back and Reload there are %d events", added)
	}
}

func (d *desk) withdrawsIt() {
	before := d.decisions()
	d.tab.after(chromedp.Click(chromedp.JSPath(`[...document.querySelectorAll("#answer a[href$='/withdraw']")]
		.find((link) => link.textContent.includes("Newsletter"))`)))
	d.tab.fill("reason", "asked at the counter")
	d.tab.press("reason")
	d.tab.says("asked at the counter", "Consent withdrawn")
	if added := d.decisions() - before; added != 1 {
		d.tab.t.Errorf("a withdrawal makes %d events", added)
	}
}

// keepsAFormWhoseSessionHasEnded takes the session away while a form is filled in.
func (d *desk) keepsAFormWhoseSessionHasEnded() {
	const note = "the number of the file is 114/2026"
	d.open("/console/people/" + d.resident + "/consents")
	d.tab.fill("purpose", "newsletter")
	d.tab.fill("language", "en")
	d.tab.fill("consented", "no")
	d.tab.fill("evidence.reference", note)

	before := d.decisions()
	other := d.tab.another()
	other.goTo("http://" + d.site.addr + "/console/account")
	other.after(chromedp.Click(chromedp.CSS("header form button")))
	d.tab.press("purpose")
	d.tab.says("Sign in")
	if d.decisions() != before {
		d.tab.t.Error("a form without a session changed something")
	}
	_ = d.tab.complained() // that the form was refused
}

// signsOutEverywhere signs out in one of two tabs.
func (d *desk) signsOutEverywhere() {
	d.signIn(d.tab, "manager.jhb.1@example.org", seed.Password, "JHB")
	other := d.tab.another()
	other.goTo("http://" + d.site.addr + "/console/overview")
	d.tab.after(chromedp.Click(chromedp.CSS("header form button")))

	other.do(chromedp.Reload())
	other.says("Sign in")
}
