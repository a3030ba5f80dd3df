package console

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// maxForm is the size limit of a form, in bytes: that of the API's bodies.
const maxForm = 1 << 20

// Visit is one request for a page, and its answer.
type Visit struct {
	Lang    Lang
	Visitor Visitor
	// API is asked on behalf of the visitor.
	API *client.Client
	// Form is what was posted, or the query of the address.
	Form url.Values
	// Position is what the page's content rests on; at first the head of the log.
	Position int64
	// Behind reports that a read table had not yet caught up with the visitor's own
	// changes.
	Behind bool

	// onlyShows reports that a posted form only asks for its page in another language:
	// nothing is changed.
	onlyShows bool
	entered   bool // the session is open

	asking sync.Mutex // guards Position, Behind and session while several questions are asked at once

	console *Console
	w       http.ResponseWriter
	r       *http.Request
	session session
	former  session // as the browser has it
}

func (c *Console) visit(w http.ResponseWriter, r *http.Request) *Visit {
	v := &Visit{console: c, w: w, r: r, session: sessionOf(r), Form: r.URL.Query()}
	v.former = v.session
	v.Lang = languageOf(r, v.session.lang)
	v.session.lang = v.Lang
	v.API = client.New("http://console")
	v.API.HTTP = &http.Client{Transport: &transport{visit: v}}
	v.API = v.API.As(v.session.access)
	secure(w.Header())
	return v
}

// secure sets the headers of every page.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy("'self'"))
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Add("Vary", "Cookie, Accept-Language")
}

// contentPolicy returns the policy of a page, whose scripts come from there.
func contentPolicy(scripts string) string {
	return "default-src 'none'; script-src " + scripts + "; style-src 'self'; img-src 'self'; " +
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}

// receive reads a posted form. One that another site had the browser send is refused.
func (v *Visit) receive() error {
	if v.r.Method == http.MethodGet || v.r.Method == http.MethodHead {
		return nil
	}
	if err := v.console.origin.Check(v.r); err != nil {
		return refusal(http.StatusForbidden, "cross_origin")
	}

	media, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	empty := v.r.ContentLength == 0
	files := v.takesFiles() && media == "multipart/form-data"
	if !empty && !files && (err != nil || media != "application/x-www-form-urlencoded") {
		return refusal(http.StatusUnsupportedMediaType, client.ProblemCodeUnsupportedMediaType)
	}

	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if files {
		err = v.r.ParseMultipartForm(maxForm) //nolint:gosec // the body is bounded, and fits into memory
	} else {
		err = v.r.ParseForm()
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return refusal(http.StatusRequestEntityTooLarge, client.ProblemCodeTooLarge)
	}
	if err != nil || !isText(v.r.PostForm) {
		return refusal(http.StatusBadRequest, client.ProblemCodeMalformed)
	}
	v.Form = v.r.PostForm
	if lang := known(v.Value("lang")); lang != "" { // chosen on the page to sign in on
		v.Lang, v.session.lang = lang, lang
	}
	if lang := known(v.Value(onlyLanguage)); lang != "" {
		v.Lang, v.session.lang, v.onlyShows = lang, lang, true
		v.Form.Set("lang", string(lang))
	}
	return nil
}

// onlyLanguage is the field of a form that asks for its page in the language that it
// names, filled in as it is.
const onlyLanguage = "only_language"

// enter asks whether the visitor may open the page. An access token that has expired is
// exchanged first.
func (v *Visit) enter(admit Admit, needsAccount bool) error {
	if needsAccount && v.session.access == "" {
		return refusal(http.StatusUnauthorized, client.ProblemCodeNotSignedIn)
	}

	visitor, err := admit(v.r.Context(), v.session.access)
	if client.CodeOf(err) == client.ProblemCodeInvalidToken && v.session.refresh != "" {
		tokens, refused := v.API.Refresh(v.r.Context(), client.RefreshBody{RefreshToken: v.session.refresh}, nil)
		if refused != nil {
			return refused
		}
		v.use(tokens.Body)
		visitor, err = admit(v.r.Context(), v.session.access)
	}
	v.Visitor, v.Position, v.entered = visitor, visitor.Head, err == nil
	return err
}

// openedByAnother reports whether a posted form was opened by somebody else, before this
// visitor signed in at the same browser in another tab. What it says is not theirs: it
// would be recorded as their decision, or under their name.
func (v *Visit) openedByAnother() bool {
	by := v.Value("form_by")
	return v.r.Method == http.MethodPost && v.Visitor.SignedIn() && by != "" && by != v.Visitor.ID.String()
}

// use makes these tokens those of the session.
func (v *Visit) use(tokens client.Tokens) {
	v.session.access, v.session.refresh = tokens.AccessToken, tokens.RefreshToken
	v.API = v.API.As(tokens.AccessToken)
}

// Value returns a field of the form or of the address, without the blanks around it.
func (v *Visit) Value(name string) string { return strings.TrimSpace(v.Form.Get(name)) }

// optional returns a field, or nil if it was left empty.
func (v *Visit) optional(name string) *string {
	if value := v.Value(name); value != "" {
		return &value
	}
	return nil
}

// id returns the id in the page's address. A text that is no id names nothing.
func (v *Visit) id() (uuid.UUID, error) {
	id, err := uuid.Parse(v.r.PathValue("id"))
	if err != nil || len(v.r.PathValue("id")) != len(uuid.Nil.String()) {
		return uuid.Nil, refusal(http.StatusNotFound, client.ProblemCodeNotFound)
	}
	return id, nil
}

// code returns the code in the page's address.
func (v *Visit) code() string { return v.r.PathValue("code") }

// key returns the idempotency key of a posted form, so that a second click on its button
// does nothing more.
func (v *Visit) key() *string { return v.optional("form_key") }

// keyOf is key for one of several forms on a page, which have one key between them.
func (v *Visit) keyOf(parts ...string) *string {
	key := v.key()
	if key != nil {
		*key = strings.Join(append([]string{*key}, parts...), "-")
	}
	return key
}

// changed remembers the position of a change, which the next page must show.
func (v *Visit) changed(position int64) { v.session.position = max(v.session.position, position) }

// recordLooks records what the visitor is about to see. Every answer begins with it.
func (v *Visit) recordLooks() error {
	if v.Visitor.Looked == nil {
		return nil
	}
	return v.Visitor.Looked(v.r.Context())
}

// redirect sends the browser to another page, which it gets with GET: Back never posts
// again.
func (v *Visit) redirect(path string) {
	if err := v.recordLooks(); err != nil {
		v.fail(err)
		return
	}
	v.keepSession()
	v.w.Header().Set("Location", path)
	v.w.WriteHeader(http.StatusSeeOther)
}

// keepSession sends the session to the browser if it is no longer what that has.
func (v *Visit) keepSession() {
	if v.session != v.former && (v.session.access != "" || v.former.access != "") {
		http.SetCookie(v.w, v.session.cookie())
		v.former = v.session
	}
}

// refusal is a refusal of the console's own, in the form of the API's.
func refusal(status int, code client.ProblemCode) *client.Error {
	return &client.Error{
		Problem: client.Problem{Status: int64(status), Code: code, Title: http.StatusText(status)},
		Header:  http.Header{},
	}
}

// faulty is the refusal of a field that was not understood.
func faulty(field, code string) *client.Error {
	e := refusal(http.StatusUnprocessableEntity, client.ProblemCodeValidationFailed)
	e.Errors = []client.FieldError{{Field: field, Code: code}}
	return e
}
