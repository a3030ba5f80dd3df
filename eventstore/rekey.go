package eventstore

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
)

// Rekeyed is what Rekey did.
type Rekeyed struct {
	Count      int // the claims that were re-keyed
	Collisions []Collision
}

// Collision is a claim that keeps the spelling it was made with, because another claim
// has its canonical form. Both holders are found as before.
type Collision struct {
	Tenant        domain.TenantID
	Kind          domain.ClaimKind
	Holder, Other uuid.UUID
}

// rekeyPage is how many positions are read at once.
const rekeyPage = 2000

// NotRekeyed returns the position up to which claims have their canonical form, and the
// log's head.
func NotRekeyed(ctx context.Context, db Querier) (position, head int64, err error) {
	if err = db.QueryRow(ctx, "select position from trust.rekeyed").Scan(&position); err != nil {
		return 0, 0, Unavailable(err)
	}
	head, err = Head(ctx, db)
	return position, head, err
}

// Rekey moves every claim and sign-in made under an older form of its value to the
// canonical form. It reads the log from where it stopped last time, page by page, each in
// its own transaction. It can be stopped and run again at any point, even while others
// append. Collisions are returned; nothing is merged.
//
// The pool connects as trust_owner. Errors: a gap or an unknown event type in the log,
// CodeUnavailable.
func (r *Reader) Rekey(ctx context.Context, pool *pgxpool.Pool, report func(done, total int64)) (Rekeyed, error) {
	position, head, err := NotRekeyed(ctx, pool)
	if err != nil {
		return Rekeyed{}, err
	}

	var all Rekeyed
	for position < head {
		upTo := min(position+rekeyPage, head)
		var page Rekeyed
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
			page, err = r.rekeyPage(ctx, tx, position, upTo)
			return err
		})
		if err != nil {
			return all, Unavailable(err)
		}

		all.Count += page.Count
		all.Collisions = append(all.Collisions, page.Collisions...)
		position = upTo
		report(position, head)
	}
	return all, nil
}

func (r *Reader) rekeyPage(ctx context.Context, tx pgx.Tx, after, upTo int64) (page Rekeyed, err error) {
	kinds := []domain.StreamType{domain.UserStream, domain.MunicipalityStream}
	events, err := r.RangeOf(ctx, tx, kinds, after, upTo)
	if err != nil {
		return page, err
	}

	for _, e := range events {
		claim, former := claimedBy(e)
		if former == claim.Value {
			continue
		}
		found, err := r.rekey(ctx, tx, claim, former, e.Stream.ID)
		if err != nil {
			return page, err
		}

		switch {
		case found == nil:
		case *found == e.Stream.ID:
			page.Count++
		default:
			page.Collisions = append(page.Collisions, Collision{claim.Tenant, claim.Kind, e.Stream.ID, *found})
		}
	}

	_, err = tx.Exec(ctx, "update trust.rekeyed set position = $1 where position = $2", upTo, after)
	return page, err
}

// rekey returns the holder of the claim that it re-keyed, or else the other holder of
// that claim. Nil: the claim was given up since, or re-keyed before.
func (r *Reader) rekey(
	ctx context.Context, tx pgx.Tx, claim domain.Claim, former string, holder uuid.UUID,
) (found *uuid.UUID, err error) {
	digest := func(parts ...string) []byte {
		sum := r.vault.digest(parts...)
		return sum[:]
	}

	err = tx.QueryRow(ctx, "select trust.rekey($1, $2, $3, $4, $5, $6, $7)",
		claim.Tenant.UUID, string(claim.Kind), holder,
		digest("claim", string(claim.Kind), former), digest("claim", string(claim.Kind), claim.Value),
		digest("login", former), digest("login", claim.Value)).Scan(&found)
	return found, err
}

// claimedBy returns the claim that an event was appended with, and the value under which
// older programs, which knew no canonical form, made it. Both values are empty if the
// event claims nothing, or the person is erased.
func claimedBy(r domain.Recorded) (claim domain.Claim, former string) {
	email, name := "", ""
	switch e := r.Event.(type) {
	case *domain.UserRegistered:
		person, _ := e.Person.Get()
		email = person.Email
	case *domain.UserEmailChanged:
		change, _ := e.Email.Get()
		email = change.New
	case *domain.MunicipalityRegistered:
		name = e.Name
	case *domain.MunicipalityDetailsChanged:
		if e.Name != nil {
			name = e.Name.New
		}
	}

	if name != "" {
		claim = domain.Claim{
			Tenant: domain.PlatformTenant(), Kind: domain.MunicipalityNameClaim, Value: domain.CanonicalName(name),
		}
		return claim, domain.FormerName(name)
	}
	claim = domain.Claim{Tenant: r.Tenant, Kind: domain.EmailClaim, Value: domain.CanonicalEmail(email)}
	return claim, domain.FormerEmail(email)
}

// RekeyAgain makes the next Rekey start at the beginning of the log.
func RekeyAgain(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, "update trust.rekeyed set position = 0")
	return Unavailable(err)
}
