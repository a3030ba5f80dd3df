package domain

import "time"

// LodgeRequest asks for what the law entitles a subject to.
type LodgeRequest struct {
	ID      RequestID
	Kind    RequestKind
	Details string // what exactly; may be empty
	ByStaff bool

	// ReceivedAt is when a letter arrived that staff record later; zero: now.
	ReceivedAt time.Time
}

// MaxLetterAge is how long ago a letter may have arrived that is recorded now. An older
// one is more likely a slip in the year.
const MaxLetterAge = 365 * 24 * time.Hour

// Decide returns the event. The request is due 30 days after it arrived, by the South
// African calendar (POPIA regulations 2018, reg 3; PAIA s25).
func (c LodgeRequest) Decide(now time.Time) ([]Event, error) {
	c.Details = TidyText(c.Details)

	var f Faults
	OneOf(&f, "kind", c.Kind, RequestKinds())
	f.Text("details", c.Details, MaxReason)
	c.received(&f, now)
	if err := f.Err(); err != nil {
		return nil, err
	}

	c.ReceivedAt = stated(c.ReceivedAt)
	arrived := now
	if !c.ReceivedAt.IsZero() {
		arrived = c.ReceivedAt
	}
	return []Event{&RequestLodged{
		RequestID: c.ID, Kind: c.Kind, LodgedBy: recordedBy(c.ByStaff, false), DueOn: DueDate(arrived),
		ReceivedAt: c.ReceivedAt, Private: freeText(c.Details),
	}}, nil
}

// received checks the instant at which a letter arrived. Who lodges their own request
// states none: it arrives with the command.
func (c LodgeRequest) received(f *Faults, now time.Time) {
	switch {
	case c.ReceivedAt.IsZero():
	case !c.ByStaff:
		f.Add("received_at", "invalid", "Only staff state when another person's request arrived.")
	case c.ReceivedAt.After(now):
		f.Add("received_at", "invalid", "A request cannot have arrived in the future.")
	case now.Sub(c.ReceivedAt) > MaxLetterAge:
		f.Add("received_at", "invalid", "A request that is recorded now arrived at most 365 days ago.")
	}
}

// MaxOpenRequests is how many open requests of one kind a person may have that they
// lodged themselves, and how many more that staff lodged for them: neither takes the
// other's place.
const MaxOpenRequests = 5

// Lodge returns the event, and the id of the request that answers the command. If the
// same account has an open request for the very same, that is the answer, and there is no
// event. One with another stated arrival is another request. Error: too_many_open.
func (s Rights) Lodge(c LodgeRequest, by UserID, now time.Time) (RequestID, []Event, error) {
	events, err := c.Decide(now)
	if err != nil {
		return RequestID{}, nil, err
	}

	lodged, open := events[0].(*RequestLodged), 0
	for _, q := range s.Requests {
		if q.Status != RequestOpen || q.Kind != lodged.Kind || q.LodgedBy != lodged.LodgedBy {
			continue
		}
		arrival := lodged.ReceivedAt.IsZero() || lodged.ReceivedAt.Equal(q.LodgedAt)
		if q.Lodger == by && arrival && sameText(q.Details, lodged.Private) {
			return q.ID, nil, nil
		}
		open++
	}

	if open >= MaxOpenRequests {
		return RequestID{}, nil, Refuse(CodeTooManyOpen,
			"This person already has %d open requests of this kind: they must be answered first.",
			MaxOpenRequests)
	}
	return c.ID, events, nil
}

// Fulfil closes an open request. One that is already fulfilled needs no event.
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

// RefuseRequest closes an open request on a ground. One that is already refused needs no
// event.
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

// closable returns a request that is open, or was closed in the way that is asked for.
func (s Rights) closable(id RequestID, as RequestStatus, f Faults) (Request, error) {
	q, ok := s.Request(id)
	err := f.Err()

	switch {
	case err != nil:
		return Request{}, err
	case !ok:
		return Request{}, Refuse(CodeNotFound, "There is no such request.")
	case q.Status != RequestOpen && q.Status != as:
		return Request{}, Refuse(CodeRequestClosed, "This request is already closed.")
	}
	return q, nil
}

// PlaceHold asks for a subject's data to be kept.
type PlaceHold struct {
	ID     HoldID
	Reason string
}

// Decide returns the event.
func (c PlaceHold) Decide() ([]Event, error) {
	c.Reason = TidyText(c.Reason)

	var f Faults
	f.required("reason", c.Reason)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return []Event{&HoldPlaced{HoldID: c.ID, Private: freeText(c.Reason)}}, nil
}

// MaxOpenHolds is how many holds on one person's data may be in force at once.
const MaxOpenHolds = 20

// Place returns the event, and the id of the hold that answers the command. If the same
// account has a hold in force for the very same reason, that is the answer, and there is
// no event. Error: too_many_open.
func (s Rights) Place(c PlaceHold, by UserID) (HoldID, []Event, error) {
	events, err := c.Decide()
	if err != nil {
		return HoldID{}, nil, err
	}

	open := 0
	for _, h := range s.Holds {
		if h.Lifted() {
			continue
		}
		if h.PlacedBy == by && sameText(h.Reason, events[0].(*HoldPlaced).Private) {
			return h.ID, nil, nil
		}
		open++
	}

	if open >= MaxOpenHolds {
		return HoldID{}, nil, Refuse(CodeTooManyOpen,
			"There are already %d holds on this person's data: lift some first.", MaxOpenHolds)
	}
	return c.ID, events, nil
}

// Lift ends a hold. One that is already lifted needs no event.
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

// sameText reports whether two texts are known to be the same.
func sameText(a, b Personal[FreeText]) bool {
	one, known := a.Get()
	other, given := b.Get()
	return known == given && one == other && (known || a.State() == Absent)
}

func freeText(text string) Personal[FreeText] {
	if text == "" {
		return Personal[FreeText]{}
	}
	return Known(FreeText{text})
}
