package http_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
	"github.com/salga-trust/engine/webhooks"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const masterKey = "a master key of at least thirty-two characters"

// newRealWorld returns a world on Postgres, with running projectors. When the test ends,
// the read tables are verified against the log.
func newRealWorld(t *testing.T, settings ...func(*pgxpool.Config)) (*world, *pgxpool.Pool) {
	t.Helper()
	db := pgtest.New(t)

	pool := db.Pool(t, pgtest.Query)
	if len(settings) > 0 {
		config := pool.Config()
		for _, set := range settings {
			set(config)
		}
		var err error
		pool, err = pgxpool.NewWithConfig(t.Context(), config)
		must(t, err)
		t.Cleanup(pool.Close)
	}

	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	w := &world{t: t, log: &safeBuffer{}, tenants: map[string]domain.TenantID{}}
	w.handler = commands.New(store, commands.Config{
		Hashes: 8, Mail: w.post, Webhooks: webhooksOfTests(), Prover: &fakeProver{},
		Argon2id: &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 8, KeyLength: 16},
	})

	reader, err := eventstore.NewReader(t.Context(), pool, []byte(masterKey))
	must(t, err)
	w.api, err = apphttp.New(apphttp.Config{
		Commands: w.handler, Queries: slowly{projections.NewQueries(pool, nil)},
		Reports: reports.New(pool, nil, reader),
		Version: "0.1.0", Metrics: prometheus.NewRegistry(),
		Tokens: apphttp.Tokens{Secret: []byte(secret), Issuer: "trust", Audience: "trust", Access: time.Hour},
		Ready:  func(context.Context) apphttp.ReadyState { return apphttp.ReadyState{} },
		System: noSystem, Tree: fakeTree{shown: &w.shown}, Webhooks: webhooks.NewView(pool),
		Propagation: webhooks.NewView(pool).Propagation,
		Logger:      slog.New(slog.NewJSONHandler(w.log, nil)),
	})
	must(t, err)

	work(t, db)

	for _, code := range []string{"KZN225", "CPT"} {
		a, err := w.handler.RegisterMunicipality(t.Context(), commands.System(domain.PlatformTenant()),
			domain.RegisterMunicipality{Code: code, Name: "Municipality " + code, Province: "Gauteng"})
		must(t, err)
		w.tenants[code] = a.Value.ID
	}

	return w, pool
}

// noSystem is for tests that do not look at the followers.
func noSystem(context.Context) (apphttp.SystemState, error) { return apphttp.SystemState{}, nil }

// work runs all projectors until the test ends, and then compares every read table with
// the log.
func work(t *testing.T, db *pgtest.DB) {
	t.Helper()
	reader, err := eventstore.NewReader(t.Context(), db.Conn(t, pgtest.Projector), []byte(masterKey))
	must(t, err)
	verifier := db.Conn(t, pgtest.Projector)

	worker := follow.NewWorker(follow.Config{
		DatabaseURL: db.URL(pgtest.Projector), MasterKey: []byte(masterKey), Logger: discard(),
	}, projections.Followers()...)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
		must(t, projections.Verify(context.WithoutCancel(ctx), verifier, reader, nil))
	})
}

// slowly waits for the projectors as long as a slow machine needs. The two seconds that
// clients wait at most do not bind the machine that runs the tests.
type slowly struct{ *projections.Queries }

// neverReached is a position beyond the log of any test.
const neverReached = 1_000_000

