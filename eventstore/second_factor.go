package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// factorAdditional binds the secret of a second factor to its user and to its id: moved
// to another row it does not open.
func factorAdditional(tenant domain.TenantID, user domain.UserID, factor uuid.UUID) []byte {
	return []byte("second factor|" + tenant.String() + "|" + user.String() + "|" + factor.String())
}

// offerSecondFactor seals the secret under the user's own key, so that it is lost when
// the user is erased.
func (s *Store) offerSecondFactor(
	ctx context.Context, e *entry, r *sideRow, w domain.OfferSecondFactor, made map[uuid.UUID]foundKey,
) error {
	if err := s.need(ctx, made, e.Tenant, w.User.UUID); err != nil {
		return err
	}

	r.Kind, r.ID, r.Owner, r.Expires = "offer_second_factor", w.User.UUID, w.Factor, w.ExpiresAt
	r.Token = made[w.User.UUID].box.seal(w.Secret, factorAdditional(e.Tenant, w.User, w.Factor))
	e.touches = append(e.touches, touchID("second factor", w.User.UUID))
	return nil
}

// isAboutCodes tells whether a side write depends on the state of a second factor or of a
// one-time code.
func (e *entry) isAboutCodes(n int) bool {
	switch e.Side[n].(type) {
	case domain.SetSecondFactor, domain.SpendCode, domain.CountWrongCode,
		domain.IssueOneTimeCode, domain.SpendOneTimeCode, domain.CountWrongTry:
		return true
	default:
		return false
	}
}

// Authenticator implements commands.Store.
func (s *Store) Authenticator(
	ctx context.Context, tenant domain.TenantID, user domain.UserID,
) (domain.Authenticator, error) {
	const sql = `select factor_id, factor_secret, factor_step, wrong_codes, wrong_code_at,
			offered_id, offered_secret, offered_until
		from trust.second_factor($1, $2)`

	var a domain.Authenticator
	var factor, offered *uuid.UUID
	var secret, offeredSecret []byte
	var wrongAt, offeredUntil *time.Time
	err := s.pool.QueryRow(ctx, sql, [16]byte(user.UUID), [16]byte(tenant.UUID)).
		Scan(&factor, &secret, &a.Step, &a.WrongCodes, &wrongAt, &offered, &offeredSecret, &offeredUntil)
	if errors.Is(err, pgx.ErrNoRows) {
		// An account that cannot sign in.
		return domain.Authenticator{}, nil
	}
	if err != nil {
		return domain.Authenticator{}, Unavailable(err)
	}

	a.Factor, a.Offered = orZero(factor), orZero(offered)
	a.WrongAt, a.OfferedUntil = orZero(wrongAt).UTC(), orZero(offeredUntil).UTC()

	if a.Secret, err = s.openFactor(ctx, tenant, user, a.Factor, secret); err != nil {
		return domain.Authenticator{}, err
	}
	a.OfferedSecret, err = s.openFactor(ctx, tenant, user, a.Offered, offeredSecret)
	return a, err
}

func (s *Store) openFactor(
	ctx context.Context, tenant domain.TenantID, user domain.UserID, factor uuid.UUID, sealed []byte,
) ([]byte, error) {
	if factor == uuid.Nil {
		return nil, nil
	}

	keys := map[uuid.UUID]foundKey{}
	if err := s.need(ctx, keys, tenant, user.UUID); err != nil {
		return nil, err
	}

	secret, err := keys[user.UUID].box.open(sealed, factorAdditional(tenant, user, factor))
	if err != nil {
		return nil, fmt.Errorf("open the second factor %s of user %s: %w", factor, user, err)
	}
	return secret, nil
}

func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
