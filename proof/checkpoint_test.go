package proof_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/proof"
)

const origin = "trust.example.org/log"

// seeds are the private keys of whoever has the number.
func seeds(n byte) proof.Seeds {
	return proof.Seeds{Ed25519: [32]byte{1, n}, MLDSA44: [32]byte{2, n}}
}

func signer(t testing.TB, name string, n byte) *proof.Signer {
	t.Helper()
	s, err := proof.NewSigner(name, seeds(n))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instant() time.Time { return time.Date(2026, 4, 1, 8, 0, 0, 0, time.UTC) }

func checkpoint() proof.Checkpoint {
	return proof.Checkpoint{Origin: origin, Size: 1204, Root: proof.Sum([]byte("root"))}
}

func sign(t testing.TB, s *proof.Signer, c proof.Checkpoint) []byte {
	t.Helper()
	signed, err := s.Sign(c, instant())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func cosign(t testing.TB, s *proof.Signer, c proof.Checkpoint) []byte {
	t.Helper()
	lines, err := s.Cosign(c, instant())
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestACheckpointIsSignedWithBothKeysAndReadBack(t *testing.T) {
	t.Parallel()
	log := signer(t, origin, 1)
	signed := sign(t, log, checkpoint())

	opened, err := proof.Open(signed, log.LogKeys()...)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Text() != checkpoint().Text() || len(opened.By) != 2 || len(signed) > 3600 {
		t.Errorf("read %+v of %d bytes", opened, len(signed))
	}
	for i, want := range []time.Time{{}, instant()} {
		if by, signed := opened.SignedBy(log.LogKeys()[i]); !signed || !by.At.Equal(want) {
			t.Errorf("key %d signed at %s (%v)", i, by.At, signed)
		}
	}

	// Each key alone is enough to verify it. To whoever knows neither it says nothing.
	for _, key := range log.LogKeys() {
		if _, err := proof.Open(signed, key); err != nil {
			t.Errorf("%s alone: %v", key.Algorithm(), err)
		}
	}
	if _, err := proof.Open(signed, signer(t, origin, 2).LogKeys()...); err == nil {
		t.Error("a stranger's keys have signed it")
	}
}

// Programs of others read what we sign: the standard library of notes the Ed25519
// signature, and the C2SP library the cosignatures.
func TestOthersReadWhatWeSign(t *testing.T) {
	t.Parallel()
	log, witness := signer(t, origin, 1), signer(t, "witness.example.org", 2)
	signed, err := proof.Join(sign(t, log, checkpoint()), cosign(t, witness, checkpoint()), witness.WitnessKeys()...)
	if err != nil {
		t.Fatal(err)
	}

	ed, err := note.NewVerifier(log.LogKeys()[0].Vkey())
	if err != nil {
		t.Fatal(err)
	}
	known := []note.Verifier{ed}
	for _, key := range append(log.LogKeys()[1:], witness.WitnessKeys()...) {
		v, err := fnote.NewVerifierForCosignatureV1(key.Vkey())
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, v)
	}

	n, err := note.Open(signed, note.VerifierList(known...))
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Sigs) != 4 || len(n.UnverifiedSigs) != 0 {
		t.Errorf("%d signatures verified, %d not", len(n.Sigs), len(n.UnverifiedSigs))
	}
	at, err := fnote.CoSigV1Timestamp(n.Sigs[3])
	if err != nil || !at.Equal(instant()) {
		t.Errorf("cosigned at %s (%v)", at, err)
	}
}

// And we read what others sign: the library's own signers.
func TestWeReadWhatOthersSign(t *testing.T) {
	t.Parallel()
	secret, _, err := note.GenerateKey(nil, "other.example.org")
	if err != nil {
		t.Fatal(err)
	}
	ml, mlKey, err := fnote.GenerateMLDSAKey("other.example.org")
	if err != nil {
		t.Fatal(err)
	}

	for _, skey := range []string{secret, ml} {
		theirs, err := fnote.NewSignerForCosignatureV1(skey)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: checkpoint().Text()}, theirs)
		if err != nil {
			t.Fatal(err)
		}

		vkey := mlKey
		if skey == secret {
			plain, err := note.NewSigner(secret)
			if err != nil {
				t.Fatal(err)
			}
			vkey = cosigningKey(t, plain, secret)
		}
		key, err := proof.ParseKey(vkey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := proof.Open(signed, key); err != nil {
			t.Errorf("%s: %v", key.Algorithm(), err)
		}
	}
}

