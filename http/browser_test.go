package http_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
)

// browser is somebody who uses the pages as a browser without JavaScript does: it keeps
// its cookies, follows what it is sent to, and posts the forms that it finds.
type browser struct {
	w       *world
	cookies map[string]string
	page    *answer
	path    string // of the page, with its query
}

func (w *world) browser() *browser { return &browser{w: w, cookies: map[string]string{}} }

// browserOf returns the browser of somebody who has signed in on the page for it.
func (p *person) browserOf(code string) *browser {
	p.w.t.Helper()
	b := p.w.browser()
	b.get("/console/sign-in").want(200)
	b.send("/console/sign-in", "email", p.email, "password", password, "municipality_code", code)
	b.page.want(200)
	return b
}

// get opens a page, and follows where it leads.
func (b *browser) get(path string) *answer {
	b.w.t.Helper()
	return b.follow("GET", path, nil)
}

// send posts the form with this action that is on the page, with the values that the
// visitor filled in in place of those it came with.
func (b *browser) send(action string, filled ...string) *answer {
	b.w.t.Helper()
	fields := b.form(action)
	for i := 0; i+1 < len(filled); i += 2 {
		fields.Set(filled[i], filled[i+1])
	}
	return b.follow("POST", action, fields)
}

// post posts fields without a form.
func (b *browser) post(action string, fields url.Values) *answer {
	b.w.t.Helper()
	return b.follow("POST", action, fields)
}

// speak changes the language of the page, as a click on the name of one does.
func (b *browser) speak(lang string) *answer {
	b.w.t.Helper()
	if !strings.Contains(b.page.raw, `form="same-form" name="only_language" value="`+lang+`"`) {
		for _, link := range linkTags.FindAllString(b.page.raw, -1) {
			if attribute(link, "hreflang") == lang {
				return b.get(attribute(link, "href"))
			}
		}
	}

	for _, form := range formTags.FindAllString(b.page.raw, -1) {
		if head := form[:strings.Index(form, ">")+1]; attribute(head, "id") == "same-form" {
			fields := fieldsOf(form)
			fields.Set("only_language", lang)
			return b.post(attribute(head, "action"), fields)
		}
	}
	b.w.t.Fatalf("%s cannot be read in %s", b.path, lang)
	return nil
}

// follow sends a request, and gets what its answer leads to.
func (b *browser) follow(method, path string, form url.Values, headers ...string) *answer {
	b.w.t.Helper()
	for range 5 {
		a := b.once(method, path, form, headers...)
		if a.status != http.StatusSeeOther {
			b.page, b.path = a, path
			return a
		}
		method, path, form = "GET", a.header.Get("Location"), nil
	}
	b.w.t.Fatalf("%s leads nowhere", path)
	return nil
}

// once sends one request.
func (b *browser) once(method, path string, form url.Values, headers ...string) *answer {
	b.w.t.Helper()
	r := httptest.NewRequestWithContext(b.w.t.Context(), method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr = "127.0.0.1:40000"
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value}) //nolint:gosec // sent, not set
	}

	recorder := httptest.NewRecorder()
	b.w.api.ServeHTTP(recorder, r)
	response := recorder.Result()
	defer func() { _ = response.Body.Close() }()
	for _, c := range response.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return &answer{
		t: b.w.t, what: method + " " + path, status: recorder.Code, header: recorder.Header(),
		raw: recorder.Body.String(), log: b.w.log,
	}
}

var (
	formTags  = regexp.MustCompile(`(?s)<form[^>]*>.*?</form>`)
	linkTags  = regexp.MustCompile(`<a[^>]*>`)
	inputTags = regexp.MustCompile(`<input[^>]*>`)
	areaTags  = regexp.MustCompile(`(?s)<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>`)
	selects   = regexp.MustCompile(`(?s)<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>`)
	options   = regexp.MustCompile(`<option value="([^"]*)"( selected)?>`)
	allGroups = regexp.MustCompile(`<optgroup label="([^"]*)">`)
	allTags   = regexp.MustCompile(`(?s)<[^>]*>`)
)

func attribute(tag, name string) string {
	found := regexp.MustCompile(` ` + name + `="([^"]*)"`).FindStringSubmatch(tag)
	if found == nil {
		return ""
	}
	return html.UnescapeString(found[1])
}

// form returns what the browser would send of a form if nobody filled it in.
func (b *browser) form(action string) url.Values {
	b.w.t.Helper()
	for _, form := range formTags.FindAllString(b.page.raw, -1) {
		head := form[:strings.Index(form, ">")+1]
		if attribute(head, "action") != action || !strings.EqualFold(attribute(head, "method"), "post") {
			continue
		}

		return fieldsOf(form)
	}
	b.w.t.Fatalf("%s has no form that posts to %s:\n%s", b.path, action, b.words())
	return nil
}

// fieldsOf returns what a browser would send of a form.
func fieldsOf(form string) url.Values {
	fields := url.Values{}
	for _, input := range inputTags.FindAllString(form, -1) {
		kind := attribute(input, "type")
		if (kind != "radio" && kind != "checkbox") || strings.Contains(input, " checked") {
			fields.Set(attribute(input, "name"), attribute(input, "value"))
		}
	}
	for _, area := range areaTags.FindAllStringSubmatch(form, -1) {
		fields.Set(area[1], strings.TrimPrefix(html.UnescapeString(area[2]), "\n"))
	}
	for _, choice := range selects.FindAllStringSubmatch(form, -1) {
		for i, option := range options.FindAllStringSubmatch(choice[2], -1) {
			if i == 0 || option[2] != "" {
				fields.Set(choice[1], html.UnescapeString(option[1]))
			}
		}
	}
	return fields
}

// words returns what a reader sees of the page.
func (b *browser) words() string {
	text := allTags.ReplaceAllString(b.page.raw, " ")
	return strings.Join(strings.Fields(html.UnescapeString(text)), " ")
}

// says checks that the page shows these words.
func (b *browser) says(words ...string) {
	b.w.t.Helper()
	shown := b.words()
	for _, w := range words {
		if !strings.Contains(shown, w) {
			b.w.t.Errorf("%s does not say %q:\n%s", b.path, w, shown)
		}
	}
}

// hides checks that the page shows none of these words.
func (b *browser) hides(words ...string) {
	b.w.t.Helper()
	for _, w := range words {
		if strings.Contains(html.UnescapeString(b.page.raw), w) {
			b.w.t.Errorf("%s says %q", b.path, w)
		}
	}
}
