package commands

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// LodgeRequest asks for what the law grants a person: for the caller, or by staff for
// somebody of their tenant.
type LodgeRequest struct {
	Subject domain.UserID      `json:"subject_id,omitzero"`
	Kind    domain.RequestKind `json:"kind"`
	Details string             `json:"details,omitempty"`

	// ReceivedAt is when a letter arrived that staff record later; zero: now.
	ReceivedAt time.Time `json:"received_at,omitzero"`
}

// LodgeRequest lodges the request. If the caller has lodged the same one before and it is
// still open, that one is the answer. Errors: validation_failed, forbidden, not_found,
// subject_erased, too_many_open.
func (h *Handler) LodgeRequest(ctx context.Context, call Call, c LodgeRequest) (Answer[domain.Request], error) {
	subject, err := call.Subject(c.Subject)
	if err == nil && subject != call.User {
		err = call.demandStaff()
	}
	if err != nil {
		return Answer[domain.Request]{}, err
	}

	id := domain.RequestID{UUID: h.newID()}
	wish := domain.LodgeRequest{
		ID: id, Kind: c.Kind, Details: c.Details, ReceivedAt: c.ReceivedAt, ByStaff: subject != call.User,
	}
	decide := func(user domain.User, r domain.Rights) (events []domain.Event, err error) {
		if err := user.TakesCommands(); err != nil {
			return nil, err
		}
		id, events, err = r.Lodge(wish, call.User, h.now())
		return events, err
	}

	rights, done, err := h.changeRights(ctx, call, "rights.lodge", subject, c, decide)
	if err != nil {
		return Answer[domain.Request]{}, err
	}
	if len(done.Events) > 0 { // a repeat was lodged earlier, under another id
		id.UUID = done.Events[0].Record
	}

	q, _ := rights.Request(id)
	if err := stillKnown(done, q.Details); err != nil {
		return Answer[domain.Request]{}, err
	}
	return answered(q, q.Position, done), nil
}

// answered is the answer to a change of rights; position is that of the value if nothing
// was changed.
func answered[T any](value T, position int64, done domain.Appended) Answer[T] {
	return Answer[T]{Value: value, Position: max(done.Position(), position), Stood: len(done.Events) == 0}
}

// FulfilRequest asks to close a request because its subject has received what they asked
// for.
type FulfilRequest struct {
	Request domain.RequestID
	Note    string
}

// FulfilRequest closes the request. Fulfilling a request for erasure carries the erasure
// out, which only an admin may do. If the caller lodged it, another officer must fulfil
// it, if there is one: see demandSecondPerson. A request of an erased person is closed
// without a note. Errors: validation_failed, forbidden, not_found, request_closed; for an
// erasure also subject_erased, retention_hold, staff_record_kept, last_admin,
// second_person_required.
func (h *Handler) FulfilRequest(ctx context.Context, call Call, c FulfilRequest) (Answer[domain.Request], error) {
	decide := func(_ domain.User, r domain.Rights) ([]domain.Event, error) { return r.Fulfil(c.Request, c.Note) }
	return h.closeRequest(ctx, call, "rights.fulfil", c.Request, c.Note, decide)
}

// RefuseRequest asks to refuse a request on a ground.
type RefuseRequest struct {
	Request domain.RequestID
	Ground  domain.Ground
	Note    string
}

// RefuseRequest closes the request as refused. Errors: validation_failed, not_found,
// request_closed, subject_erased (see FulfilRequest).
func (h *Handler) RefuseRequest(ctx context.Context, call Call, c RefuseRequest) (Answer[domain.Request], error) {
	decide := func(_ domain.User, r domain.Rights) ([]domain.Event, error) {
		return r.RefuseRequest(c.Request, c.Ground, c.Note)
	}
	return h.closeRequest(ctx, call, "rights.refuse", c.Request, []any{c.Ground, c.Note}, decide)
}

func (h *Handler) closeRequest(ctx context.Context, call Call, name string, id domain.RequestID, body any,
	decide func(domain.User, domain.Rights) ([]domain.Event, error),
) (Answer[domain.Request], error) {
	subject, err := h.subjectOfRecord(ctx, call, id.UUID, "There is no such request.")
	if err != nil {
		return Answer[domain.Request]{}, err
	}

	rights, done, err := h.changeRights(ctx, call, name, subject, []any{id, body}, decide)
	if err != nil {
		return Answer[domain.Request]{}, err
	}

	q, _ := rights.Request(id)
	if err := stillKnown(done, q.Details, q.Note); err != nil {
		return Answer[domain.Request]{}, err
	}
	return answered(q, q.Position, done), nil
}

