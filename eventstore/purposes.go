package eventstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
)

// Purposes reads the events up to a position of a tenant's own purposes and of the
// defaults, which are SALGA's and which everybody may read; SALGA's own are no defaults
// for it. It takes one round trip, and leaves the transaction under the tenant's
// row-level security. It opens nothing.
func (r *Reader) Purposes(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, upTo int64,
) (own, shared []domain.Recorded, err error) {
	const sql = `select ` + columns + ` from trust.events
		where tenant_id = $1 and stream_type = 'purpose' and position <= $2 order by stream_id, version`

	platform := domain.PlatformTenant()
	var ofTenant, ofPlatform []row
	b := &pgx.Batch{}
	b.Queue(sql, [16]byte(tenant.UUID), upTo).Query(rowsInto(&ofTenant))
	if !tenant.IsPlatform() {
		b.Queue(pg.SetTenant, platform.String())
		b.Queue(sql, [16]byte(platform.UUID), upTo).Query(rowsInto(&ofPlatform))
		b.Queue(pg.SetTenant, tenant.String())
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, nil, Unavailable(err)
	}

	if err := r.vault.check(ctx, ofTenant, askingOf(tx)); err != nil {
		return nil, nil, err
	}
	if err := r.vault.check(ctx, ofPlatform, askingAs(tx, platform, tenant)); err != nil {
		return nil, nil, err
	}
	if own, err = withheld(ofTenant); err != nil {
		return nil, nil, err
	}
	shared, err = withheld(ofPlatform)
	return own, shared, err
}

// askingAs asks under the row-level security of one tenant in a transaction that is under
// another's.
func askingAs(tx pgx.Tx, tenant, after domain.TenantID) asking {
	see := func(ctx context.Context, t domain.TenantID) error {
		_, err := tx.Exec(ctx, pg.SetTenant, t.String())
		return Unavailable(err)
	}
	return func(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) error {
		if err := see(ctx, tenant); err != nil {
			return err
		}
		if err := askingOf(tx)(ctx, sql, args, scan); err != nil {
			return err
		}
		return see(ctx, after)
	}
}
