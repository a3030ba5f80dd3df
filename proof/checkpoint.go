package proof

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is what a log says of itself at one moment: all its events so far, in their
// order, have this root (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin string // which log
	Size   uint64
	Root   Hash
	// Extensions are further lines, which nobody can audit. Our log has none.
	Extensions []string
}

// Text returns what is signed.
func (c Checkpoint) Text() string {
	var text strings.Builder
	text.Write(log.Checkpoint{Origin: c.Origin, Size: c.Size, Hash: c.Root[:]}.Marshal())
	for _, line := range c.Extensions {
		text.WriteString(line + "\n")
	}
	return text.String()
}

var errNoCheckpoint = errors.New("this is no checkpoint: an origin, a size and a root, each on a line of its own")

// ParseCheckpoint reads what Text returns, and nothing else.
func ParseCheckpoint(text string) (Checkpoint, error) {
	var raw log.Checkpoint
	rest, err := raw.Unmarshal([]byte(text))
	if err != nil || len(raw.Hash) != len(Hash{}) || raw.Size > MaxSize {
		return Checkpoint{}, errNoCheckpoint
	}

	c := Checkpoint{Origin: raw.Origin, Size: raw.Size, Root: Hash(raw.Hash)}
	if len(rest) > 0 {
		c.Extensions = strings.Split(strings.TrimSuffix(string(rest), "\n"), "\n")
	}
	for _, line := range c.Extensions {
		if line == "" {
			return Checkpoint{}, errNoCheckpoint
		}
	}

	// One checkpoint has one form: the library reads a size with zeros before it, and
	// base64 with superfluous bits.
	if c.Text() != text {
		return Checkpoint{}, errNoCheckpoint
	}
	return c, nil
}

// MaxCheckpoint bounds a signed checkpoint: 16 cosignatures with ML-DSA-44 are 53 KB.
const MaxCheckpoint = 128 << 10

// Signed is a signed checkpoint, and the signatures on it that were verified.
type Signed struct {
	Checkpoint

	Raw []byte // the signed note, byte by byte
	By  []Signature
}

// Signature is one signature that was verified.
type Signature struct {
	Key Key
	At  time.Time // when it was signed, as the signer says; zero: it does not say
}

// SignedBy returns the signature that was made with a key.
func (s Signed) SignedBy(key Key) (Signature, bool) {
	for _, by := range s.By {
		if by.Key.Vkey() == key.Vkey() {
			return by, true
		}
	}
	return Signature{}, false
}

var errMalformed = errors.New("this is no signed checkpoint: a text, an empty line, and lines of signatures")

// Open reads a signed checkpoint and verifies every signature on it that one of the keys
// could have made. It refuses a checkpoint with a wrong one, and one without a right one.
// Signatures of other keys are ignored, as the specification demands.
func Open(signed []byte, keys ...Key) (Signed, error) {
	if len(signed) > MaxCheckpoint {
		return Signed{}, fmt.Errorf("a signed checkpoint of more than %d KB is not read", MaxCheckpoint>>10)
	}

	n, err := note.Open(signed, verifiers(keys))
	if err != nil {
		return Signed{}, refusal(err)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Signed{}, err
	}

	s := Signed{Checkpoint: c, Raw: signed}
	for _, sig := range n.Sigs {
		for _, key := range keys {
			if key.Name() == sig.Name && key.KeyHash() == sig.Hash {
				s.By = append(s.By, Signature{Key: key, At: key.timeOf(sig)})
				break
			}
		}
	}
	return s, nil
}

// verifiers are the keys, each once.
func verifiers(keys []Key) note.Verifiers {
	var list []note.Verifier
	known := map[string]bool{}
	for _, key := range keys {
		if !known[key.Vkey()] {
			list = append(list, key)
		}
		known[key.Vkey()] = true
	}
	return note.VerifierList(list...)
}

// refusal says in words why a signed note was not opened.
func refusal(err error) error {
	if _, is := errors.AsType[*note.UnverifiedNoteError](err); is {
		return errors.New("none of the keys asked for has signed this checkpoint")
	}
	if wrong, is := errors.AsType[*note.InvalidSignatureError](err); is {
		return fmt.Errorf("the signature of %q (key %08x) on the checkpoint is wrong", wrong.Name, wrong.Hash)
	}
	if strings.Contains(err.Error(), "malformed") {
		return errMalformed
	}
	return err
}

// Unsigned reads the checkpoint of a signed note whose signatures nobody has verified
// yet: to learn which log it is about, and nothing else.
func Unsigned(signed []byte) (Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, fmt.Errorf("a signed checkpoint of more than %d KB is not read", MaxCheckpoint>>10)
	}

	_, err := note.Open(signed, nil)
	unverified, is := errors.AsType[*note.UnverifiedNoteError](err)
	if !is {
		return Checkpoint{}, errMalformed
	}
	return ParseCheckpoint(unverified.Note.Text)
}

// Named is who is named on a signed checkpoint, as nobody has verified.
type Named struct {
	Name string
	At   time.Time // when they signed, as they say; zero: they do not say
}

// Signers reads a signed checkpoint, and who is named as having signed it, in the order
// of the lines. It verifies nothing: it is for showing people what their own log says.
func Signers(signed []byte) (Checkpoint, []Named, error) {
	c, err := Unsigned(signed)
	if err != nil {
		return c, nil, err
	}

	_, err = note.Open(signed, nil)
	unverified, is := errors.AsType[*note.UnverifiedNoteError](err)
	if !is {
		return c, nil, errMalformed
	}
	var names []Named
	for _, sig := range unverified.Note.UnverifiedSigs {
		names = append(names, Named{Name: sig.Name, At: statedTime(sig)})
	}
	return c, names, nil
}

// Join adds to a signed checkpoint the lines of cosignatures that a witness returned, as
// far as one of the keys has made them. It refuses lines of which one is wrong, and lines
// of which none is by one of the keys. What is on the checkpoint already stays.
func Join(signed, lines []byte, keys ...Key) ([]byte, error) {
	c, err := Unsigned(signed)
	if err != nil {
		return nil, err
	}
	n, err := note.Open([]byte(c.Text()+"\n"+string(lines)), verifiers(keys))
	if err != nil {
		return nil, refusal(err)
	}

	_, err = note.Open(signed, nil)
	unverified, is := errors.AsType[*note.UnverifiedNoteError](err)
	if !is {
		return nil, errMalformed
	}
	all := unverified.Note
	for _, sig := range n.Sigs {
		if !onNote(all, sig) {
			all.UnverifiedSigs = append(all.UnverifiedSigs, sig)
		}
	}
	return note.Sign(all)
}

func onNote(n *note.Note, sig note.Signature) bool {
	for _, there := range n.UnverifiedSigs {
		if there.Name == sig.Name && there.Hash == sig.Hash {
			return true
		}
	}
	return false
}

// ValidName reports whether a log or a witness can be called that: a line without spaces
// and plus signs (C2SP signed-note), short enough for an ML-DSA-44 signature.
func ValidName(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && !strings.Contains(name, "+") &&
		strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) < 0
}

// strict reads base64 in its one form: no line breaks, no bits left over.
func strict(text string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("this is not base64 in its canonical form")
	}
	return data, nil
}
