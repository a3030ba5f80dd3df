package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// Append implements commands.Store. It encodes and seals on the caller's goroutine, waits
// for its turn in the group commit, and reads the outcome.
func (s *Store) Append(ctx context.Context, a domain.Append) (domain.Appended, error) {
	e, err := s.prepare(ctx, a)
	if err != nil {
		return domain.Appended{}, err
	}
	out, err := s.appender.append(ctx, e)
	if err != nil {
		return domain.Appended{}, err
	}
	s.log.note(out.log, out.asked)

	switch out.outcome {
	case added:
		for _, w := range a.Side {
			if destroyed, is := w.(domain.DestroySubjectKey); is {
				s.keys.forget(a.Tenant, destroyed.Subject.UUID)
			}
		}
		return e.appended(out), nil

	case repeated:
		// In all tenants: registering a municipality again gives it another id.
		events, err := s.FindAppend(ctx, domain.TenantID{}, a.ID)
		// The server that is read may lag behind the one that was written to.
		lagging := err == nil && len(events) == 0
		unread := err != nil && (ctx.Err() != nil || pg.Classify(err) != pg.None)
		if lagging || unread {
			err = outcomeUnknown(err)
		}
		return domain.Appended{Events: events, Repeat: true}, err

	default:
		return domain.Appended{}, e.refusal(out)
	}
}

// entry is an append ready to be written: encoded and sealed.
type entry struct {
	domain.Append
	streams []dependency
	events  []draft
	side    []sideRow
	touches []touch
}

// dependency is a stream that the append depends on.
type dependency struct {
	tenant   domain.TenantID
	stream   domain.Stream
	expected int
}

// draft is an event that lacks only its position and version.
type draft struct {
	domain.Recorded
	dependency int // index of its stream
	offset     int // in its stream, from 1

	payload  []byte
	sealed   []byte
	metadata []byte
	code     []byte
}

func (s *Store) prepare(ctx context.Context, a domain.Append) (*entry, error) {
	if a.Tenant.IsZero() {
		return nil, pg.ErrNoTenant
	}
	if err := checkSize(a); err != nil {
		return nil, err
	}

	e := &entry{Append: a}
	made, err := s.prepareSide(ctx, e)
	if err != nil {
		return nil, err
	}
	metadata, err := json.Marshal(a.Metadata)
	if err != nil {
		return nil, err
	}
	sealer, err := s.sealerFor(ctx, a, made)
	if err != nil {
		return nil, err
	}

	for _, w := range a.Writes {
		e.streams = append(e.streams, dependency{a.Tenant, w.Stream, w.Expected})
		e.touches = append(e.touches, touchStream(w.Stream, true))
		for i, event := range w.Events {
			d, err := sealer.draft(event, w.Stream)
			if err != nil {
				return nil, err
			}
			d.dependency, d.offset, d.Ordinal, d.metadata = len(e.streams)-1, i+1, len(e.events)+1, metadata
			s.vault.code(&d, w.Expected)

			e.events = append(e.events, d)
			e.noteAct(d)
		}
	}

	for _, x := range a.Expects {
		e.streams = append(e.streams, dependency{x.Tenant, x.Stream, x.Version})
		e.touches = append(e.touches, touchStream(x.Stream, false))
	}
	return e, nil
}

const (
	// maxEvents is the most events of one append: a smallint numbers them.
	maxEvents = math.MaxInt16
	// maxSides is the most side writes of one append; see sideStep.
	maxSides = (math.MaxInt16 - int(clocksDiffer)) / sideStep
)

// checkSize refuses an append with more events or side writes than trust.append can
// number.
func checkSize(a domain.Append) error {
	events := 0
	for _, w := range a.Writes {
		events += len(w.Events)
	}

	switch {
	case events > maxEvents:
		return domain.Refuse(domain.CodeInvalid, "One append holds at most %d events, and this one has %d.",
			maxEvents, events)
	case len(a.Side) > maxSides:
		return domain.Refuse(domain.CodeInvalid, "One append makes at most %d side writes, and this one has %d.",
			maxSides, len(a.Side))
	default:
		return nil
	}
}

