package reports

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// Dossier is everything that the log holds about one person, at one position (POPIA s23).
type Dossier struct {
	Position int64
	Profile  domain.Resident
	Consents []domain.Decided // as they are now
	Rights   domain.Rights    // their requests, and the holds on their data

	// Activity is everything that the person did, and everything that was done about
	// them, in the order of the log. Whatever identifies others is withheld: where
	// somebody else acted from, and whom else an event was about.
	Activity []AuditEntry

	Reads []ExposureEntry // of their data, in the order of the log
}

// Dossier reads everything about a person of a tenant in one snapshot. Error:
// unavailable.
func (r *Reports) Dossier(ctx context.Context, tenant domain.TenantID, person domain.UserID) (Dossier, error) {
	var d Dossier
	var about, by, seen []domain.Recorded
	var rules domain.Rules
	err := r.wholePerson(ctx, tenant, func(tx pgx.Tx) (err error) {
		d = Dossier{}
		if d.Position, err = eventstore.Head(ctx, tx); err != nil {
			return err
		}
		if about, by, seen, err = r.allOf(ctx, tx, tenant, person, d.Position); err != nil {
			return err
		}

		// What is held in records that were merged into this one is about the same
		// person.
		for _, e := range about {
			if e.Stream == domain.UserOf(person) {
				d.Profile = d.Profile.Evolve(e)
			}
		}
		for _, id := range d.Profile.Merged {
			moreAbout, moreBy, moreSeen, err := r.allOf(ctx, tx, tenant, id, d.Position)
			if err != nil {
				return err
			}
			about, by, seen = append(about, moreAbout...), append(by, moreBy...), append(seen, moreSeen...)
		}
		seen = inOrder(seen)

		rules, err = r.rules(ctx, tx, tenant, d.Position, domain.Clocks{Now: time.Now()})
		return err
	})
	if err != nil {
		return Dossier{}, err
	}

	// A merge copies what was decided to this record; what was asked stays where it was.
	var decided, asked []domain.Recorded
	for _, e := range about {
		switch {
		case e.Stream == domain.ConsentsOf(person):
			decided = append(decided, e)
		case e.Stream.Type == domain.RightsStream:
			asked = append(asked, e)
		}
	}
	d.Rights = domain.Fold[domain.Rights](inOrder(asked))
	for _, c := range domain.ConsentsAt(decided, time.Time{}, time.Time{}).Records() {
		d.Consents = append(d.Consents, rules.Of(c))
	}

	for _, e := range seen {
		if e.Actor != person {
			d.Reads = append(d.Reads, exposureEntry(e, seenAs(e, person, d.Profile.Merged)))
		}
	}
	d.Activity = activity(append([]domain.UserID{person}, d.Profile.Merged...),
		append(withoutOtherReads(about, seen), by...))
	return d, nil
}

// seenAs returns the record under which a read covered a person: theirs, or one that was
// merged into it.
func seenAs(e domain.Recorded, person domain.UserID, merged []domain.UserID) domain.UserID {
	read, is := e.Event.(*domain.PersonalDataRead)
	for _, id := range merged {
		if is && slices.Contains(read.Subjects, id) {
			return id
		}
	}
	return person
}

// allOf finds what one record is about, what it did, and who can have seen it.
func (r *Reports) allOf(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, person domain.UserID, upTo int64,
) (about, by, seen []domain.Recorded, err error) {
	reads := []string{(*domain.PersonalDataRead)(nil).EventType()}
	for _, find := range []struct {
		into *[]domain.Recorded
		q    eventstore.Query
	}{
		{&about, eventstore.Query{Subject: person}},
		{&by, eventstore.Query{Actor: person}},
		{&seen, eventstore.Query{Seen: person, Types: reads}},
	} {
		find.q.Tenant, find.q.UpTo = tenant, upTo
		if *find.into, err = r.reader.Find(ctx, tx, find.q); err != nil {
			return nil, nil, nil, err
		}
	}

	seen, err = r.coverage(tx, tenant, person).only(ctx, seen)
	return about, by, seen, err
}

// withoutOtherReads leaves out the reads of a person that are not in seen: the reads that
// can have covered them.
func withoutOtherReads(about, seen []domain.Recorded) []domain.Recorded {
	covered := map[int64]bool{}
	for _, e := range seen {
		covered[e.Position] = true
	}
	return slices.DeleteFunc(about, func(e domain.Recorded) bool {
		_, read := e.Event.(*domain.PersonalDataRead)
		return read && !covered[e.Position]
	})
}

// inOrder returns events in the order of the log, each once.
func inOrder(events []domain.Recorded) []domain.Recorded {
	slices.SortFunc(events, func(a, b domain.Recorded) int { return cmp.Compare(a.Position, b.Position) })
	return slices.CompactFunc(events, func(a, b domain.Recorded) bool { return a.Position == b.Position })
}

func activity(person []domain.UserID, events []domain.Recorded) []AuditEntry {
	events = inOrder(events)

	entries := make([]AuditEntry, 0, len(events))
	for _, r := range events {
		entry := auditEntry(r)
		if !slices.Contains(person, entry.User) {
			entry.Origin = withheldOf(entry.Origin)
		}
		if !slices.Contains(person, entry.Subject) {
			entry.Changes = withholdChanges(entry.Changes)
		}
		entries = append(entries, entry)
	}
	return entries
}

func withheldOf(o domain.Personal[domain.Origin]) domain.Personal[domain.Origin] {
	if o.State() == domain.Open {
		o.SetState(domain.Withheld)
	}
	return o
}

// withholdChanges hides the values that identify somebody, and the ids of others in lists
// of people.
func withholdChanges(changes []domain.FieldChange) []domain.FieldChange {
	hidden := slices.Clone(changes)
	for i, c := range hidden {
		if _, people := c.New.([]domain.UserID); people || c.Personal == domain.Open {
			hidden[i] = domain.FieldChange{Field: c.Field, Personal: domain.Withheld}
		}
	}
	return hidden
}
