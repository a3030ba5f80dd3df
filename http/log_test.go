package http_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	apphttp "github.com/salga-trust/engine/http"
)

func TestARequestAboutAnotherLogIsRefusedBeforeAnythingIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.staff(domain.Admin, "SALGA")
	own, other := w.store.logID.String(), uuid.NewString()

	before := len(w.store.events())
	for _, l := range apphttp.Lines() {
		if !l.ReadsLog {
			continue
		}

		path, body := w.sample(l)
		p.send(l.Method, path, body, "Event-Log", other).wantProblem(409, "another_log")
		p.send(l.Method, path, body, "Event-Log", other, "X-Tenant-ID", uuid.NewString()).
			wantProblem(409, "another_log")
		for _, malformed := range []string{"rubbish", "1", own[1:], own + "0", "{" + own + "}"} {
			p.send(l.Method, path, body, "Event-Log", malformed).wantProblem(400, "malformed")
		}
	}

	if n := len(w.store.events()); n != before {
		t.Errorf("%d events were appended", n-before)
	}

	p.send("GET", "/api/v1/users/me", "", "Event-Log", own).want(200)
	w.send("GET", "/health", "", "Event-Log", other).want(200)
}

func TestEachPositionComesWithItsLog(t *testing.T) {
	t.Parallel()
	w, pool := newRealWorld(t)
	logID := func() string {
		id, err := eventstore.LogID(t.Context(), pool)
		must(t, err)
		return id.String()
	}

	told := func(a *answer) *answer {
		t.Helper()
		if a.header.Get("Event-Position") == "" || a.header.Get("Event-Log") != logID() {
			t.Errorf("%s: position %q of log %q, want one of %s", a.what, a.header.Get("Event-Position"),
				a.header.Get("Event-Log"), logID())
		}
		return a
	}
	register := func(email string, headers ...string) *answer {
		return w.send("POST", "/api/v1/auth/register", registration(email), headers...)
	}

	first := told(register("one@example.org", "Idempotency-Key", "k").want(201))
	told(register("one@example.org", "Idempotency-Key", "k").want(201))
	told(w.staff(domain.Manager, "CPT").send("GET", "/api/v1/compliance/consents?format=csv", "").want(200))
	told(register("two@example.org", "Event-Log", first.header.Get("Event-Log")).want(201))
}

func TestAPositionBeyondTheLogIsRefusedAtOnceOnEachRouteThatWaits(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	head, err := w.handler.Store.Head(t.Context())
	must(t, err)
	p := w.staff(domain.Admin, "SALGA")

	for _, l := range apphttp.Lines() {
		if l.Waits == "" {
			continue
		}

		path, body := w.sample(l)
		for _, beyond := range []string{
			strconv.FormatInt(head+1_000_000, 10), "9223372036854775807", "9223372036854775808",
			"1" + strconv.FormatUint(1<<63, 10),
		} {
			began := time.Now()
			p.send(l.Method, path, body, "Min-Event-Position", beyond).wantProblem(422, domain.CodeUnknownPosition)
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: refused after %s", l.ID, took)
			}
		}
	}
}