// noteAct keeps an act in office from sharing a batch with a DemandNoActs of its actor,
// which would be judged by the log as it was before the batch. An actor is the same in
// every tenant, and so is the touch.
func (e *entry) noteAct(d draft) {
	if domain.InOffice(d.Recorded) {
		e.touches = append(e.touches, touch{kind: acts, id: string(e.Actor.UUID[:])})
	}
}

// acts is the kind of touch that stands for everything a person does in office.
const acts = "acts"

// sealer seals the events of one append.
type sealer struct {
	append    domain.Append
	keys      map[uuid.UUID]foundKey
	origin    []byte    // plain; nil: none
	originKey uuid.UUID // seals the origin
	nobodys   uuid.UUID // seals personal parts of events that are not about one person
}

// sealerFor gets the keys that an append needs: the subjects' for personal parts and the
// actor's for the origin. Where there is no such person, either uses the tenant's key of
// the month.
func (s *Store) sealerFor(ctx context.Context, a domain.Append, made map[uuid.UUID]foundKey) (*sealer, error) {
	sealer := &sealer{append: a, keys: made}
	if a.Origin != (domain.Origin{}) && len(a.Writes) > 0 {
		var err error
		if sealer.origin, err = json.Marshal(a.Origin); err != nil {
			return nil, err
		}
		if sealer.originKey, err = s.originKey(ctx, a); err != nil {
			return nil, err
		}
	}

	actorTenant := a.ActorTenant
	if actorTenant.IsZero() {
		actorTenant = a.Tenant
	}
	if sealer.origin != nil {
		if err := s.need(ctx, sealer.keys, actorTenant, sealer.originKey); err != nil {
			return nil, err
		}
	}

	for _, w := range a.Writes {
		for _, event := range w.Events {
			if !domain.HasPersonal(event) {
				continue
			}
			key := domain.SubjectOf(event, w.Stream).UUID
			if key == uuid.Nil {
				var err error
				if key, err = s.month(ctx, a.Tenant); err != nil {
					return nil, err
				}
				sealer.nobodys = key
			}

			if err := s.need(ctx, sealer.keys, a.Tenant, key); err != nil {
				return nil, err
			}
		}
	}
	return sealer, nil
}

// originKey names the key for where an append came from: the actor's. If the actor is
// unknown it is the subject's, because it may be the subject who mistyped a password;
// else the tenant's key of the month. So it is for a program, which has no key: it is
// nobody who could be erased.
func (s *Store) originKey(ctx context.Context, a domain.Append) (uuid.UUID, error) {
	if a.Metadata.ActorRole == domain.RoleProgram {
		return s.month(ctx, a.Tenant)
	}
	if !a.Actor.IsZero() {
		return a.Actor.UUID, nil
	}

	for _, w := range a.Writes {
		for _, event := range w.Events {
			if subject := domain.SubjectOf(event, w.Stream); !subject.IsZero() {
				return subject.UUID, nil
			}
		}
	}
	return s.month(ctx, a.Tenant)
}

func (s *Store) need(ctx context.Context, keys map[uuid.UUID]foundKey, tenant domain.TenantID, id uuid.UUID) error {
	if _, ok := keys[id]; ok {
		return nil
	}

	found, err := s.keys.get(ctx, tenant, id)
	if err != nil {
		return err
	}

	key := found[id]
	switch {
	case key.destroyed:
		return domain.Refuse(domain.CodeSubjectErased, "This person's data was erased.")
	case !key.usable:
		return fmt.Errorf("%w: %s in tenant %s", errNoKey, id, tenant)
	default:
		keys[id] = key
		return nil
	}
}

