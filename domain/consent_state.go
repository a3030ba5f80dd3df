package domain

import (
	"cmp"
	"slices"
	"time"
)

// Consents is what a subject had decided, at one instant, as known at one instant.
type Consents struct {
	records []Consent           // in the order of the fold
	current map[string]Recorded // by purpose: the event that decides
}

// ConsentsAt folds a subject's consent events by two clocks: those that hold from at the latest `at` and were recorded at the
// latest at `knownAt`, in order of (effective time, position). A zero time sets no bound. The events may come in any order.
//
// So a paper grant given on 1 March and recorded on 6 March is in force on 2 March as known today, and not as known on 2 March.
func ConsentsAt(events []Recorded, at, knownAt time.Time) Consents {
	visible := make([]Recorded, 0, len(events))
	for _, e := range events {
		if (at.IsZero() || !e.EffectiveAt.After(at)) && (knownAt.IsZero() || !e.RecordedAt.After(knownAt)) {
			visible = append(visible, e)
		}
	}
	slices.SortStableFunc(visible, func(a, b Recorded) int {
		return cmp.Or(a.EffectiveAt.Compare(b.EffectiveAt), cmp.Compare(a.Position, b.Position))
	})
	c := Consents{current: map[string]Recorded{}}
	for _, e := range visible {
		c.evolve(e)
	}
	return c
}

func (c *Consents) evolve(r Recorded) {
	switch e := r.Event.(type) {
	case *ConsentGranted:
		c.records = append(c.records, record(r, e.Decision, true))
		c.current[e.Purpose] = r
	case *ConsentRefused:
		c.records = append(c.records, record(r, e.Decision, false))
		c.current[e.Purpose] = r
	case *ConsentWithdrawn:
		c.withdraw(e.Purpose, r)
	}
}

// withdraw ends every grant for the purpose that still holds: the newest, and those it superseded.
func (c *Consents) withdraw(purpose string, r Recorded) {
	ended := false
	for i := range c.records {
		rec := &c.records[i]
		if rec.Purpose == purpose && rec.Consented && !rec.Withdrawn() {
			rec.WithdrawnAt, rec.Position = r.EffectiveAt, max(rec.Position, r.Position)
			ended = true
		}
	}
	if ended {
		c.current[purpose] = r
	}
}

func record(r Recorded, d Decision, consented bool) Consent {
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
	by, decided = c.current[purpose]
	_, allowed = by.Event.(*ConsentGranted)
	return allowed, by, decided
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
