package reports_test

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/eventstore/replica"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections/reports"
)

// question is a replay as a person asks for it, with Position and KnownAt as Resolve
// takes them.
type question struct {
	reports.ReplayQuery
	KnownAt time.Time
}

func replay(
	t testing.TB, r *reports.Reports, tenant domain.TenantID, q question,
) (rows []domain.Consent, position int64) {
	t.Helper()
	about, err := r.Resolve(t.Context(), tenant, q.At, q.KnownAt, q.Position)
	must(t, err)
	q.Position, q.At = about.Position, about.At
	must(t, r.Replay(t.Context(), tenant, q.ReplayQuery, func(c domain.Decided) error {
		rows = append(rows, c.Consent)
		return nil
	}))
	return rows, about.Position
}

// wholeLog reads every event of every tenant.
func (w *world) wholeLog(t testing.TB, conn *pgx.Conn) (events []domain.Recorded) {
	t.Helper()
	head := w.head(t)
	must(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) (err error) {
		events, err = w.reader.Range(t.Context(), tx, 0, head)
		return err
	}))
	return events
}

// naive returns what a replay must return: the whole log filtered and folded in memory.
func naive(log []domain.Recorded, tenant domain.TenantID, q question) (rows []domain.Consent) {
	people := map[uuid.UUID][]domain.Recorded{}
	for _, e := range log {
		if e.Tenant == tenant && e.Stream.Type == domain.ConsentStream &&
			(q.Position == 0 || e.Position <= q.Position) && (q.Subject.IsZero() || e.Subject == q.Subject) {
			people[e.Stream.ID] = append(people[e.Stream.ID], e)
		}
	}

	ids := slices.SortedFunc(maps.Keys(people), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		for _, c := range domain.ConsentsAt(people[id], q.At, q.KnownAt).Records() {
			if q.Purpose == "" || c.Purpose == q.Purpose {
				rows = append(rows, c)
			}
		}
	}

	return rows
}

// Random histories in two tenants, with entries annulled and records merged, asked about
// at random instants of both clocks or at random positions: a replay equals one fold of
// the whole log, and asked again at the position it named, it returns the same rows in
// the same order.
func TestAReplayIsAFoldOfTheWholeLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tenants := []domain.TenantID{w.tenant, w.municipality(t, "JHB")}
	conn, r := w.db.Conn(t, pgtest.Projector), w.reports
	rapid.Check(t, func(rt *rapid.T) {
		tenant := rapid.SampledFrom(tenants).Draw(rt, "tenant")
		people := pair()
		for range rapid.IntRange(1, 8).Draw(rt, "events") {
			for i, events := range drawnEvents(rt, people, func() domain.Event { return randomDecision(rt) }) {
				if len(events) > 0 {
					people.Add(i, w.append(t, tenant, domain.ConsentsOf(people.IDs[i]), events...)...)
				}
			}
		}

		log := w.wholeLog(t, conn)
		instant := func(name string) time.Time {
			e := rapid.SampledFrom(log).Draw(rt, name)
			switch rapid.IntRange(0, 3).Draw(rt, name+", which") {
			case 0:
				return time.Time{}
			case 1:
				return e.EffectiveAt
			case 2:
				return e.RecordedAt.Add(-time.Microsecond)
			default:
				return e.RecordedAt
			}
		}

		var q question
		q.At, q.Purpose = instant("at"), rapid.SampledFrom([]string{"", "", "sms_alert"}).Draw(rt, "purpose")
		if rapid.Bool().Draw(rt, "by position") {
			q.Position = rapid.SampledFrom(log).Draw(rt, "position").Position
		} else {
			q.KnownAt = instant("known at")
		}
		if rapid.IntRange(0, 3).Draw(rt, "of one") == 0 {
			q.Subject = people.IDs[0]
		}

		got, position := replay(t, r, tenant, q)
		if diff := cmp.Diff(naive(log, tenant, q), got); diff != "" {
			rt.Fatalf("%+v (-want +got):\n%s", q, diff)
		}

		w.register(t, tenant, "meanwhile")
		w.grant(t, tenant, newUser())
		if position == 0 {
			return // it was about a time before the first event, which no position names
		}
		q.KnownAt, q.Position = time.Time{}, position
		again, same := replay(t, r, tenant, q)
		if same != position || cmp.Diff(got, again) != "" {
			rt.Fatalf("again at %d: %s", same, cmp.Diff(got, again))
		}
	})
}

