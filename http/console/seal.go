package console

import (
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/salga-trust/engine/proof"
)

// seal is how far the log is sealed: what its newest checkpoint says.
type seal struct {
	Size      int64     // it covers every position up to here; 0: there is no checkpoint
	At        time.Time // when the log signed it
	Witnesses []string  // who has cosigned it so far
}

// Covers reports whether what stands at a position is sealed.
func (s seal) Covers(position int64) bool { return 0 < position && position <= s.Size }

// seal asks for the newest checkpoint, which is open to everybody.
func (v *Visit) seal() (seal, error) {
	r, err := http.NewRequestWithContext(v.r.Context(), http.MethodGet, "http://console/log/checkpoint", http.NoBody)
	if err != nil {
		return seal{}, err
	}
	answer, err := v.API.HTTP.Do(r)
	if err != nil {
		return seal{}, err
	}
	defer func() { _ = answer.Body.Close() }() // in memory

	signed, err := io.ReadAll(answer.Body)
	if err != nil {
		return seal{}, err
	}
	if answer.StatusCode == http.StatusNotFound {
		return seal{}, nil
	}
	if answer.StatusCode != http.StatusOK {
		return seal{}, refusedWith(answer.StatusCode, answer.Header, signed)
	}
	return sealOf(signed)
}

// sealOf reads a signed checkpoint. The log itself says so; that it is true is what a
// proof shows.
func sealOf(signed []byte) (seal, error) {
	checkpoint, signers, err := proof.Signers(signed)
	if err != nil {
		return seal{}, err
	}

	s := seal{Size: int64(checkpoint.Size)} //nolint:gosec // as many as there are positions
	for _, signer := range signers {
		switch {
		case signer.Name != checkpoint.Origin:
			s.Witnesses = append(s.Witnesses, signer.Name)
		case signer.At.After(s.At):
			s.At = signer.At
		}
	}
	slices.Sort(s.Witnesses)
	s.Witnesses = slices.Compact(s.Witnesses) // each signs with two keys
	return s, nil
}
