package pg

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// SetTenant puts the rest of a transaction under the row-level security of the tenant in
// its argument. Other settings may be appended, each after a comma.
const SetTenant = `select set_config('trust.tenant', $1, true)`

// ErrNoTenant says that a query was asked for without the tenant whose rows it reads.
var ErrNoTenant = errors.New("a query needs a tenant")

// Sender is a pool or a connection.
type Sender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// InTenant runs the statements that queue adds to a batch under the row-level security of
// one tenant, in one round trip and one transaction: a batch without BEGIN is an implicit
// transaction, so no connection carries the tenant back to its pool. settings is
// SetTenant, with more settings appended where needed.
func InTenant(ctx context.Context, db Sender, tenant [16]byte, settings string, queue func(*pgx.Batch)) error {
	if tenant == [16]byte{} {
		return ErrNoTenant
	}

	batch := &pgx.Batch{}
	batch.Queue(settings, pgtype.UUID{Bytes: tenant, Valid: true}.String())
	queue(batch)
	return db.SendBatch(ctx, batch).Close()
}
