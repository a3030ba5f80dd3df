package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// Settle checks that the log is complete up to a position, drops the keys and accounts of
// people who are not in it (they registered after it, if the backup of the keys is
// newer), and checks that everybody in the log has a key or a tombstone. Errors:
// ErrNoBackup, ErrOtherKeys.
func (r *Restore) Settle(ctx context.Context, head int64) error {
	var first, last int64
	err := r.tx.QueryRow(ctx, "select coalesce(min(position), 1), coalesce(max(position), 0) from trust.events").
		Scan(&first, &last)
	if err != nil {
		return Unavailable(err)
	}
	// Positions are unique, so the log is complete if there are as many as the last one.
	if first != 1 || last != head || r.events != head {
		return fmt.Errorf("%w: it has %d events from %d to %d, and should have 1 to %d",
			ErrNoBackup, r.events, first, last, head)
	}

	if err := r.dropStrays(ctx); err != nil {
		return err
	}

	var keyless int64
	err = r.tx.QueryRow(ctx, `select count(*) from trust.events e
		where e.version = 1 and e.stream_type in ('user', 'municipality')
		and not exists (select from trust.keys k where k.key_id = e.stream_id)`).Scan(&keyless)
	if err == nil && keyless > 0 {
		err = fmt.Errorf("%w: %d people or municipalities have none", ErrOtherKeys, keyless)
	}
	return Unavailable(err)
}

// dropStrays deletes the keys of people and municipalities that are not in the log, which
// open nothing; then the credentials and claims of everybody without a key, and what
// proves the secrets of service accounts that are not in the log.
func (r *Restore) dropStrays(ctx context.Context) error {
	statements := []struct {
		sql  string
		args []any
	}{
		{
			`delete from trust.keys k where k.kind = 'subject' and not exists (select from trust.events e
			where e.tenant_id = k.tenant_id and e.stream_type = 'user' and e.stream_id = k.key_id and e.version = 1)`,
			nil,
		},
		{
			`delete from trust.keys k where k.kind <> 'subject' and k.tenant_id <> $1
			and not exists (select from trust.events e where e.tenant_id = k.tenant_id
				and e.stream_type = 'municipality' and e.stream_id = k.tenant_id and e.version = 1)`,
			[]any{domain.PlatformTenant().UUID},
		},
		{`delete from trust.credentials c where not exists (select from trust.keys k
			where k.key_id = c.user_id and k.wrapped is not null)`, nil},
		{`delete from trust.client_secrets c where not exists (select from trust.events e
			where e.tenant_id = c.tenant_id and e.stream_type = 'service_account' and e.stream_id = c.account_id
				and e.version = 1)`, nil},
		{`delete from trust.claims c where not exists (select from trust.keys k
			where k.key_id = c.holder and k.wrapped is not null)
		and not exists (select from trust.events e where e.tenant_id = c.tenant_id
			and e.stream_type = 'service_account' and e.stream_id = c.holder and e.version = 1)`, nil},
	}

	for _, s := range statements {
		if _, err := r.tx.Exec(ctx, s.sql, s.args...); err != nil {
			return Unavailable(err)
		}
	}
	return nil
}

// Erasures returns the erasures that happened after the backup of the events: there is a
// tombstone among the keys, but no such event in the log. They come in order, with their
// event as it was and the id of their append, which is the certificate's.
func (r *Restore) Erasures(ctx context.Context) ([]domain.Recorded, error) {
	found, err := r.tx.Query(ctx,
		`select x.tenant_id, x.stream_id, x.append_id, x.payload, x.recorded_at from pg_temp.erasures x
		where exists (select from trust.keys k where k.key_id = x.stream_id and k.destroyed_at is not null)
		and not exists (select from trust.events e where e.subject_id = x.stream_id and e.event_type = $1)
		order by x.position`, erasedType())
	if err != nil {
		return nil, Unavailable(err)
	}

	past, err := pgx.CollectRows(found, func(row pgx.CollectableRow) (e domain.Recorded, err error) {
		var payload []byte
		err = row.Scan((*[16]byte)(&e.Tenant.UUID), (*[16]byte)(&e.Subject.UUID), (*[16]byte)(&e.AppendID),
			&payload, &e.RecordedAt)
		if err != nil {
			return e, err
		}

		e.Stream = domain.UserOf(e.Subject)
		e.Event, err = domain.Decode(erasedType(), payload, func() ([]byte, domain.PersonalState, error) {
			return nil, domain.Absent, nil
		})
		return e, err
	})
	return past, Unavailable(err)
}

