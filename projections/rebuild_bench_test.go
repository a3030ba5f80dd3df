package projections_test

import (
	"testing"
	"time"

	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// rebuiltEvents is how many grants each contender turns into rows.
const rebuiltEvents = 200_000

// BenchmarkRebuild builds the consents table in two ways in one run, in events a second:
// with a rebuild, and with INSERT … SELECT inside Postgres into a table with the same
// indexes. copy/s leaves out what only a rebuild does: counting the log and comparing.
func BenchmarkRebuild(b *testing.B) {
	w := newWorld(b)
	w.insertGrants(b, rebuiltEvents)
	db, consents := w.db.Pool(b, pgtest.Owner), projection(b, "consents")
	quiet := func(projections.Stage, int64, int64) {}

	// A first rebuild, so that there is a table to compare with.
	_, err := projections.Rebuild(b.Context(), db, w.reader, consents, quiet)
	must(b, err)

	var whole, copied, inside float64 // the best of the rounds: other processes only slow down
	for b.Loop() {
		began, stage := time.Now(), map[projections.Stage]time.Time{}
		_, err := projections.Rebuild(b.Context(), db, w.reader, consents, func(s projections.Stage, _, _ int64) {
			if _, seen := stage[s]; !seen {
				stage[s] = time.Now()
			}
		})
		must(b, err)
		whole = max(whole, rebuiltEvents/time.Since(began).Seconds())
		copied = max(copied, rebuiltEvents/stage[projections.Comparing].Sub(stage[projections.Copying]).Seconds())
		inside = max(inside, rebuiltEvents/w.insertSelect(b).Seconds())
	}

	b.ReportMetric(whole, "events/s")
	b.ReportMetric(copied, "copy/s")
	b.ReportMetric(inside, "inside-events/s")
	b.ReportMetric(whole/inside, "x-inside")
	b.ReportMetric(copied/inside, "copy-x-inside")
}

// insertSelect makes the rows inside Postgres.
func (w *world) insertSelect(b *testing.B) time.Duration {
	b.Helper()
	const sql = `insert into public.inside select (payload->>'consent_id')::uuid, tenant_id, subject_id,
			payload->>'purpose', (payload->>'notice_version')::integer, payload->>'wording', payload->>'sha256',
			payload->>'language', true, payload->>'channel', payload->>'given_by', actor_id,
			coalesce(payload->>'evidence_sha256', ''), effective_at, recorded_at, null, position, position
		from trust.events where event_type = 'consent.granted.v1'`

	conn := w.db.Superuser(b)
	all := w.versions(b, "consents")
	_, err := conn.Exec(b.Context(),
		"drop table if exists public.inside; create table public.inside (like trust."+all[len(all)-1]+" including all)")
	must(b, err)

	began := time.Now()
	_, err = conn.Exec(b.Context(), sql)
	must(b, err)
	return time.Since(began)
}
