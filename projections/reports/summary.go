package reports

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// Counted is how many consents are alike.
type Counted struct {
	projections.ConsentGroup
	Count int64
}

// Summary counts the consents that Replay would pass on, by some of their features, in
// order of these. The read table counts those of most people, see
// projections.ConsentSearch; those of the rest are folded from the log. Counts are kept
// from one question to the next, see keptSummaries. Error: unavailable.
func (r *Reports) Summary(
	ctx context.Context, tenant domain.TenantID, q ReplayQuery, by []projections.Dimension,
) ([]Counted, error) {
	var kept *keptSummaries
	if isKept(q) { // locked before the snapshot is taken
		k, unlock, err := r.summaries.lock(ctx, tenant)
		if err != nil {
			return nil, err
		}
		defer unlock()
		kept = k
	}

	counts := map[projections.ConsentGroup]int64{}
	err := r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		clear(counts)
		search, err := projections.SearchConsents(ctx, tx, tenant, q.Position)
		switch {
		case err != nil:
			return err
		case search == nil || !q.Subject.IsZero():
			return r.replay(ctx, tx, tenant, q, counter(counts, by))
		case kept != nil:
			return r.summaryFromKept(ctx, tx, tenant, q, search, kept, by, counts)
		}

		rules, err := r.rulesOf(ctx, tx, tenant, q)
		if err != nil {
			return err
		}
		return r.summary(ctx, tx, tenant, q, search, rules, by, counts)
	})
	if err != nil {
		return nil, err
	}
	return inOrderOf(counts, by), nil
}

func inOrderOf(counts map[projections.ConsentGroup]int64, by []projections.Dimension) []Counted {
	groups := slices.SortedFunc(maps.Keys(counts), func(a, b projections.ConsentGroup) int {
		return projections.CompareGroups(a, b, by)
	})
	counted := make([]Counted, len(groups))
	for i, g := range groups {
		counted[i] = Counted{g, counts[g]}
	}
	return counted
}

// counter returns a function that counts what a replay passes on.
func counter(
	counts map[projections.ConsentGroup]int64, by []projections.Dimension,
) func(domain.Decided) error {
	return func(d domain.Decided) error {
		counts[projections.GroupOf(d, by)]++
		return nil
	}
}

// summary counts everybody's consents anew.
func (r *Reports) summary(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, search *projections.ConsentSearch,
	rules domain.Rules, by []projections.Dimension, counts map[projections.ConsentGroup]int64,
) error {
	if err := search.Count(ctx, q.ConsentFilter, rules, by, counts); err != nil {
		return err
	}
	return search.Unsettled(ctx, q.At, replayPage, func(people []uuid.UUID) error {
		return r.fold(ctx, tx, tenant, q, rules, people, counter(counts, by))
	})
}

// Named returns what a replay asks for by the names that the record of a read uses; see
// consentFilterOf. What was not asked for is empty.
func (q ReplayQuery) Named() map[string]string {
	version := ""
	if q.NoticeVersion != 0 {
		version = strconv.Itoa(q.NoticeVersion)
	}
	return map[string]string{
		"position": strconv.FormatInt(q.Position, 10), "as_of": named(q.At), "purpose": q.Purpose,
		"notice_version": version, "language": string(q.Language), "channel": string(q.Channel),
		"given_from": named(q.GivenFrom), "given_to": named(q.GivenTo), "status": string(q.Status),
	}
}

func named(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// consentFilterOf reads the filter of a replay from the record of a read.
func consentFilterOf(named map[string]string) (f projections.ConsentFilter, understood bool) {
	f.Purpose = strings.ToLower(named["purpose"])
	f.Language, f.Channel = domain.Language(named["language"]), domain.Channel(named["channel"])
	f.Status = domain.Status(named["status"])

	var err error
	if text := named["notice_version"]; text != "" {
		if f.NoticeVersion, err = strconv.Atoi(text); err != nil {
			return f, false
		}
	}
	for name, into := range map[string]*time.Time{"given_from": &f.GivenFrom, "given_to": &f.GivenTo} {
		if text := named[name]; text != "" {
			if *into, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return f, false
			}
		}
	}
	return f, true
}
