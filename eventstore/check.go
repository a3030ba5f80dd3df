package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// ForgedError says that an event was not appended by a program that has the master key,
// or was changed since: its code does not hold.
type ForgedError struct {
	Position int64
	EventID  uuid.UUID
	What     string // what is wrong with it
}

func (e *ForgedError) Error() string {
	return fmt.Sprintf("event %s at position %d is forged or was changed: %s", e.EventID, e.Position, e.What)
}

// The reasons why a row is not an event of ours.
const (
	noCode       = "it carries no code"
	codeFails    = "its code does not hold"
	notEffective = "it does not take effect when it says"
)

// forgedError returns the error of a row whose code does not hold.
func (r *row) forgedError() *ForgedError {
	if r.code == nil {
		return &ForgedError{Position: r.Position, EventID: r.EventID, What: noCode}
	}
	return &ForgedError{Position: r.Position, EventID: r.EventID, What: codeFails}
}

func damaged(cause *ForgedError) error {
	return domain.Refuse(domain.CodeLogDamaged,
		"A record that this depends on is damaged, so nothing is read from it: the operator must investigate.").
		Because(cause)
}

// asking runs a further query where the rows were read: in their transaction, or for
// their tenant.
type asking func(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) error

func askingOf(db Querier) asking {
	return func(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) error {
		rows, err := db.Query(ctx, sql, args...)
		if err != nil {
			return Unavailable(err)
		}
		defer rows.Close()
		return Unavailable(errors.Join(scan(rows), rows.Err()))
	}
}

// check refuses rows if one of them is forged, and voids those that were disowned. It
// must come before anything in them is believed.
func (v *vault) check(ctx context.Context, rows []row, ask asking) error {
	bad, err := v.forgedAmong(ctx, rows, ask)
	if err == nil && len(bad) > 0 {
		err = damaged(bad[0].forgedError())
	}
	return err
}

// forgedAmong lists the forged rows, in order, and voids those that were disowned. It
// asks the database only if some code does not hold.
func (v *vault) forgedAmong(ctx context.Context, rows []row, ask asking) ([]*row, error) {
	bad := v.failing(rows)
	if len(bad) == 0 {
		return nil, nil
	}

	bad, err := v.withoutOlder(ctx, bad, ask)
	if err != nil || len(bad) == 0 {
		return nil, err
	}

	disowned, err := v.disownings(ctx, bad, ask)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(bad, func(r *row) bool {
		event, found := disowned[r.Position]
		if found && event.EventID == r.EventID {
			r.void = &domain.Void{EventDisowned: *event}
		}
		return r.void != nil
	}), nil
}

// failing lists the rows whose code does not hold, in order.
func (v *vault) failing(rows []row) (bad []*row) {
	fails := make([]bool, len(rows))
	_ = inParts(len(rows), func(i int) error {
		fails[i] = !v.holds(&rows[i])
		return nil
	})

	for i, failed := range fails {
		if failed {
			bad = append(bad, &rows[i])
		}
	}
	return bad
}

// withoutOlder leaves out genuine events of older programs, which have no code in their
// own row. It asks for the mark first: a reader that sees the mark sees all codes of
// older events, including those made after the rows were read.
func (v *vault) withoutOlder(ctx context.Context, bad []*row, ask asking) ([]*row, error) {
	var positions []int64
	for _, r := range bad {
		if r.code == nil {
			positions = append(positions, r.Position)
		}
	}
	if len(positions) == 0 {
		return bad, nil
	}

	marked := false
	err := ask(ctx, "select from trust.coded", nil, func(rows pgx.Rows) error {
		for rows.Next() {
			marked = true
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	if !marked {
		return slices.DeleteFunc(bad, func(r *row) bool { return r.code == nil }), nil
	}

	late := map[int64][]byte{}
	err = ask(ctx, "select position, code from trust.codes where position = any($1)", []any{positions},
		func(rows pgx.Rows) error {
			var position int64
			var code []byte
			_, err := pgx.ForEachRow(rows, []any{&position, &code}, func() error {
				late[position] = slices.Clone(code)
				return nil
			})
			return err
		})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(bad, func(r *row) bool {
		if r.code == nil {
			r.code = late[r.Position]
		}
		return v.holds(r)
	}), nil
}

const selectDisownings = "select " + columns + ` from trust.events
	where tenant_id = any($1) and stream_type = $2 and stream_id = any($3) order by position`

// disownings finds the operator's disownings of some rows, by position. An event in their
// streams whose own code does not hold is ignored.
func (v *vault) disownings(ctx context.Context, bad []*row, ask asking) (map[int64]*domain.EventDisowned, error) {
	tenants, streams := [][16]byte{domain.PlatformTenant().UUID}, make([][16]byte, len(bad))
	tenantOf := make(map[int64]domain.TenantID, len(bad))
	for i, r := range bad {
		if tenant := [16]byte(r.Tenant.UUID); !slices.Contains(tenants, tenant) {
			tenants = append(tenants, tenant)
		}
		streams[i], tenantOf[r.Position] = domain.DisowningOf(r.Position).ID, r.Tenant
	}

	var rows []row
	err := ask(ctx, selectDisownings, []any{tenants, string(domain.LogStream), streams}, rowsInto(&rows))
	if err != nil {
		return nil, err
	}

	found := map[int64]*domain.EventDisowned{}
	for i := range rows {
		r := &rows[i]
		if !v.holds(r) {
			continue
		}
		event, err := domain.Decode(r.eventType, r.payload, nil)
		if err != nil {
			return nil, undecodable(r.Position, err)
		}
		e, is := event.(*domain.EventDisowned)
		if is && (r.Tenant == tenantOf[e.Position] || r.Tenant == domain.PlatformTenant()) {
			found[e.Position] = e
		}
	}
	return found, nil
}
