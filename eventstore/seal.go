package eventstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// A sealed column holds up to two parts one after another, each
//
//	kind (1 byte) | key id (16) | length (4, big-endian) | nonce (12) | ciphertext
//
// where length counts nonce and ciphertext. AES-256-GCM binds each to where it stands:
// additional data is kind | tenant | key id | event id | SHA-256(payload) | event type,
// so a part moved to another event, tenant, key or payload does not open.
const (
	subjectPart byte = 1 // the subject's fields, under the subject's key
	// the actor's address and user agent, under the actor's key; of somebody unknown the
	// subject's, else the tenant's of the month
	originPart byte = 2

	partHeader = 1 + 16 + 4
)

var errSealedForm = errors.New("the sealed column is malformed")

// place is where a part stands; it is bound into the ciphertext.
type place struct {
	tenant    domain.TenantID
	event     uuid.UUID
	eventType string
	payload   [32]byte // SHA-256
}

func placeOf(tenant domain.TenantID, event uuid.UUID, eventType string, payload []byte) place {
	return place{tenant, event, eventType, sha256.Sum256(payload)}
}

func (p place) additional(kind byte, key uuid.UUID) []byte {
	a := make([]byte, 0, 1+16+16+16+32+len(p.eventType))
	a = append(a, kind)
	a = append(a, p.tenant.UUID[:]...)
	a = append(a, key[:]...)
	a = append(a, p.event[:]...)
	a = append(a, p.payload[:]...)
	return append(a, p.eventType...)
}

// appendPart seals one part onto a sealed column.
func appendPart(sealed []byte, kind byte, key uuid.UUID, b box, plain []byte, at place) []byte {
	ciphertext := b.seal(plain, at.additional(kind, key))
	sealed = append(sealed, kind)
	sealed = append(sealed, key[:]...)
	sealed = binary.BigEndian.AppendUint32(sealed, uint32(len(ciphertext)))
	return append(sealed, ciphertext...)
}

// part is one part of a sealed column, not yet opened.
type part struct {
	key        uuid.UUID
	ciphertext []byte
}

// findPart gives one kind of part; found is false when the column has none. A column that
// holds anything but its parts, each at most once and in order, is refused as a whole:
// nobody seals such a one.
func findPart(sealed []byte, kind byte) (p part, found bool, err error) {
	for last := byte(0); len(sealed) > 0; {
		if len(sealed) < partHeader || sealed[0] <= last || sealed[0] > originPart {
			return part{}, false, errSealedForm
		}
		n := int(binary.BigEndian.Uint32(sealed[17:partHeader]))
		if n > len(sealed)-partHeader {
			return part{}, false, errSealedForm
		}
		if last = sealed[0]; last == kind {
			p, found = part{uuid.UUID(sealed[1:17]), sealed[partHeader : partHeader+n]}, true
		}
		sealed = sealed[partHeader+n:]
	}
	return p, found, nil
}
