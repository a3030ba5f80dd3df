package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// ProofIssued says that somebody was handed the proof of a decision, and states where the
// subject's consent stream ended then. It is appended only if that is so, and whoever has
// the proof can show that it was stated: what the stream is said not to hold can be held
// against the log for ever.
type ProofIssued struct {
	ReceiptID uuid.UUID `json:"receipt_id"`
	ConsentID ConsentID `json:"consent_id"`
	Purpose   string    `json:"purpose"`

	// The stream, and the version of its newest event.
	StreamType    StreamType `json:"stream_type"`
	StreamID      uuid.UUID  `json:"stream_id"`
	StreamVersion int        `json:"stream_version"`
}

// EventType implements Event.
func (*ProofIssued) EventType() string { return "proof.issued.v1" }

// RecordID returns the receipt. It is not the consent: that is found by its own events.
func (e *ProofIssued) RecordID() uuid.UUID { return e.ReceiptID }

// ProofsOf names the stream of what states the ends of a subject's consent stream.
func ProofsOf(u UserID) Stream { return Stream{ProofStream, u.UUID} }

// MaxProvable is how many events a consent stream may have for a proof, whose file holds
// all of them.
const MaxProvable = 1000

// reissued is for how long whoever asks for a proof again is handed the same one: who was
// told that it is pending comes back.
const reissued = 5 * time.Minute

// IssueProof asks for the proof of a decision.
type IssueProof struct {
	Receipt uuid.UUID // the id that a new receipt gets
	Consent ConsentID

	// Who asks, as events name them.
	Actor     UserID
	ActorRole string
}

// Decide returns the statement of where a subject's consent stream ends, which is given
// in full. Errors: not_found, not_provable.
func (c IssueProof) Decide(history []Recorded) (*ProofIssued, error) {
	i := slices.IndexFunc(history, func(r Recorded) bool {
		d, is := decisionOf(r.Event)
		return is && d.ConsentID == c.Consent
	})
	if i < 0 {
		return nil, Refuse(CodeNotFound, "There is no such consent.")
	}
	if slices.ContainsFunc(history, Recorded.IsVoid) {
		return nil, NotProvable("Among this person's decisions stands one that this system did not write, " +
			"and that the operator disowned. A proof could not tell it from the others.")
	}
	if err := Provable(len(history)); err != nil {
		return nil, err
	}

	last := history[len(history)-1]
	return &ProofIssued{
		ReceiptID: c.Receipt, ConsentID: c.Consent, Purpose: PurposeNamed(history[i].Event),
		StreamType: last.Stream.Type, StreamID: last.Stream.ID, StreamVersion: last.Version,
	}, nil
}

// Provable refuses a consent stream that is too long for one file.
func Provable(version int) error {
	if version > MaxProvable {
		return NotProvable("This person has more than 1000 decisions, too many for one file.")
	}
	return nil
}

// NotProvable refuses a proof that nobody could check.
func NotProvable(why string) *Error { return Refuse(CodeNotProvable, "%s", why) }

// Standing returns the newest of some statements that the one who asks can be handed
// again, instead of a new one: it is theirs, says the same, and is either of late or not
// yet under a checkpoint, which covers the log up to a position.
func (c IssueProof) Standing(
	statements []Recorded, wanted *ProofIssued, covered int64, now time.Time,
) (Recorded, bool) {
	for _, r := range slices.Backward(statements) {
		e, is := r.Event.(*ProofIssued)
		if !is || r.Actor != c.Actor || r.Metadata.ActorRole != c.ActorRole {
			continue
		}

		same := *e
		same.ReceiptID = wanted.ReceiptID
		if same == *wanted {
			return r, r.Position > covered || now.Sub(r.RecordedAt) < reissued
		}
	}
	return Recorded{}, false
}

// TailOfProofs returns the tail with the newest statements about decisions on a purpose.
func TailOfProofs(subject UserID, purpose string) Tail {
	return Tail{
		Stream: ProofsOf(subject), Purpose: purpose, Enough: func([]Recorded) bool { return true },
	}
}

// Proof is what a file that proves a decision is made from. Positions are those of
// events.
type Proof struct {
	Tenant    TenantID
	Consent   ConsentID
	Receipt   uuid.UUID
	IssuedAt  time.Time
	Statement int64
	Stream    []int64 // the consent stream, versions 1, 2, 3 …
	Notice    int64   // it published the words; 0: they are built in, or not known

	// What is declared besides.
	Controller Municipality // zero: SALGA
	Purpose    Purpose
}

// ProofOf returns what proves a decision from the consent stream up to the statement of
// its end. Of several purposes with its code, the one counts whose notice the words are
// from, and otherwise the first that was ever defined.
func ProofOf(statement Recorded, history []Recorded, purposes ...Purpose) Proof {
	e := statement.Event.(*ProofIssued)
	p := Proof{
		Tenant: statement.Tenant, Consent: e.ConsentID, Receipt: e.ReceiptID,
		IssuedAt: statement.RecordedAt, Statement: statement.Position,
	}
	for _, of := range slices.Backward(purposes) {
		if of.Exists() {
			p.Purpose = of
		}
	}

	var decided Recorded
	for _, r := range history {
		if r.Version > e.StreamVersion {
			break
		}
		p.Stream = append(p.Stream, r.Position)
		if d, is := decisionOf(r.Event); is && d.ConsentID == e.ConsentID {
			decided = r
		}
	}
	if of, notice := publication(decided, purposes); notice.Event.Position > 0 {
		p.Purpose, p.Notice = of, notice.Event.Position
	}
	return p
}

// publication returns the notice that a decision was about, and its purpose: if several
// have its version, the one whose words are those that were shown.
func publication(decided Recorded, purposes []Purpose) (of Purpose, notice Notice) {
	d, _ := decisionOf(decided.Event)
	for _, p := range purposes {
		for _, n := range p.Notices {
			before := n.Event.Position > 0 && n.Event.Position < decided.Position
			if n.Version != d.NoticeVersion || !before {
				continue
			}
			if n.Texts[d.Language] == d.Wording && d.Wording != "" {
				return p, n
			}
			if notice.Version == 0 {
				of, notice = p, n
			}
		}
	}
	return of, notice
}
