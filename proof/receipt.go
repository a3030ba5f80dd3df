package proof

import (
	"bytes"
	"fmt"
	"reflect"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// State is what became of a decision, as far as the events say.
type State string

// The states (ISO/IEC TS 27560, event state).
const (
	Given     State = "consent_given"
	Refused   State = "consent_refused"
	Withdrawn State = "consent_withdrawn"
	Annulled  State = "consent_invalidated" // entered in error, or moved to another record
)

// receiptForm is what a receipt conforms to.
const receiptForm = "https://w3id.org/dpv/guides/consent-27560"

// Receipt says of one decision what ISO/IEC TS 27560 asks for, in the words of the W3C
// guide to it. All of it but Declared follows from the events of the bundle, and Check
// makes it anew from them.
type Receipt struct {
	ConformsTo string    `json:"conforms_to"`
	ReceiptID  uuid.UUID `json:"receipt_id"`
	IssuedAt   Instant   `json:"issued_at"`

	RecordID     uuid.UUID `json:"record_id"` // the consent
	SubjectID    uuid.UUID `json:"subject_id"`
	TenantID     uuid.UUID `json:"tenant_id"` // of the controller
	ConsentType  string    `json:"consent_type"`
	State        State     `json:"state"`
	GivenAt      Instant   `json:"given_at"`
	RecordedAt   Instant   `json:"recorded_at"`
	WithdrawnAt  *Instant  `json:"withdrawn_at"`  // null: it was not
	AnnulledAt   *Instant  `json:"annulled_at"`   // null: it was not
	SupersededAt *Instant  `json:"superseded_at"` // null: it is the newest about its purpose
	ValidUntil   *Instant  `json:"valid_until"`   // null: no end was agreed

	Purpose        string `json:"purpose"`
	LawfulBasis    string `json:"lawful_basis"` // POPIA s11(1)
	NoticeVersion  int    `json:"notice_version"`
	Language       string `json:"language"`
	Wording        string `json:"wording"` // as shown
	WordingSHA256  string `json:"wording_sha256"`
	Channel        string `json:"channel"`
	GivenBy        string `json:"given_by"`
	RecordedBy     string `json:"recorded_by"`
	EvidenceSHA256 string `json:"evidence_sha256"` // empty: none
	EvidenceGrade  string `json:"evidence_grade"`  // of a claim; empty: it was recorded here
	Source         string `json:"source"`          // of a claim

	Declared Declared `json:"declared"`
}

// Declared is what the issuer says of itself. It is signed, and no event proves it.
type Declared struct {
	Controller       Controller `json:"controller"`
	PersonalData     []string   `json:"personal_data"`
	SpecialCategory  bool       `json:"special_category"`
	Recipients       []string   `json:"recipients"`
	StorageLocation  string     `json:"storage_location"`
	Retention        string     `json:"retention"`
	Jurisdiction     string     `json:"jurisdiction"`
	WithdrawalMethod string     `json:"withdrawal_method"`
	Authority        string     `json:"authority"`
}

// Controller is the responsible party.
type Controller struct {
	Code    string `json:"code"`
	Name    string `json:"name"`
	Contact string `json:"contact"`
}

// How a decision came about (ISO/IEC TS 27560, event type).
const (
	consentExpressed = "expressed"
	consentClaimed   = "claimed_by_another_system"
)

// NewReceipt makes the receipt of a consent from the subject's whole consent stream.
func NewReceipt(id uuid.UUID, issuedAt time.Time, consent uuid.UUID, stream []Evidence, d Declared) (Receipt, error) {
	h, err := readHistory(stream)
	if err != nil {
		return Receipt{}, err
	}
	a, err := h.decision(consent)
	if err != nil {
		return Receipt{}, err
	}
	if err := a.matches(); err != nil {
		return Receipt{}, err
	}

	r := Receipt{
		ConformsTo: receiptForm, ReceiptID: id, IssuedAt: At(issuedAt), RecordID: a.ConsentID, SubjectID: a.StreamID,
		TenantID: a.Tenant, ConsentType: consentExpressed, State: a.state(), GivenAt: At(a.EffectiveAt),
		RecordedAt: At(a.RecordedAt), SupersededAt: maybe(a.supersededAt), ValidUntil: maybe(a.until()),
		Purpose: a.Purpose, LawfulBasis: a.Basis, NoticeVersion: a.NoticeVersion, Language: a.Language,
		Wording: a.Wording, WordingSHA256: a.SHA256, Channel: a.Channel, GivenBy: a.GivenBy, RecordedBy: a.RecordedBy,
		EvidenceSHA256: a.EvidenceSHA256, EvidenceGrade: a.Claim.Grade, Source: a.Claim.Source, Declared: d.tidy(),
	}
	if a.isClaim() {
		r.ConsentType = consentClaimed
	}
	if a.withdrawnBy != nil {
		r.WithdrawnAt = maybe(a.withdrawnBy.EffectiveAt)
	}
	if a.annulledBy != nil {
		r.AnnulledAt = maybe(a.annulledBy.RecordedAt)
	}
	return r, nil
}

// tidy makes lists that are empty lists, so that a receipt has one form.
func (d Declared) tidy() Declared {
	if d.PersonalData == nil {
		d.PersonalData = []string{}
	}
	if d.Recipients == nil {
		d.Recipients = []string{}
	}
	return d
}

func (a *act) state() State {
	switch {
	case a.annulledBy != nil:
		return Annulled
	case a.withdrawnBy != nil:
		return Withdrawn
	case a.outcome() == claimGranted:
		return Given
	default:
		return Refused
	}
}

// differs returns nil if two receipts are the same, and otherwise names the first field
// that is not.
func (r Receipt) differs(made Receipt) error {
	a, b := reflect.ValueOf(r), reflect.ValueOf(made)
	for i := range a.NumField() {
		said, err := json.Marshal(a.Field(i).Interface())
		if err != nil {
			return err
		}
		follows, err := json.Marshal(b.Field(i).Interface())
		if err != nil {
			return err
		}
		if !bytes.Equal(said, follows) {
			return fmt.Errorf("the receipt's %s is %s, but from the events follows %s",
				a.Type().Field(i).Tag.Get("json"), said, follows)
		}
	}
	return nil
}

// Instant is an instant in the one form that a bundle has for it: UTC, to the
// microsecond.
type Instant struct{ at time.Time }

const instantForm = "2006-01-02T15:04:05.000000Z"

// At returns an instant as a bundle holds it.
func At(t time.Time) Instant { return Instant{t.UTC().Truncate(time.Microsecond)} }

// Time returns it as the standard library has it.
func (i Instant) Time() time.Time { return i.at }

func maybe(t time.Time) *Instant {
	if t.IsZero() {
		return nil
	}
	at := At(t)
	return &at
}

// MarshalText implements encoding.TextMarshaler.
func (i Instant) MarshalText() ([]byte, error) { return i.at.AppendFormat(nil, instantForm), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Instant) UnmarshalText(text []byte) error {
	t, err := time.Parse(instantForm, string(text))
	if err != nil || t.Format(instantForm) != string(text) {
		return fmt.Errorf("%q is not an instant as %s", text, instantForm)
	}
	i.at = t
	return nil
}

func (i Instant) String() string { return i.at.Format("2 January 2006, 15:04:05 UTC") }
