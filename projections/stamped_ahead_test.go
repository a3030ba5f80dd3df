package projections_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// Random histories of consents, stamped by a clock that jumps ahead and back: after every
// page the table equals one fold of the whole log.
func TestConsentsInPagesEqualOneFoldThoughTheClockRanAhead(t *testing.T) {
	t.Parallel()
	consents := projection(t, "consents")
	var w *world
	var f *folder
	var conn, super *pgx.Conn
	begin := everyTenth(func() {
		w = newWorld(t)
		f, conn, super = newFolder(t, w), w.db.Conn(t, pgtest.Projector), replica(t, w)
	})

	clock := time.Now()
	rapid.Check(t, func(r *rapid.T) {
		begin()
		clock = clock.Add(100 * time.Hour) // past everything stamped before
		chronicle := w.chronicle()
		chronicle.write = func(
			t testing.TB, subject domain.UserID, now time.Time, events ...domain.Event,
		) []domain.Recorded {
			t.Helper()
			return w.stamp(t, super, subject, now, events...)
		}

		for _, d := range rapid.SliceOfN(randomDecision(), 1, 12).Draw(r, "history") {
			jump := rapid.SampledFrom([]int{0, 0, 1, 4, 24}).Draw(r, "hours ahead")
			clock = clock.Add(time.Minute)
			chronicle.record(t, d, clock.Add(time.Duration(jump)*time.Hour))
		}

		for more := true; more; {
			var err error
			more, err = f.fold(t.Context(), consents, rapid.Int64Range(1, 6).Draw(r, "page"))
			if err != nil {
				r.Fatal(err)
			}
			if err := projections.Verify(t.Context(), conn, w.reader, nil); err != nil {
				r.Fatal(err)
			}
		}
	})
}

// replica connects as a superuser whom the log's triggers do not stop.
func replica(t testing.TB, w *world) *pgx.Conn {
	t.Helper()
	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(), "set session_replication_role = replica")
	must(t, err)
	return super
}

// stamp appends events about somebody's consents, stamps them as a database would whose
// clock shows that instant, and returns them so.
func (w *world) stamp(
	t testing.TB, super *pgx.Conn, subject domain.UserID, clock time.Time, events ...domain.Event,
) []domain.Recorded {
	t.Helper()
	const sql = `update trust.events
		set effective_at = least($2::timestamptz, $3), recorded_at = greatest($3::timestamptz,
			(select recorded_at from trust.events where position = $1 - 1)) where position = $1
		returning effective_at, recorded_at`

	stamped := w.recorded(t, w.tenant, domain.ConsentsOf(subject), nil, events...)
	for i, r := range stamped {
		effective := domain.EffectiveOf(r.Event)
		if effective.IsZero() {
			effective = clock
		}

		var at, recorded time.Time
		must(t, super.QueryRow(t.Context(), sql, r.Position, effective, clock).Scan(&at, &recorded))
		stamped[i].EffectiveAt, stamped[i].RecordedAt = at.UTC(), recorded.UTC()
	}
	return stamped
}