// cosigningKey returns the cosigner's key that belongs to a plain private one.
func cosigningKey(t *testing.T, plain note.Signer, secret string) string {
	t.Helper()
	seed, err := base64.StdEncoding.DecodeString(strings.SplitN(secret, "+", 5)[4])
	if err != nil {
		t.Fatal(err)
	}
	s, err := proof.NewSigner(plain.Name(), proof.Seeds{Ed25519: [32]byte(seed[1:])})
	if err != nil {
		t.Fatal(err)
	}
	return s.WitnessKeys()[0].Vkey()
}

// The example of the specification of signed notes, whose text is no checkpoint.
func TestTheExampleOfTheSpecificationIsVerified(t *testing.T) {
	t.Parallel()
	const vkey = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
	const signed = "This is an example message.\n\n— example.com/foo " +
		"Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"

	key, err := proof.ParseKey(vkey)
	if err != nil {
		t.Fatal(err)
	}
	if key.Vkey() != vkey || key.Kind() != proof.Ed25519 {
		t.Errorf("the key is read as %s", key.Vkey())
	}
	if _, err := note.Open([]byte(signed), note.VerifierList(key)); err != nil {
		t.Error(err)
	}
	if _, err := proof.Open([]byte(signed), key); err == nil || !strings.Contains(err.Error(), "no checkpoint") {
		t.Errorf("taken for a checkpoint: %v", err)
	}
}

func TestACheckpointOfAnotherFormIsRefused(t *testing.T) {
	t.Parallel()
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, text := range map[string]string{
		"nothing":                  "",
		"two lines":                origin + "\n5\n",
		"no origin":                "\n5\n" + root + "\n",
		"zeros before the size":    origin + "\n05\n" + root + "\n",
		"a sign before the size":   origin + "\n+5\n" + root + "\n",
		"a negative size":          origin + "\n-5\n" + root + "\n",
		"a size too large":         origin + "\n9223372036854775808\n" + root + "\n",
		"a short root":             origin + "\n5\n" + root[:40] + "\n",
		"a long root":              origin + "\n5\n" + base64.StdEncoding.EncodeToString(make([]byte, 33)) + "\n",
		"bits left over":           origin + "\n5\n" + root[:42] + "B=\n",
		"no padding":               origin + "\n5\n" + strings.TrimRight(root, "=") + "\n",
		"an empty extension":       origin + "\n5\n" + root + "\n\n",
		"an extension without end": origin + "\n5\n" + root + "\nmore",
		"line ends of DOS":         strings.ReplaceAll(origin+"\n5\n"+root+"\n", "\n", "\r\n"),
	} {
		if c, err := proof.ParseCheckpoint(text); err == nil {
			t.Errorf("%s: read as %+v", name, c)
		}
	}

	with := origin + "\n0\n" + root + "\nmore\nand more\n"
	if c, err := proof.ParseCheckpoint(with); err != nil || len(c.Extensions) != 2 || c.Text() != with {
		t.Errorf("extensions are read as %+v (%v)", c, err)
	}
}

// A bit changed anywhere makes a signed checkpoint fail, or it still says the same and is
// still signed by somebody who signed it.
func TestABitChangedInASignedCheckpointChangesNothingThatIsSaid(t *testing.T) {
	t.Parallel()
	log := signer(t, origin, 1)
	signed := sign(t, log, checkpoint())

	rapid.Check(t, func(t *rapid.T) {
		changed := bytes.Clone(signed)
		i := rapid.IntRange(0, len(signed)*8-1).Draw(t, "bit")
		changed[i/8] ^= 1 << (i % 8)
		opened, err := proof.Open(changed, log.LogKeys()...)
		if err == nil && opened.Text() != checkpoint().Text() {
			t.Errorf("bit %d: believed as\n%s", i, opened.Text())
		}
	})
}

