package proof

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"filippo.io/mldsa"
	json "github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
)

// Bundle is a decision with all that proves it: one JSON file.
type Bundle struct {
	Receipt Receipt
	// Stream is the subject's whole consent stream, versions 1, 2, 3 …, as the log holds
	// it at the checkpoint.
	Stream []Evidence
	// Notice is the event that published the words; nil: they are built in, or unknown.
	Notice *Evidence
	// StreamEnd is the event by which the log states where the stream ended when the
	// bundle was issued. It is no proof of absence: it makes a lie provable for ever.
	StreamEnd  Evidence
	Checkpoint []byte // signed and cosigned
	Policy     *Policy
}

// Evidence is one event, and the proof that it is in the log.
type Evidence struct {
	Header

	Payload []byte // the exact bytes
	Path    []Hash // from the leaf to the root of the checkpoint
}

// MaxBundle bounds a bundle: what is larger is not read.
const MaxBundle = 16 << 20

const (
	bundleType    = "salga-trust/decision-bundle"
	bundleVersion = 1

	// bundleContext begins what Ed25519 signs, and is the context of ML-DSA-44. A
	// checkpoint's second line is a number, so it is never one.
	bundleContext = "salga trust engine decision bundle v1"
)

// ErrUnreadable is the reason where a file is no bundle that this version can read; it
// says nothing about what the file claims.
var ErrUnreadable = errors.New("unreadable")

// unreadableError says in one sentence why a file is ErrUnreadable.
type unreadableError struct{ sentence string }

func (e *unreadableError) Error() string { return e.sentence }
func (e *unreadableError) Unwrap() error { return ErrUnreadable }

func unreadable(format string, args ...any) error {
	return &unreadableError{fmt.Sprintf(format, args...)}
}

// The wire form. Positions are text, because JSON's canonical form rounds large numbers.
type (
	bundleJSON struct {
		Type       string          `json:"type"`
		Version    int             `json:"version"`
		Receipt    Receipt         `json:"receipt"`
		Stream     []eventJSON     `json:"stream"`
		Notice     *eventJSON      `json:"notice"`
		StreamEnd  eventJSON       `json:"stream_end"`
		Checkpoint string          `json:"checkpoint"`
		Policy     string          `json:"policy"`
		Signatures *signaturesJSON `json:"signatures,omitzero"` // over everything else
	}
	eventJSON struct {
		Position    string     `json:"position"`
		TenantID    uuid.UUID  `json:"tenant_id"`
		StreamType  string     `json:"stream_type"`
		StreamID    uuid.UUID  `json:"stream_id"`
		Version     int32      `json:"version"`
		EventID     uuid.UUID  `json:"event_id"`
		AppendID    uuid.UUID  `json:"append_id"`
		Ordinal     int16      `json:"ordinal"`
		EventType   string     `json:"event_type"`
		SubjectID   *uuid.UUID `json:"subject_id"`
		RecordID    uuid.UUID  `json:"record_id"`
		ActorID     *uuid.UUID `json:"actor_id"`
		EffectiveAt Instant    `json:"effective_at"`
		RecordedAt  Instant    `json:"recorded_at"`
		Payload     string     `json:"payload"` // base64
		Sealed      *string    `json:"sealed_sha256"`
		Metadata    string     `json:"metadata_sha256"`
		TLogProof   string     `json:"tlog_proof"`
	}
	signaturesJSON struct {
		Ed25519 signatureJSON `json:"ed25519"`
		MLDSA44 signatureJSON `json:"ml_dsa_44"`
	}
	signatureJSON struct {
		Key       string `json:"key"` // a vkey
		Signature string `json:"signature"`
	}
)

// SignBundle returns the file of a bundle, signed as a whole with both keys of the log.
func (s *Signer) SignBundle(b Bundle) ([]byte, error) {
	wire := b.wire()
	message, err := wire.message()
	if err != nil {
		return nil, err
	}

	ml, err := s.ml.Sign(nil, message, &mldsa.Options{Context: bundleContext})
	if err != nil {
		return nil, fmt.Errorf("sign a bundle: %w", err)
	}
	ed := ed25519.Sign(s.ed, append([]byte(bundleContext+"\n"), message...))
	wire.Signatures = &signaturesJSON{
		Ed25519: signatureJSON{Key: s.edKey.Vkey(), Signature: base64.StdEncoding.EncodeToString(ed)},
		MLDSA44: signatureJSON{Key: s.mlKey.Vkey(), Signature: base64.StdEncoding.EncodeToString(ml)},
	}

	data, err := wire.canonical()
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBundle {
		return nil, fmt.Errorf("this bundle would have more than %d MB, which nobody reads", MaxBundle>>20)
	}
	return data, nil
}

func (b Bundle) wire() bundleJSON {
	wire := bundleJSON{
		Type: bundleType, Version: bundleVersion, Receipt: b.Receipt, Stream: []eventJSON{},
		StreamEnd:  b.StreamEnd.wire(b.Checkpoint),
		Checkpoint: string(b.Checkpoint), Policy: b.Policy.Text(),
	}
	for _, e := range b.Stream {
		wire.Stream = append(wire.Stream, e.wire(b.Checkpoint))
	}
	if b.Notice != nil {
		notice := b.Notice.wire(b.Checkpoint)
		wire.Notice = &notice
	}
	return wire
}

