package http_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// overLine is the API with a request timeout of 2 seconds, on a real log over a line that may go silent.
func overLine(t *testing.T, db *pgtest.DB, settings ...func(*apphttp.Config)) (*world, *pgtest.Line) {
	t.Helper()
	line := pgtest.NewLine(t, db.URL(pgtest.Query))
	address, err := pgxpool.ParseConfig(line.Over(db.URL(pgtest.Query)))
	must(t, err)
	pool, err := pg.Connect(t.Context(), address)
	must(t, err)
	t.Cleanup(pool.Close)
	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey))
	must(t, err)
	t.Cleanup(store.Close)
	reader, err := eventstore.NewReader(t.Context(), pool, []byte(masterKey))
	must(t, err)

	w := &world{t: t, log: &safeBuffer{}, tenants: map[string]domain.TenantID{}}
	w.handler = commands.New(store, commands.Config{})
	config := apphttp.Config{
		Commands: w.handler, Queries: projections.NewQueries(pool), Reports: reports.New(pool, reader), Version: "0.1.0",
		Tokens:  apphttp.Tokens{Secret: []byte(secret), Issuer: "trust", Audience: "trust", Access: time.Hour},
		Ready:   func(context.Context) apphttp.ReadyState { return apphttp.ReadyState{} },
		Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), RequestTimeout: 2 * time.Second,
	}
	for _, set := range settings {
		set(&config)
	}
	w.api, err = apphttp.New(config)
	must(t, err)
	a, err := w.handler.RegisterMunicipality(t.Context(), commands.System(domain.PlatformTenant()), domain.RegisterMunicipality{
		Code: "KZN225", Name: "Msunduzi", Province: "KwaZulu-Natal",
	})
	must(t, err)
	w.tenants["KZN225"] = a.Value.ID
	return w, line
}

func TestARequestToADatabaseThatHangsIsAnsweredInTimeAndServedWhenItGoesOn(t *testing.T) {
	t.Parallel()
	w, line := overLine(t, pgtest.New(t))
	ask := func() *answer { return w.send("GET", "/api/v1/municipalities", "") }
	write := func() *answer {
		return w.send("POST", "/api/v1/auth/register", registration(uuid.NewString()+"@example.org"))
	}
	ask().want(200)
	write().want(201)

	line.Silence()
	for name, c := range map[string]struct {
		do   func() *answer
		code domain.Code
	}{"a query": {ask, domain.CodeUnavailable}, "a command": {write, domain.CodeOutcomeUnknown}} {
		began := time.Now()
		got := c.do().wantProblem(503, c.code)
		if took := time.Since(began); took > 4*time.Second || got.header.Get("Retry-After") == "" {
			t.Errorf("%s was answered after %s, Retry-After %q", name, took, got.header.Get("Retry-After"))
		}
	}
	line.Resume()

	pgtest.Eventually(t, "it serves again", func() bool { return ask().status == 200 && write().status == 201 })
}

func TestABodyThatDoesNotArriveIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RequestTimeout = time.Second })
	conn := dialAPI(t, w.api)
	_, err := io.WriteString(conn, "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	must(t, err)
	began := time.Now()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if took := time.Since(began); err != nil || !strings.Contains(line, "400") || took > 5*time.Second {
		t.Errorf("after %s: %q (%v)", took, line, err)
	}
}

func TestAnAnswerThatIsNotReadLetsGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RequestTimeout = time.Second })
	ended := make(chan struct{})
	conn := dialAPI(t, http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.api.ServeHTTP(&repeated{to, 4000}, r)
	}))
	_, err := io.WriteString(conn, "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
	must(t, err)
	select {
	case <-ended:
	case <-time.After(pgtest.Patience):
		t.Error("the answer is still being written")
	}
}

// A table of consents may take minutes. Each page of it has the time that another request has, and so has each piece that the
// client takes.
func TestAnExportMayTakeLongerThanARequest(t *testing.T) {
	t.Parallel()
	const timeout, steps = time.Second, 6
	for name, each := range map[string]func(context.Context, reports.ReplayQuery, func() error) error{
		"its pages come slowly": func(ctx context.Context, q reports.ReplayQuery, row func() error) error {
			select {
			case <-time.After(timeout / 3):
				q.Page()
				return row()
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		"it is taken slowly": func(ctx context.Context, _ reports.ReplayQuery, row func() error) error {
			for range 100 { // more than what is buffered
				if err := row(); err != nil {
					return err
				}
			}
			select {
			case <-time.After(timeout / 3):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, officer := exporting(t, timeout, func(ctx context.Context, q reports.ReplayQuery, row func() error) error {
				for range steps {
					if err := each(ctx, q, row); err != nil {
						return err
					}
				}
				return nil
			})

			began := time.Now()
			got := w.download(t, officer)
			if took := time.Since(began); took < timeout {
				t.Errorf("it took %s: too short to mean anything", took)
			}
			if got.status != http.StatusOK || got.err != nil || !strings.Contains(got.text, `{"end":true`) {
				t.Errorf("status %d, %v, %d bytes: not all of it", got.status, got.err, len(got.text))
			}
		})
	}
}

func TestAnExportWhosePageDoesNotComeIsCutOffSoThatItShows(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	for name, rows := range map[string]int{"before its first byte": 0, "in its middle": 200} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, officer := exporting(t, timeout, func(ctx context.Context, q reports.ReplayQuery, row func() error) error {
				for range rows {
					if err := row(); err != nil {
						return err
					}
				}
				q.Page()
				<-ctx.Done()
				return eventstore.Unavailable(ctx.Err())
			})

			began := time.Now()
			got := w.download(t, officer)
			if took := time.Since(began); took < timeout/2 || took > 10*timeout {
				t.Errorf("it ended after %s", took)
			}
			if rows == 0 && (got.status != http.StatusServiceUnavailable || !strings.Contains(got.text, "unavailable")) {
				t.Errorf("status %d: %s", got.status, got.text)
			}
			if rows > 0 && (got.status != http.StatusOK || got.err == nil) {
				t.Errorf("status %d, %v: a client takes %d bytes for all of it", got.status, got.err, len(got.text))
			}
		})
	}
}

