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
	Consents []domain.Consent // as they are now
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
	err := r.wholePerson(ctx, tenant, func(tx pgx.Tx) (err error) {
		if d.Position, err = eventstore.Head(ctx, tx); err != nil {
			return err
		}

		reads := []string{(*domain.PersonalDataRead)(nil).EventType()}
		for _, find := range []struct {
			into *[]domain.Recorded
			q    eventstore.Query
		}{
			{&about, eventstore.Query{Subject: person}},
			{&by, eventstore.Query{Actor: person}},
			{&seen, eventstore.Query{Seen: person, Types: reads}},
		} {
			find.q.Tenant, find.q.UpTo = tenant, d.Position
			if *find.into, err = r.reader.Find(ctx, tx, find.q); err != nil {
				return err
			}
		}

		seen, err = r.coverage(tx, tenant, person).only(ctx, seen)
		return err
	})
	if err != nil {
		return Dossier{}, err
	}

	var decided, asked []domain.Recorded
	for _, e := range about {
		switch e.Stream {
		case domain.UserOf(person):
			d.Profile = d.Profile.Evolve(e)
		case domain.ConsentsOf(person):
			decided = append(decided, e)
		case domain.RightsOf(person):
			asked = append(asked, e)
		}
	}
	d.Rights = domain.Fold[domain.Rights](asked)
	d.Consents = domain.ConsentsAt(decided, time.Time{}, time.Time{}).Records()

	for _, e := range seen {
		if e.Actor != person {
			d.Reads = append(d.Reads, exposureEntry(e, person))
		}
	}
	d.Activity = activity(person, append(withoutOtherReads(about, seen), by...))
	return d, nil
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

func activity(person domain.UserID, events []domain.Recorded) []AuditEntry {
	slices.SortFunc(events, func(a, b domain.Recorded) int { return cmp.Compare(a.Position, b.Position) })
	events = slices.CompactFunc(events, func(a, b domain.Recorded) bool { return a.Position == b.Position })

	entries := make([]AuditEntry, 0, len(events))
	for _, r := range events {
		entry := auditEntry(r)
		if entry.User != person {
			entry.Origin = withheldOf(entry.Origin)
		}
		if entry.Subject != person {
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