// PlaceHold asks to keep a person's data from being erased.
type PlaceHold struct {
	Subject domain.UserID
	Reason  string
}

// PlaceHold places the hold. If the caller has placed the same one before and it has not
// been lifted, that one is the answer. Errors: validation_failed, not_found,
// subject_erased, too_many_open.
func (h *Handler) PlaceHold(ctx context.Context, call Call, c PlaceHold) (Answer[domain.Hold], error) {
	id := domain.HoldID{UUID: h.newID()}
	wish := domain.PlaceHold{ID: id, Reason: c.Reason}
	decide := func(user domain.User, r domain.Rights) (events []domain.Event, err error) {
		if err := user.TakesCommands(); err != nil {
			return nil, err
		}
		id, events, err = r.Place(wish, call.User)
		return events, err
	}

	rights, done, err := h.changeRights(ctx, call, "rights.hold", c.Subject, []any{c.Subject, c.Reason}, decide)
	if err != nil {
		return Answer[domain.Hold]{}, err
	}
	if len(done.Events) > 0 {
		id.UUID = done.Events[0].Record
	}

	hold, _ := rights.Hold(id)
	if err := stillKnown(done, hold.Reason); err != nil {
		return Answer[domain.Hold]{}, err
	}
	return answered(hold, hold.Position, done), nil
}

// LiftHold asks to end a hold.
type LiftHold struct {
	Hold   domain.HoldID
	Reason string
}

// LiftHold ends the hold; lifting it again changes nothing. Errors: validation_failed,
// not_found.
func (h *Handler) LiftHold(ctx context.Context, call Call, c LiftHold) (Answer[domain.Hold], error) {
	subject, err := h.subjectOfRecord(ctx, call, c.Hold.UUID, "There is no such hold.")
	if err != nil {
		return Answer[domain.Hold]{}, err
	}

	decide := func(_ domain.User, r domain.Rights) ([]domain.Event, error) { return r.Lift(c.Hold, c.Reason) }
	rights, done, err := h.changeRights(ctx, call, "rights.lift", subject, []any{c.Hold, c.Reason}, decide)
	if err != nil {
		return Answer[domain.Hold]{}, err
	}

	hold, _ := rights.Hold(c.Hold)
	if err := stillKnown(done, hold.Reason); err != nil {
		return Answer[domain.Hold]{}, err
	}
	return answered(hold, hold.Position, done), nil
}

// changeRights carries out a command on a person's stream of rights. It returns the state
// after the change, or the present state if there was nothing to change.
func (h *Handler) changeRights(ctx context.Context, call Call, name string, subject domain.UserID, body any,
	decide func(domain.User, domain.Rights) ([]domain.Event, error),
) (domain.Rights, domain.Appended, error) {
	stream, person := domain.RightsOf(subject), domain.UserOf(subject)
	var history []domain.Recorded

	r := request{name: name, tenant: call.Tenant, scope: scopeOf(call), body: body}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		events, err := h.Store.LoadPersonal(ctx, call.Tenant, stream, person)
		if err != nil {
			return domain.Append{}, err
		}

		history = of(events, stream)
		user, rights := domain.Fold[domain.User](of(events, person)), domain.Fold[domain.Rights](history)
		if !user.Exists() {
			return domain.Append{}, domain.Refuse(domain.CodeNotFound, "There is no such person.")
		}

		decided, err := decide(user, rights)
		if err != nil || len(decided) == 0 {
			return domain.Append{}, err
		}

		if user.Erased {
			return closeAfterErasure(call, of(events, person), rights, decided[0])
		}
		return h.rightsAppend(ctx, call, user, rights, decided)
	})
	if err = staffRecord(err); err != nil {
		return domain.Rights{}, domain.Appended{}, err
	}

	if done.Repeat || hasErased(done.Events) { // the events loaded before are open and must no longer be shown
		if history, err = h.Store.LoadPersonal(ctx, call.Tenant, stream); err != nil {
			return domain.Rights{}, domain.Appended{}, err
		}
		history = until(history, done.Position())
	} else {
		history = append(history, of(done.Events, stream)...)
	}

	done.Events = rightsFirst(done.Events)
	return domain.Fold[domain.Rights](history), done, nil
}

