package http

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/http/client"
	"github.com/salga-trust/engine/http/console"
)

// pages is the part of the table that is for people. Package console makes the pages; who
// may open them is said here, as for every route.
func pages() []route {
	return slices.Concat(framePages(), minePages(), peoplePages(), decisionForms(), personForms(), accountForms(),
		rightsPages(), programPages(), recordPages(), systemPages(), proofPages())
}

// framePages are those around all others.
func framePages() []route {
	return []route{
		{
			id: "page_start", method: "GET", path: "/console", who: everyone, rate: publicRate,
			page: (*console.Console).Start,
		},
		{
			id: "page_asset", method: "GET", path: "/console/assets/{asset}", who: everyone, rate: assetRate,
			page: (*console.Console).Asset, asks: []string{"v"},
		},

		{
			id: "page_sign_in", method: "GET", path: "/console/sign-in", who: everyone, rate: publicRate,
			page: (*console.Console).SignInForm, asks: []string{"next", "ended", "done"},
		},
		{
			id: "sign_in", method: "POST", path: "/console/sign-in", who: everyone, rate: publicRate,
			page: (*console.Console).SignIn,
		},
		{
			id: "sign_out", method: "POST", path: "/console/sign-out", who: everyone, rate: publicRate,
			page: (*console.Console).SignOut,
		},
	}
}

// pageOf makes the handler of a page. Permission, limits and parameters are checked as
// for any route; the token comes from the cookie, and a refusal becomes a page.
func (s *server) pageOf(rt *route) http.Handler {
	asks := questions{"lang": {Name: "lang", AllowEmptyValue: true}}
	for _, name := range rt.asks {
		asks[name] = &huma.Param{Name: name, AllowEmptyValue: true} // forms send empty fields, too
	}

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		trace := traceOf(r.Context())
		trace.route, trace.id = rt.path, rt.id
		ctx, cancel := s.within(r.Context(), w)
		defer cancel()

		r = r.WithContext(ctx)
		//nolint:contextcheck // the request that it serves has the context
		s.console.Serve(w, r, rt.page, rt.who.account(), s.visitors(rt, asks, r))
	})
}

// visitors returns the function that admits the visitor of a page. It knows who is
// refused, too, if they are signed in: their menu is on the page that says so.
func (s *server) visitors(rt *route, asks questions, r *http.Request) console.Admit {
	return func(ctx context.Context, token string) (console.Visitor, error) {
		asked := r.Clone(ctx)
		asked.Header = http.Header{"User-Agent": r.Header["User-Agent"]}
		if token != "" {
			asked.Header.Set("Authorization", "Bearer "+token)
		}

		call, _, err := s.admit(ctx, rt, asks, asked)
		visitor := s.visitor(call)
		if err == nil && r.Method == http.MethodGet {
			seen := &looks{}
			traceOf(ctx).admitted, traceOf(ctx).looks = &visit{call}, seen
			visitor.Looked = func(ctx context.Context) error {
				if err := seen.record(ctx, s.config.Commands); err != nil {
					return s.problemOf(ctx, err, rt.statuses).forConsole()
				}
				return nil
			}
		}
		if err == nil && visitor.SignedIn() {
			visitor.Head, err = s.config.Commands.Store.Head(ctx)
		}
		if err != nil {
			visitor.Erased = s.erasureOf(ctx, rt, asked, err)
			return visitor, s.problemOf(ctx, err, rt.statuses).forConsole()
		}
		return visitor, nil
	}
}

// erasureOf returns the certificate of the erasure of a token's holder, if that is why
// their session has ended; zero: it is not, or that is not known.
func (s *server) erasureOf(ctx context.Context, rt *route, r *http.Request, refusal error) uuid.UUID {
	refused, is := errors.AsType[*domain.Error](refusal)
	if !is || refused.Code != domain.CodeSessionEnded {
		return uuid.Nil
	}
	holder, err := s.tokenOf(rt, r)
	if err != nil {
		return uuid.Nil
	}

	certificate, erased, err := s.config.Commands.ErasureOf(ctx, holder.tenant, holder.user)
	if err != nil || !erased {
		return uuid.Nil
	}
	return certificate
}

// visit is a request for a page that changes nothing, by somebody whom the log let in.
// What the page asks of the API rests on the same reading of their rights: it is part of
// one request, and each of its questions would read them once more.
type visit struct{ by commands.Call }