// LoadLog returns all events of some streams of one tenant, in order of position, with
// personal parts withheld.
func (r *Restore) LoadLog(
	ctx context.Context, tenant domain.TenantID, streams ...domain.Stream,
) ([]domain.Recorded, error) {
	var rows []row
	b := &pgx.Batch{}
	queueStreams(b, tenant, streams, nil, &rows)
	if err := r.tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, Unavailable(err)
	}

	if err := r.vault.check(ctx, rows, askingOf(r.tx)); err != nil {
		return nil, err
	}
	return withheld(rows)
}

// AppendAsOf appends what was lost: it takes effect at an instant in the past, and is
// recorded now. It takes no personal parts, for which there is no key any more.
func (r *Restore) AppendAsOf(ctx context.Context, a domain.Append, at time.Time) error {
	e, err := (&Store{vault: r.vault, now: time.Now}).prepare(ctx, a)
	if err != nil {
		return err
	}
	for i := range e.events {
		e.events[i].EffectiveAt = at.UTC().Truncate(time.Microsecond)
		r.vault.codeAsOf(&e.events[i])
	}

	args, err := arguments([]*entry{e})
	if err != nil {
		return err
	}

	results, err := call(ctx, r.tx, time.Now, []*entry{e}, args)
	if err != nil {
		return Unavailable(err)
	}
	if results[0].outcome != added {
		return e.refusal(results[0])
	}
	return nil
}

// forgedPage is how many events are checked at once.
const forgedPage = 2000

// Forged counts the events whose code does not hold and that nobody disowned, and returns
// the first. They are restored as they are: the original log had them too, and nothing
// that reads the log believes them. Error: ErrOtherKeys, if no code holds at all.
func (r *Restore) Forged(ctx context.Context, head int64) (first *ForgedError, count int64, err error) {
	var withCode int64
	for after := int64(0); after < head; after += forgedPage {
		found, err := r.tx.Query(ctx, "select "+columns+inRange, after, after+forgedPage)
		rows, err := collectN(forgedPage, found, err)
		if err != nil {
			return nil, 0, Unavailable(err)
		}

		for i := range rows {
			if rows[i].code != nil {
				withCode++
			}
		}

		bad, err := r.vault.forgedAmong(ctx, rows, askingOf(r.tx))
		if err != nil {
			return nil, 0, err
		}
		if count += int64(len(bad)); first == nil && len(bad) > 0 {
			first = bad[0].forgedError()
		}
	}

	if withCode > 0 && count >= withCode {
		return nil, 0, fmt.Errorf("%w: no event's code is valid under them", ErrOtherKeys)
	}
	return first, count, nil
}

// Finish makes everything visible at once, gives the log a new id, opens the database to
// the other roles, and returns the newest position.
func (r *Restore) Finish(ctx context.Context) (head int64, err error) {
	if head, err = Head(ctx, r.tx); err != nil {
		return 0, err
	}
	if _, err = r.tx.Exec(ctx, "set local role trust_owner"); err != nil {
		return 0, Unavailable(err)
	}

	// Positions are assigned again: those that the log had after the backup, and those of
	// the erasures that were repeated.
	if _, _, err = RenewLog(ctx, r.tx); err != nil {
		return 0, err
	}

	// Analyze, so that the first queries have good plans.
	_, err = r.tx.Exec(ctx, "grant usage on schema trust to "+others+
		"; analyze trust.events, trust.keys, trust.credentials, trust.claims")
	if err != nil {
		return 0, Unavailable(err)
	}
	return head, Unavailable(r.tx.Commit(ctx))
}