// The database itself goes silent while a page is read.
func TestAnExportFromADatabaseThatHangsIsCutOff(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var afterPage atomic.Value
	afterPage.Store(func() {})
	w, line := overLine(t, db, func(c *apphttp.Config) { c.Reports = paging{c.Reports, &afterPage} })
	officer := w.staff(domain.Manager, "KZN225")
	appendDecisions(t, db, w.tenants["KZN225"], 450) // of two people; both together are more than a page
	appendDecisions(t, db, w.tenants["KZN225"], 450)
	if got := w.download(t, officer); got.status != http.StatusOK || got.err != nil || strings.Count(got.text, "\n") != 901 {
		t.Fatalf("status %d, %v, %d lines", got.status, got.err, strings.Count(got.text, "\n"))
	}

	afterPage.Store(sync.OnceFunc(line.Silence))
	began := time.Now()
	got := w.download(t, officer)
	took := time.Since(began)
	line.Resume()
	if got.status != http.StatusOK || got.text == "" || got.err == nil || took > 10*time.Second {
		t.Errorf("after %s: status %d, %v: a client takes %d bytes for all of it", took, got.status, got.err, len(got.text))
	}
}

// paging are reports that call a function after each page of a replay.
type paging struct {
	apphttp.Reports
	after *atomic.Value
}

func (p paging) Replay(
	ctx context.Context, tenant domain.TenantID, q reports.ReplayQuery, each func(domain.Consent) error,
) error {
	then := q.Page
	q.Page = func() {
		then()
		p.after.Load().(func())()
	}
	return p.Reports.Replay(ctx, tenant, q, each)
}

// appendDecisions adds one person's decisions to the log.
func appendDecisions(t *testing.T, db *pgtest.DB, tenant domain.TenantID, n int) {
	t.Helper()
	store, err := eventstore.Open(t.Context(), db.Pool(t, pgtest.Query), []byte(masterKey))
	must(t, err)
	defer store.Close()
	subject := domain.UserID{UUID: uuid.Must(uuid.NewV7())}
	decisions := make([]domain.Event, n)
	for i := range decisions {
		decisions[i] = &domain.ConsentGranted{Decision: domain.Decision{
			ConsentID: domain.ConsentID{UUID: uuid.Must(uuid.NewV7())}, Purpose: "sms_alert", NoticeVersion: 1,
			Wording: "To send you SMS alerts.", Language: domain.English, SHA256: domain.WordingHash("x"), Channel: domain.Web,
			RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
		}}
	}
	_, err = store.Append(t.Context(), domain.Append{
		ID: uuid.Must(uuid.NewV7()), Tenant: tenant,
		Writes: []domain.Write{{Stream: domain.ConsentsOf(subject), Events: decisions}},
	})
	must(t, err)
}

// exporting is the API with a request timeout and a replay of our own making, and an officer; row writes one consent.
func exporting(t *testing.T, timeout time.Duration, replay func(context.Context, reports.ReplayQuery, func() error) error) (*world, *person) {
	t.Helper()
	w := newWorld(t, func(c *apphttp.Config) {
		c.RequestTimeout, c.Reports = timeout, replaying{c.Reports, replay}
	})
	return w, w.staff(domain.Manager, "KZN225")
}

// replaying are reports whose replay is another one.
type replaying struct {
	apphttp.Reports
	replay func(ctx context.Context, q reports.ReplayQuery, row func() error) error
}

func (r replaying) Replay(
	ctx context.Context, _ domain.TenantID, q reports.ReplayQuery, each func(domain.Consent) error,
) error {
	return r.replay(ctx, q, func() error { return each(domain.Consent{Wording: strings.Repeat("word ", 100)}) })
}

// downloaded is an export as a client got it; err: that it is not all of it.
type downloaded struct {
	status int
	text   string
	err    error
}

// download fetches an export over a real connection.
func (w *world) download(t *testing.T, officer *person) downloaded {
	t.Helper()
	server := httptest.NewServer(w.api)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/api/v1/compliance/consents?format=ndjson", http.NoBody)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+officer.access)

	a, err := server.Client().Do(r)
	must(t, err)
	defer func() { _ = a.Body.Close() }()
	text, err := io.ReadAll(a.Body)
	return downloaded{a.StatusCode, string(text), err}
}

// repeated makes an answer larger than what a network takes unread.
type repeated struct {
	http.ResponseWriter
	times int
}

func (r *repeated) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *repeated) Write(b []byte) (int, error) {
	for range r.times {
		if n, err := r.ResponseWriter.Write(b); err != nil {
			return n, err
		}
	}
	return len(b), nil
}

// dialAPI serves over a real socket, and returns a connection to it.
func dialAPI(t *testing.T, handler http.Handler) net.Conn {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
