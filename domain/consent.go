package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// Events of a subject's consent stream.
type (
	// Decision is what a grant and a refusal have in common: who decided what, on which
	// wording, how and when.
	Decision struct {
		ConsentID     ConsentID `json:"consent_id"`
		Purpose       string    `json:"purpose"`
		NoticeVersion int       `json:"notice_version"`
		Wording       string    `json:"wording"` // as shown
		SHA256        string    `json:"sha256"`  // of the wording as shown
		Language      Language  `json:"language"`
		Channel       Channel   `json:"channel"`
		// GivenAt is when the person decided, if that was stated; otherwise the event
		// counts from when it was recorded.
		GivenAt    time.Time `json:"given_at,omitzero"`
		RecordedBy string    `json:"recorded_by"` // BySelf, ByStaff or ByProgram; who exactly is the event's actor
		GivenBy    string    `json:"given_by"`    // BySelf or ByCompetentPerson
		Basis      Basis     `json:"basis"`
		// EvidenceSHA256 is the hash of the scanned form, the recording or other proof.
		EvidenceSHA256 string                  `json:"evidence_sha256,omitempty"`
		Copy           *CopyOf                 `json:"copy,omitempty"` // nil: it was recorded here first
		Private        Personal[DecisionFacts] `json:"-"`
	}
	// DecisionFacts may identify a person.
	DecisionFacts struct {
		EvidenceReference string           `json:"evidence_reference,omitempty"`
		CompetentPerson   *CompetentPerson `json:"competent_person,omitempty"`
	}
	// CompetentPerson consents for a child or for another person who cannot (POPIA s1,
	// s35).
	CompetentPerson struct {
		Name      string `json:"name"`
		Relation  string `json:"relation"`
		Authority string `json:"authority"` // reference to the source of their authority
	}
	// ConsentGranted says yes.
	ConsentGranted struct {
		Decision

		// ValidUntil is the instant from which it no longer holds, if one was agreed.
		ValidUntil time.Time `json:"valid_until,omitzero"`
		// ValidityDays is how many days a grant for the purpose held when this one was
		// given, as its notice said; 0: for ever. A later notice does not change it.
		ValidityDays int `json:"validity_days,omitempty"`
	}
	// ConsentRefused says no. It is recorded as a fact of its own.
	ConsentRefused struct{ Decision }
	// ConsentWithdrawn takes a yes back (POPIA s11(2)(b)) and ends every grant for the
	// purpose in force until then.
	ConsentWithdrawn struct {
		ConsentID  ConsentID `json:"consent_id"`
		Purpose    string    `json:"purpose"`
		GivenAt    time.Time `json:"given_at,omitzero"`
		RecordedBy string    `json:"recorded_by"`
		// Cause is CauseAccountClosed, or empty where this very consent was taken back.
		Cause string `json:"cause,omitempty"`
		// EvidenceSHA256 is the hash of the letter, the recording or other proof.
		EvidenceSHA256 string                    `json:"evidence_sha256,omitempty"`
		Copy           *CopyOf                   `json:"copy,omitempty"` // nil: it was recorded here first
		Private        Personal[WithdrawalFacts] `json:"-"`
	}
	// WithdrawalFacts may identify a person.
	WithdrawalFacts struct {
		Reason            string `json:"reason,omitempty"`
		EvidenceReference string `json:"evidence_reference,omitempty"`
	}
)

// CauseAccountClosed is the cause of withdrawals that follow from withdrawing the consent
// an account rests on.
const CauseAccountClosed = "account_closed"

// Who recorded or gave a decision.
const (
	BySelf            = "self"
	ByStaff           = "staff"
	ByProgram         = "program"
	ByCompetentPerson = "competent_person"
)

// EventType implements Event.
func (*ConsentGranted) EventType() string { return "consent.granted.v1" }

// EventType implements Event.
func (*ConsentRefused) EventType() string { return "consent.refused.v1" }

// EventType implements Event.
func (*ConsentWithdrawn) EventType() string { return "consent.withdrawn.v1" }