// message is what is signed: the canonical form without the signatures.
func (w bundleJSON) message() ([]byte, error) {
	w.Signatures = nil
	return w.canonical()
}

// canonical returns the RFC 8785 form.
func (w bundleJSON) canonical() ([]byte, error) {
	data, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("print a bundle: %w", err)
	}
	if data, err = jcs.Transform(data); err != nil {
		return nil, fmt.Errorf("print a bundle: %w", err)
	}
	return data, nil
}

func (e Evidence) wire(checkpoint []byte) eventJSON {
	wire := eventJSON{
		Position: strconv.FormatInt(e.Position, 10), TenantID: e.Tenant, StreamType: e.StreamType, StreamID: e.StreamID,
		Version: e.Version, EventID: e.EventID, AppendID: e.AppendID, Ordinal: e.Ordinal, EventType: e.EventType,
		SubjectID: pointer(e.Subject), RecordID: e.Record, ActorID: pointer(e.Actor),
		EffectiveAt: At(e.EffectiveAt), RecordedAt: At(e.RecordedAt),
		Payload:   base64.StdEncoding.EncodeToString(e.Payload),
		Metadata:  hex.EncodeToString(e.Metadata[:]),
		TLogProof: string(LogProof{Index: e.Index(), Path: e.Path, Checkpoint: checkpoint}.Text()),
	}
	if e.Sealed != nil {
		sealed := hex.EncodeToString(e.Sealed[:])
		wire.Sealed = &sealed
	}
	return wire
}

func pointer(id uuid.NullUUID) *uuid.UUID {
	if !id.Valid {
		return nil
	}
	return &id.UUID
}

// signedBundle is a bundle as it was read, with what is to be verified of the file.
type signedBundle struct {
	Bundle

	message    []byte
	signatures signaturesJSON
}

// ParseBundle reads a bundle strictly and believes nothing of it: Check does. Every error
// is ErrUnreadable.
func ParseBundle(data []byte) (Bundle, error) {
	b, err := parseBundle(data)
	if err != nil {
		return Bundle{}, brief(err)
	}
	return b.Bundle, nil
}

// maxParts bounds the values of a bundle: one of 1000 events has 20 000. Without it 16 MB
// of nothing but brackets would take gigabytes of memory.
const maxParts = 1 << 17

// parts returns how many values a text can have, if it is JSON, or more.
func parts(data []byte) (n int) {
	for _, sign := range []string{",", "[", "{"} {
		n += bytes.Count(data, []byte(sign))
	}
	return n
}

