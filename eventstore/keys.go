package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// keyring finds the keys that personal data is sealed under, with the caller's rights: a
// key that row-level security hides does not exist for it.
type keyring struct {
	vault *vault
	fetch func(ctx context.Context, tenant domain.TenantID, ids [][16]byte) ([]keyRow, error)

	mu    sync.Mutex
	known map[uuid.UUID]knownKey
}

type knownKey struct {
	key foundKey
	// tenant is the key's owner: what row-level security hides does not come from memory
	// either.
	tenant domain.TenantID
	// until is when to forget the key; zero: never.
	until time.Time
	// gone: this process destroyed the key, so an earlier read of another goroutine must
	// not overwrite this.
	gone bool
}

// foundKey is the result of a look-up: a usable key, a destroyed one, or neither if none
// is visible.
type foundKey struct {
	box       box
	usable    bool
	destroyed bool
}

const (
	// keyMemory is how long a key is remembered: an erased person's key must be gone from
	// every process within 2 s, and nothing may be sealed for longer than this under a
	// key that a failover lost, because nobody could ever open it.
	keyMemory = time.Second
	// maxKnownKeys is how many keys are remembered.
	maxKnownKeys = 20_000
)

func newKeyring(v *vault, fetch func(context.Context, domain.TenantID, [][16]byte) ([]keyRow, error)) *keyring {
	return &keyring{vault: v, fetch: fetch, known: map[uuid.UUID]knownKey{}}
}

// get returns keys of one tenant.
func (k *keyring) get(ctx context.Context, tenant domain.TenantID, ids ...uuid.UUID) (map[uuid.UUID]foundKey, error) {
	found := make(map[uuid.UUID]foundKey, len(ids))
	missing := k.recall(tenant, ids, found)
	if len(missing) == 0 {
		return found, nil
	}

	rows, err := k.fetch(ctx, tenant, missing)
	if err != nil {
		return nil, err
	}

	for _, r := range rows {
		key, err := k.unwrap(ctx, r)
		if err != nil {
			return nil, err
		}
		found[r.id] = key
		k.remember(r, key)
	}
	return found, nil
}

// recall adds the remembered keys to found, and returns the ids of the others.
func (k *keyring) recall(tenant domain.TenantID, ids []uuid.UUID, found map[uuid.UUID]foundKey) (missing [][16]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()

	now := time.Now()
	for _, id := range ids {
		known, ok := k.known[id]
		if ok && known.tenant == tenant && (known.until.IsZero() || now.Before(known.until)) {
			found[id] = known.key
		} else if !slices.Contains(missing, [16]byte(id)) {
			missing = append(missing, id)
		}
	}
	return missing
}

func (k *keyring) remember(r keyRow, key foundKey) {
	if !key.usable {
		return
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= maxKnownKeys {
		clear(k.known)
	}
	if k.known[r.id].gone {
		return
	}
	k.known[r.id] = knownKey{key: key, tenant: r.tenant, until: time.Now().Add(keyMemory)}
}

// forget marks a key as destroyed from now on. Other processes forget it within
// keyMemory.
func (k *keyring) forget(tenant domain.TenantID, id uuid.UUID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known[id] = knownKey{key: foundKey{destroyed: true}, tenant: tenant, gone: true}
}

func (k *keyring) unwrap(ctx context.Context, r keyRow) (foundKey, error) {
	if r.wrapped == nil {
		return foundKey{destroyed: true}, nil
	}

	above := k.vault.master
	if r.kind != tenantKey {
		var err error
		if above, err = k.tenant(ctx, r.tenant); err != nil {
			return foundKey{}, err
		}
	}

	b, err := r.unwrap(above)
	if err != nil && r.kind == tenantKey {
		err = fmt.Errorf("%w (damaged, or the master key was changed since this process started)", err)
	}
	return foundKey{box: b, usable: true}, err
}

// tenant returns the key that wraps a tenant's other keys. Only a key of that kind will
// do: another would itself have to be unwrapped by a tenant's key first, and tampered
// rows could make us loop for ever.
func (k *keyring) tenant(ctx context.Context, t domain.TenantID) (box, error) {
	found := map[uuid.UUID]foundKey{}
	if len(k.recall(t, []uuid.UUID{t.UUID}, found)) == 0 {
		return found[t.UUID].box, nil
	}

	rows, err := k.fetch(ctx, t, [][16]byte{t.UUID})
	if err != nil {
		return box{}, err
	}

	for _, r := range rows {
		if r.kind != tenantKey {
			return box{}, fmt.Errorf("the key of tenant %s is stored as a %s key", t, r.kind)
		}

		key, err := k.unwrap(ctx, r)
		if err != nil {
			return box{}, err
		}
		if key.usable {
			k.remember(r, key)
			return key.box, nil
		}
	}
	return box{}, fmt.Errorf("tenant %s has no key", t)
}

const keyColumns = "key_id, tenant_id, kind, wrapped"

func scanKey(row pgx.CollectableRow) (r keyRow, err error) {
	err = row.Scan((*[16]byte)(&r.id), (*[16]byte)(&r.tenant.UUID), &r.kind, &r.wrapped)
	return r, err
}

// monthID returns the id of a tenant's key of a month.
func monthID(t domain.TenantID, at time.Time) uuid.UUID {
	return uuid.NewSHA1(t.UUID, []byte("month:"+at.UTC().Format("2006-01")))
}

var errNoKey = errors.New("no key to seal under")