func (d *Decision) personal() Part         { return &d.Private }
func (e *ConsentWithdrawn) personal() Part { return &e.Private }

func (e *ConsentGranted) changes() []FieldChange { return e.decided(true, payloadFields(e)) }
func (e *ConsentRefused) changes() []FieldChange { return e.decided(false, payloadFields(e)) }

func (e *ConsentWithdrawn) changes() []FieldChange {
	sealed := []string{"reason"}
	if e.EvidenceSHA256 != "" {
		sealed = append(sealed, "evidence_reference")
	}

	payload := payloadFields(e, "consent_id", "purpose")
	return append(append(payload, e.Private.fieldsNamed(sealed...)...), turned("withdrawn", true))
}

func (d *Decision) decided(consented bool, payload []FieldChange) []FieldChange {
	first := []FieldChange{{Field: "consented", New: consented}}
	return slices.Concat(first, payload, d.sealed())
}

// sealed returns the personal fields that the decision has, also where they cannot be
// read.
func (d *Decision) sealed() []FieldChange {
	var names []string
	if d.EvidenceSHA256 != "" {
		names = append(names, "evidence_reference")
	}
	if d.GivenBy == ByCompetentPerson {
		names = append(names, "competent_person")
	}
	return d.Private.fieldsNamed(names...)
}

// RecordID returns the consent the event is about.
func (d *Decision) RecordID() uuid.UUID { return d.ConsentID.UUID }

// RecordID returns the consent the event is about.
func (e *ConsentWithdrawn) RecordID() uuid.UUID { return e.ConsentID.UUID }

// EffectiveAt returns the stated instant of the decision.
func (d *Decision) EffectiveAt() time.Time { return d.GivenAt }

// Until returns the instant from which a grant that took effect at an instant no longer
// holds; zero: never. If its own end and that of its purpose differ, the earlier counts.
func (e *ConsentGranted) Until(from time.Time) time.Time {
	end := e.ValidUntil
	if e.ValidityDays > 0 {
		if days := from.Add(time.Duration(e.ValidityDays) * day); end.IsZero() || days.Before(end) {
			end = days
		}
	}
	return end
}

// EffectiveAt returns the stated instant of the withdrawal.
func (e *ConsentWithdrawn) EffectiveAt() time.Time { return e.GivenAt }

// Consent is one recorded decision and what became of it.
type Consent struct {
	ID             ConsentID
	Subject        UserID
	Tenant         TenantID
	Purpose        string
	NoticeVersion  int
	Wording        string
	SHA256         string
	Language       Language
	Consented      bool
	Channel        Channel
	GivenBy        string
	RecordedBy     UserID // the actor
	EvidenceSHA256 string
	GivenAt        time.Time
	RecordedAt     time.Time
	WithdrawnAt    time.Time // zero: not withdrawn
	ValidUntil     time.Time // of a grant: from this instant on it no longer holds; zero: no end was agreed
	SupersededAt   time.Time // when the next decision about the purpose took its place; zero: it is the newest
	AnnulledAt     time.Time // since when it is known to count for nothing; zero: it counts
	MovedTo        ConsentID // if it was annulled because it belongs to another record
	Position       int64     // of the newest event about this record
	UpdatedAt      time.Time // when that event was recorded
	UpdatedBy      UserID    // its actor

	// Grade and Source are of a claim, and empty for a decision that was recorded here.
	// Of a claim, everything that its source does not know is zero. A claimed withdrawal
	// is a record of its own, which consents to nothing and is withdrawn when it was
	// given.
	Grade  Grade
	Source string
}

// Withdrawn reports whether the grant was taken back.
func (c Consent) Withdrawn() bool { return !c.WithdrawnAt.IsZero() }

// end ends a grant by a withdrawal.
func (c *Consent) end(by *Recorded) {
	c.WithdrawnAt = by.EffectiveAt
	if by.Position > c.Position { // otherwise the grant was recorded after its withdrawal
		c.Position, c.UpdatedAt, c.UpdatedBy = by.Position, by.RecordedAt, by.Actor
	}
}