func TestSignaturesOfOthersAreIgnoredAndWrongOnesAreNot(t *testing.T) {
	t.Parallel()
	log, witness, stranger := signer(t, origin, 1), signer(t, "w", 2), signer(t, "x", 3)
	c := checkpoint()
	signed := sign(t, log, c)
	both := append(append(bytes.Clone(signed), cosign(t, witness, c)...), cosign(t, stranger, c)...)

	opened, err := proof.Open(both, append(log.LogKeys(), witness.WitnessKeys()...)...)
	if err != nil || len(opened.By) != 4 {
		t.Errorf("%d signatures count (%v)", len(opened.By), err)
	}

	c.Size++
	wrong := append(bytes.Clone(signed), cosign(t, witness, c)...)
	if _, err := proof.Open(wrong, log.LogKeys()...); err != nil {
		t.Errorf("a cosignature that nobody asked about: %v", err)
	}
	_, err = proof.Open(wrong, append(log.LogKeys(), witness.WitnessKeys()...)...)
	if err == nil || !strings.Contains(err.Error(), `"w"`) {
		t.Errorf("a cosignature of another checkpoint: %v", err)
	}

	// The same key asked for twice is one key.
	if _, err := proof.Open(signed, append(log.LogKeys(), log.LogKeys()...)...); err != nil {
		t.Error(err)
	}
}

func TestJoinAddsOnlyWhatTheWitnessSigned(t *testing.T) {
	t.Parallel()
	log, witness := signer(t, origin, 1), signer(t, "w", 2)
	c := checkpoint()
	signed, lines := sign(t, log, c), cosign(t, witness, c)
	stranger := cosign(t, signer(t, "x", 3), c)

	joined, err := proof.Join(signed, append(bytes.Clone(lines), stranger...), witness.WitnessKeys()...)
	if err != nil || !bytes.Equal(joined, append(bytes.Clone(signed), lines...)) {
		t.Errorf("joined (%v):\n%s", err, joined)
	}
	again, err := proof.Join(joined, lines, witness.WitnessKeys()...)
	if err != nil || !bytes.Equal(again, joined) {
		t.Errorf("joined twice (%v):\n%s", err, again)
	}

	c.Size++
	for name, bad := range map[string][]byte{
		"of another checkpoint": cosign(t, witness, c), "of a stranger": stranger, "nothing": nil,
		"a page": []byte("<html>"), "without an end": bytes.TrimSuffix(lines, []byte("\n")),
		"with a text before": append([]byte("text\n\n"), lines...),
	} {
		if joined, err := proof.Join(signed, bad, witness.WitnessKeys()...); err == nil {
			t.Errorf("%s: joined\n%s", name, joined)
		}
	}
	if _, err := proof.Join([]byte("text\n"), lines, witness.WitnessKeys()...); err == nil {
		t.Error("joined to what is no checkpoint")
	}
}

func TestASignerSignsOnlyWhatIsItsOwn(t *testing.T) {
	t.Parallel()
	log := signer(t, origin, 1)
	other := checkpoint()
	other.Origin = "another.example.org"
	broken := checkpoint()
	broken.Extensions = []string{""}
	old := time.Unix(-1, 0)

	for name, err := range map[string]error{
		"another log":        second(log.Sign(other, instant())),
		"no form":            second(log.Sign(broken, instant())),
		"no form to cosign":  second(log.Cosign(broken, instant())),
		"before 1970":        second(log.Sign(checkpoint(), old)),
		"cosigned then":      second(log.Cosign(checkpoint(), old)),
		"a name with spaces": second(proof.NewSigner("my log", seeds(1))),
		"a name with a plus": second(proof.NewSigner("my+log", seeds(1))),
		"no name":            second(proof.NewSigner("", seeds(1))),
		"a name too long":    second(proof.NewSigner(strings.Repeat("x", 256), seeds(1))),
		"a name of no text":  second(proof.NewSigner("\xff", seeds(1))),
		"a control letter":   second(proof.NewSigner("a\x00b", seeds(1))),
	} {
		if err == nil {
			t.Errorf("%s: signed", name)
		}
	}

	other.Origin = strings.Repeat("x", 256)
	if _, err := log.Cosign(other, instant()); err == nil {
		t.Error("an origin was cosigned whose length does not fit")
	}
}

