package eventstore

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
	"time"

	"github.com/salga-trust/engine/domain"
)

// An event's code is
//
//	key number (1 byte) | flags (1) | HMAC-SHA-256 (32)
//
// The HMAC covers everything that the appending program knows of the event, under a key
// that the database never sees in the clear. So whoever can call trust.append, or change
// the table, still cannot make an event that is accepted.
const (
	codeSize = 1 + 1 + sha256.Size

	// codeKey is the number of the only key.
	codeKey = 1

	// versionCovered: the append expected a version of the event's stream, so the event's
	// own was known.
	versionCovered byte = 1 << 0
	// effectiveCovered: effective_at is covered as it is stored. Without the flag it
	// follows from the payload, which is covered, or from the time of recording, which
	// was not known in advance.
	effectiveCovered byte = 1 << 1

	allFlags = versionCovered | effectiveCovered
)

// codeDomain is the prefix of what is hashed: the key hashes nothing else under this
// name.
const codeDomain = "salga trust engine event code v1"

// coded is what a code covers.
type coded struct {
	*domain.Recorded

	eventType string
	payload   []byte
	sealed    []byte // nil: none
	metadata  []byte
}

// message lays out what is hashed. Parts of variable length carry their length, and
// optional parts whether they are present, so that no two events have the same message.
func (c coded) message(key, flags byte) []byte {
	m := make([]byte, 0, len(codeDomain)+320)
	m = append(m, codeDomain...)
	m = append(m, 0, key, flags)
	m = append(m, c.Tenant.UUID[:]...)
	m = appendText(m, string(c.Stream.Type))
	m = append(m, c.Stream.ID[:]...)
	if flags&versionCovered != 0 {
		m = binary.BigEndian.AppendUint64(m, uint64(c.Version))
	}

	m = append(m, c.EventID[:]...)
	m = append(m, c.AppendID[:]...)
	m = binary.BigEndian.AppendUint64(m, uint64(c.Ordinal))
	m = appendText(m, c.eventType)
	m = appendUser(m, c.Subject)
	m = append(m, c.Record[:]...)
	m = appendUser(m, c.Actor)
	if flags&effectiveCovered != 0 {
		m = binary.BigEndian.AppendUint64(m, uint64(c.EffectiveAt.UnixMicro()))
	}

	m = appendHash(m, c.payload)
	if c.sealed == nil {
		m = append(m, 0)
	} else {
		m = appendHash(append(m, 1), c.sealed)
	}
	return appendHash(m, c.metadata)
}

func appendText(m []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint64(m, uint64(len(text))), text...)
}

func appendUser(m []byte, u domain.UserID) []byte {
	if u.IsZero() {
		return append(m, 0)
	}
	return append(append(m, 1), u.UUID[:]...)
}

func appendHash(m, of []byte) []byte {
	sum := sha256.Sum256(of)
	return append(m, sum[:]...)
}

// codes makes codes and checks them. It is safe for concurrent use.
type codes struct{ macs sync.Pool }

func newCodes(key []byte) *codes {
	return &codes{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// sum appends the HMAC of a message.
func (c *codes) sum(to, message []byte) []byte {
	mac := c.macs.Get().(hash.Hash) //nolint:forcetypeassert // nothing else is put there
	defer c.macs.Put(mac)

	mac.Reset()
	mac.Write(message) // never fails: hash.Hash
	return mac.Sum(to)
}

// of returns the code of an event.
func (c *codes) of(e coded, flags byte) []byte {
	code := make([]byte, 2, codeSize)
	code[0], code[1] = codeKey, flags
	return c.sum(code, e.message(codeKey, flags))
}

// holds tells whether a code is the event's.
func (c *codes) holds(e coded, code []byte) bool {
	if len(code) != codeSize || code[0] != codeKey || code[1]&^allFlags != 0 {
		return false
	}
	var sum [sha256.Size]byte
	return hmac.Equal(c.sum(sum[:0], e.message(code[0], code[1])), code[2:])
}

// boundary returns the code of the row in trust.coded.
func (c *codes) boundary(position int64) []byte {
	return c.sum(nil, binary.BigEndian.AppendUint64([]byte("salga trust engine coded log v1\x00"), uint64(position)))
}

func (c *codes) isBoundary(position int64, code []byte) bool {
	return hmac.Equal(c.boundary(position), code)
}

// code sets the code of an event that is about to be appended, and its version if the
// append expects one of its stream.
func (v *vault) code(d *draft, expected int) {
	flags := byte(0)
	if expected >= 0 {
		d.Version, flags = expected+d.offset, versionCovered
	}
	d.code = v.codes.of(d.coded(), flags)
}

// codeAsOf sets an event's code again so that it covers effective_at, which nothing else
// states.
func (v *vault) codeAsOf(d *draft) {
	d.code = v.codes.of(d.coded(), d.code[1]|effectiveCovered)
}

func (d *draft) coded() coded {
	return coded{&d.Recorded, d.Event.EventType(), d.payload, d.sealed, d.metadata}
}

// holds tells whether a row's code is valid. The zero id stands for "none", and is never
// written.
func (v *vault) holds(r *row) bool {
	return !r.zeroID && v.codes.holds(coded{&r.Recorded, r.eventType, r.payload, r.sealed, r.metadata}, r.code)
}

// effective tells whether an event takes effect when its payload says, where its code
// does not cover that. An event that states no time takes effect when it was recorded, by
// a clock that may have been behind recorded_at; see trust.append.
func (r *row) effective(e domain.Event) bool {
	if r.code == nil || r.code[1]&effectiveCovered != 0 {
		return true
	}
	stated := domain.EffectiveOf(e).UTC().Truncate(time.Microsecond)
	return stated.IsZero() || !stated.Before(r.EffectiveAt)
}
