package eventstore

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// Fork appends an event that says that the events of a checkpoint were lost. The caller
// brings a transaction of a member of trust_append, which it leaves set, and commits it.
func (r *Reader) Fork(ctx context.Context, tx pgx.Tx, lost domain.LogForked) (position int64, err error) {
	if _, err := tx.Exec(ctx, "set local role trust_append"); err != nil {
		return 0, Unavailable(err)
	}
	return r.append(ctx, tx, forking(lost))
}

// Fork is Reader.Fork, within a restore.
func (r *Restore) Fork(ctx context.Context, lost domain.LogForked) error {
	_, err := (&Reader{vault: r.vault}).append(ctx, r.tx, forking(lost))
	return err
}

func forking(lost domain.LogForked) domain.Append {
	return domain.Append{
		ID: uuid.New(), Tenant: domain.PlatformTenant(),
		Metadata: domain.Metadata{ActorRole: domain.RoleSystem, Command: "log.fork"},
		Writes: []domain.Write{{
			Stream: domain.Forks(), Expected: domain.AnyVersion, Events: []domain.Event{&lost},
		}},
	}
}

// Forked is an event that says that the events of a checkpoint were lost.
type Forked struct {
	domain.LogForked

	Position int64
}

// Forks lists the events, whose codes hold, that say that the events of a checkpoint were
// lost. The role of the transaction sees the events of all tenants.
func (r *Reader) Forks(ctx context.Context, db Querier) ([]Forked, error) {
	const sql = "select " + columns + ` from trust.events
		where tenant_id = $1 and stream_type = $2 and stream_id = $3 order by version`

	stream := domain.Forks()
	rows, err := collect(db.Query(ctx, sql, domain.PlatformTenant().UUID, string(stream.Type), [16]byte(stream.ID)))
	if err != nil {
		return nil, Unavailable(err)
	}
	if err := r.vault.check(ctx, rows, askingOf(db)); err != nil {
		return nil, err
	}
	events, err := withheld(rows)
	if err != nil {
		return nil, err
	}

	var all []Forked
	for _, e := range events {
		if lost, is := e.Event.(*domain.LogForked); is {
			all = append(all, Forked{*lost, e.Position})
		}
	}
	return all, nil
}
