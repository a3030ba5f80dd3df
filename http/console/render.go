package console

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
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
// Only refusals that the visitor can do something about come back to the form.
func (v *Visit) again(page string, data any, err error) error {
	refused, is := errors.AsType[*client.Error](err)
	if !is || refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusNotFound ||
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

	var out bytes.Buffer
	made := view{Visit: v, Page: name, Data: data, Problem: problem, Key: uuid.NewString()}
	if err := shown.ExecuteTemplate(&out, "layout", made); err != nil {
		return err
	}

	v.keepSession()
	v.w.Header().Set("Content-Language", string(v.Lang))
	v.send(status, "text/html; charset=utf-8", out.Bytes(), pack(out.Bytes()))
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
	if err := v.answer(int(refused.Status), "problem", refused, nil); err != nil {
		panic(err)
	}
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

// Own returns the address of the page that is shown, with other parameters, such as
// another language.
func (w view) Own(pairs ...string) string {
	query := url.Values{}
	if w.r.Method == http.MethodGet {
		query = w.r.URL.Query()
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			query.Del(pairs[i])
		}
	}
	if len(query) == 0 {
		return w.r.URL.Path
	}
	return w.r.URL.Path + "?" + query.Encode()
}

// Here reports whether the page shown belongs to a section of the menu.
func (w view) Here(section string) bool {
	return w.r.URL.Path == section || strings.HasPrefix(w.r.URL.Path, section+"/")
}