func TestAVerifierKeyIsReadStrictly(t *testing.T) {
	t.Parallel()
	for _, key := range append(signer(t, origin, 1).LogKeys(), signer(t, "w", 2).WitnessKeys()...) {
		vkey := key.Vkey()
		read, err := proof.ParseKey(vkey)
		if err != nil || read.Vkey() != vkey || read.Kind() != key.Kind() || read.Name() != key.Name() {
			t.Fatalf("%s is read as %+v (%v)", vkey, read, err)
		}

		first := strings.Index(vkey, "+")
		id, encoded := vkey[first+1:first+9], vkey[first+10:]
		for name, bad := range map[string]string{
			"another name":       "x" + vkey,
			"another id":         vkey[:first+1] + "00000000+" + encoded,
			"an id in capitals":  vkey[:first+1] + strings.ToUpper(id) + "A+" + encoded,
			"cut":                vkey[:len(vkey)-4],
			"a letter more":      vkey + "A",
			"a line break":       vkey[:len(vkey)-4] + "\n" + vkey[len(vkey)-4:],
			"no key":             vkey[:first+10],
			"no name":            vkey[first:],
			"nothing":            "",
			"a space in between": vkey[:first] + " " + vkey[first:],
		} {
			if _, err := proof.ParseKey(bad); err == nil {
				t.Errorf("%s: read", name)
			}
		}
	}

	// Types that others use are no keys of ours, whatever their id.
	data := append([]byte{2}, make([]byte, 32)...)
	sum := proof.Sum(append([]byte("n\n"), data...))
	vkey := "n+" + hexOf(sum[:4]) + "+" + base64.StdEncoding.EncodeToString(data)
	if _, err := proof.ParseKey(vkey); err == nil || !strings.Contains(err.Error(), "0x02") {
		t.Errorf("a key of type 2: %v", err)
	}
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

// A time of 2^63 seconds or more is none (C2SP tlog-cosignature).
func TestACosignatureBeyondAllTimeIsNone(t *testing.T) {
	t.Parallel()
	key := signer(t, "w", 2).WitnessKeys()[0]
	sig := binary.BigEndian.AppendUint64(nil, 1<<63)
	if key.Verify([]byte(checkpoint().Text()), append(sig, make([]byte, 64)...)) || key.Verify(nil, nil) {
		t.Error("verified")
	}
}

func TestALargeCheckpointIsNotRead(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("x"), proof.MaxCheckpoint+1)
	_, err := proof.Unsigned(large)
	_, err2 := proof.Open(large)
	if err == nil || err2 == nil || errors.Is(err, err2) || !strings.Contains(err.Error(), "128 KB") {
		t.Errorf("read: %v, %v", err, err2)
	}
	if _, err := proof.Unsigned([]byte("text")); err == nil {
		t.Error("a text is no signed checkpoint")
	}
}

func FuzzUnsigned(f *testing.F) {
	s, err := proof.NewSigner(origin, seeds(1))
	if err != nil {
		f.Fatal(err)
	}
	signed, err := s.Sign(checkpoint(), instant())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add([]byte(checkpoint().Text()))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := proof.Unsigned(data)
		if err != nil {
			return
		}
		again, err := proof.ParseCheckpoint(c.Text())
		if err != nil || again.Text() != c.Text() || !bytes.HasPrefix(data, []byte(c.Text())) {
			t.Errorf("%q is read as %+v", data, c)
		}
	})
}

func TestWhoIsNamedOnACheckpointAndWhenTheySigned(t *testing.T) {
	t.Parallel()
	c, at := checkpoint(), instant()
	signed := sign(t, signer(t, origin, 1), c)
	signed = append(signed, cosign(t, signer(t, "w.example.org", 2), c)...)

	read, names, err := proof.Signers(signed)
	if err != nil || read.Text() != c.Text() {
		t.Fatalf("%+v %v", read, err)
	}
	want := []proof.Named{
		{Name: origin}, {Name: origin, At: at}, {Name: "w.example.org", At: at}, {Name: "w.example.org", At: at},
	}
	if !slices.Equal(names, want) {
		t.Errorf("%+v", names)
	}

	for _, text := range []string{"", "hello\n", c.Text(), strings.Replace(string(signed), "1204", "01204", 1)} {
		if _, _, err := proof.Signers([]byte(text)); err == nil {
			t.Errorf("%.40q is read", text)
		}
	}
}
