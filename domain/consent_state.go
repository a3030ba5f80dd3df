package domain

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// Consents is what a subject had decided at one instant, as known at another.
type Consents struct {
	records []Consent            // by given time, then position
	current map[string]*Recorded // by purpose: the event that decides
}

// ConsentsAt folds a subject's consent events by two clocks: those that took effect by
// `at` and were recorded by `knownAt`, in order of (effective time, position); see
// inOrder for a log whose clock ran backwards. A zero time sets no bound. The events may
// come in any order.
//
// For example, a paper grant given on 1 March and recorded on 6 March is in force on 2
// March as known today, but not as known on 2 March.
func ConsentsAt(events []Recorded, at, knownAt time.Time) Consents {
	return foldConsents(events, at, knownAt, func(string) bool { return true })
}

// ConsentsFor is ConsentsAt for one purpose alone, which costs less: purposes do not
// affect each other.
func ConsentsFor(purpose string, events []Recorded, at, knownAt time.Time) Consents {
	return foldConsents(events, at, knownAt, func(p string) bool { return p == purpose })
}

// foldConsents takes time in proportion to the number of events, plus sorting those that
// came in late: one person may have very many.
//
// What a source claims counts in the same order, until the person first decides here:
// from then on it decides nothing.
func foldConsents(events []Recorded, at, knownAt time.Time, wanted func(purpose string) bool) Consents {
	known := map[string][]held{} // by purpose
	c := Consents{current: map[string]*Recorded{}}
	var decided []int64 // position of the decision in each record

	void := annulmentsIn(events, knownAt)
	for i := range events {
		e := &events[i]
		purpose := PurposeNamed(e.Event)
		if purpose == "" || !wanted(purpose) || !knownAt.IsZero() && e.RecordedAt.After(knownAt) {
			continue
		}

		by := void.of(e)
		if by == nil {
			known[purpose] = append(known[purpose], hold(e))
			continue
		}
		// What was annulled is shown, and counts for nothing.
		if entry, is := annulled(e, by); is && (at.IsZero() || !e.EffectiveAt.After(at)) {
			c.records, decided = append(c.records, entry), append(decided, e.Position)
		}
	}

	decide := func(r Consent, since time.Time, newest *int) {
		if *newest >= 0 {
			c.records[*newest].SupersededAt = since
		}
		*newest = len(c.records)
		c.records, decided = append(c.records, r), append(decided, r.Position)
	}

	for purpose, all := range known {
		var open []int // which records are grants that were not withdrawn
		newest := -1   // the record of the newest decision that counts
		ordered, here := claimsFirst(inOrder(all))
		for _, h := range ordered {
			if !at.IsZero() && h.from.After(at) {
				break
			}

			switch e := h.Event.(type) {
			case *ConsentGranted:
				open = append(open, len(c.records))
				decide(record(h.Recorded, e.Decision), h.from, &newest)
				c.current[purpose] = h.Recorded
			case *ConsentRefused:
				decide(record(h.Recorded, e.Decision), h.from, &newest)
				c.current[purpose] = h.Recorded
			case *ConsentWithdrawn:
				c.withdraw(open, purpose, h.Recorded)
				open = open[:0]
			case *ConsentClaimed:
				open = c.claim(open, h, e)
				claimed := record(h.Recorded, e.Decision)
				if here.IsZero() || h.from.Before(here) {
					decide(claimed, h.from, &newest)
					c.current[purpose] = h.Recorded
				} else { // outvoted from the beginning
					claimed.SupersededAt = h.from
					c.records, decided = append(c.records, claimed), append(decided, h.Position)
				}
			}
		}
	}

	sort.Stable(byGivenAt{c.records, decided})
	return c
}

// byGivenAt sorts records by when the decision was given, as stored, and by its position.
type byGivenAt struct {
	records []Consent
	decided []int64
}

func (b byGivenAt) Len() int { return len(b.records) }

func (b byGivenAt) Less(i, j int) bool {
	return cmp.Or(b.records[i].GivenAt.Compare(b.records[j].GivenAt), cmp.Compare(b.decided[i], b.decided[j])) < 0
}

func (b byGivenAt) Swap(i, j int) {
	b.records[i], b.records[j] = b.records[j], b.records[i]
	b.decided[i], b.decided[j] = b.decided[j], b.decided[i]
}

// held is an event and the instant it takes effect: its effective time, or earlier where
// that time cannot be true.
type held struct {
	*Recorded

	from   time.Time
	place  int64 // among all that the person said: the position at which it was first recorded
	stated bool  // whether somebody stated when it takes effect
}

func hold(e *Recorded) held {
	h := held{e, e.EffectiveAt, e.Position, isStated(e.Event)}
	if c := copyOf(e.Event); c != nil {
		h.place, h.stated = c.Position, !c.Unstated
	}
	return h
}

