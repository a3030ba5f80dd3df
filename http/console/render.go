package console

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// view is what a template sees.
type view struct {
	*Visit

	Page string // the name of the template
	Data any
	// Problem is why a form was refused; nil: it was not.
	Problem *client.Error
	// Key makes a form that is sent twice count once.
	Key string
}

// render answers with a page.
func (v *Visit) render(page string, data any) error { return v.answer(http.StatusOK, page, data, nil) }

// again answers with the page of a form that the API refused, filled in as it was sent.
// Only refusals that the visitor can do something about come back to the form: not one
// for want of what the page itself is about.
func (v *Visit) again(page string, data any, err error) error {
	refused, is := errors.AsType[*client.Error](err)
	if !is || refused.Status >= http.StatusInternalServerError || refused.Code == client.ProblemCodeNotFound ||
		refused.Status == http.StatusTooManyRequests || signInHelps(err) {
		return err
	}
	return v.answer(int(refused.Status), page, data, refused)
}

func (v *Visit) answer(status int, name string, data any, problem *client.Error) error {
	shown, err := page(v.Lang, name)
	if err != nil {
		return err
	}
	if problem != nil && problem.Code == codeNotSent {
		status, problem = http.StatusOK, nil
	}

	var out bytes.Buffer
	made := view{Visit: v, Page: name, Data: data, Problem: problem, Key: uuid.NewString()}
	if v.onlyShows { // it may have been sent before
		made.Key = cmp.Or(v.Value("form_key"), made.Key)
	}
	if err := shown.ExecuteTemplate(&out, "layout", made); err != nil {
		return err
	}
	if err := v.recordLooks(); err != nil {
		return err
	}

	v.keepSession()
	v.w.Header().Set("Content-Language", string(v.Lang))
	v.send(status, "text/html; charset=utf-8", out.Bytes(), nil)
	return nil
}

// fail answers with a page that says what went wrong. What is no refusal of the API's is
// a fault of ours, and ends where those end: in the recovery around all routes.
func (v *Visit) fail(err error) {
	refused, is := errors.AsType[*client.Error](err)
	if !is {
		panic(err)
	}
	if signInHelps(err) {
		v.askToSignIn(err)
		return
	}

	if wait := refused.Header.Get("Retry-After"); wait != "" {
		v.w.Header().Set("Retry-After", wait)
	}
	if err := v.answer(int(refused.Status), "problem", problemPage{refused, v.unsent(refused)}, nil); err != nil {
		panic(err)
	}
}

// problemPage says why there is no other page.
type problemPage struct {
	*client.Error

	// Unsent is a form that may be sent again; nil: none was sent, or it was refused for
	// good.
	Unsent *keptForm
}

// unsent keeps a posted form that nobody has decided about, because there were too many
// requests or something was not available. Browsers forget what was filled in on pages
// that may not be stored.
func (v *Visit) unsent(refused *client.Error) *keptForm {
	passing := refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusServiceUnavailable ||
		refused.Code == codeNotSent
	if v.r.Method != http.MethodPost || !passing || len(v.r.PostForm) == 0 {
		return nil
	}
	return keep(v.r.URL.Path, "", v.Form)
}

// Fault returns what is wrong with a field of a refused form: the code of the first
// fault; empty: nothing.
func (w view) Fault(field string) string {
	if w.Problem == nil {
		return ""
	}
	for _, f := range w.Problem.Errors {
		if f.Field == field {
			return f.Code
		}
	}
	return ""
}

// Based returns the version that a form was filled in on. One that comes back is still
// about the version that its visitor saw, unless it comes back because of a newer one,
// which it then shows.
func (w view) Based(newest string) string {
	if w.Problem == nil || w.Problem.Code == client.ProblemCodeStale || !w.Form.Has("version") {
		return newest
	}
	return w.Form.Get("version")
}

// Newer returns what somebody else has changed a field to while this form was filled in,
// if that is why it was refused; nil: the same, or nothing is known. A part of the page
// describes the field.
func (w view) Newer(part map[string]any) *string {
	value, known := part["value"]
	name := plain(part["name"])
	if !known || w.Problem == nil || w.Problem.Code != client.ProblemCodeStale || !w.Form.Has(name) {
		return nil
	}
	newest := plain(value)
	if newest == w.Value(name) {
		return nil
	}
	return &newest
}

// Own returns the address of the page that is shown, with other parameters, such as
// another language. An address that only takes forms has none: its page is the one above.
func (w view) Own(pairs ...string) string {
	query, at := url.Values{}, w.r.URL.Path
	if w.r.Method == http.MethodGet || w.r.Method == http.MethodHead {
		query = w.r.URL.Query()
	} else if !w.console.config.Opens(at) {
		at = path.Dir(at)
	}

	for i := 0; i+1 < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			query.Del(pairs[i])
		}
	}
	if len(query) == 0 {
		return at
	}
	return at + "?" + query.Encode()
}

// Same returns the form that this page came back with, which the address of the page in
// another language would lose; nil: there is none.
func (w view) Same() *keptForm {
	switch data := w.Data.(type) {
	case signInForm:
		if data.Kept != nil {
			return data.same()
		}
	case problemPage:
		return data.Unsent
	}
	if w.r.Method != http.MethodPost || w.r.MultipartForm != nil || w.Problem == nil && !w.onlyShows {
		return nil
	}
	return keep(w.r.URL.Path, "", w.Form)
}

// Here reports whether the page shown belongs to a section of the menu.
func (w view) Here(section string) bool {
	return w.r.URL.Path == section || strings.HasPrefix(w.r.URL.Path, section+"/")
}
