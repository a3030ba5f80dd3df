package reports

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// keptSummaries are a tenant's consents as they were counted, each time by every feature,
// so that any question can be answered by adding up. The counts at a moment follow from
// those at an earlier one: the people for whom anything changed between the two are
// replayed at both, taken out as they were, and put in as they are.
type keptSummaries struct {
	basis // when they were last used

	all  []*keptSummary
	uses uint64
}

// keptSummary counts the consents at a moment.
type keptSummary struct {
	Moment

	rules  domain.Rules
	counts map[projections.ConsentGroup]int64
	used   uint64
}

const (
	// keptMoments is how many moments' counts are kept for a tenant: a few hundred
	// kilobytes each.
	keptMoments = 4
	// mostMoved is for how many decisions counts are corrected. For more it is faster to
	// count everybody anew.
	mostMoved = 1000
)

// isKept reports whether the answer to a question can be kept, or be made from what is.
func isKept(q ReplayQuery) bool {
	return q.Subject.IsZero() && !q.At.IsZero() && q.GivenFrom.IsZero() && q.GivenTo.IsZero()
}

// summaryFromKept answers a question from the counts that are kept.
func (r *Reports) summaryFromKept(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, search *projections.ConsentSearch,
	kept *keptSummaries, by []projections.Dimension, counts map[projections.ConsentGroup]int64,
) error {
	if err := r.validate(ctx, tx, tenant, kept); err != nil {
		return err
	}
	rules, err := r.rulesOf(ctx, tx, tenant, q)
	if err != nil {
		return err
	}

	whole := ReplayQuery{Position: q.Position, At: q.At, Now: q.Now, Page: q.Page}
	now, err := r.moveOn(ctx, tx, tenant, whole, search, rules, kept)
	if err != nil {
		return err
	}
	if now == nil {
		now = &keptSummary{Moment{q.Position, q.At}, rules, map[projections.ConsentGroup]int64{}, 0}
		if err := r.summary(ctx, tx, tenant, whole, search, rules, everyDimension(), now.counts); err != nil {
			return err
		}
		kept.add(now)
	}

	for g, n := range now.counts {
		if g.Passes(q.ConsentFilter) {
			counts[g.Only(by)] += n
		}
	}
	return nil
}

func everyDimension() []projections.Dimension {
	return []projections.Dimension{
		projections.ByPurpose, projections.ByNoticeVersion, projections.ByLanguage, projections.ByChannel,
		projections.ByStatus,
	}
}

// validate forgets what is kept if it no longer holds.
func (r *Reports) validate(ctx context.Context, tx pgx.Tx, tenant domain.TenantID, kept *keptSummaries) error {
	now, holds, err := r.basisNow(ctx, tx, tenant, kept.basis)
	if err != nil {
		return err
	}

	if !holds {
		*kept = keptSummaries{}
	}
	kept.basis = now
	return nil
}

// moveOn moves the nearest earlier counts on to a moment. It returns nil if there are
// none, or if too much has changed since.
func (r *Reports) moveOn(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, search *projections.ConsentSearch,
	rules domain.Rules, kept *keptSummaries,
) (*keptSummary, error) {
	from := kept.nearest(q)
	if from == nil || !alike(from.rules, rules) {
		return nil, nil
	}

	moved, err := r.movedSince(ctx, tx, search, from.Moment, q.At)
	if err != nil || moved == nil {
		return nil, err
	}

	counts := maps.Clone(from.counts)
	add := func(n int64) func(domain.Decided) error {
		return func(d domain.Decided) error {
			counts[projections.GroupOf(d, everyDimension())] += n
			return nil
		}
	}
	before := ReplayQuery{Position: from.Position, At: from.At, Now: q.Now, Page: q.Page}
	if err := r.fold(ctx, tx, tenant, before, from.rules, moved, add(-1)); err != nil {
		return nil, err
	}
	if err := r.fold(ctx, tx, tenant, q, rules, moved, add(1)); err != nil {
		return nil, err
	}

	maps.DeleteFunc(counts, func(_ projections.ConsentGroup, n int64) bool { return n == 0 })
	from.Moment, from.rules, from.counts = Moment{q.Position, q.At}, rules, counts
	kept.use(from)
	return from, nil
}

// movedSince returns the people for whom anything can have changed between two moments;
// nil: more than counts are corrected for.
func (r *Reports) movedSince(
	ctx context.Context, tx pgx.Tx, search *projections.ConsentSearch, from Moment, at time.Time,
) ([]uuid.UUID, error) {
	after := from.Position
	if !from.At.Equal(at) {
		// Nothing takes effect after it was recorded. So what takes effect after an
		// instant was recorded after it, too.
		recorded, err := eventstore.PositionAt(ctx, tx, from.At)
		if err != nil {
			return nil, err
		}
		after = min(after, recorded)
	}
	return search.Moved(ctx, after, from.At, at, mostMoved)
}

// alike reports whether grants lapse by the same rules, and at the same instants.
func alike(a, b domain.Rules) bool {
	from, to := a.Instant(), b.Instant()
	return slices.EqualFunc(a.Lapses(), b.Lapses(), func(x, y domain.WordingLapse) bool {
		return x.Purpose == y.Purpose && x.NoticeVersion == y.NoticeVersion && x.SHA256 == y.SHA256 &&
			x.At.Equal(y.At) && x.Before.Equal(y.Before) && x.At.After(from) == x.At.After(to)
	})
}

// nearest returns the counts from which those at a moment follow best: of the same
// instant if there are any, and of the newest before it otherwise.
func (k *keptSummaries) nearest(q ReplayQuery) (best *keptSummary) {
	for _, s := range k.all {
		if s.Position > q.Position || s.At.After(q.At) {
			continue
		}
		if best == nil || s.At.After(best.At) || s.At.Equal(best.At) && s.Position > best.Position {
			best = s
		}
	}
	return best
}

func (k *keptSummaries) use(s *keptSummary) {
	k.uses++
	s.used = k.uses
}

// add keeps new counts, in place of those that were not used for longest.
func (k *keptSummaries) add(s *keptSummary) {
	k.use(s)
	if len(k.all) == keptMoments {
		k.all = slices.DeleteFunc(k.all, func(other *keptSummary) bool {
			return !slices.ContainsFunc(k.all, func(o *keptSummary) bool { return o.used < other.used })
		})
	}
	k.all = append(k.all, s)
}
