package domaintest

import (
	"slices"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Pair is two records of one person, with what the log holds of their consents. It is for
// tests of random histories: an annulment names an event that was recorded, and a merge
// copies events.
type Pair struct {
	IDs      [2]domain.UserID
	Consents [2][]domain.Recorded

	merged []domain.Recorded // that they were; none: they are apart
}

// Annul returns the annulment of one of a record's decisions and withdrawals, of which
// entry is the number, perhaps once more; none if it has none.
func (p *Pair) Annul(record, entry int) []domain.Event {
	var entries []domain.Recorded
	for _, r := range p.Consents[record] {
		if domain.PurposeNamed(r.Event) != "" {
			entries = append(entries, r)
		}
	}
	if len(entries) == 0 {
		return nil
	}

	of := entries[entry%len(entries)]
	return []domain.Event{&domain.ConsentAnnulled{
		ConsentID: domain.ConsentID{UUID: of.Record}, Purpose: domain.PurposeNamed(of.Event),
		Entry: domain.DecisionEntry, Annuls: of.EventID,
	}}
}

// Merge returns what it adds to the consents of each record to merge the second into the
// first or, if they are merged, to undo that.
func (p *Pair) Merge() (added [2][]domain.Event, err error) {
	var files [2]domain.File
	var newest int64
	for i, id := range p.IDs {
		files[i] = domain.File{Resident: domain.Resident{User: domain.User{ID: id}}, Consents: p.Consents[i]}
		for _, r := range p.Consents[i] {
			newest = max(newest, r.Position)
		}
	}
	into, from := files[0], files[1]
	by := domain.MergeResidents{NewID: func() domain.ConsentID {
		return domain.ConsentID{UUID: uuid.Must(uuid.NewV7())}
	}}

	var m domain.Merge
	if p.merged == nil {
		m, err = by.Decide(from, into)
		p.merged = []domain.Recorded{{Position: newest, Event: &domain.ResidentMerged{From: p.IDs[1], Into: p.IDs[0]}}}
	} else {
		from.Resident.MergedInto, into.History = p.IDs[0], p.merged
		m, err = by.Undo(from, into)
		p.merged = nil
	}
	return [2][]domain.Event{m.IntoConsents, m.FromConsents}, err
}

// Add takes note of what was added to the consents of a record.
func (p *Pair) Add(record int, events ...domain.Recorded) {
	p.Consents[record] = slices.Concat(p.Consents[record], events)
}