// isOf reports whether a call is by the visitor, in the same session.
func (v *visit) isOf(call commands.Call) bool {
	return v != nil && v.by.Actor().Exists() && v.by.Tenant == call.Tenant && v.by.User == call.User &&
		v.by.Session == call.Session
}

// asks returns a call with the visitor's rights.
func (v *visit) asks(call commands.Call) commands.Call {
	admitted := v.by
	admitted.Origin, admitted.Correlation, admitted.Guess = call.Origin, call.Correlation, call.Guess
	return admitted
}

// visitor says who calls, as pages show it.
func (s *server) visitor(call commands.Call) console.Visitor {
	if !call.Actor().Exists() {
		return console.Visitor{}
	}
	return console.Visitor{
		ID: call.User.UUID, Role: string(call.Role()), Platform: call.Tenant.IsPlatform(),
		Municipality: call.Municipality().Code, Name: call.Municipality().Name,
		May: func(page string) bool {
			other := s.routes[page]
			return other != nil && other.reaches[partyOf(call)] != nothing
		},
	}
}

// isPagePath reports whether an address is one for people.
func isPagePath(path string) bool {
	return path == "/console" || strings.HasPrefix(path, "/console/") ||
		path == "/me" || strings.HasPrefix(path, "/me/")
}

// opens reports whether there is a page to get at a path.
func (s *server) opens(path string) bool {
	return isPagePath(path) && s.router.Match(chi.NewRouteContext(), http.MethodGet, path)
}

// pageWithoutSlash returns the address of the page that a request with a slash too many
// at its end is meant for; empty: there is none, or it was posted to.
func (s *server) pageWithoutSlash(r *http.Request) string {
	meant := *r.URL
	meant.Path, meant.RawPath = strings.TrimRight(meant.Path, "/"), strings.TrimRight(meant.RawPath, "/")
	if meant.Path == r.URL.Path || !s.opens(meant.Path) ||
		(r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return ""
	}
	return meant.RequestURI()
}

// noPage answers a request for which there is no page, or whose address is no text, with
// one that says so.
func (s *server) noPage(w http.ResponseWriter, r *http.Request, status int) {
	anybody := route{id: "no_page", who: self, rate: accountRate, bare: true, reaches: permissions()[self]}
	admit := s.visitors(&anybody, nil, r)

	ctx, cancel := s.within(r.Context(), w)
	defer cancel()
	//nolint:contextcheck // the request that it serves has the context
	s.console.Serve(w, r.WithContext(ctx), console.NoPage(status), false,
		func(ctx context.Context, token string) (console.Visitor, error) {
			if token == "" {
				err := s.pass(ctx, s.gates[publicRate].address, addressKey(traceOf(ctx).address))
				if err != nil {
					return console.Visitor{}, s.problemOf(ctx, err, nil).forConsole()
				}
				return console.Visitor{}, nil
			}
			visitor, _ := admit(ctx, token) // a stranger gets the same answer, without a menu
			return visitor, nil
		})
}

// forConsole returns a problem as a client of the API reads it.
func (p *problem) forConsole() error {
	e := &client.Error{
		Problem: client.Problem{
			Code: client.ProblemCode(p.Code), Detail: p.Detail, Status: int64(p.Status), Title: p.Title, Type: p.Type,
			Errors: []client.FieldError{},
		},
		Header: p.headers,
	}
	for _, f := range p.Errors {
		e.Errors = append(e.Errors, client.FieldError{Code: f.Code, Field: f.Field, Message: f.Message})
	}
	return e
}

var errNoPage = errors.New("only a page may ask inside")

// inside returns the API as pages ask it: in the same process, as part of the request for
// the page, which was counted, logged and given its time already. The reads behind a page
// are recorded with it, and those behind a file before it begins.
func (s *server) inside(file bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer := traceOf(r.Context())
		if outer.gone == nil {
			s.problemOf(r.Context(), errNoPage, nil).write(w)
			return
		}

		t := *outer
		t.inside, t.route, t.id = true, unmatched, ""
		if file {
			t.looks = nil
		}
		ctx := context.WithValue(r.Context(), traceKey{}, &t)
		ctx = context.WithValue(ctx, chi.RouteCtxKey, nil) // the page's own route ends here
		s.wellFormed(s.router).ServeHTTP(w, r.WithContext(ctx))
	})
}
