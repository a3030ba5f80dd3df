package eventstore

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// OneTimeCode implements commands.Store.
func (s *Store) OneTimeCode(ctx context.Context, firstHalf [32]byte) (domain.OneTimeCode, error) {
	const sql = `select tenant_id, user_id, kind, code_id, digest, expires_at, wrong_tries from trust.one_time_code($1)`

	var c domain.OneTimeCode
	var digest []byte
	err := s.pool.QueryRow(ctx, sql, firstHalf[:]).Scan((*[16]byte)(&c.Tenant.UUID), (*[16]byte)(&c.User.UUID),
		(*string)(&c.Kind), (*[16]byte)(&c.ID), &digest, &c.ExpiresAt, &c.Wrong)
	if errors.Is(err, pgx.ErrNoRows) {
		return domain.OneTimeCode{}, nil
	}
	if err != nil {
		return domain.OneTimeCode{}, Unavailable(err)
	}

	// One of another length is no digest, and so fits no code.
	copy(c.Digest[:], digest)
	c.ExpiresAt = c.ExpiresAt.UTC()
	return c, nil
}

// oneTimeCode fills in the row of a side write about a code. Those of one user do not
// share a batch: each is judged on the result of the one before.
func (e *entry) oneTimeCode(r *sideRow, kind string, user domain.UserID, of domain.CodeKind, code uuid.UUID) {
	r.Kind, r.ID, r.Name, r.Owner = kind, user.UUID, string(of), code
	e.touches = append(e.touches, touchID("one-time code", user.UUID))
}