// month returns the tenant's key of the current month, creating it if there is none. It
// seals what belongs to no one known person, such as where an unknown actor came from.
func (s *Store) month(ctx context.Context, tenant domain.TenantID) (uuid.UUID, error) {
	now := s.now()
	id := monthID(tenant, now)
	found, err := s.keys.get(ctx, tenant, id)
	if err != nil || found[id].usable {
		return id, err
	}

	_, err = s.Append(ctx, domain.Append{
		ID: uuid.New(), Tenant: tenant, Side: []domain.SideWrite{domain.CreateMonthKey{Month: now}},
	})
	if _, exists := errors.AsType[*domain.KeyExistsError](err); exists {
		err = nil
	}
	return id, err
}

func (s *sealer) draft(event domain.Event, stream domain.Stream) (draft, error) {
	payload, personal, err := domain.Encode(event)
	if err != nil {
		return draft{}, err
	}
	if kind := domain.StreamTypeOf(event.EventType()); kind != stream.Type {
		return draft{}, fmt.Errorf("%s belongs in streams of kind %s, not %s", event.EventType(), kind, stream.Type)
	}

	d := draft{payload: payload}
	d.Tenant, d.Stream, d.Event = s.append.Tenant, stream, event
	d.EventID, d.AppendID = uuid.Must(uuid.NewV7()), s.append.ID
	d.Subject, d.Record, d.Actor = domain.SubjectOf(event, stream), domain.RecordOf(event, stream), s.append.Actor
	d.Metadata = s.append.Metadata
	// Truncated, because Postgres stores microseconds.
	d.EffectiveAt = domain.EffectiveOf(event).UTC().Truncate(time.Microsecond)
	if personal == nil && s.origin == nil {
		return d, nil
	}

	at := bindingOf(d.Tenant, d.EventID, event.EventType(), payload)
	if personal != nil {
		key := d.Subject.UUID
		if d.Subject.IsZero() {
			key = s.nobodys
		}
		d.sealed = appendPart(d.sealed, subjectPart, key, s.keys[key].box, personal, at)
	}
	if s.origin != nil {
		d.sealed = appendPart(d.sealed, originPart, s.originKey, s.keys[s.originKey].box, s.origin, at)
		d.Origin = domain.Known(s.append.Origin)
	}
	return d, nil
}

// appended returns the events with their positions and versions.
func (e *entry) appended(out result) domain.Appended {
	events := make([]domain.Recorded, len(e.events))
	for i, d := range e.events {
		r := d.Recorded
		r.Position = out.first + int64(i)
		r.Version = out.versions[d.dependency] + d.offset
		r.RecordedAt = out.at
		// The clock is earlier than out.at while the head of the log lies in the future.
		if r.EffectiveAt.IsZero() || r.EffectiveAt.After(out.clock) {
			r.EffectiveAt = out.clock
		}
		events[i] = r
	}

	return domain.Appended{Events: events}
}

// refusal says why an append was not added.
func (e *entry) refusal(out result) error {
	switch out.outcome {
	case conflicting:
		for i, l := range e.streams {
			if l.expected >= 0 && l.expected != out.versions[i] {
				return &domain.ConflictError{Stream: l.stream, Expected: l.expected, Actual: out.versions[i]}
			}
		}

	case claimTaken:
		return &domain.ClaimTakenError{Kind: e.claimKind(out.side)}
	case sessionStale:
		if e.isAboutCodes(out.side) {
			return &domain.CodeStaleError{}
		}
		return &domain.SessionStaleError{}
	case keyExists:
		return &domain.KeyExistsError{}
	case staffRecord:
		return &domain.StaffRecordError{}
	case masterKeyChanged:
		// A retry may reach a process that has the new key.
		return domain.Refuse(domain.CodeUnavailable, "This server still uses a key that was replaced; try again.").
			Because(ErrMasterKeyChanged)
	case clocksDiffer:
		return clockRefusal(out.ahead)
	case added, repeated: // not refusals
	}
	return fmt.Errorf("the append has an unknown outcome %d", out.outcome)
}