// inOrder returns one person's decisions about one purpose in the order in which they
// count: by effective time, then position.
//
// There is one exception. A decision with no stated time comes after everything the
// person said before it. So an earlier event in the log that claims a later effective
// time was stamped by a clock that ran ahead: it takes effect at that decision's instant
// at the latest, and comes before it. If the log's clock never ran backwards there is no
// such event, and sorting is all there is to do.
func inOrder(events []held) []held {
	slices.SortFunc(events, func(a, b held) int { return cmp.Compare(a.place, b.place) })

	byInstant := func(a, b held) int { return a.from.Compare(b.from) }

	var latest time.Time
	for i, e := range events {
		if e.from.Before(latest) && !e.stated {
			before := events[:i]
			slices.SortStableFunc(before, byInstant)
			for j := i - 1; j >= 0 && before[j].from.After(e.from); j-- {
				before[j].from = e.from
			}
			latest = e.from
		}
		if e.from.After(latest) {
			latest = e.from
		}
	}

	slices.SortStableFunc(events, byInstant)
	return events
}

// isStated reports whether somebody stated when an event takes effect; otherwise it does
// when it is recorded.
func isStated(e Event) bool { return !EffectiveOf(e).IsZero() }

// withdraw ends every grant for the purpose that is still open: the newest, and those it
// superseded.
func (c *Consents) withdraw(open []int, purpose string, r *Recorded) {
	for _, i := range open {
		c.records[i].end(r)
	}
	if len(open) > 0 {
		c.current[purpose] = r
	}
}

// PurposeNamed returns the purpose that an event of a consent stream is about, or "" for
// an event of another stream.
func PurposeNamed(e Event) string {
	switch e := e.(type) {
	case *ConsentGranted:
		return e.Purpose
	case *ConsentRefused:
		return e.Purpose
	case *ConsentWithdrawn:
		return e.Purpose
	case *ConsentClaimed:
		return e.Purpose
	default:
		return ""
	}
}

// record returns the record that a decision makes.
func record(r *Recorded, d Decision) Consent {
	c := Consent{
		ID: d.ConsentID, Subject: r.Subject, Tenant: r.Tenant, Purpose: d.Purpose, NoticeVersion: d.NoticeVersion,
		Wording: d.Wording, SHA256: d.SHA256, Language: d.Language, Channel: d.Channel,
		GivenBy: d.GivenBy, RecordedBy: r.Actor, EvidenceSHA256: d.EvidenceSHA256, GivenAt: r.EffectiveAt,
		RecordedAt: r.RecordedAt, Position: r.Position, UpdatedAt: r.RecordedAt, UpdatedBy: r.Actor,
	}

	switch e := r.Event.(type) {
	case *ConsentGranted:
		c.Consented, c.ValidUntil = true, e.Until(r.EffectiveAt)
	case *ConsentClaimed:
		e.claims(&c)
	}
	return c
}

// Records lists every decision by given time, as stored, then position.
func (c Consents) Records() []Consent { return c.records }

// Record returns one decision.
func (c Consents) Record(id ConsentID) (Consent, bool) {
	i := slices.IndexFunc(c.records, func(r Consent) bool { return r.ID == id })
	if i < 0 {
		return Consent{}, false
	}
	return c.records[i], true
}

// Check reports whether the newest decision about a purpose is a grant that was not
// withdrawn, and the event that decides it; if decided is false, nothing was ever
// decided. Whether the grant still holds is for Terms to say: no event ends it.
func (c Consents) Check(purpose string) (allowed bool, by Recorded, decided bool) {
	last, decided := c.current[purpose]
	if !decided {
		return false, Recorded{}, false
	}
	return outcomeOf(last.Event) == OutcomeGranted, *last, true
}

// InForce returns the grant for a purpose that Check is about, whether or not it still
// holds.
func (c Consents) InForce(purpose string) (Consent, bool) {
	granted, by, _ := c.Check(purpose)
	if !granted {
		return Consent{}, false
	}
	d, _ := decisionOf(by.Event)
	return c.Record(d.ConsentID)
}

// AllInForce lists what InForce returns for each purpose, in the order of Records.
func (c Consents) AllInForce() (in []Consent) {
	for _, r := range c.records {
		if c.Holds(r) {
			in = append(in, r)
		}
	}
	return in
}

// Holds reports whether one of the records is the grant in force for its purpose.
func (c Consents) Holds(r Consent) bool {
	last := c.current[r.Purpose]
	if last == nil { // every decision about it was annulled
		return false
	}
	d, _ := decisionOf(last.Event)
	return outcomeOf(last.Event) == OutcomeGranted && d.ConsentID == r.ID
}

// ConsentIn returns one decision as the subject's whole history leaves it.
func ConsentIn(history []Recorded, id ConsentID) (Consent, bool) {
	for i := range history {
		d, ok := decisionOf(history[i].Event)
		if ok && d.ConsentID == id {
			return ConsentsFor(d.Purpose, history, time.Time{}, time.Time{}).Record(id)
		}
	}
	return Consent{}, false
}

func decisionOf(e Event) (Decision, bool) {
	switch e := e.(type) {
	case *ConsentGranted:
		return e.Decision, true
	case *ConsentRefused:
		return e.Decision, true
	case *ConsentClaimed:
		return e.Decision, true
	default:
		return Decision{}, false
	}
}
