package projections

import (
	"fmt"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// standing holds SQL expressions over a row c of trust.consents: what domain.Rules says
// of the decision, as known now. One that is bounded by an instant (Clocks.At) must be
// asked of rows given by then; none can say what was known earlier.
type standing struct {
	status string // a domain.Status
	until  string // from when a grant no longer holds; null: no end is known

	w     *pg.Where
	rules domain.Rules
	holds string // whether it is a grant that nothing has ended or superseded
}

// standingOf returns the expressions under some rules. Their arguments are added to w, so
// a query must contain the status or ask for inForce.
func standingOf(w *pg.Where, rules domain.Rules) standing {
	now := w.Arg(rules.Instant()) + "::timestamptz"
	withdrawn, superseded := "c.withdrawn_at is not null", "c.superseded_at is not null"
	if !rules.Clocks().At.IsZero() {
		withdrawn = "coalesce(c.withdrawn_at <= " + now + ", false)"
		superseded = "coalesce(c.superseded_at <= " + now + ", false)"
	}

	until := "least(c.valid_until, " + lapseOf(w, rules.Lapses()) + ")" // which leaves out what is null
	over := "coalesce(" + until + " <= " + now + ", false)"

	return standing{
		status: fmt.Sprintf(`case when c.annulled_at is not null then '%s' when %s then '%s'
			when not c.consented then '%s' when not %s then '%s' when c.valid_until = %s then '%s' else '%s' end`,
			domain.StatusAnnulled, withdrawn, domain.StatusWithdrawn,
			domain.StatusRefused, over, domain.StatusGranted, until, domain.StatusExpired, domain.StatusLapsed),
		until: until, w: w, rules: rules,
		holds: fmt.Sprintf("c.consented and c.annulled_at is null and not %s and not %s and not %s",
			withdrawn, superseded, over),
	}
}

// inForce returns an expression for whether the grant is what allows processing.
func (s standing) inForce() string {
	return "(" + s.holds + " and c.purpose <> all(" + s.w.Arg(append([]string{}, s.rules.Closed()...)) + "::text[]))"
}

// lapseOf returns an expression for when a grant lapses.
func lapseOf(w *pg.Where, lapses []domain.WordingLapse) string {
	if len(lapses) == 0 {
		return "null::timestamptz"
	}

	return fmt.Sprintf(`(select case when count(*) filter (where l.version > 0) = 0 then min(l.at)
			else min(l.at) filter (where l.version > 0 and (l.before is null or c.given_at < l.before)) end
		from unnest(%s::text[], %s::integer[], %s::text[], %s::timestamptz[], %s::timestamptz[])
			l (purpose, version, sha256, at, before)
		where l.purpose = c.purpose
			and (l.version = 0 or l.version = c.notice_version and l.sha256 = c.sha256))`,
		w.Arg(each(lapses, func(l domain.WordingLapse) string { return l.Purpose })),
		w.Arg(each(lapses, func(l domain.WordingLapse) int32 { return int32(l.NoticeVersion) })),
		w.Arg(each(lapses, func(l domain.WordingLapse) string { return l.SHA256 })),
		w.Arg(each(lapses, func(l domain.WordingLapse) *time.Time { return unlessZero(l.At) })),
		w.Arg(each(lapses, func(l domain.WordingLapse) *time.Time { return unlessZero(l.Before) })))
}
