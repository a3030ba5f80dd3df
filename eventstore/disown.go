package eventstore

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// Disowned is what Disown did.
type Disowned struct {
	// EventID and Type are those of the disowned event, as it claims them.
	EventID uuid.UUID
	Type    string
	// Position is that of the disowning; 0: the event was disowned before.
	Position int64
	// Password is the user whose password was removed, because the event may have set it;
	// zero: nobody.
	Password domain.UserID
}

// The reasons why nothing is disowned.
var (
	ErrCodeHolds = errors.New("its code holds, so it is an event of this log")
	ErrNotCoded  = errors.New("some older events have no code yet, so no event is known to be forged")
)

// Disown appends an event, with a code, that says that the event at a position is not
// ours: from then on readers treat that one as empty. It also removes the password that a
// forged event may have set, and every session of that account. If the event's tenant is
// not a municipality, it removes that tenant's keys instead.
//
// The caller brings a transaction of a member of trust_append, and commits it. Errors:
// CodeUnknownPosition, CodeInvalid for the reason, ErrCodeHolds, ErrNotCoded,
// CodeUnavailable.
func (r *Reader) Disown(ctx context.Context, tx pgx.Tx, position int64, reason string) (Disowned, error) {
	if _, err := tx.Exec(ctx, "set local role trust_append"); err != nil {
		return Disowned{}, Unavailable(err)
	}

	found, err := tx.Query(ctx, "select "+columns+" from trust.events where position = $1", position)
	rows, err := collect(found, err)
	if err != nil {
		return Disowned{}, Unavailable(err)
	}
	if len(rows) == 0 {
		return Disowned{}, UnknownPosition()
	}

	forged, err := r.vault.forgedAmong(ctx, rows, askingOf(tx))
	if err != nil {
		return Disowned{}, err
	}
	done := Disowned{EventID: rows[0].EventID, Type: rows[0].eventType}
	switch {
	case rows[0].void != nil:
		return done, nil
	case len(forged) == 0 && rows[0].code == nil:
		return Disowned{}, ErrNotCoded
	case len(forged) == 0:
		return Disowned{}, ErrCodeHolds
	}

	event, err := domain.EventDisowned{Position: position, EventID: done.EventID, Reason: reason}.Decide()
	if err != nil {
		return Disowned{}, err
	}
	tenant, err := r.tenantOfDisowning(ctx, tx, rows[0].Tenant)
	if err != nil {
		return Disowned{}, err
	}

	if done.Position, err = r.append(ctx, tx, domain.Append{
		ID: uuid.New(), Tenant: tenant, Metadata: domain.Metadata{ActorRole: domain.RoleSystem, Command: "log.disown"},
		Writes: []domain.Write{{
			Stream: domain.DisowningOf(position), Expected: domain.AnyVersion, Events: []domain.Event{event},
		}},
	}); err != nil {
		return Disowned{}, err
	}

	if tenant != rows[0].Tenant {
		return done, takeKeys(ctx, tx, rows[0].Tenant)
	}
	done.Password, err = takeAway(ctx, tx, &rows[0])
	return done, err
}

// takeKeys removes the keys of a municipality that does not exist: a forged registration
// may have come with a key that no master key ever wrapped, and every rotation would stop
// at it.
func takeKeys(ctx context.Context, tx pgx.Tx, tenant domain.TenantID) error {
	_, err := tx.Exec(ctx, "delete from trust.keys where tenant_id = $1", tenant.UUID)
	return Unavailable(err)
}

// tenantOfDisowning returns the event's own tenant if it is a municipality: its staff see
// the disowning there, and so do programs that read only that tenant. Otherwise it
// returns SALGA's.
func (r *Reader) tenantOfDisowning(ctx context.Context, tx pgx.Tx, tenant domain.TenantID) (domain.TenantID, error) {
	var rows []row
	b := &pgx.Batch{}
	queueStreams(b, tenant, []domain.Stream{domain.MunicipalityOf(tenant)}, nil, &rows)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return tenant, Unavailable(err)
	}

	forged, err := r.vault.forgedAmong(ctx, rows, askingOf(tx))
	if err != nil {
		return tenant, err
	}

	for i := range rows {
		genuine := rows[i].void == nil
		for _, f := range forged {
			genuine = genuine && f != &rows[i]
		}
		if genuine && rows[i].eventType == (*domain.MunicipalityRegistered)(nil).EventType() {
			return tenant, nil
		}
	}
	return domain.PlatformTenant(), nil
}

// append adds an append that needs no keys, in the caller's transaction, and returns the
// position of its first event.
func (r *Reader) append(ctx context.Context, tx pgx.Tx, a domain.Append) (int64, error) {
	e, err := (&Store{vault: r.vault, now: time.Now}).prepare(ctx, a)
	if err != nil {
		return 0, err
	}
	args, err := arguments([]*entry{e})
	if err != nil {
		return 0, err
	}

	results, err := call(ctx, tx, time.Now, []*entry{e}, args)
	if err != nil {
		return 0, Unavailable(err)
	}
	if results[0].outcome != added {
		return 0, e.refusal(results[0])
	}
	return results[0].first, nil
}

// takeAway removes the password that a forged event may have set, because nobody can tell
// it from the earlier one, the user's one-time codes, and the sessions opened with it.
func takeAway(ctx context.Context, tx pgx.Tx, r *row) (domain.UserID, error) {
	switch r.eventType {
	case (*domain.UserRegistered)(nil).EventType(), (*domain.AccountOpened)(nil).EventType(),
		(*domain.UserEmailChanged)(nil).EventType(),
		(*domain.UserPasswordChanged)(nil).EventType(), (*domain.UserPasswordRehashed)(nil).EventType():
	default:
		return domain.UserID{}, nil
	}

	user, tenant := r.Stream.ID, r.Tenant.UUID
	gone, err := tx.Exec(ctx, "delete from trust.credentials where user_id = $1 and tenant_id = $2", user, tenant)
	if err == nil {
		_, err = tx.Exec(ctx, "delete from trust.one_time_codes where user_id = $1 and tenant_id = $2", user, tenant)
	}
	if err == nil {
		_, err = tx.Exec(ctx, "delete from trust.sessions where user_id = $1 and tenant_id = $2", user, tenant)
	}
	if err != nil || gone.RowsAffected() == 0 {
		return domain.UserID{}, Unavailable(err)
	}
	return domain.UserID{UUID: user}, nil
}