func parseBundle(data []byte) (signedBundle, error) {
	if len(data) > MaxBundle {
		return signedBundle{}, unreadable("a bundle of more than %d MB is not read", MaxBundle>>20)
	}
	if parts(data) > maxParts {
		return signedBundle{}, unreadable("a bundle of more than %d values is not read", maxParts)
	}
	canonical, err := jcs.Transform(data)
	if err != nil {
		return signedBundle{}, unreadable("this is no decision bundle: no JSON, a name that stands twice, or cut")
	}

	var kind struct {
		Type    string `json:"type"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(canonical, &kind); err != nil || kind.Type != bundleType {
		return signedBundle{}, unreadable("this is no decision bundle: it does not say that it is a %s", bundleType)
	}
	if kind.Version != bundleVersion {
		return signedBundle{}, unreadable("this bundle has the form %d, and this version reads the form %d alone: "+
			"use a newer one", kind.Version, bundleVersion)
	}

	var wire bundleJSON
	if err := json.Unmarshal(canonical, &wire, json.RejectUnknownMembers(true)); err != nil {
		return signedBundle{}, unreadable("this is no decision bundle: %v", err)
	}
	if wire.Signatures == nil {
		return signedBundle{}, unreadable("this decision bundle is not signed")
	}
	// One bundle has one form, but for spaces and the order of names: nothing may be
	// missing, and no value be written differently.
	if printed, err := wire.canonical(); err != nil || !bytes.Equal(printed, canonical) {
		return signedBundle{},
			unreadable("this is no decision bundle: something is missing, or written in another form")
	}
	return wire.read()
}

func (w bundleJSON) read() (signedBundle, error) {
	b := signedBundle{signatures: *w.Signatures}
	b.Receipt, b.Checkpoint = w.Receipt, []byte(w.Checkpoint)

	var err error
	if b.message, err = w.message(); err != nil {
		return signedBundle{}, unreadable("%v", err)
	}
	if b.Policy, err = ParsePolicy([]byte(w.Policy)); err != nil {
		return signedBundle{}, unreadable("in the bundle: %v", err)
	}
	if b.StreamEnd, err = w.StreamEnd.read(b.Checkpoint); err != nil {
		return signedBundle{}, unreadable("the statement of the stream's end: %v", err)
	}

	for _, wire := range w.Stream {
		e, err := wire.read(b.Checkpoint)
		if err != nil {
			return signedBundle{}, unreadable("event %s of the bundle: %v", wire.Position, err)
		}
		b.Stream = append(b.Stream, e)
	}
	if w.Notice != nil {
		e, err := w.Notice.read(b.Checkpoint)
		if err != nil {
			return signedBundle{}, unreadable("the notice: %v", err)
		}
		b.Notice = &e
	}
	return b, nil
}

// size reads a number in its one form.
func size(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, fmt.Errorf("%q is not a position in its one form", text)
	}
	return n, nil
}

// read takes the hash of the payload from the payload itself: only one that is the log's
// own leads to the root.
func (w eventJSON) read(checkpoint []byte) (Evidence, error) {
	e := Evidence{Header: Header{
		Tenant: w.TenantID, StreamType: w.StreamType, StreamID: w.StreamID, Version: w.Version, EventID: w.EventID,
		AppendID: w.AppendID, Ordinal: w.Ordinal, EventType: w.EventType, Subject: null(w.SubjectID),
		Record: w.RecordID,
		Actor:  null(w.ActorID), EffectiveAt: w.EffectiveAt.Time(), RecordedAt: w.RecordedAt.Time(),
	}}

	position, err := size(w.Position)
	if err != nil {
		return Evidence{}, err
	}
	e.Position = int64(position)
	if e.Payload, err = strict(w.Payload); err != nil {
		return Evidence{}, fmt.Errorf("payload: %w", err)
	}
	e.Header.Payload = Sum(e.Payload)
	if e.Metadata, err = hashFrom(w.Metadata); err != nil {
		return Evidence{}, err
	}
	if w.Sealed != nil {
		sealed, err := hashFrom(*w.Sealed)
		if err != nil {
			return Evidence{}, err
		}
		e.Sealed = &sealed
	}
	if _, err := e.Encode(); err != nil {
		return Evidence{}, err
	}

	p, err := ParseLogProof([]byte(w.TLogProof))
	switch {
	case err != nil:
		return Evidence{}, err
	case p.Extra != nil:
		return Evidence{}, errors.New("its proof has extra data, which nothing authenticates")
	case p.Index != e.Index():
		return Evidence{}, fmt.Errorf("its proof is of position %d", p.Index+1)
	case !bytes.Equal(p.Checkpoint, checkpoint):
		return Evidence{}, errors.New("its proof has another checkpoint than the bundle")
	}
	e.Path = p.Path
	return e, nil
}

func null(id *uuid.UUID) uuid.NullUUID {
	if id == nil {
		return uuid.NullUUID{}
	}
	return uuid.NullUUID{UUID: *id, Valid: true}
}

func hashFrom(text string) (Hash, error) {
	data, err := hex.DecodeString(text)
	if err != nil || len(data) != len(Hash{}) || hex.EncodeToString(data) != text {
		return Hash{}, fmt.Errorf("%q is not a SHA-256 hash in small letters", text)
	}
	return Hash(data), nil
}

// verifySignatures returns the keys whose signature holds and that the policy lists for
// the log. Both signatures must hold; one of the keys at least must be listed.
func (b signedBundle) verifySignatures(origin string, policy *Policy) ([]Key, error) {
	ed, err := b.signatures.Ed25519.verify(Ed25519, func(public, sig []byte) bool {
		return ed25519.Verify(public, append([]byte(bundleContext+"\n"), b.message...), sig)
	})
	if err != nil {
		return nil, err
	}
	ml, err := b.signatures.MLDSA44.verify(MLDSA44At, func(public, sig []byte) bool {
		key, err := mldsa.NewPublicKey(mldsa.MLDSA44(), public)
		return err == nil && mldsa.Verify(key, b.message, sig, &mldsa.Options{Context: bundleContext}) == nil
	})
	if err != nil {
		return nil, err
	}

	var trusted []Key
	for _, key := range []Key{ed, ml} {
		if policy.Trusts(origin, key) {
			trusted = append(trusted, key)
		}
	}
	if len(trusted) == 0 {
		return nil, fmt.Errorf("the bundle is signed by a stranger: the policy lists neither key for the log %q",
			origin)
	}
	return trusted, nil
}

// verify returns the key of a signature that holds.
func (s signatureJSON) verify(kind Kind, holds func(public, sig []byte) bool) (Key, error) {
	key, err := ParseKey(s.Key)
	if err != nil || key.Kind() != kind {
		return Key{}, fmt.Errorf("the bundle's signature names %q, which is no key of its kind", shortened(s.Key))
	}
	sig, err := strict(s.Signature)
	if err != nil || !holds(key.public, sig) {
		return Key{}, fmt.Errorf("the %s signature over the bundle does not hold: it was changed, or signed by "+
			"somebody else", key.Algorithm())
	}
	return key, nil
}

func shortened(text string) string {
	const enough = 60
	if len(text) > enough {
		return text[:enough] + "…"
	}
	return text
}
