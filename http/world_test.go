package http_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/propagation"
	apphttp "github.com/salga-trust/engine/http"
)

const (
	secret   = "a secret of the tests, long enough"
	password = "correct horse battery staple"
)

// world is the whole API on a log in memory, with a clock that stands still.
type world struct {
	t       testing.TB
	store   *fakeStore
	queries *fakeQueries
	reports *fakeReports
	// deliveries are what is on its way to webhooks.
	deliveries *fakeDeliveries
	// recipients are those of any tenant's withdrawals.
	recipients []propagation.Recipient
	handler    *commands.Handler
	api        http.Handler
	log        *safeBuffer
	ready      apphttp.ReadyState
	system     apphttp.SystemState
	prover     *fakeProver

	// tenants are the municipalities by code.
	tenants map[string]domain.TenantID
	// injecting turns the comparison of answers with the document off, for refusals that
	// no route documents.
	injecting bool
	// admins are those that adminFor returns, by the code of their tenant.
	admins map[string]*person

	// shown is the newest checkpoint: see fakeTree.
	shown atomic.Pointer[[]byte]

	mu      sync.Mutex
	now     time.Time
	letters []domain.Letter // that were sent
}

// post takes a letter instead of a mail server.
func (w *world) post(l domain.Letter) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.letters = append(w.letters, l)
	return nil
}

type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// failures returns the logged errors, one a line.
func (b *safeBuffer) failures() string {
	var found []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, `"level":"ERROR"`) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

func (w *world) propagation(context.Context, domain.TenantID, time.Time) ([]propagation.Recipient, error) {
	return w.recipients, nil
}