func (q slowly) WaitFor(ctx context.Context, projection string, position int64) error {
	for began := time.Now(); ; {
		err := q.Queries.WaitFor(ctx, projection, position)
		if !is(err, domain.CodeReadModelBehind) || position >= neverReached || time.Since(began) > pgtest.Patience {
			return err
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOnTheRealLog walks through the whole system, and reads its own writes by
// Min-Event-Position.
func TestOnTheRealLog(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	admin := w.staff(domain.Admin, "SALGA")
	w.define(domain.PlatformTenant(), "newsletter")

	made := admin.send("POST", "/api/v1/municipalities",
		`{"name":"!Kheis","code":"nc084","province":"Northern Cape","population":16637}`).want(201)
	seen := w.send("GET", "/api/v1/municipalities/nc084", "",
		"Min-Event-Position", made.header.Get("Event-Position")).want(200)
	if strings.TrimSpace(seen.raw) != strings.TrimSpace(made.raw) ||
		seen.header.Get("ETag") != made.header.Get("ETag") {
		t.Errorf("command and query differ: %s %s", made.raw, seen.raw)
	}

	admin.send("POST", "/api/v1/municipalities", `{"name":"Another","code":"NC084","province":"Gauteng"}`).
		wantProblem(409, domain.CodeCodeTaken)
	admin.send("POST", "/api/v1/municipalities", `{"name":"!KHEIS","code":"NC085","province":"Gauteng"}`).
		wantProblem(409, domain.CodeNameTaken)

	for query, want := range map[string]int{
		"?q=kheis": 1, "?q=%25": 0, "?q=_": 0, "?province=Gauteng": 2, "?is_active=false": 0, "?limit=2": 2,
		"?q=%5C%27%22": 0,
	} {
		if n := len(w.send("GET", "/api/v1/municipalities"+query, "").want(200).items()); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}

	w.send("GET", "/api/v1/municipalities?after=rubbish", "").wantProblem(422, domain.CodeInvalid)
	w.send("GET", "/api/v1/municipalities", "", "Min-Event-Position", strconv.Itoa(neverReached)).
		wantProblem(422, domain.CodeUnknownPosition)

	first := w.send("POST", "/api/v1/auth/register", registration("thandi@example.org"), "Idempotency-Key", "k").
		want(201)
	again := w.send("POST", "/api/v1/auth/register", registration("thandi@example.org"), "Idempotency-Key", "k").
		want(201)
	if again.raw != first.raw || again.header.Get("Event-Position") != first.header.Get("Event-Position") {
		t.Errorf("a repeat is not the first answer: %s %s", first.raw, again.raw)
	}

	w.send("POST", "/api/v1/auth/register", registration("THANDI@example.org")).wantProblem(409, domain.CodeEmailTaken)
	p := w.signIn("thandi@example.org", "KZN225", first.text("id"), first.text("tenant_id"))
	if me := p.send("GET", "/api/v1/users/me", "").want(200); me.raw != first.raw {
		t.Errorf("me: %s, registered %s", me.raw, first.raw)
	}

	p.send("PATCH", "/api/v1/users/me",
		fmt.Sprintf(`{"email":"t@example.org","phone":null,"current_password":%q}`, password),
		"If-Match", `"1"`).want(200)
	p.send("PATCH", "/api/v1/users/me", `{"phone":"0820000000"}`, "If-Match", `"1"`).wantProblem(412, domain.CodeStale)

	granted := p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).want(201)
	one := "/api/v1/consents/" + granted.text("id")
	got := p.send("GET", one, "", "Min-Event-Position", granted.header.Get("Event-Position")).want(200)
	if got.raw != granted.raw {
		t.Errorf("command and query differ: %s %s", granted.raw, got.raw)
	}

	gone := p.send("POST", one+"/withdraw", `{"reason":"no longer"}`).want(200)
	list := p.send("GET", "/api/v1/consents?limit=1", "", "Min-Event-Position", gone.header.Get("Event-Position")).
		want(200)
	if items := list.items(); len(items) != 1 || items[0]["withdrawn"] != true || list.text("next") == "" {
		t.Errorf("list: %s", list.raw)
	}

	p.send("GET", "/api/v1/consents?after=rubbish", "").wantProblem(422, domain.CodeInvalid)

	clerk := w.staff(domain.FieldWorker, "KZN225")
	stranger := w.staff(domain.Manager, "CPT")

	clerk.send("GET", one, "").want(200)
	clerk.send("GET", "/api/v1/consents?subject_id="+p.id, "").want(200)
	clerk.send("GET", "/api/v1/consents/check?purpose=newsletter&subject_id="+p.id, "").want(200)
	stranger.send("GET", one, "").wantProblem(404, domain.CodeNotFound)
	stranger.send("POST", one+"/withdraw", "").wantProblem(404, domain.CodeNotFound)
	stranger.send("GET", "/api/v1/consents/check?purpose=newsletter&subject_id="+p.id, "").
		wantCheck(false, domain.ReasonUnknownSubject)

	account := p.send("GET", "/api/v1/consents", "").want(200).items()[1]["id"].(string)
	// Withdrawing this one closes the account.
	p.send("POST", "/api/v1/consents/"+account+"/withdraw", "").want(200)
	p.send("GET", "/api/v1/users/me", "").wantProblem(403, domain.CodeAccountInactive)

	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

// TestAtOnce sends the same request many times at once.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	p := w.citizen("thandi@example.org")

	const many = 8
	statuses := func(send func() *answer) []int {
		got := make([]int, many)
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() { got[i] = send().status })
		}
		all.Wait()
		slices.Sort(got)
		return got
	}

	want := func(what string, got []int, first, others int) {
		t.Helper()
		if got[0] != first || slices.ContainsFunc(got[1:], func(s int) bool { return s != others }) {
			t.Errorf("%s: %v", what, got)
		}
	}

	want("grants", statuses(func() *answer {
		return p.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`)
	}), 201, 409)
	want("registrations", statuses(func() *answer {
		return w.send("POST", "/api/v1/auth/register", registration("sipho@example.org"))
	}), 201, 409)
	want("repeats", statuses(func() *answer {
		return w.send("POST", "/api/v1/auth/register", registration("ayanda@example.org"), "Idempotency-Key", "k")
	}), 201, 201)

	// All get the same successor, see TestRefreshesAtOnceOnTwoProcessesGetOneSuccessor.
	want("refreshes", statuses(func() *answer {
		return w.send("POST", "/api/v1/auth/refresh", fmt.Sprintf(`{"refresh_token":%q}`, p.rotating))
	}), 200, 200)

	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

// TestTheRealDatabaseIsAway closes the connections of the pool.
func TestTheRealDatabaseIsAway(t *testing.T) {
	t.Parallel()
	w, pool := newRealWorld(t)
	p := w.citizen("thandi@example.org")

	for _, c := range pool.AcquireAllIdle(t.Context()) {
		must(t, c.Conn().Close(t.Context()))
		c.Release()
	}
	// Broken connections are replaced.
	p.send("GET", "/api/v1/users/me", "").want(200)
	w.send("GET", "/health", "").want(200)
}

// TestOverTheWire tests what httptest's recorder cannot: a real connection, keep-alive,
// and a client that goes away.
func TestOverTheWire(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	waits, gone := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Min-Event-Position") != "" {
			close(waits)
			defer close(gone)
		}
		w.api.ServeHTTP(to, r)
	}))
	t.Cleanup(server.Close)

	for range 3 {
		r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/api/v1/auth/register",
			strings.NewReader(registration(uuid.NewString()+"@example.org")))
		must(t, err)
		r.Header.Set("Content-Type", "application/json")
		a, err := server.Client().Do(r)
		must(t, err)
		if a.StatusCode != 201 || a.Header.Get("Etag") != `"1"` || a.Header.Get("Event-Position") == "" {
			t.Errorf("%d %v", a.StatusCode, a.Header)
		}
		must(t, a.Body.Close())
	}

	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/municipalities", http.NoBody)
	must(t, err)
	r.Header.Set("Min-Event-Position", strconv.Itoa(neverReached))
	go func() {
		<-waits
		cancel()
	}()

	if a, err := server.Client().Do(r); err == nil {
		_ = a.Body.Close()
	}
	<-gone

	if failed := w.log.failures(); failed != "" {
		t.Errorf("a client that went away was logged as a failure: %s", failed)
	}
}
