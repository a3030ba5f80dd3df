package domain

import (
	"cmp"
	"slices"
	"time"
)

// Consents is what a subject had decided, at one instant, as known at one instant.
type Consents struct {
	records []Consent            // in the order of the fold
	current map[string]*Recorded // by purpose: the event that decides
}

// ConsentsAt folds a subject's consent events by two clocks: those that hold from at the latest `at` and were recorded at the
// latest at `knownAt`, in order of (effective time, position). A zero time sets no bound. The events may come in any order.
//
// So a paper grant given on 1 March and recorded on 6 March is in force on 2 March as known today, and not as known on 2 March.
func ConsentsAt(events []Recorded, at, knownAt time.Time) Consents {
	return foldConsents(events, at, knownAt, func(string) bool { return true })
}

// ConsentsFor is ConsentsAt for one purpose alone, which costs less: no purpose bears on another.
func ConsentsFor(purpose string, events []Recorded, at, knownAt time.Time) Consents {
	return foldConsents(events, at, knownAt, func(p string) bool { return p == purpose })
}

// foldConsents takes time in proportion to the events, and to sort those that came in late: one person may have very many.
func foldConsents(events []Recorded, at, knownAt time.Time, wanted func(purpose string) bool) Consents {
	var visible []*Recorded // they are large, and are sorted
	for i := range events {
		e := &events[i]
		if (at.IsZero() || !e.EffectiveAt.After(at)) && (knownAt.IsZero() || !e.RecordedAt.After(knownAt)) && wanted(purposeOf(e.Event)) {
			visible = append(visible, e)
		}
	}
	slices.SortStableFunc(visible, func(a, b *Recorded) int {
		return cmp.Or(a.EffectiveAt.Compare(b.EffectiveAt), cmp.Compare(a.Position, b.Position))
	})

	c := Consents{current: map[string]*Recorded{}}
	open := map[string][]int{} // by purpose: which records are grants that still hold
	for _, r := range visible {
		switch e := r.Event.(type) {
		case *ConsentGranted:
			open[e.Purpose] = append(open[e.Purpose], len(c.records))
			c.records = append(c.records, record(r, e.Decision, true))
			c.current[e.Purpose] = r
		case *ConsentRefused:
			c.records = append(c.records, record(r, e.Decision, false))
			c.current[e.Purpose] = r
		case *ConsentWithdrawn:
			c.withdraw(open[e.Purpose], e.Purpose, r)
			delete(open, e.Purpose)
		}
	}
	return c
}

// withdraw ends every grant for the purpose that still holds: the newest, and those it superseded.
func (c *Consents) withdraw(open []int, purpose string, r *Recorded) {
	for _, i := range open {
		rec := &c.records[i]
		rec.WithdrawnAt, rec.Position = r.EffectiveAt, max(rec.Position, r.Position)
	}
	if len(open) > 0 {
		c.current[purpose] = r
	}
}

// purposeOf returns the purpose that an event of a consent stream is about; empty: it is of another stream.
func purposeOf(e Event) string {
	switch e := e.(type) {
	case *ConsentGranted:
		return e.Purpose
	case *ConsentRefused:
		return e.Purpose
	case *ConsentWithdrawn:
		return e.Purpose
	default:
		return ""
	}
}

func record(r *Recorded, d Decision, consented bool) Consent {
	return Consent{
		ID: d.ConsentID, Subject: r.Subject, Tenant: r.Tenant, Purpose: d.Purpose, NoticeVersion: d.NoticeVersion,
		Wording: d.Wording, SHA256: d.SHA256, Language: d.Language, Consented: consented, Channel: d.Channel,
		GivenBy: d.GivenBy, RecordedBy: r.Actor, EvidenceSHA256: d.EvidenceSHA256, GivenAt: r.EffectiveAt,
		RecordedAt: r.RecordedAt, Position: r.Position,
	}
}

// Records lists every decision, in the order of the fold.
func (c Consents) Records() []Consent { return c.records }

// Record gives one decision.
func (c Consents) Record(id ConsentID) (Consent, bool) {
	i := slices.IndexFunc(c.records, func(r Consent) bool { return r.ID == id })
	if i < 0 {
		return Consent{}, false
	}
	return c.records[i], true
}

// Check tells whether processing for a purpose is allowed, and the event that decides it; without one, nothing was ever decided.
func (c Consents) Check(purpose string) (allowed bool, by Recorded, decided bool) {
	last, decided := c.current[purpose]
	if !decided {
		return false, Recorded{}, false
	}
	_, allowed = last.Event.(*ConsentGranted)
	return allowed, *last, true
}

// InForce gives the grant in force for a purpose.
func (c Consents) InForce(purpose string) (Consent, bool) {
	_, by, _ := c.Check(purpose)
	e, ok := by.Event.(*ConsentGranted)
	if !ok {
		return Consent{}, false
	}
	return c.Record(e.ConsentID)
}

// ConsentIn returns one decision as a subject's whole history leaves it.
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
	default:
		return Decision{}, false
	}
}
