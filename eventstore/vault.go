package eventstore

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

var (
	// ErrWrongMasterKey says that this database is under another master key.
	ErrWrongMasterKey = errors.New("the master key does not belong to this database")
	// ErrMasterKeyChanged says that the master key was right when this process started,
	// and was changed since.
	ErrMasterKeyChanged = errors.New("the master key was changed since this process started")
)

const (
	keySize   = 32 // of AES-256
	nonceSize = 12 // of GCM
)

// box seals under one key with AES-256-GCM; a sealed value is nonce | ciphertext.
type box struct{ cipher.AEAD }

func newBox(key []byte) (box, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return box{}, err
	}
	gcm, err := cipher.NewGCM(block)
	return box{gcm}, err
}

func (b box) seal(plain, additional []byte) []byte {
	sealed := make([]byte, nonceSize, nonceSize+len(plain)+b.Overhead())
	rand.Read(sealed) // never fails: crypto/rand
	return b.Seal(sealed, sealed[:nonceSize], plain, additional)
}

func (b box) open(sealed, additional []byte) ([]byte, error) {
	if len(sealed) < nonceSize {
		return nil, errors.New("truncated ciphertext")
	}
	return b.Open(nil, sealed[:nonceSize], sealed[nonceSize:], additional)
}

// vault knows the master key, the lookup key and the key of codes of one installation.
type vault struct {
	master box
	// proof is the ciphertext of the secret "check". It identifies the master key in
	// force; see trust.in_force.
	proof  []byte
	lookup []byte
	codes  *codes
}

const checkSecret, lookupSecret, codesSecret = "check", "lookup", "codes"

// masterBox derives the box that wraps tenants' keys and secrets.
func masterBox(masterKey []byte) (box, error) {
	derived, err := hkdf.Key(sha256.New, masterKey, nil, "salga trust engine master key v1", keySize)
	if err != nil {
		return box{}, err
	}
	return newBox(derived)
}

// openVault proves the master key against the installation's secrets, which the first
// process creates. If the log is empty then, every event of it will have a code.
func openVault(ctx context.Context, db Querier, masterKey []byte) (*vault, error) {
	v, err := proveVault(ctx, db, masterKey)
	if err != nil {
		return nil, err
	}

	var marked bool
	if err := db.QueryRow(ctx, "select trust.code_from_start($1)", v.codes.boundary(0)).Scan(&marked); err != nil {
		return nil, fmt.Errorf("mark an empty log: %w", Unavailable(err))
	}
	return v, nil
}

// proveVault is openVault for a log that is about to be filled.
func proveVault(ctx context.Context, db Querier, masterKey []byte) (*vault, error) {
	v := &vault{}
	var err error

	if v.master, err = masterBox(masterKey); err != nil {
		return nil, err
	}
	if _, v.proof, err = v.secret(ctx, db, checkSecret, []byte("salga trust engine")); err != nil {
		return nil, err
	}
	if v.lookup, _, err = v.secret(ctx, db, lookupSecret, newKey()); err != nil {
		return nil, err
	}

	key, _, err := v.secret(ctx, db, codesSecret, newKey())
	v.codes = newCodes(key)
	return v, err
}

// secret returns the installation's secret of a name and its ciphertext, storing the
// candidate if there is none.
func (v *vault) secret(
	ctx context.Context, db Querier, name string, candidate []byte,
) (plain, stored []byte, err error) {
	sealed := v.master.seal(candidate, secretAdditional(name))
	err = db.QueryRow(ctx, "select trust.secret_once($1, $2, $3)", name, sealed, v.proof).Scan(&stored)
	if err != nil {
		return nil, nil, fmt.Errorf("read the secret %q: %w", name, Unavailable(err))
	}

	// Nothing is stored if the proof was out of date.
	if plain, err = v.master.open(stored, secretAdditional(name)); err != nil {
		return nil, nil, ErrWrongMasterKey
	}
	return plain, stored, nil
}

// digest is HMAC-SHA-256 under the lookup key. The length of each part is included, so
// that parts cannot run together.
func (v *vault) digest(parts ...string) [32]byte {
	mac := hmac.New(sha256.New, v.lookup)
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return [32]byte(mac.Sum(nil))
}

// keyRow is a row of trust.keys.
type keyRow struct {
	id      uuid.UUID
	tenant  domain.TenantID
	kind    string
	wrapped []byte // nil: destroyed
}

// The kinds of keys.
const (
	subjectKey = "subject"
	tenantKey  = "tenant"
	monthKey   = "month"
)

func newKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key) // never fails: crypto/rand
	return key
}

func secretAdditional(name string) []byte { return []byte("secret|" + name) }

func wrapAdditional(id uuid.UUID, tenant domain.TenantID, kind string) []byte {
	return []byte("key|" + kind + "|" + tenant.String() + "|" + id.String())
}

// makeKey makes a key and its row, wrapped under the key above it.
func makeKey(id uuid.UUID, tenant domain.TenantID, kind string, above box) (box, keyRow, error) {
	key := newKey()
	b, err := newBox(key)
	return b, keyRow{id, tenant, kind, above.seal(key, wrapAdditional(id, tenant, kind))}, err
}

// unwrap returns the key of a row.
func (r keyRow) unwrap(above box) (box, error) {
	key, err := above.open(r.wrapped, wrapAdditional(r.id, r.tenant, r.kind))
	if err != nil {
		return box{}, fmt.Errorf("unwrap %s key %s: %w", r.kind, r.id, err)
	}
	return newBox(key)
}
