package proof

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"filippo.io/mldsa"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Kind is the type of a signature (C2SP signed-note).
type Kind byte

// The types that we make and verify. A log signs with the first and the last, a witness
// with the last two.
const (
	Ed25519     Kind = 0x01 // over the text
	Ed25519At   Kind = 0x04 // over the text and the time: a cosignature
	MLDSA44At   Kind = 0x06 // over name, time, origin, size and root: a cosignature
	seedSize         = 32
	timeSize         = 8
	keyHashSize      = 4
)

// Key is the public key that belongs to a name: whose signatures are verified.
type Key struct {
	note.Verifier

	kind   Kind
	public []byte
}

var errVkey = errors.New("this is no verifier key: NAME+ID+KEY, as the log or the witness prints it")

// ParseKey reads a verifier key (vkey) of one of our kinds, strictly.
func ParseKey(vkey string) (Key, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, encoded, _ := strings.Cut(rest, "+")
	data, err := strict(encoded)
	if err != nil || len(data) == 0 || !ValidName(name) {
		return Key{}, errVkey
	}

	kind, public := Kind(data[0]), data[1:]
	if id != fmt.Sprintf("%08x", keyID(name, data)) {
		return Key{}, fmt.Errorf("the verifier key of %q does not belong to its name or its id: it was changed", name)
	}
	return newKey(name, kind, public)
}

// newKey makes a key of a name that is valid.
func newKey(name string, kind Kind, public []byte) (Key, error) {
	key := Key{kind: kind, public: public}
	vkey := vkeyOf(name, kind, public)

	var err error
	switch kind {
	case Ed25519:
		key.Verifier, err = note.NewVerifier(vkey)
	case Ed25519At, MLDSA44At:
		key.Verifier, err = fnote.NewVerifierForCosignatureV1(vkey)
	default:
		return Key{}, fmt.Errorf("the verifier key of %q is of a type that is not known here: %#02x", name, byte(kind))
	}
	if err != nil {
		return Key{}, errVkey
	}
	return key, nil
}

func vkeyOf(name string, kind Kind, public []byte) string {
	data := append([]byte{byte(kind)}, public...)
	return fmt.Sprintf("%s+%08x+%s", name, keyID(name, data), base64.StdEncoding.EncodeToString(data))
}

func keyID(name string, data []byte) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"), data...))
	return binary.BigEndian.Uint32(sum[:keyHashSize])
}

// Vkey returns the key as ParseKey reads it.
func (k Key) Vkey() string { return vkeyOf(k.Name(), k.kind, k.public) }

// Kind returns which signatures it verifies.
func (k Key) Kind() Kind { return k.kind }

// Verify reports whether a signature is of this key. It adds to the library that a time
// after the year 292 billion, which the specification rules out, is no time.
func (k Key) Verify(text, sig []byte) bool {
	if k.kind != Ed25519 && (len(sig) < timeSize || binary.BigEndian.Uint64(sig) > math.MaxInt64) {
		return false
	}
	return k.Verifier.Verify(text, sig)
}

// Algorithm names the algorithm for people.
func (k Key) Algorithm() string {
	if k.kind == MLDSA44At {
		return "ML-DSA-44"
	}
	return "Ed25519"
}

// timeOf returns when the signature says that it was made.
func (k Key) timeOf(sig note.Signature) time.Time {
	if k.kind == Ed25519 {
		return time.Time{}
	}
	return statedTime(sig)
}

// statedTime returns when a signature of one of our kinds says that it was made; zero: it
// is one over the text alone, which says nothing.
func statedTime(sig note.Signature) time.Time {
	data, err := base64.StdEncoding.DecodeString(sig.Base64)
	if err != nil || len(data) < keyHashSize+timeSize || len(data) == keyHashSize+ed25519.SignatureSize {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(data[keyHashSize:])), 0).UTC()
}

// Seeds are what the two private keys of a log or a witness are made from. Whoever knows
// them can sign in its name.
type Seeds struct{ Ed25519, MLDSA44 [seedSize]byte }

// Signer signs with both keys.
type Signer struct {
	name string
	ed   ed25519.PrivateKey
	ml   *mldsa.PrivateKey
	mlAt *fnote.SubtreeSigner

	edKey, edAtKey, mlKey Key
}

