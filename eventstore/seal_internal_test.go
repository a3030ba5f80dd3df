package eventstore

import (
	"bytes"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// FuzzSealedColumn reads arbitrary bytes as a sealed column: that may fail but must not
// panic, and nothing opens that was not sealed there.
func FuzzSealedColumn(f *testing.F) {
	key := uuid.MustParse("019384a0-0000-7000-8000-000000000001")
	b, err := newBox(bytes.Repeat([]byte{7}, keySize))
	if err != nil {
		f.Fatal(err)
	}

	r := row{eventType: "user.registered.v1", payload: []byte(`{}`)}
	at := bindingOf(r.Tenant, r.EventID, r.eventType, r.payload)
	sealedAs := map[byte]string{subjectPart: `{"email":"x"}`, originPart: `{"ip":"y"}`}
	whole := appendPart(nil, subjectPart, key, b, []byte(sealedAs[subjectPart]), at)
	whole = appendPart(whole, originPart, key, b, []byte(sealedAs[originPart]), at)

	for n := range whole {
		f.Add(whole[:n], byte(1))
	}
	f.Add(whole, originPart)
	f.Add(bytes.Repeat([]byte{0xff}, 40), byte(0xff))
	f.Add(make([]byte, 60), byte(0))

	keys := map[uuid.UUID]foundKey{key: {box: b, usable: true}, {}: {destroyed: true}}
	f.Fuzz(func(t *testing.T, sealed []byte, kind byte) {
		r := r
		r.sealed = sealed
		part, found, err := findPart(sealed, kind)
		if found && (err != nil || len(part.ciphertext) > len(sealed)) {
			t.Errorf("found %d bytes in %d, %v", len(part.ciphertext), len(sealed), err)
		}

		plain, state, err := r.open(kind, keys)
		// Compared by plain text, because the ciphertext differs between the fuzzer's
		// processes.
		if err == nil && state == domain.Open && string(plain) != sealedAs[kind] {
			t.Errorf("opened %q", plain)
		}
		if state != domain.Open && plain != nil {
			t.Errorf("state %d with %q", state, plain)
		}

		if _, err := keysOf([]row{r}, subjectPart, originPart); err == nil {
			if _, _, err := findPart(sealed, originPart); err != nil {
				t.Errorf("keysOf ignored %v", err)
			}
		}
	})
}
