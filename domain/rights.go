package domain

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Events of a subject's stream of data rights: the requests they lodged (POPIA s11(3),
// s23, s24), and retention holds on their data. Both are in one stream, so that a
// decision to erase sees every hold.
type (
	// RequestLodged says that somebody asked for what the law entitles them to.
	RequestLodged struct {
		RequestID RequestID   `json:"request_id"`
		Kind      RequestKind `json:"kind"`
		LodgedBy  string      `json:"lodged_by"` // BySelf or ByStaff
		DueOn     Date        `json:"due_on"`
		// ReceivedAt is when the person's letter arrived, if staff stated it; zero: the
		// request counts from when it was recorded.
		ReceivedAt time.Time          `json:"received_at,omitzero"`
		Private    Personal[FreeText] `json:"-"`
	}
	// RequestFulfilled says that they received it.
	RequestFulfilled struct {
		RequestID RequestID   `json:"request_id"`
		Kind      RequestKind `json:"kind"`
		// Certificate names the earlier append that erased the person; absent if this
		// very append does.
		Certificate uuid.UUID `json:"certificate_id,omitzero"`

		Private Personal[FreeText] `json:"-"`
	}
	// RequestRefused says that they did not, and on which ground.
	RequestRefused struct {
		RequestID RequestID          `json:"request_id"`
		Kind      RequestKind        `json:"kind"`
		Ground    Ground             `json:"ground"`
		Private   Personal[FreeText] `json:"-"`
	}
	// HoldPlaced says that a person's data must be kept, so that an erasure has to wait
	// (POPIA s14(1)).
	HoldPlaced struct {
		HoldID  HoldID             `json:"hold_id"`
		Private Personal[FreeText] `json:"-"`
	}
	// HoldLifted ends it.
	HoldLifted struct {
		HoldID  HoldID             `json:"hold_id"`
		Private Personal[FreeText] `json:"-"`
	}
	// FreeText may identify a person.
	FreeText struct {
		Text string `json:"text"`
	}
)

// RequestID names a request.
type RequestID struct{ uuid.UUID }

// HoldID names a hold.
type HoldID struct{ uuid.UUID }

// RequestKind is what is asked for.
type RequestKind string

// The kinds of requests.
const (
	AccessRequest     RequestKind = "access"     // s23
	CorrectionRequest RequestKind = "correction" // s24(1)(a)
	ErasureRequest    RequestKind = "erasure"    // s24(1)(b)
	ObjectionRequest  RequestKind = "objection"  // s11(3)
)

// RequestKinds lists them.
func RequestKinds() []RequestKind {
	return []RequestKind{AccessRequest, CorrectionRequest, ErasureRequest, ObjectionRequest}
}

// Ground is why a request is refused.
type Ground string

// The grounds of a refusal.
const (
	GroundIdentity  Ground = "identity_not_proved" // s23(1), s24 with reg 3
	GroundLaw       Ground = "legal_obligation"    // a law requires the record: s14(1)(a), s11(1)(c)
	GroundPurpose   Ground = "lawful_purpose"      // the record is still needed for its purpose: s14(1)(b)
	GroundPAIA      Ground = "paia_ground"         // a ground of refusal in PAIA: s23(4)
	GroundUnfounded Ground = "unfounded"           // the data is right, or there is none
)

// Grounds lists them.
func Grounds() []Ground {
	return []Ground{GroundIdentity, GroundLaw, GroundPurpose, GroundPAIA, GroundUnfounded}
}

// EventType implements Event.
func (*RequestLodged) EventType() string { return "rights.request_lodged.v1" }

// EventType implements Event.
func (*RequestFulfilled) EventType() string { return "rights.request_fulfilled.v1" }

// EventType implements Event.
func (*RequestRefused) EventType() string { return "rights.request_refused.v1" }

// EventType implements Event.
func (*HoldPlaced) EventType() string { return "rights.hold_placed.v1" }

// EventType implements Event.
func (*HoldLifted) EventType() string { return "rights.hold_lifted.v1" }

// EffectiveAt returns the stated instant at which the request arrived.
func (e *RequestLodged) EffectiveAt() time.Time { return e.ReceivedAt }

func (e *RequestLodged) personal() Part    { return &e.Private }
func (e *RequestFulfilled) personal() Part { return &e.Private }
func (e *RequestRefused) personal() Part   { return &e.Private }
func (e *HoldPlaced) personal() Part       { return &e.Private }
func (e *HoldLifted) personal() Part       { return &e.Private }

func (e *RequestFulfilled) changes() []FieldChange {
	return append(fieldsOf(e), FieldChange{Field: "status", Old: RequestOpen, New: RequestDone})
}

func (e *RequestRefused) changes() []FieldChange {
	return append(fieldsOf(e), FieldChange{Field: "status", Old: RequestOpen, New: RequestDeclined})
}

func (e *HoldLifted) changes() []FieldChange { return append(fieldsOf(e), turned("lifted", true)) }

// RecordID returns the request the event is about.
func (e *RequestLodged) RecordID() uuid.UUID { return e.RequestID.UUID }

// RecordID returns the request the event is about.
func (e *RequestFulfilled) RecordID() uuid.UUID { return e.RequestID.UUID }

// RecordID returns the request the event is about.
func (e *RequestRefused) RecordID() uuid.UUID { return e.RequestID.UUID }