// NewSigner makes the signer of a log, whose name is its origin, or of a witness.
func NewSigner(name string, seeds Seeds) (*Signer, error) {
	if !ValidName(name) {
		return nil, fmt.Errorf("%q cannot name a log or a witness: 1 to %d bytes, without spaces and plus signs",
			name, maxName)
	}

	ml, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seeds.MLDSA44[:])
	if err != nil {
		return nil, fmt.Errorf("make an ML-DSA-44 key: %w", err)
	}
	secret := append([]byte{byte(MLDSA44At)}, seeds.MLDSA44[:]...)
	mlAt, err := fnote.NewMLDSASigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, 0,
		base64.StdEncoding.EncodeToString(secret)))
	if err != nil {
		return nil, fmt.Errorf("make an ML-DSA-44 key: %w", err)
	}

	s := &Signer{name: name, ed: ed25519.NewKeyFromSeed(seeds.Ed25519[:]), ml: ml, mlAt: mlAt}
	public := s.ed.Public().(ed25519.PublicKey)
	var errs [3]error
	s.edKey, errs[0] = newKey(name, Ed25519, public)
	s.edAtKey, errs[1] = newKey(name, Ed25519At, public)
	s.mlKey, errs[2] = newKey(name, MLDSA44At, ml.PublicKey().Bytes())
	return s, errors.Join(errs[:]...)
}

// Name returns the origin of the log, or the name of the witness.
func (s *Signer) Name() string { return s.name }

// LogKeys returns the keys that verify what Sign returns, Ed25519 first.
func (s *Signer) LogKeys() []Key { return []Key{s.edKey, s.mlKey} }

// WitnessKeys returns the keys that verify what Cosign returns, Ed25519 first.
func (s *Signer) WitnessKeys() []Key { return []Key{s.edAtKey, s.mlKey} }

// Sign signs a checkpoint of the log with both keys. The time is in the ML-DSA-44
// signature alone.
func (s *Signer) Sign(c Checkpoint, at time.Time) ([]byte, error) {
	if c.Origin != s.name {
		return nil, fmt.Errorf("the log %q does not sign checkpoints of %q", s.name, c.Origin)
	}
	if _, err := ParseCheckpoint(c.Text()); err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: c.Text()}, s.edSigner(), s.mlSigner(c, at))
}

// Cosign returns the two lines of signatures by which a witness says that, as of then,
// this is the largest tree of the log that it knows, and that it found it consistent with
// every earlier one. Whether that is so is for the caller to check.
func (s *Signer) Cosign(c Checkpoint, at time.Time) ([]byte, error) {
	if _, err := ParseCheckpoint(c.Text()); err != nil {
		return nil, err
	}
	if len(c.Origin) > maxName {
		return nil, fmt.Errorf("an origin of more than %d bytes is not cosigned", maxName)
	}

	signed, err := note.Sign(&note.Note{Text: c.Text()}, s.edAtSigner(at), s.mlSigner(c, at))
	if err != nil {
		return nil, err
	}
	_, lines, _ := strings.Cut(string(signed), "\n\n")
	return []byte(lines), nil
}

// signer signs a note with one key.
type signer struct {
	Key

	sign func(text []byte) ([]byte, error)
}

func (s signer) Sign(text []byte) ([]byte, error) { return s.sign(text) }

func (s *Signer) edSigner() note.Signer {
	return signer{s.edKey, func(text []byte) ([]byte, error) { return ed25519.Sign(s.ed, text), nil }}
}

// edAtSigner takes the time as an argument, which the library's reads from the clock.
func (s *Signer) edAtSigner(at time.Time) note.Signer {
	return signer{s.edAtKey, func(text []byte) ([]byte, error) {
		if at.Unix() < 0 {
			return nil, errors.New("nobody signs before 1970")
		}
		stamp := binary.BigEndian.AppendUint64(nil, uint64(at.Unix()))
		message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at.Unix(), text)
		return append(stamp, ed25519.Sign(s.ed, message)...), nil
	}}
}

func (s *Signer) mlSigner(c Checkpoint, at time.Time) note.Signer {
	return signer{s.mlKey, func([]byte) ([]byte, error) {
		if at.Unix() < 0 {
			return nil, errors.New("nobody signs before 1970")
		}
		return s.mlAt.SignSubtree(uint64(at.Unix()), c.Origin, 0, c.Size, c.Root[:])
	}}
}
