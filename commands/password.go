package commands

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/salga-trust/engine/domain"
)

// hashPatience is how long a request waits for its turn to hash a password before it is
// told that the system is busy.
const hashPatience = 2 * time.Second

const (
	// hashesRest is how long the hasher must be idle before the memory of the last hashes
	// is returned to the system.
	hashesRest = time.Second
	// worthReturning, in KiB, is how much memory a hash must take for that to be worth a
	// collection of all garbage.
	worthReturning = 1024
)

// hasher hashes and compares passwords with Argon2id (RFC 9106), a bounded number at
// once: each costs 64 MiB and a core. Left alone, the garbage collector would return
// blocks of that size to the system late; so once the hasher is idle, they are collected
// and returned at once.
type hasher struct {
	turns   chan struct{}
	release *time.Timer
	params  *argon2id.Params
	dummy   string
}

func newHasher(atOnce int, params *argon2id.Params) *hasher {
	release := time.AfterFunc(hashesRest, debug.FreeOSMemory)
	release.Stop() // until there was a hash
	return &hasher{turns: make(chan struct{}, atOnce), release: release, params: params, dummy: dummyOf(params)}
}

// dummyOf returns a verifier that no password has, and that costs as much to compare with
// as any other. Its key is random instead of hashed, so a start costs no hash.
func dummyOf(p *argon2id.Params) string {
	random := func(length uint32) string {
		b := make([]byte, length)
		_, _ = rand.Read(b) // never fails
		return base64.RawStdEncoding.EncodeToString(b)
	}
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", // 19: the only version there is (RFC 9106)
		p.Memory, p.Iterations, p.Parallelism, random(p.SaltLength), random(p.KeyLength))
}

func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.wait(ctx); err != nil {
		return "", err
	}
	defer h.done()

	return argon2id.CreateHash(domain.CanonicalPassword(password), h.params)
}

// match says how a password fits a hash.
type match int

const (
	noMatch match = iota
	canonicalMatch
	olderMatch // the hash is of the password as sent, from before passwords had one form
)

// matches reports whether a password fits a hash.
func (h *hasher) matches(ctx context.Context, password, verifier string) (bool, error) {
	matched, err := h.match(ctx, password, verifier)
	return matched != noMatch, err
}

// match compares a password with a hash; an empty hash costs the same and never matches.
// A password sent in a form other than the canonical one costs a second run unless the
// first fits: the cost depends on the request, never on the account.
func (h *hasher) match(ctx context.Context, password, verifier string) (match, error) {
	if err := h.wait(ctx); err != nil {
		return noMatch, err
	}
	defer h.done()

	known := verifier != ""
	if domain.Oversize(password, domain.MaxPassword) {
		password, known = "", false // nobody has such a password
	}
	if !known {
		verifier = h.dummy
	}

	canonical := domain.CanonicalPassword(password)
	fits, err := argon2id.ComparePasswordAndHash(canonical, verifier)
	if err != nil || fits || password == canonical {
		return canonicalMatch.ifSo(fits && known), err
	}
	fits, err = argon2id.ComparePasswordAndHash(password, verifier)
	return olderMatch.ifSo(fits && known), err
}

func (m match) ifSo(so bool) match {
	if so {
		return m
	}
	return noMatch
}

func (h *hasher) wait(ctx context.Context) error {
	patience := time.NewTimer(hashPatience)
	defer patience.Stop()

	select {
	case h.turns <- struct{}{}:
		return nil
	case <-patience.C:
		return domain.Refuse(domain.CodeOverloaded,
			"Too many people are signing in or registering right now; try again.")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hasher) done() {
	<-h.turns
	if h.params.Memory >= worthReturning {
		h.release.Reset(hashesRest)
	}
}
