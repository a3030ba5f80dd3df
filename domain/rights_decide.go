package domain

import "time"

// LodgeRequest is the wish for what the law gives a subject.
type LodgeRequest struct {
	ID      RequestID
	Kind    RequestKind
	Details string // what exactly; may be empty
	ByStaff bool
}

// Decide gives the event. The request is due in 30 days by the South African calendar (POPIA regulations 2018, reg 3; PAIA s25).
func (c LodgeRequest) Decide(now time.Time) ([]Event, error) {
	c.Details = TidyText(c.Details)

	var f Faults
	OneOf(&f, "kind", c.Kind, RequestKinds())
	f.Text("details", c.Details, MaxReason)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return []Event{&RequestLodged{
		RequestID: c.ID, Kind: c.Kind, LodgedBy: recordedBy(c.ByStaff), DueOn: DueDate(now), Private: freeText(c.Details),
	}}, nil
}

// Fulfil closes an open request; closed as fulfilled before, nothing is to be done.
func (s Rights) Fulfil(id RequestID, note string) ([]Event, error) {
	note = TidyText(note)

	var f Faults
	f.Text("note", note, MaxReason)
	q, err := s.closable(id, RequestDone, f)
	if err != nil || q.Status == RequestDone {
		return nil, err
	}
	return []Event{&RequestFulfilled{RequestID: id, Kind: q.Kind, Private: freeText(note)}}, nil
}

// RefuseRequest closes an open request on a ground; closed as refused before, nothing is to be done.
func (s Rights) RefuseRequest(id RequestID, ground Ground, note string) ([]Event, error) {
	note = TidyText(note)

	var f Faults
	OneOf(&f, "ground", ground, Grounds())
	f.Text("note", note, MaxReason)
	q, err := s.closable(id, RequestDeclined, f)
	if err != nil || q.Status == RequestDeclined {
		return nil, err
	}
	return []Event{&RequestRefused{RequestID: id, Kind: q.Kind, Ground: ground, Private: freeText(note)}}, nil
}

// closable gives a request that is open, or was closed in the very way that is asked for.
func (s Rights) closable(id RequestID, as RequestStatus, f Faults) (Request, error) {
	q, ok := s.Request(id)
	err := f.Err()
	switch {
	case err != nil:
		return Request{}, err
	case !ok:
		return Request{}, Refuse(CodeNotFound, "There is no such request.")
	case q.Status != RequestOpen && q.Status != as:
		return Request{}, Refuse(CodeRequestClosed, "This request was closed before.")
	}
	return q, nil
}

// PlaceHold is the wish that a subject's data is kept.
type PlaceHold struct {
	ID     HoldID
	Reason string
}

// Decide gives the event.
func (c PlaceHold) Decide() ([]Event, error) {
	c.Reason = TidyText(c.Reason)

	var f Faults
	f.required("reason", c.Reason)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return []Event{&HoldPlaced{HoldID: c.ID, Private: freeText(c.Reason)}}, nil
}

// Lift ends a hold; one that was lifted stays so.
func (s Rights) Lift(id HoldID, reason string) ([]Event, error) {
	reason = TidyText(reason)

	var f Faults
	f.required("reason", reason)
	h, ok := s.Hold(id)
	err := f.Err()
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, Refuse(CodeNotFound, "There is no such hold.")
	case h.Lifted():
		return nil, nil
	}
	return []Event{&HoldLifted{HoldID: id, Private: freeText(reason)}}, nil
}

func freeText(text string) Personal[FreeText] {
	if text == "" {
		return Personal[FreeText]{}
	}
	return Known(FreeText{text})
}
