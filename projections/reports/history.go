package reports

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// HistoryEntry is one consent event of a person, in full.
type HistoryEntry struct {
	Position   int64
	EventID    uuid.UUID
	EventType  string
	RecordedAt time.Time     // when it entered the log
	GivenAt    time.Time     // when the person said so, and so when it took effect
	Actor      domain.UserID // who recorded it; zero: an operator
	ActorRole  string
	ConsentID  domain.ConsentID
	Purpose    string
	RecordedBy string // domain.BySelf or ByStaff

	// Of a grant or a refusal; zero for a withdrawal.
	NoticeVersion int
	Wording       string // as shown
	SHA256        string // of the wording as shown
	Language      domain.Language
	Channel       domain.Channel
	GivenBy       string
	Basis         domain.Basis

	EvidenceSHA256 string

	// Of a grant: from when it no longer holds, as was agreed, and when a newer wording
	// ends it; zero: no end.
	ValidUntil, LapsesAt time.Time
	// Claim is of a claim; zero for what was recorded here. Of a claim, what its source
	// does not know is zero.
	Claim domain.ConsentClaim

	// Personal is the state of the fields below: Absent (there never were any), Open,
	// Erased or Withheld.
	Personal          domain.PersonalState
	EvidenceReference string
	CompetentPerson   *domain.CompetentPerson
	Reason            string // of a withdrawal

	Cause string // why an event followed from another one; empty: it did not

	// Of an annulment: what it annuls, and the id of that event.
	Entry  domain.Entry
	Annuls uuid.UUID

	// AnnulledAt is when this event was annulled, as known now; zero: it counts.
	AnnulledAt time.Time
}

// HistoryQuery says whose history is asked for.
type HistoryQuery struct {
	Subject domain.UserID
	Newest  bool // newest first; else oldest first
}

// History returns the consent events of one person of a tenant. It is empty for a person
// the tenant does not have. After an erasure it stays complete, except for what
// identified the person. Errors: validation_failed, unavailable.
func (r *Reports) History(
	ctx context.Context, tenant domain.TenantID, of HistoryQuery, page projections.Page,
) (projections.Listing[HistoryEntry], error) {
	if of.Subject.IsZero() {
		return projections.Listing[HistoryEntry]{}, errors.New("a history of nobody")
	}

	q := eventstore.Query{
		Tenant: tenant, Stream: domain.ConsentsOf(of.Subject), Newest: of.Newest, Limit: page.Fetch(),
	}
	upTo, more, err := behind(page)
	if err != nil || of.Newest && !more {
		return projections.Listing[HistoryEntry]{}, err
	}
	switch {
	case of.Newest:
		q.UpTo = upTo
	case page.After != "":
		q.After = upTo + 1
	}

	var events, annulments []domain.Recorded
	var rules domain.Rules
	err = r.wholePerson(ctx, tenant, func(tx pgx.Tx) (err error) {
		if events, err = r.reader.Find(ctx, tx, q); err != nil || len(events) == 0 {
			return err
		}
		// An event is annulled by a later one.
		if annulments, err = r.reader.Find(ctx, tx, eventstore.Query{
			Tenant: tenant, Stream: q.Stream, Types: []string{(*domain.ConsentAnnulled)(nil).EventType()},
			Behind: min(events[0].Version, events[len(events)-1].Version), Sealed: true,
		}); err != nil {
			return err
		}
		rules, err = r.rules(ctx, tx, tenant, math.MaxInt64, domain.Clocks{Now: time.Now()})
		return err
	})

	annulled := make(map[uuid.UUID]time.Time, len(annulments))
	for _, e := range slices.Backward(annulments) { // the first of two stands
		if a, is := e.Event.(*domain.ConsentAnnulled); is {
			annulled[a.Annuls] = e.RecordedAt
		}
	}
	return projections.List(events, err, page, func(e domain.Recorded) (HistoryEntry, string) {
		h := historyEntry(e, rules)
		h.AnnulledAt = annulled[e.EventID]
		return h, projections.PositionCursor(e.Position)
	})
}

func historyEntry(r domain.Recorded, rules domain.Rules) HistoryEntry {
	h := HistoryEntry{
		Position: r.Position, EventID: r.EventID, EventType: r.Event.EventType(), RecordedAt: r.RecordedAt,
		GivenAt: r.EffectiveAt, Actor: r.Actor, ActorRole: r.Metadata.ActorRole,
	}

	switch e := r.Event.(type) {
	case *domain.ConsentGranted:
		h.decided(e.Decision)
		h.ValidUntil = e.Until(r.EffectiveAt)
		h.LapsesAt = rules.Terms(e.Purpose).LapseOf(e.NoticeVersion, e.SHA256, r.EffectiveAt).At
	case *domain.ConsentRefused:
		h.decided(e.Decision)
	case *domain.ConsentClaimed:
		h.decided(e.Decision)
		h.Claim = e.Claim
		if e.Claim.Decided == domain.OutcomeGranted {
			h.ValidUntil = e.Until(r.EffectiveAt)
			h.LapsesAt = rules.Terms(e.Purpose).LapseOf(e.NoticeVersion, e.SHA256, r.EffectiveAt).At
		}
	case *domain.ConsentWithdrawn:
		h.ConsentID, h.Purpose, h.RecordedBy = e.ConsentID, e.Purpose, e.RecordedBy
		facts, _ := e.Private.Get()
		h.Personal, h.Reason = e.Private.State(), facts.Reason
		h.EvidenceSHA256, h.EvidenceReference, h.Cause = e.EvidenceSHA256, facts.EvidenceReference, e.Cause
	case *domain.ConsentAnnulled:
		h.ConsentID, h.Purpose, h.RecordedBy = e.ConsentID, e.Purpose, domain.ByStaff
		facts, _ := e.Private.Get()
		h.Personal, h.Reason = e.Private.State(), facts.Reason
		h.EvidenceSHA256, h.EvidenceReference, h.Cause = e.EvidenceSHA256, facts.EvidenceReference, e.Cause
		h.Entry, h.Annuls = e.Entry, e.Annuls
	}

	return h
}

func (h *HistoryEntry) decided(d domain.Decision) {
	h.ConsentID, h.Purpose, h.RecordedBy = d.ConsentID, d.Purpose, d.RecordedBy
	h.NoticeVersion, h.Wording, h.SHA256, h.Language = d.NoticeVersion, d.Wording, d.SHA256, d.Language
	h.Channel, h.GivenBy, h.Basis, h.EvidenceSHA256 = d.Channel, d.GivenBy, d.Basis, d.EvidenceSHA256

	facts, _ := d.Private.Get()
	h.Personal = d.Private.State()
	h.EvidenceReference, h.CompetentPerson = facts.EvidenceReference, facts.CompetentPerson
}

// consentTypes lists the types of the events that say what people agreed to.
func consentTypes() []string {
	return []string{
		(*domain.ConsentGranted)(nil).EventType(), (*domain.ConsentRefused)(nil).EventType(),
		(*domain.ConsentWithdrawn)(nil).EventType(), (*domain.ConsentClaimed)(nil).EventType(),
		(*domain.ConsentAnnulled)(nil).EventType(),
	}
}
