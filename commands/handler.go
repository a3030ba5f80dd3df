package commands

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Handler carries out commands. Make it with New.
type Handler struct {
	Store Store

	now      func() time.Time
	newID    func() uuid.UUID
	hasher   *hasher
	tallies  *tallies
	purposes *purposeCache
	sessions time.Duration
	mail     func(domain.Letter) error
	webhooks Webhooks
	resets   *resets
	prover   Prover
	log      *slog.Logger
}

// Config is what a Handler needs besides the log.
type Config struct {
	Now      func() time.Time // nil: the clock
	NewID    func() uuid.UUID // nil: UUIDv7
	Argon2id *argon2id.Params // nil: the library's default cost
	Hashes   int              // how many passwords are hashed at once; 0: one
	Sessions time.Duration    // how long a refresh token lives; 0: 7 days

	// Mail takes over a letter, which it sends in the background: whether it arrives is
	// not known to the caller. It refuses one only if it is overloaded. Nil: this server
	// sends no mail.
	Mail func(domain.Letter) error
	// Webhooks says which webhooks may be registered.
	Webhooks Webhooks
	Log      *slog.Logger // for what fails in the background; nil: nowhere

	Prover Prover // nil: nothing can be proven
}

// New makes a Handler.
func New(store Store, c Config) *Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = func() uuid.UUID { return uuid.Must(uuid.NewV7()) }
	}
	if c.Argon2id == nil {
		c.Argon2id = argon2id.DefaultParams
	}
	if c.Sessions == 0 {
		c.Sessions = 7 * 24 * time.Hour
	}

	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}

	now := func() time.Time { return c.Now().UTC().Truncate(time.Microsecond) } // the precision of Postgres

	h := &Handler{
		Store: store, now: now, newID: c.NewID, hasher: newHasher(max(c.Hashes, 1), c.Argon2id),
		tallies: newTallies(store, now), purposes: newPurposeCache(), sessions: c.Sessions,
		mail: c.Mail, webhooks: c.Webhooks, resets: &resets{}, prover: c.Prover, log: c.Log,
	}
	h.resets.waker = time.AfterFunc(time.Hour, h.visitResets)
	h.resets.waker.Stop()
	return h
}

// Answer is the result of a command: the value as the command left it, and the position
// of the newest event behind it.
type Answer[T any] struct {
	Value    T
	Position int64
	// Stood is true if there was nothing to do, so that Value is what was there already.
	Stood bool
}

// maxTries bounds how often a command is decided again because a stream moved under it.
const maxTries = 16

// request names a command for execute.
type request struct {
	name   string          // such as "consent.record"
	tenant domain.TenantID // whose log it appends to; zero: not known in advance
	scope  string          // separates one caller's idempotency keys from another's

	// body is the command for the fingerprint, without passwords. Its JSON must not
	// change from one release to the next: a client that repeats a command across an
	// upgrade would be told that its key was used for another one.
	body any

	// id names the append; zero: it is derived from the idempotency key, or new.
	id uuid.UUID
}

// decision loads and decides. It returns the append, without id and metadata, or one
// without writes if there is nothing to do.
type decision func(ctx context.Context, call Call) (domain.Append, error)

// execute carries out a command: it loads, decides and appends, and starts again if a
// stream moved in between. A command that was carried out before under its idempotency
// key is answered with its stored events, whatever is decided now: the log reports the
// repeat when asked to append, and overtaken looks for one when there is nothing to
// append.
func (h *Handler) execute(ctx context.Context, call Call, r request, decide decision) (domain.Appended, error) {
	call.command = r.name
	id, fingerprint, err := h.identify(call, r)
	if err != nil {
		return domain.Appended{}, err
	}

	for range maxTries {
		a, err := decide(ctx, call)
		if isStale(err) {
			continue
		}
		if err != nil || (len(a.Writes) == 0 && len(a.Side) == 0) {
			return h.overtaken(ctx, call, r, id, fingerprint, err)
		}

		a.ID = id
		a.Metadata = domain.Metadata{
			ActorRole: call.roleName(), Correlation: call.Correlation, Fingerprint: fingerprint, Command: r.name,
		}
		attribute(call, &a)

		done, err := h.Store.Append(ctx, a)
		if conflict, moved := errors.AsType[*domain.ConflictError](err); moved {
			if call, err = h.refresh(ctx, call, conflict.Stream); err != nil {
				return domain.Appended{}, err
			}
			continue
		}
		if isStale(err) {
			continue
		}
		if err == nil && done.Repeat {
			return repeat(done.Events, fingerprint)
		}
		return done, err
	}

	return domain.Appended{}, domain.Refuse(domain.CodeBusy, "Too many changes to this at once; try again.")
}

