package http_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
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

// overLine returns the API with a request timeout of 2 seconds, on a real log over a line
// that can go silent.
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
		Commands: w.handler, Queries: projections.NewQueries(pool, nil), Reports: reports.New(pool, nil, reader),
		Version: "0.1.0", RequestTimeout: 2 * time.Second,
		Tokens: apphttp.Tokens{Secret: []byte(secret), Issuer: "trust", Audience: "trust", Access: time.Hour},
		Ready:  func(context.Context) apphttp.ReadyState { return apphttp.ReadyState{} },
		System: noSystem, Tree: fakeTree{}, Webhooks: &fakeDeliveries{}, Propagation: (&world{}).propagation,
		Metrics: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	}

	for _, set := range settings {
		set(&config)
	}
	w.api, err = apphttp.New(config)
	must(t, err)

	a, err := w.handler.RegisterMunicipality(t.Context(), commands.System(domain.PlatformTenant()),
		domain.RegisterMunicipality{Code: "KZN225", Name: "Msunduzi", Province: "KwaZulu-Natal"})
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
	}{
		"a query":   {ask, domain.CodeUnavailable},
		"a command": {write, domain.CodeOutcomeUnknown},
	} {
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
	_, err := io.WriteString(conn,
		"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	must(t, err)

	began := time.Now()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if took := time.Since(began); err != nil || !strings.Contains(line, "400") || took > 5*time.Second {
		t.Errorf("after %s: %q (%v)", took, line, err)
	}
}

func TestAnAnswerThatNobodyReadsIsGivenUp(t *testing.T) {
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

// This holds for every answer, not for exports alone: no client may take half of one for
// all of it.
func TestAnAnswerThatIsGivenUpDoesNotLookCompleteToAnyHop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *apphttp.Config) { c.RequestTimeout = time.Second })
	for _, version := range []string{"1.0", "1.1"} {
		ended := make(chan struct{})
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
			defer close(ended)
			w.api.ServeHTTP(&repeated{to, 4000}, r)
		}))

		server.Config.ConnContext = apphttp.OnConnection
		server.Start()
		t.Cleanup(server.Close)

		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })

		_, err = fmt.Fprintf(conn, "GET /openapi.json HTTP/%s\r\nHost: x\r\n\r\n", version)
		must(t, err)

		<-ended
		if raw, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("HTTP/%s: %d bytes, %v", version, len(raw), err)
		}
	}
}

// repeated makes an answer larger than a network buffers.
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

// dialAPI serves on a real socket, and returns a connection to it.
func dialAPI(t testing.TB, handler http.Handler) net.Conn {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
