package proof

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/transparency-dev/formats/proof"
)

// LogProof shows that a leaf is in a log: its index, the path to the root, and the signed
// checkpoint with that root (C2SP tlog-proof).
type LogProof struct {
	Index      uint64
	Path       []Hash
	Checkpoint []byte // the signed note
	// Extra is data that nothing authenticates. Our proofs have none; nil: none.
	Extra []byte
}

// MaxLogProof bounds the text of a proof.
const MaxLogProof = MaxCheckpoint + 64<<10

// Text returns the proof in the form of a .tlog-proof file.
func (p LogProof) Text() []byte {
	raw := proof.TLogProof{Index: p.Index, Checkpoint: p.Checkpoint, ExtraData: p.Extra}
	for _, h := range p.Path {
		raw.Hashes = append(raw.Hashes, h)
	}
	return raw.Marshal()
}

var errNoLogProof = errors.New("this is no tlog-proof")

// ParseLogProof reads what Text returns, and nothing else.
func ParseLogProof(text []byte) (LogProof, error) {
	if len(text) > MaxLogProof {
		return LogProof{}, fmt.Errorf("a tlog-proof of more than %d KB is not read", MaxLogProof>>10)
	}

	var raw proof.TLogProof
	if err := raw.Unmarshal(text); err != nil {
		return LogProof{}, errNoLogProof
	}
	p := LogProof{Index: raw.Index, Checkpoint: raw.Checkpoint, Extra: raw.ExtraData}
	for _, h := range raw.Hashes {
		p.Path = append(p.Path, h)
	}

	// One proof has one form: the library reads an index with zeros before it, other line
	// ends, and base64 with superfluous bits.
	if p.Index >= MaxSize || !bytes.Equal(p.Text(), text) {
		return LogProof{}, errNoLogProof
	}
	return p, nil
}

// Verify returns nil if the proof shows that a leaf is in the log, at its index, as far
// as the checkpoint in it is believed under the policy.
func (p LogProof) Verify(leaf Hash, policy *Policy) (Believed, error) {
	believed, err := policy.Open(p.Checkpoint)
	if err != nil {
		return Believed{}, err
	}
	if err := VerifyInclusion(leaf, p.Index, believed.Size, p.Path, believed.Root); err != nil {
		return Believed{}, fmt.Errorf("the leaf %d is not in the log: %w", p.Index, err)
	}
	return believed, nil
}