// overtaken answers a command that is refused or finds nothing to do. An earlier delivery
// of the same request may be the cause; if so, its result is the answer.
func (h *Handler) overtaken(
	ctx context.Context, call Call, r request, id uuid.UUID, fingerprint string, refusal error,
) (domain.Appended, error) {
	if call.Key == "" {
		return domain.Appended{}, refusal
	}

	found, err := h.Store.FindAppend(ctx, r.tenant, id)
	if err != nil {
		return domain.Appended{}, err // and not the refusal, whose cause may be an earlier delivery
	}
	if len(found) == 0 {
		return domain.Appended{}, refusal
	}
	return repeat(found, fingerprint)
}

// delivered returns what an earlier delivery of the same request has done, if there was
// one.
func (h *Handler) delivered(ctx context.Context, call Call, r request) (done domain.Appended, is bool, err error) {
	if call.Key == "" {
		return domain.Appended{}, false, nil
	}
	id, fingerprint, err := h.identify(call, r)
	if err != nil {
		return domain.Appended{}, false, err
	}

	found, err := h.Store.FindAppend(ctx, r.tenant, id)
	if err != nil || len(found) == 0 {
		return domain.Appended{}, false, err
	}
	done, err = repeat(found, fingerprint)
	return done, true, err
}

// attribute names the caller as the actor, and makes the append depend on the account
// being as it was when the caller was authenticated.
func attribute(call Call, a *domain.Append) {
	a.Origin = call.Origin
	if call.ActorID().IsZero() {
		return
	}

	a.Actor, a.ActorTenant = call.ActorID(), call.Tenant
	own, version := call.own()
	for _, w := range a.Writes {
		if w.Stream == own {
			return
		}
	}
	a.Expects = append(a.Expects, domain.Expectation{Tenant: call.Tenant, Stream: own, Version: version})
}

// refresh forgets the state that a conflict has shown to be out of date.
func (h *Handler) refresh(ctx context.Context, call Call, moved domain.Stream) (Call, error) {
	h.purposes.forget(moved)
	own, _ := call.own()
	switch {
	case call.ActorID().IsZero() || moved != own:
		return call, nil
	case call.IsProgram():
		return h.AuthenticateProgram(ctx, call, call.session)
	default:
		return h.Authenticate(ctx, call)
	}
}

// repeat answers with the events of an earlier delivery, if that was the same request.
func repeat(found []domain.Recorded, fingerprint string) (domain.Appended, error) {
	if found[0].Metadata.Fingerprint != fingerprint {
		return domain.Appended{}, keyReused()
	}
	return domain.Appended{Events: found, Repeat: true}, nil
}

func keyReused() *domain.Error {
	return domain.Refuse(domain.CodeIdempotencyKeyReused, "This idempotency key was used for another request.")
}

// identify returns the append's id and the request's fingerprint: both derived from the
// idempotency key, or without a key a new id and no fingerprint.
func (h *Handler) identify(call Call, r request) (uuid.UUID, string, error) {
	if r.id != uuid.Nil {
		return r.id, "", nil
	}
	if call.Key == "" {
		return h.newID(), "", nil
	}

	if len([]rune(call.Key)) > domain.MaxIdempotencyKey {
		var f domain.Faults
		f.Add("Idempotency-Key", "too_long", "An idempotency key has at most 128 characters.")
		return uuid.Nil, "", f.Err()
	}

	body, err := json.Marshal(r.body)
	if err != nil {
		return uuid.Nil, "", err
	}

	fingerprint := h.Store.Digest("fingerprint", r.name, string(body))
	return h.derivedID("append", r.scope, call.Key), hex.EncodeToString(fingerprint[:16]), nil
}

// derivedID returns an id made from texts, the same in every process: a UUIDv8, RFC 9562
// §5.8.
func (h *Handler) derivedID(parts ...string) uuid.UUID {
	sum := h.Store.Digest(parts...)
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}

// scopeOf separates the idempotency keys of one caller from everybody else's.
func scopeOf(call Call) string { return "user:" + call.Tenant.String() + ":" + call.ActorID().String() }

// until cuts events off after a position.
func until(events []domain.Recorded, position int64) []domain.Recorded {
	for i, e := range events {
		if e.Position > position {
			return events[:i]
		}
	}
	return events
}

// matching refuses a change that was meant for another version.
func matching(call Call, version int) error {
	if call.IfMatch != 0 && call.IfMatch != version {
		return domain.Refuse(domain.CodeStale, "This has changed since you read it: read it again.")
	}
	return nil
}
