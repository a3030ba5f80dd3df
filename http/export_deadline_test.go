package http_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections/reports"
)

// A table of consents may take minutes. Each page of it has the time that another request
// has in all, and so has each piece that the client reads.
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
		"it is read slowly": func(ctx context.Context, _ reports.ReplayQuery, row func() error) error {
			// This is more than the server buffers.
			for range 100 {
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
			all := func(ctx context.Context, q reports.ReplayQuery, row func() error) error {
				for range steps {
					if err := each(ctx, q, row); err != nil {
						return err
					}
				}
				return nil
			}
			w, officer := exporting(t, timeout, all)

			began := time.Now()
			got := w.download(t, officer)
			if took := time.Since(began); took < timeout {
				t.Errorf("it took %s: too short to mean anything", took)
			}
			if got.status != http.StatusOK || got.err != nil || !strings.Contains(got.text, `{"end":true`) {
				t.Errorf("status %d, %v, %d bytes: not the complete export", got.status, got.err, len(got.text))
			}
		})
	}
}

func TestAnExportWithoutItsNextPageIsVisiblyCutOff(t *testing.T) {
	t.Parallel()
	const timeout = time.Second
	for name, rows := range map[string]int{"before its first byte": 0, "in its middle": 200} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stuck := func(ctx context.Context, q reports.ReplayQuery, row func() error) error {
				for range rows {
					if err := row(); err != nil {
						return err
					}
				}
				q.Page()
				<-ctx.Done()
				return eventstore.Unavailable(ctx.Err())
			}
			w, officer := exporting(t, timeout, stuck)

			began := time.Now()
			got := w.download(t, officer)
			if took := time.Since(began); took < timeout/2 || took > 10*timeout {
				t.Errorf("it ended after %s", took)
			}

			refused := got.status == http.StatusServiceUnavailable && strings.Contains(got.text, "unavailable")
			if rows == 0 && !refused {
				t.Errorf("status %d: %s", got.status, got.text)
			}
			if rows > 0 && (got.status != http.StatusOK || got.err == nil) {
				t.Errorf("status %d, %v: %d bytes pass for the complete export", got.status, got.err, len(got.text))
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

	// The decisions of these two people are more than a page.
	appendDecisions(t, db, w.tenants["KZN225"], 450)
	appendDecisions(t, db, w.tenants["KZN225"], 450)

	got := w.download(t, officer)
	if n := strings.Count(got.text, "\n"); got.status != http.StatusOK || got.err != nil || n != 901 {
		t.Fatalf("status %d, %v, %d lines", got.status, got.err, n)
	}

	afterPage.Store(sync.OnceFunc(line.Silence))
	began := time.Now()
	got = w.download(t, officer)
	took := time.Since(began)
	line.Resume()
	if got.status != http.StatusOK || got.text == "" || got.err == nil || took > 10*time.Second {
		t.Errorf("after %s: status %d, %v: %d bytes pass for the complete export", took, got.status, got.err,
			len(got.text))
	}
}

// paging are reports that call a function after each page of a replay.
type paging struct {
	apphttp.Reports
	after *atomic.Value
}

func (p paging) Replay(
	ctx context.Context, tenant domain.TenantID, q reports.ReplayQuery, each func(domain.Decided) error,
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
			Wording: "To send you SMS alerts.", Language: domain.English, SHA256: domain.WordingHash("x"),
			Channel: domain.Web, RecordedBy: domain.BySelf, GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
		}}
	}

	_, err = store.Append(t.Context(), domain.Append{
		ID: uuid.Must(uuid.NewV7()), Tenant: tenant,
		Writes: []domain.Write{{Stream: domain.ConsentsOf(subject), Events: decisions}},
	})
	must(t, err)
}

// exporting returns the API with this request timeout and this replay, whose row writes
// one consent, and an officer.
func exporting(
	t *testing.T, timeout time.Duration, replay func(context.Context, reports.ReplayQuery, func() error) error,
) (*world, *person) {
	t.Helper()
	w := newWorld(t, func(c *apphttp.Config) {
		c.RequestTimeout, c.Reports = timeout, replaying{c.Reports, replay}
	})
	return w, w.staff(domain.Manager, "KZN225")
}

// replaying are reports with another replay.
type replaying struct {
	apphttp.Reports
	replay func(ctx context.Context, q reports.ReplayQuery, row func() error) error
}

func (r replaying) Replay(
	ctx context.Context, _ domain.TenantID, q reports.ReplayQuery, each func(domain.Decided) error,
) error {
	return r.replay(ctx, q, func() error {
		return each(domain.Decided{Consent: domain.Consent{Wording: strings.Repeat("word ", 100)}})
	})
}

// downloaded is an export as a client received it. An error means that it is incomplete.
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

	r, err := http.NewRequestWithContext(t.Context(), "GET",
		server.URL+"/api/v1/compliance/consents?format=ndjson", http.NoBody)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+officer.access)

	a, err := server.Client().Do(r)
	must(t, err)
	defer func() { _ = a.Body.Close() }()
	text, err := io.ReadAll(a.Body)
	return downloaded{a.StatusCode, string(text), err}
}