func pair() *domaintest.Pair {
	return &domaintest.Pair{IDs: [2]domain.UserID{newUser(), newUser()}}
}

// drawnEvents draws what is recorded next of two records of one person: mostly a
// decision.
func drawnEvents(rt *rapid.T, of *domaintest.Pair, decision func() domain.Event) (events [2][]domain.Event) {
	record := rapid.IntRange(0, 1).Draw(rt, "record")
	switch rapid.SampledFrom([]string{"", "", "", "", "annul", "merge"}).Draw(rt, "correct") {
	case "annul":
		events[record] = of.Annul(record, rapid.IntRange(0, 11).Draw(rt, "entry"))
	case "merge":
		var err error
		if events, err = of.Merge(); err != nil {
			rt.Fatal(err)
		}
	default:
		events[record] = []domain.Event{decision()}
	}
	return events
}

// randomDecision draws an event of a consent stream, given now or some hours ago.
func randomDecision(rt *rapid.T) domain.Event {
	purpose := rapid.SampledFrom([]string{"sms_alert", "newsletter"}).Draw(rt, "purpose")
	var givenAt time.Time // not stated
	if ago := rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 5}).Draw(rt, "hours ago"); ago > 0 {
		givenAt = time.Now().Add(-time.Duration(ago) * time.Hour)
	}

	made := decision(purpose, givenAt)
	switch rapid.SampledFrom([]string{"grant", "grant", "refuse", "withdraw"}).Draw(rt, "kind") {
	case "grant":
		return &domain.ConsentGranted{Decision: made}
	case "refuse":
		return &domain.ConsentRefused{Decision: made}
	default:
		return &domain.ConsentWithdrawn{
			ConsentID: made.ConsentID, Purpose: purpose, GivenAt: givenAt,
			RecordedBy: domain.BySelf,
		}
	}
}

func TestAReplayGoesOnOverItsPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, n := range []int{499, 1, 1, 1200, 3} { // one person each, around the page size of 500
		events := make([]domain.Event, n)
		for i := range events {
			events[i] = &domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})}
		}
		w.append(t, w.tenant, domain.ConsentsOf(newUser()), events...)
	}

	got, position := replay(t, w.reports, w.tenant, question{})
	want := naive(w.wholeLog(t, w.db.Conn(t, pgtest.Projector)), w.tenant, question{})
	if len(got) != 1704 || position != w.head(t) {
		t.Errorf("%d rows at %d", len(got), position)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A consent given on paper on 1 March and typed in on 6 March was in force on 2 March as
// known today, but not as known then.
func TestAReplayTellsWhatHeldFromWhatWasKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.reports
	anna := newUser()
	given := time.Now().Add(-96 * time.Hour).UTC().Truncate(time.Microsecond)
	before := w.head(t)
	e := &domain.ConsentGranted{Decision: decision("sms_alert", given)}
	w.append(t, w.tenant, domain.ConsentsOf(anna), e)

	dayAfter := given.Add(24 * time.Hour)
	rows, at := replay(t, r, w.tenant, question{ReplayQuery: reports.ReplayQuery{At: dayAfter}})
	if len(rows) != 1 || rows[0].ID != e.ConsentID || at != w.head(t) {
		t.Errorf("as known today: %+v at %d", rows, at)
	}
	rows, at = replay(t, r, w.tenant, question{reports.ReplayQuery{At: dayAfter}, dayAfter})
	if len(rows) != 0 || at != 1 {
		t.Errorf("as known then: %+v at %d", rows, at)
	}
	rows, _ = replay(t, r, w.tenant, question{ReplayQuery: reports.ReplayQuery{At: dayAfter, Position: before}})
	if len(rows) != 0 {
		t.Errorf("one position before: %+v", rows)
	}
	rows, _ = replay(t, r, w.tenant, question{ReplayQuery: reports.ReplayQuery{At: given.Add(-time.Microsecond)}})
	if len(rows) != 0 {
		t.Errorf("before it was given: %+v", rows)
	}

	w.append(t, w.tenant, domain.ConsentsOf(anna),
		&domain.ConsentWithdrawn{ConsentID: e.ConsentID, Purpose: "sms_alert"})
	if rows, _ := replay(t, r, w.tenant, question{}); len(rows) != 1 || !rows[0].Withdrawn() {
		t.Errorf("withdrawn: %+v", rows)
	}
}

