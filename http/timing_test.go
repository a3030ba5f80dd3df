package http_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// visits are the round trips of a request to the database, each with its statements.
type visits struct {
	mu    sync.Mutex
	trips []string
}

type visitsKey struct{}

// tracer notes the statements of requests that carry visits.
type tracer struct{}

func (tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	note(ctx, q.SQL)
	return ctx
}

func (tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, b pgx.TraceBatchStartData) context.Context {
	var statements []string
	for _, q := range b.Batch.QueuedQueries {
		statements = append(statements, q.SQL)
	}
	note(ctx, strings.Join(statements, ";"))
	return ctx
}

func (tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func note(ctx context.Context, trip string) {
	if v, ok := ctx.Value(visitsKey{}).(*visits); ok {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.trips = append(v.trips, trip)
	}
}

func TestEveryFailedSignInMakesTheSameVisitsToTheDatabase(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t, func(c *pgxpool.Config) { c.ConnConfig.Tracer = tracer{} })
	trips := func(login string) []string {
		v := &visits{}
		ctx := context.WithValue(t.Context(), visitsKey{}, v)
		r := httptest.NewRequestWithContext(ctx, "POST", "/api/v1/auth/login", strings.NewReader(login))
		r.Header.Set("Content-Type", "application/json")
		w.do(r).wantProblem(401, domain.CodeInvalidCredentials)
		return v.trips
	}

	w.citizen("known@example.org")
	w.citizen("twice@example.org")
	elsewhere := strings.Replace(registration("twice@example.org"), "kzn225", "CPT", 1)
	w.send("POST", "/api/v1/auth/register", elsewhere).want(201)

	inactive := w.citizen("inactive@example.org")
	erased := w.citizen("erased@example.org")
	closed := strings.Replace(registration("closed@example.org"), "kzn225", "CPT", 1)
	w.send("POST", "/api/v1/auth/register", closed).want(201)

	platform := commands.System(domain.PlatformTenant())
	_, err := w.handler.SetMunicipalityActive(t.Context(), platform,
		commands.SetMunicipalityActive{Municipality: w.tenants["CPT"]})
	must(t, err)

	consents := inactive.send("GET", "/api/v1/consents", "", "Min-Event-Position", w.head()).want(200).items()
	inactive.send("POST", "/api/v1/consents/"+consents[0]["id"].(string)+"/withdraw", "").want(200)
	guessing()["user.erase"](erased, password).want(200)

	login := func(email, password, code string) string {
		if code == "" {
			return fmt.Sprintf(`{"email":"%s@example.org","password":%q}`, email, password)
		}
		return fmt.Sprintf(`{"email":"%s@example.org","password":%q,"municipality_code":%q}`, email, password, code)
	}

	for name, group := range map[string]map[string]string{
		"with a municipality": {
			"no account":                              login("unknown", "x", "KZN225"),
			"no municipality":                         login("known", password, "NOPE"),
			"no account there":                        login("known", password, "CPT"),
			"a wrong password":                        login("known", "x", "KZN225"),
			"no password":                             login("known", "", "KZN225"),
			"an inactive account":                     login("inactive", password, "KZN225"),
			"an inactive account, a wrong password":   login("inactive", "x", "KZN225"),
			"an erased account":                       login("erased", password, "KZN225"),
			"a closed municipality":                   login("closed", password, "CPT"),
			"a closed municipality, a wrong password": login("closed", "x", "CPT"),
			"a code that is too long":                 login("known", password, strings.Repeat("K", 10_000)),
			"a password that is too long":             login("known", strings.Repeat("x", 10_000), "KZN225"),
			"an e-mail address that is too long":      login(strings.Repeat("x", 10_000), password, "KZN225"),
		},
		"without one": {
			"no account":            login("unknown", "x", ""),
			"two accounts":          login("twice", password, ""),
			"a wrong password":      login("known", "x", ""),
			"an inactive account":   login("inactive", password, ""),
			"an erased account":     login("erased", password, ""),
			"a closed municipality": login("closed", password, ""),
		},
		"with an address of several spellings": {
			"no account": `{"email":"unknown@münchen.example","password":"x"}`,
			"a password that was typed in another form": `{"email":"known@münchen.example","password":"e\u0301"}`,
		},
	} {
		want := trips(group["no account"])
		if len(want) < 3 {
			t.Fatalf("%s: %d visits, which cannot be all", name, len(want))
		}

		for kind, body := range group {
			// The first failure of a minute is recorded, the second only counted.
			first, second := trips(body), trips(body)
			if !slices.Equal(first, want) || !slices.Equal(second, want) {
				t.Errorf("%s, %s: %d and %d visits, want %d like those of no account:\n%s\n\n%s",
					name, kind, len(first), len(second), len(want), strings.Join(first, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}