// RecordID returns the hold the event is about.
func (e *HoldPlaced) RecordID() uuid.UUID { return e.HoldID.UUID }

// RecordID returns the hold the event is about.
func (e *HoldLifted) RecordID() uuid.UUID { return e.HoldID.UUID }

// RequestStatus is the state of a request.
type RequestStatus string

// The states of a request.
const (
	RequestOpen     RequestStatus = "open"
	RequestDone     RequestStatus = "fulfilled"
	RequestDeclined RequestStatus = "refused"
)

// Request is a request and what became of it.
type Request struct {
	ID       RequestID
	Subject  UserID
	Kind     RequestKind
	Status   RequestStatus
	LodgedBy string    // BySelf or ByStaff
	Lodger   UserID    // the account that lodged it; zero: an operator
	LodgedAt time.Time // when it arrived; the days run from then
	DueOn    Date
	ClosedAt time.Time // zero: open
	Ground   Ground    // of a refusal
	Details  Personal[FreeText]
	Note     Personal[FreeText] // by the person who closed it
	// Certificate is the id of the certificate of an erasure that was carried out; zero:
	// none.
	Certificate uuid.UUID
	Position    int64 // of the newest event about it
}

// Hold is a retention hold.
type Hold struct {
	ID       HoldID
	Subject  UserID
	PlacedBy UserID // the account that placed it; zero: an operator
	PlacedAt time.Time
	LiftedAt time.Time // zero: in force
	Reason   Personal[FreeText]
	Position int64
}

// Lifted reports whether it was lifted.
func (h Hold) Lifted() bool { return !h.LiftedAt.IsZero() }

// Rights is a subject's requests and the holds on their data, each in the order in which
// they came.
type Rights struct {
	Requests []Request
	Holds    []Hold
	Version  int
}

// Evolve returns the state after one more event. It copies the state; Fold, through
// EvolveAll, copies it once for many events.
func (s Rights) Evolve(r Recorded) Rights { return s.EvolveAll([]Recorded{r}) }

func (q Request) isOpen() bool { return q.Status == RequestOpen }

// EvolveAll returns the state after more events, in time that grows with their number and
// not with its square.
func (s Rights) EvolveAll(events []Recorded) Rights {
	next := rightsFold{Rights: s, requests: map[RequestID]int{}, holds: map[HoldID]int{}}
	next.Requests, next.Holds = slices.Clone(s.Requests), slices.Clone(s.Holds)
	for i, q := range next.Requests {
		next.requests[q.ID] = i
	}
	for i, h := range next.Holds {
		next.holds[h.ID] = i
	}

	for _, r := range events {
		next.apply(r)
	}
	return next.Rights
}

// rightsFold is a state under construction, with the index of each request and hold in
// it.
type rightsFold struct {
	Rights
	requests map[RequestID]int
	holds    map[HoldID]int
}

func (f *rightsFold) apply(r Recorded) {
	switch e := r.Event.(type) {
	case *RequestLodged:
		f.requests[e.RequestID] = len(f.Requests)
		f.Requests = append(f.Requests, Request{
			ID: e.RequestID, Subject: r.Subject, Kind: e.Kind, Status: RequestOpen, LodgedBy: e.LodgedBy,
			Lodger: r.Actor, LodgedAt: r.EffectiveAt, DueOn: e.DueOn, Details: e.Private, Position: r.Position,
		})
	case *RequestFulfilled:
		q := f.close(e.RequestID, r, RequestDone, "", e.Private)
		if q != nil && e.Kind == ErasureRequest {
			q.Certificate = cmp.Or(e.Certificate, r.AppendID)
		}
	case *RequestRefused:
		f.close(e.RequestID, r, RequestDeclined, e.Ground, e.Private)

	case *HoldPlaced:
		f.holds[e.HoldID] = len(f.Holds)
		f.Holds = append(f.Holds, Hold{
			ID: e.HoldID, Subject: r.Subject, PlacedBy: r.Actor, PlacedAt: r.EffectiveAt, Reason: e.Private,
			Position: r.Position,
		})
	case *HoldLifted:
		if i, known := f.holds[e.HoldID]; known {
			f.Holds[i].LiftedAt, f.Holds[i].Position = r.EffectiveAt, r.Position
		}
	}

	f.Version = r.Version
}

// close closes a request and returns it, or nil if there is none with this id.
func (f *rightsFold) close(
	id RequestID, r Recorded, status RequestStatus, ground Ground, note Personal[FreeText],
) *Request {
	i, known := f.requests[id]
	if !known {
		return nil
	}

	q := &f.Requests[i]
	q.Status, q.Ground, q.ClosedAt, q.Note, q.Position = status, ground, r.EffectiveAt, note, r.Position
	return q
}

// Request returns one request.
func (s Rights) Request(id RequestID) (Request, bool) {
	i := slices.IndexFunc(s.Requests, func(q Request) bool { return q.ID == id })
	if i < 0 {
		return Request{}, false
	}
	return s.Requests[i], true
}

// Hold returns one hold.
func (s Rights) Hold(id HoldID) (Hold, bool) {
	i := slices.IndexFunc(s.Holds, func(h Hold) bool { return h.ID == id })
	if i < 0 {
		return Hold{}, false
	}
	return s.Holds[i], true
}

// Held reports whether a hold on the subject's data is in force.
func (s Rights) Held() bool {
	return slices.ContainsFunc(s.Holds, func(h Hold) bool { return !h.Lifted() })
}