func TestAReplayEndsWithItsReadersError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, w.tenant, newUser())
	w.grant(t, w.tenant, newUser())

	full, calls := errors.New("the reader has gone"), 0
	err := w.reports.Replay(t.Context(), w.tenant, reports.ReplayQuery{Position: w.head(t)},
		func(domain.Decided) error {
			calls++
			return full
		})
	if !errors.Is(err, full) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// Asking again for the position that an answer names returns the same answer, even if
// nothing was known then.
func TestAStateInWhichNothingWasKnownCanBeAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, knownAt := range []time.Time{domaintest.Clock("1999-12-31"), {}} {
		about, err := w.reports.Resolve(t.Context(), w.tenant, time.Time{}, knownAt, 0)
		must(t, err)
		again, err := w.reports.Resolve(t.Context(), w.tenant, about.At, time.Time{}, about.Position)
		must(t, err)
		if about.Position < 1 || again != about {
			t.Errorf("known at %s: %+v, asked for again %+v", knownAt, about, again)
		}
	}
}

func TestAReplayRefusesPositionsThatAreNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, head := w.reports, w.head(t)

	for _, q := range []struct {
		knownAt  time.Time
		position int64
		want     domain.Code
	}{
		{position: -1, want: domain.CodeInvalid},
		{position: head + 1, want: domain.CodeUnknownPosition},
		{time.Now(), 1, domain.CodeInvalid},
	} {
		if _, err := r.Resolve(t.Context(), w.tenant, time.Time{}, q.knownAt, q.position); !refused(err, q.want) {
			t.Errorf("%+v returns %v", q, err)
		}
	}

	none := func(domain.Decided) error { t.Error("a row"); return nil }
	if err := r.Replay(t.Context(), domain.TenantID{}, reports.ReplayQuery{Position: head}, none); err == nil {
		t.Error("the zero tenant is replayed")
	}
}

// A replica that fails midway is replaced by the primary, which goes on where it ended:
// between pages of events, and after the last.
func TestAReplayThatLosesItsReplicaPassesEverybodyOnOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	copied, admin := w.db.Pool(t, pgtest.Query), w.db.Superuser(t)
	r, err := replica.Open(t.Context(), w.db.Pool(t, pgtest.Query), copied, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(r.Close)
	pgtest.Eventually(t, "the replica serves", func() bool { return r.Status().State == replica.Serving })
	read := reports.New(w.db.Pool(t, pgtest.Query), r, w.reader)
	t.Cleanup(read.Close)

	const people, decisions = 15, 50 // more than a page of events
	for range people {
		var events []domain.Event
		for range decisions {
			events = append(events, &domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})})
		}
		w.append(t, w.tenant, domain.ConsentsOf(newUser()), events...)
	}
	want, position := replay(t, w.reports, w.tenant, question{})

	for _, at := range []int{1, len(want)} {
		var got []domain.Consent
		q := reports.ReplayQuery{Position: position}
		must(t, read.Replay(t.Context(), w.tenant, q, func(d domain.Decided) error {
			if got = append(got, d.Consent); len(got) != at {
				return nil
			}
			const end = `select pg_terminate_backend(pid) from pg_stat_activity
				where datname = current_database() and state = 'idle in transaction'`
			_, err := admin.Exec(t.Context(), end)
			return err
		}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lost after %d rows: %s", at, diff)
		}
	}
	if counts := r.Counts(); counts.Again != 2 {
		t.Errorf("the replica was not lost: %+v", counts)
	}
}
