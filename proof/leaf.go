package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/transparency-dev/merkle/rfc6962"
)

// Hash is a SHA-256 hash: of a leaf, of a node of the tree, or of some bytes.
type Hash [sha256.Size]byte

// Sum returns the hash of some bytes.
func Sum(data []byte) Hash { return sha256.Sum256(data) }

// Header is everything that one leaf of the tree says of one event: the columns of
// trust.events, with the hash in place of what is long, sealed or private. So a header
// and its payload can be shown while the rest is withheld.
//
// The event's code is not part of it: it is made anew when the key that it is made with
// changes.
type Header struct {
	Position    int64 // of the event in the log; its leaf has the index Position - 1
	Tenant      uuid.UUID
	StreamType  string
	StreamID    uuid.UUID
	Version     int32 // in the stream
	EventID     uuid.UUID
	AppendID    uuid.UUID
	Ordinal     int16 // in the append
	EventType   string
	Subject     uuid.NullUUID
	Record      uuid.UUID
	Actor       uuid.NullUUID
	EffectiveAt time.Time // to the microsecond, as the database keeps it
	RecordedAt  time.Time

	Payload  Hash  // of the exact bytes of the column
	Sealed   *Hash // nil: the column is null, which is not the same as empty
	Metadata Hash  // of the exact bytes of the column
}

// Index returns the index of the event's leaf.
func (h Header) Index() uint64 { return uint64(h.Position) - 1 }

// leafPrefix begins every entry: no other bytes that this program hashes or signs begin
// like that. Its last byte is the version of the form.
const leafPrefix = "salga trust engine leaf\x01"

// maxName bounds a stream's type and an event's type.
const maxName = 255

// The first and last year whose instants the form can hold without surprise: those of
// RFC 3339, as in the bundle.
const (
	firstYear = 0
	lastYear  = 9999
)

// Encode returns the entry of the event: what its leaf is the hash of. Every field has a
// fixed length, or its length before it, so that no two headers are encoded alike. It
// refuses a header that cannot be of an event, or whose instants are not whole
// microseconds.
func (h Header) Encode() ([]byte, error) {
	if err := h.validate(); err != nil {
		return nil, err
	}

	b := make([]byte, 0, 400)
	b = append(b, leafPrefix...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Position))
	b = append(b, h.Tenant[:]...)
	b = appendName(b, h.StreamType)
	b = append(b, h.StreamID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Version))

	b = append(b, h.EventID[:]...)
	b = append(b, h.AppendID[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(h.Ordinal))
	b = appendName(b, h.EventType)

	b = appendOptional(b, h.Subject.Valid, h.Subject.UUID[:])
	b = append(b, h.Record[:]...)
	b = appendOptional(b, h.Actor.Valid, h.Actor.UUID[:])
	b = binary.BigEndian.AppendUint64(b, uint64(h.EffectiveAt.UnixMicro()))
	b = binary.BigEndian.AppendUint64(b, uint64(h.RecordedAt.UnixMicro()))

	b = append(b, h.Payload[:]...)
	if h.Sealed == nil {
		b = append(b, 0)
	} else {
		b = appendOptional(b, true, h.Sealed[:])
	}
	return append(b, h.Metadata[:]...), nil
}

// Leaf returns the hash of the event's leaf, by RFC 6962.
func (h Header) Leaf() (Hash, error) {
	entry, err := h.Encode()
	if err != nil {
		return Hash{}, err
	}
	return LeafHash(entry), nil
}

// LeafHash returns the hash of a leaf with this entry, by RFC 6962.
func LeafHash(entry []byte) Hash { return Hash(rfc6962.DefaultHasher.HashLeaf(entry)) }

func (h Header) validate() error {
	switch {
	case h.Position < 1:
		return fmt.Errorf("position %d: positions begin at 1", h.Position)
	case h.Version < 1:
		return fmt.Errorf("version %d: versions begin at 1", h.Version)
	case h.Ordinal < 1:
		return fmt.Errorf("ordinal %d: ordinals begin at 1", h.Ordinal)
	}

	for _, name := range []string{h.StreamType, h.EventType} {
		if name == "" || len(name) > maxName || !utf8.ValidString(name) {
			return fmt.Errorf("the type %q is not 1 to %d bytes of UTF-8", name, maxName)
		}
	}

	for _, at := range []time.Time{h.EffectiveAt, h.RecordedAt} {
		if year := at.UTC().Year(); year < firstYear || year > lastYear || at.Nanosecond()%1000 != 0 {
			return fmt.Errorf("the instant %s is not a whole microsecond of the years %d to %d", at, firstYear,
				lastYear)
		}
	}
	return nil
}

func appendName(b []byte, name string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	return append(b, name...)
}

// appendOptional appends 1 and the value, or 0 alone.
func appendOptional(b []byte, there bool, value []byte) []byte {
	if !there {
		return append(b, 0)
	}
	return append(append(b, 1), value...)
}

var errNotALeaf = errors.New("these bytes are not the entry of an event")

// Decode reads an entry. Only what Encode returns is one.
func Decode(entry []byte) (Header, error) {
	r := reader{rest: entry}
	if string(r.take(len(leafPrefix))) != leafPrefix {
		return Header{}, errNotALeaf
	}

	h := Header{Position: int64(r.uint(8)), Tenant: r.id(), StreamType: r.name(), StreamID: r.id()}
	h.Version = int32(r.uint(4))
	h.EventID, h.AppendID, h.Ordinal, h.EventType = r.id(), r.id(), int16(r.uint(2)), r.name()
	h.Subject, h.Record, h.Actor = r.optionalID(), r.id(), r.optionalID()
	h.EffectiveAt, h.RecordedAt = r.instant(), r.instant()
	h.Payload = r.hash()
	if r.flag() {
		sealed := r.hash()
		h.Sealed = &sealed
	}
	h.Metadata = r.hash()

	if r.short || len(r.rest) > 0 {
		return Header{}, errNotALeaf
	}
	if err := h.validate(); err != nil {
		return Header{}, err
	}
	return h, nil
}

// reader takes an entry apart. After anything that cannot be, short is set.
type reader struct {
	rest  []byte
	short bool
}

// take returns the next n bytes, or n zeros if there are not so many.
func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.short, r.rest = true, nil
		return make([]byte, n)
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) uint(size int) (n uint64) {
	for _, b := range r.take(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (r *reader) id() uuid.UUID      { return uuid.UUID(r.take(16)) }
func (r *reader) hash() Hash         { return Hash(r.take(sha256.Size)) }
func (r *reader) name() string       { return string(r.take(int(r.uint(2)))) }
func (r *reader) instant() time.Time { return time.UnixMicro(int64(r.uint(8))).UTC() }

func (r *reader) flag() bool {
	b := r.take(1)[0]
	if b > 1 {
		r.short = true
	}
	return b == 1
}

func (r *reader) optionalID() uuid.NullUUID {
	if !r.flag() {
		return uuid.NullUUID{}
	}
	return uuid.NullUUID{UUID: r.id(), Valid: true}
}

// MaxSize is the largest tree that positions can name.
const MaxSize = math.MaxInt64