// newWorld returns a world with the municipalities KZN225 (Msunduzi) and CPT, and with
// these settings.
func newWorld(t testing.TB, settings ...func(*apphttp.Config)) *world {
	t.Helper()
	w := &world{
		t: t, log: &safeBuffer{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		tenants: map[string]domain.TenantID{},
	}
	w.store = newFakeStore(w.clock)
	w.prover = &fakeProver{store: w.store}
	w.queries, w.reports = &fakeQueries{store: w.store}, &fakeReports{store: w.store}
	w.deliveries = &fakeDeliveries{}
	w.handler = commands.New(w.store, commands.Config{
		Now: w.clock, Hashes: 4, Mail: w.post, Webhooks: webhooksOfTests(), Prover: w.prover,
		Argon2id: &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 8, KeyLength: 16},
	})

	config := apphttp.Config{
		Commands: w.handler, Queries: w.queries, Reports: w.reports, Tree: fakeTree{w.store, &w.shown},
		Webhooks: w.deliveries, Propagation: w.propagation,
		Version: "0.1.0", Now: w.clock,
		Metrics: prometheus.NewRegistry(),
		Tokens:  apphttp.Tokens{Secret: []byte(secret), Issuer: "trust", Audience: "trust", Access: 30 * time.Minute},
		Ready:   func(context.Context) apphttp.ReadyState { return w.ready },
		System:  func(context.Context) (apphttp.SystemState, error) { return w.system, nil },
		Logger:  slog.New(slog.NewJSONHandler(w.log, nil)), AllowedOrigins: []string{"http://localhost:3000"},
	}

	for _, set := range settings {
		set(&config)
	}

	api, err := apphttp.New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.api = api

	for code, name := range map[string]string{"KZN225": "Msunduzi", "CPT": "City of Cape Town"} {
		a, err := w.handler.RegisterMunicipality(t.Context(), commands.System(domain.PlatformTenant()),
			domain.RegisterMunicipality{Code: code, Name: name, Province: "KwaZulu-Natal"})
		if err != nil {
			t.Fatal(err)
		}
		w.tenants[code] = a.Value.ID
	}

	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// person has an account and is signed in.
type person struct {
	w                *world
	id, tenant       string
	email            string
	access, rotating string
	// form is a request of some program for a token.
	form string
}

// citizen registers somebody in KZN225 over HTTP and signs them in.
func (w *world) citizen(email string) *person {
	w.t.Helper()
	a := w.send("POST", "/api/v1/auth/register", registration(email))
	a.want(201)
	return w.signIn(email, "KZN225", a.text("id"), a.text("tenant_id"))
}

// staff makes a staff account and signs it in.
func (w *world) staff(role domain.Role, code string) *person {
	w.t.Helper()
	return w.staffAs(role, code, string(role)+"@"+strings.ToLower(code)+".example.org")
}

// another is staff with an e-mail address of its own.
func (w *world) another(role domain.Role, code string) *person {
	w.t.Helper()
	return w.staffAs(role, code, uuid.NewString()+"@example.org")
}

func (w *world) staffAs(role domain.Role, code, email string) *person {
	w.t.Helper()
	tenant := domain.PlatformTenant()
	if code != domain.PlatformCode {
		tenant = w.tenants[code]
	}

	a, err := w.handler.CreateUser(w.t.Context(), commands.System(tenant), commands.CreateUser{
		Email: email, Password: password, FullName: "Staff Member", Role: role,
	})
	if err != nil {
		w.t.Fatal(err)
	}

	return w.signIn(email, code, a.Value.ID.String(), tenant.String())
}

func (w *world) signIn(email, code, id, tenant string) *person {
	w.t.Helper()
	a := w.send("POST", "/api/v1/auth/login",
		fmt.Sprintf(`{"email":%q,"password":%q,"municipality_code":%q}`, email, password, code))
	a.want(200)

	return &person{
		w: w, id: id, tenant: tenant, email: email,
		access: a.text("access_token"), rotating: a.text("refresh_token"),
	}
}

func registration(email string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q,"full_name":"Thandi Ṱhaba","phone":"082 123 4567",
		"preferred_language":"zu","municipality_code":"kzn225","consent":{"purpose":"platform_registration",
		"language":"zu","consented":true}}`, email, password)
}

// answer is a response.
type answer struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	raw    string
	log    *safeBuffer
	json   map[string]any
}

// send sends a request; headers are pairs of name and value.
func (w *world) send(method, path, body string, headers ...string) *answer {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}

	r.RemoteAddr = "127.0.0.1:40000"
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}

	return w.do(r)
}

// do serves a request and checks that the document promises such an answer.
func (w *world) do(r *http.Request) *answer {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)

	a := &answer{
		t: w.t, what: r.Method + " " + r.URL.Path, status: rec.Code, header: rec.Header(),
		raw: rec.Body.String(), log: w.log,
	}
	if media := rec.Header().Get("Content-Type"); strings.Contains(media, "json") &&
		!strings.Contains(media, "ndjson") {
		if err := json.Unmarshal(rec.Body.Bytes(), &a.json); err != nil {
			w.t.Fatalf("%s: not JSON: %q", a.what, a.raw)
		}
	}

	if r.URL.Path != "/openapi.json" && !w.injecting {
		for _, fault := range promiseOf(w.t, w).keeps(r, a) {
			w.t.Errorf("%s: %d is not as documented: %s\n%s", a.what, a.status, fault, a.raw)
		}
	}

	return a
}

func (p *person) send(method, path, body string, headers ...string) *answer {
	p.w.t.Helper()
	return p.w.send(method, path, body, append([]string{"Authorization", "Bearer " + p.access}, headers...)...)
}

func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d, want %d: %s\n%s", a.what, a.status, status, a.raw, a.log.failures())
	}
	return a
}

// wantProblem checks that the answer is a complete problem with this code.
func (a *answer) wantProblem(status int, code domain.Code) *answer {
	a.t.Helper()
	a.want(status)

	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("%s: content type %q", a.what, got)
	}
	if a.text("code") != string(code) {
		a.t.Errorf("%s: code %q, want %q: %s", a.what, a.text("code"), code, a.raw)
	}
	if a.json["type"] != "about:blank" || a.text("title") == "" || a.text("detail") == "" ||
		a.json["status"] != float64(status) {
		a.t.Errorf("%s: not a complete problem: %s", a.what, a.raw)
	}
	if _, ok := a.json["errors"].([]any); !ok {
		a.t.Errorf("%s: errors is not a list: %s", a.what, a.raw)
	}

	if status == 503 && a.header.Get("Retry-After") == "" {
		a.t.Errorf("%s: no Retry-After", a.what)
	}
	if a.header.Get("X-Request-ID") == "" {
		a.t.Errorf("%s: no X-Request-ID", a.what)
	}

	return a
}

func (a *answer) text(field string) string {
	s, _ := a.json[field].(string)
	return s
}

// faults returns the codes of the faulty fields.
func (a *answer) faults() map[string]string {
	found := map[string]string{}
	list, _ := a.json["errors"].([]any)
	for _, item := range list {
		f := item.(map[string]any)
		found[f["field"].(string)] = f["code"].(string)
	}
	return found
}

func (a *answer) items() []map[string]any {
	a.t.Helper()
	list, ok := a.json["items"].([]any)
	if !ok {
		a.t.Fatalf("%s: no items: %s", a.what, a.raw)
	}

	items := make([]map[string]any, len(list))
	for i, item := range list {
		items[i] = item.(map[string]any)
	}
	return items
}

// forge signs claims as given.
func forge(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// claimsOf reads a token without checking it.
func claimsOf(t *testing.T, token string) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

type contextOf = context.Context

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
