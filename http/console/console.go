package console

import (
	"compress/gzip"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// Config is what the console needs; all of it must be set.
type Config struct {
	// API answers requests to the API without counting them a second time. What its
	// answers show is recorded by Visitor.Looked.
	API http.Handler
	// Files is API for answers that go to the browser as they come: what they show is
	// recorded before they begin.
	Files http.Handler
	// Now is the clock.
	Now func() time.Time
	// Opens reports whether there is a page to get at a path: some only take forms.
	Opens func(path string) bool
}

// Console makes the pages.
type Console struct {
	config  Config
	origin  *http.CrossOriginProtection
	packers sync.Pool // of *gzip.Writer
}

// New makes the console.
func New(config Config) (*Console, error) {
	if _, err := templates(); err != nil {
		return nil, err
	}
	return &Console{
		config: config, origin: http.NewCrossOriginProtection(),
		packers: sync.Pool{New: func() any { return gzip.NewWriter(nil) }},
	}, nil
}

// Page answers one request. An error becomes a page of its own: see Visit.fail.
type Page func(c *Console, v *Visit) error

// Visitor is who looks at a page.
type Visitor struct {
	ID           uuid.UUID // zero: nobody is signed in
	Role         string
	Platform     bool   // of SALGA, which is no municipality
	Municipality string // its code
	Name         string // of the municipality
	// Erased is the certificate of the erasure of somebody whose session has ended with
	// it; zero: nobody was erased.
	Erased uuid.UUID
	// Head is the newest position of the log before the page asked for anything.
	Head int64
	// May reports whether the visitor may open a page, by its id in the table of routes.
	May func(page string) bool
	// Looked records the looks at other people's data that the page makes: call it when
	// it asks no more, and before it leaves. Nil: each was recorded at once. Its error is
	// a *client.Error.
	Looked func(ctx context.Context) error
}

// SignedIn reports whether the visitor is somebody known.
func (v Visitor) SignedIn() bool { return v.ID != uuid.Nil }

// Admit decides whether the holder of an access token may open the page: permission,
// limits, and the parameters in its address. Its error is a *client.Error.
type Admit func(ctx context.Context, accessToken string) (Visitor, error)

// Serve answers a request for a page. needsAccount says whether its visitor must be
// signed in.
func (c *Console) Serve(w http.ResponseWriter, r *http.Request, page Page, needsAccount bool, admit Admit) {
	v := c.visit(w, r)
	if err := v.receive(); err != nil {
		v.fail(err)
		return
	}

	err := v.enter(admit, needsAccount)
	if v.Visitor.Erased != uuid.Nil {
		v.gone()
		return
	}
	if needsAccount && signInHelps(err) {
		v.askToSignIn(err)
		return
	}
	if client.CodeOf(err) == client.ProblemCodeTotpSetupRequired {
		v.redirect("/console/account/second-factor")
		return
	}
	if err != nil {
		v.fail(err)
		return
	}

	if v.openedByAnother() {
		v.fail(refusal(http.StatusConflict, "another_account"))
		return
	}

	if err := page(c, v); err != nil {
		v.fail(err)
	}
}

// signInHelps reports whether a visitor was refused only for want of an open session.
func signInHelps(err error) bool {
	switch client.CodeOf(err) {
	case client.ProblemCodeNotSignedIn, client.ProblemCodeInvalidToken, client.ProblemCodeSessionEnded:
		return true
	default:
		return false
	}
}

// NoPage returns a page that says that there is none, or none that can do this, or that
// its address cannot be read.
func NoPage(status int) Page {
	code := client.ProblemCodeNotFound
	switch status {
	case http.StatusMethodNotAllowed:
		code = client.ProblemCodeMethodNotAllowed
	case http.StatusBadRequest:
		code = client.ProblemCodeMalformed
	}
	return func(*Console, *Visit) error { return refusal(status, code) }
}

// Broken answers with a page that says that we have failed. It asks for nothing that may
// have failed, and reports false if there is no such page, either.
func (c *Console) Broken(w http.ResponseWriter, r *http.Request) bool {
	v := c.visit(w, r)
	broken := problemPage{Error: refusal(http.StatusInternalServerError, client.ProblemCodeInternal)}
	return v.answer(http.StatusInternalServerError, "problem", broken, nil) == nil
}
