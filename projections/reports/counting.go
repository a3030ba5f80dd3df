package reports

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// replayCounting passes on, of one person's consents, the decision that counts for each
// purpose if it passes the filter. It reads only what settles which one that is.
func (r *Reports) replayCounting(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, rules domain.Rules,
	each func(domain.Decided) error,
) error {
	events, err := r.reader.Settling(ctx, tx, tenant, q.Subject, q.Position, func(newest []domain.Recorded) bool {
		return domain.Settles(newest, q.At, time.Time{})
	})
	if err != nil {
		return err
	}

	var decided []domain.Decided
	counts := map[string]int{} // by purpose, in decided
	for _, c := range domain.ConsentsAt(events, q.At, time.Time{}).Records() {
		d := rules.Of(c)
		if d.Status == domain.StatusAnnulled {
			continue
		}
		former, known := counts[d.Purpose]
		if !known || d.InForce || !decided[former].InForce && !decidedAt(d).Before(decidedAt(decided[former])) {
			counts[d.Purpose] = len(decided)
		}
		decided = append(decided, d)
	}

	for i, d := range decided {
		if counts[d.Purpose] == i && q.Matches(d) {
			if err := each(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// decidedAt returns when a person made up their mind for the last time.
func decidedAt(d domain.Decided) time.Time {
	if d.Withdrawn() {
		return d.WithdrawnAt
	}
	return d.GivenAt
}