// rightsAppend returns the append of a decision. To fulfil a request for erasure, it
// carries the erasure out.
func (h *Handler) rightsAppend(
	ctx context.Context, call Call, user domain.User, rights domain.Rights, decided []domain.Event,
) (domain.Append, error) {
	write := domain.Write{Stream: domain.RightsOf(user.ID), Expected: rights.Version, Events: decided}

	fulfilled, is := decided[0].(*domain.RequestFulfilled)
	if is && fulfilled.Kind == domain.ErasureRequest {
		if err := call.demandAdmin("erase a person"); err != nil {
			return domain.Append{}, err
		}
		a, err := h.erasure(ctx, call, user.ID, domain.CauseRequest, fulfilled.RequestID)
		if err != nil {
			return domain.Append{}, err
		}

		fulfilled.Private = domain.Personal[domain.FreeText]{} // this append destroys its key
		a.Expects = nil                                        // the append writes the stream of rights itself
		a.Writes = append(a.Writes, write)

		q, _ := rights.Request(fulfilled.RequestID)
		return a, h.demandSecondPerson(ctx, call, q, &a)
	}

	return besideUser(call, user, write), nil
}

// besideUser returns an append that conflicts if the user has changed meanwhile.
func besideUser(call Call, user domain.User, write domain.Write) domain.Append {
	return domain.Append{
		Tenant: call.Tenant, Writes: []domain.Write{write},
		Expects: []domain.Expectation{{Tenant: call.Tenant, Stream: domain.UserOf(user.ID), Version: user.Version}},
	}
}

// closeAfterErasure returns the append that closes a request of an erased person. It
// keeps no text, since the key to seal one with is gone. If the request was for erasure,
// the event names the certificate.
func closeAfterErasure(
	call Call, person []domain.Recorded, rights domain.Rights, closed domain.Event,
) (domain.Append, error) {
	var note domain.Personal[domain.FreeText]
	switch e := closed.(type) {
	case *domain.RequestFulfilled:
		note = e.Private
		if e.Kind == domain.ErasureRequest {
			e.Certificate = erasureIn(person).AppendID
		}
	case *domain.RequestRefused:
		note = e.Private
	default:
		return domain.Append{}, subjectErased()
	}

	if note.State() != domain.Absent {
		return domain.Append{}, domain.Refuse(domain.CodeSubjectErased,
			"This person's data was erased, and no new text about them may be kept: close the request without a note.")
	}

	user := domain.Fold[domain.User](person)
	write := domain.Write{Stream: domain.RightsOf(user.ID), Expected: rights.Version, Events: []domain.Event{closed}}
	return besideUser(call, user, write), nil
}

// subjectOfRecord finds the person that a request or hold is about.
func (h *Handler) subjectOfRecord(ctx context.Context, call Call, id uuid.UUID, absent string) (domain.UserID, error) {
	stream, found, err := h.Store.StreamOf(ctx, call.Tenant, id)
	if err == nil && (!found || stream.Type != domain.RightsStream) {
		err = domain.Refuse(domain.CodeNotFound, "%s", absent)
	}
	return stream.Subject(), err
}

// rightsFirst moves the event about the rights to the front: the answer is about that
// one.
func rightsFirst(events []domain.Recorded) []domain.Recorded {
	for i, e := range events {
		if e.Stream.Type == domain.RightsStream {
			first := []domain.Recorded{e}
			return append(append(first, events[:i]...), events[i+1:]...)
		}
	}
	return events
}

// stillKnown refuses to repeat an answer whose texts have been erased since. The answer
// to an erasure never had any.
func stillKnown(done domain.Appended, texts ...domain.Personal[domain.FreeText]) error {
	gone := slices.ContainsFunc(texts, func(t domain.Personal[domain.FreeText]) bool {
		return t.State() == domain.Erased
	})
	if done.Repeat && gone && !hasErased(done.Events) {
		return subjectErased()
	}
	return nil
}

func hasErased(events []domain.Recorded) bool { return erasureIn(events).Event != nil }

// erasureIn returns the event that erased a person; zero if there is none.
func erasureIn(events []domain.Recorded) domain.Recorded {
	for _, r := range events {
		if _, is := r.Event.(*domain.UserErased); is {
			return r
		}
	}
	return domain.Recorded{}
}
