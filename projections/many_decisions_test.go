package projections_test

import (
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// One account grants and withdraws all day long. The table follows it like any other: no
// page costs more because of what its people decided before.
func TestOnePersonWithThousandsOfDecisionsStopsNoTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	busy := newUser()
	w.insertDecisions(t, busy, 4_000)
	w.work(t, projection(t, "consents"))
	w.caughtUp(t, "consents")

	other := newUser()
	theirs := w.grant(t, w.tenant, other)
	granted := w.grant(t, w.tenant, busy)
	w.caughtUp(t, "consents")
	w.append(t, w.tenant, domain.ConsentsOf(busy), &domain.ConsentWithdrawn{ConsentID: granted, Purpose: "sms_alert"})
	late := &domain.ConsentGranted{Decision: decision("sms_alert", time.Now().Add(-time.Minute))}
	w.append(t, w.tenant, domain.ConsentsOf(busy), late)
	w.caughtUp(t, "consents") // and the table equals one fold of the whole log

	for id, want := range map[domain.ConsentID]bool{granted: true, late.ConsentID: true, theirs: false} {
		subject := busy
		if id == theirs {
			subject = other
		}
		c, err := w.queries.Consent(t.Context(), w.tenant, subject, id)
		must(t, err)
		if c.Withdrawn() != want {
			t.Errorf("consent %s is withdrawn: %t", id, c.Withdrawn())
		}
	}

	list, err := w.queries.Consents(t.Context(), w.tenant, busy, projections.Page{})
	must(t, err)
	if newest := list.Items[0]; newest.ID != late.ConsentID {
		t.Errorf("the newest decision is %+v", newest)
	}
}

// insertDecisions writes grants of one subject straight into the log, each directly
// followed by its withdrawal.
func (w *world) insertDecisions(t testing.TB, subject domain.UserID, n int) {
	t.Helper()
	const sql = `insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id, append_id,
			ordinal, event_type, subject_id, record_id, actor_id, payload, metadata, effective_at, recorded_at)
		select h.position + 2 * i - 1 + d.withdrawn, $1, 'consent', $2, 2 * i - 1 + d.withdrawn, gen_random_uuid(),
			gen_random_uuid(), 1,
			case d.withdrawn when 0 then 'consent.granted.v1' else 'consent.withdrawn.v1' end, $2, g.consent, $2,
			json_build_object('consent_id', g.consent, 'purpose', 'sms_alert', 'notice_version', 1, 'wording', 'words',
				'sha256', repeat('0', 64), 'language', 'en', 'channel', 'web', 'recorded_by', 'self',
				'given_by', 'self', 'basis', 'consent'),
			'{}', h.recorded_at, h.recorded_at
		from trust.head() h, generate_series(1, $3) i, lateral (select gen_random_uuid() consent where i > 0) g,
			lateral (values (0), (1)) d (withdrawn)
		order by i, d.withdrawn`

	w.beforeCodes(t)
	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(), sql, w.tenant.UUID, subject.UUID, n)
	must(t, err)
}
