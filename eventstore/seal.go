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
// where length counts nonce and ciphertext. AES-256-GCM binds each part to its event:
// additional data is kind | tenant | key id | event id | SHA-256(payload) | event type,
// so a part moved to another event, tenant, key or payload does not open.
const (
	// subjectPart holds the subject's fields, under the subject's key.
	subjectPart byte = 1
	// originPart holds the actor's address and user agent, under the actor's key. If the
	// actor is unknown it is under the subject's, else the tenant's key of the month.
	originPart byte = 2

	partHeader = 1 + 16 + 4
)

var errSealedForm = errors.New("the sealed column is malformed")

// binding is what a part's ciphertext is bound to.
type binding struct {
	tenant    domain.TenantID
	event     uuid.UUID
	eventType string
	payload   [32]byte // SHA-256
}

func bindingOf(tenant domain.TenantID, event uuid.UUID, eventType string, payload []byte) binding {
	return binding{tenant, event, eventType, sha256.Sum256(payload)}
}

// additional returns the additional data of one part.
func (b binding) additional(kind byte, key uuid.UUID) []byte {
	a := make([]byte, 0, 1+16+16+16+32+len(b.eventType))
	a = append(a, kind)
	a = append(a, b.tenant.UUID[:]...)
	a = append(a, key[:]...)
	a = append(a, b.event[:]...)
	a = append(a, b.payload[:]...)
	return append(a, b.eventType...)
}

// appendPart seals one part onto a sealed column.
func appendPart(sealed []byte, kind byte, key uuid.UUID, b box, plain []byte, at binding) []byte {
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

// findPart returns the part of one kind; found is false if the column has none. A column
// that holds anything but its parts, each at most once and in order, is refused as a
// whole: no program of ours seals one like that.
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
