package eventstore

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// ErrNoKeys says that the master key wraps nothing yet: no process has used the database.
var ErrNoKeys = errors.New("the database has no keys yet")

// Rotate re-wraps everything that the master key wraps, which is tenants' keys and the
// installation's secrets, under the next master key. Nothing below them changes. It
// returns how many were re-wrapped; 0: all are under the next one already.
//
// The caller brings a transaction of trust_owner at READ COMMITTED, and commits it: the
// database is under the old key before the commit and under the next key after it, never
// under both. The log's lock is held from the first statement to the end of the
// transaction, and appends wait.
//
// Errors: ErrWrongMasterKey (the database is under neither), ErrNoKeys, CodeUnavailable,
// or one that names the key or secret that does not open.
func Rotate(ctx context.Context, tx pgx.Tx, master, next []byte) (int, error) {
	from, err := masterBox(master)
	if err != nil {
		return 0, err
	}
	to, err := masterBox(next)
	if err != nil {
		return 0, err
	}

	all, err := underMaster(ctx, tx)
	if err != nil {
		return 0, err
	}

	check := checkOf(all)
	switch {
	case check == nil:
		return 0, ErrNoKeys
	case check.opens(to):
		_, err := openAll(all, to)
		return 0, err
	case !check.opens(from):
		return 0, ErrWrongMasterKey
	}

	plain, err := openAll(all, from)
	if err != nil {
		return 0, err
	}
	if err := rewrap(ctx, tx, all, plain, to); err != nil {
		return 0, err
	}
	return len(all), proveRewrapped(ctx, tx, plain, to)
}

// wrapped is something that the master key wraps: a secret, which has a name, or a
// tenant's key.
type wrapped struct {
	name string
	key  keyRow
}

func (w wrapped) additional() []byte {
	if w.name != "" {
		return secretAdditional(w.name)
	}
	return wrapAdditional(w.key.id, w.key.tenant, tenantKey)
}

func (w wrapped) String() string {
	if w.name != "" {
		return "secret " + w.name
	}
	return "tenant key " + w.key.id.String()
}

func (w wrapped) opens(b box) bool {
	_, err := b.open(w.key.wrapped, w.additional())
	return err == nil
}

// underMaster reads everything that the master key wraps, and takes the log's lock.
func underMaster(ctx context.Context, tx pgx.Tx) ([]wrapped, error) {
	rows, err := tx.Query(ctx, "select name, key_id, tenant_id, wrapped from trust.under_master()")
	if err != nil {
		return nil, Unavailable(err)
	}

	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (w wrapped, err error) {
		var name *string
		var id, tenant *uuid.UUID
		if err = r.Scan(&name, &id, &tenant, &w.key.wrapped); err == nil && name != nil {
			w.name = *name
		} else if err == nil {
			w.key.id, w.key.tenant, w.key.kind = *id, domain.TenantID{UUID: *tenant}, tenantKey
		}
		return w, err
	})
	return all, Unavailable(err)
}

func checkOf(all []wrapped) *wrapped {
	for i, w := range all {
		if w.name == checkSecret {
			return &all[i]
		}
	}
	return nil
}

// openAll opens everything or fails: a key that does not open would be lost with the old
// master key.
func openAll(all []wrapped, b box) (map[string][]byte, error) {
	plain := make(map[string][]byte, len(all))
	for _, w := range all {
		var err error
		if plain[w.String()], err = b.open(w.key.wrapped, w.additional()); err != nil {
			return nil, fmt.Errorf("%s does not open: %w", w, err)
		}
	}
	return plain, nil
}

func rewrap(ctx context.Context, tx pgx.Tx, all []wrapped, plain map[string][]byte, to box) error {
	// None is nil, because that would be null.
	ids, keys, names, secrets := []uuid.UUID{}, [][]byte{}, []string{}, [][]byte{}
	for _, w := range all {
		sealed := to.seal(plain[w.String()], w.additional())
		if w.name != "" {
			names, secrets = append(names, w.name), append(secrets, sealed)
		} else {
			ids, keys = append(ids, w.key.id), append(keys, sealed)
		}
	}

	_, err := tx.Exec(ctx, "select trust.rewrap($1, $2, $3, $4)", ids, keys, names, secrets)
	return Unavailable(err)
}

// proveRewrapped reads back what was written and compares it: a mistake must show before
// the commit, not when a key is needed.
func proveRewrapped(ctx context.Context, tx pgx.Tx, plain map[string][]byte, to box) error {
	all, err := underMaster(ctx, tx)
	if err != nil {
		return err
	}
	now, err := openAll(all, to)
	if err != nil {
		return err
	}

	if len(now) != len(plain) {
		return fmt.Errorf("read back %d of %d keys and secrets", len(now), len(plain))
	}
	for what, key := range plain {
		if subtle.ConstantTimeCompare(now[what], key) != 1 {
			return fmt.Errorf("%s is not the same as before", what)
		}
	}
	return nil
}
