package logtest

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/proof"
)

// Words are those that the person of a bundle agreed to.
const Words = "To send you the municipality's monthly newsletter by e-mail."

// Bundle returns the file of a proof that somebody agreed to a newsletter, as the log
// Origin signed it, and the policy of that log.
func Bundle(t testing.TB) (file []byte, policy string) {
	t.Helper()
	granted, receipt := grant(), uuid.UUID{15: 9}
	tree, events := Grown(300, 300, ""), []proof.Evidence{granted, end(granted, receipt)}
	for i := range events {
		events[i].Position = int64(len(tree) + 1)
		leaf, err := events[i].Leaf()
		if err != nil {
			t.Fatal(err)
		}
		tree = append(tree, leaf)
	}
	for i, e := range events {
		path, err := proof.InclusionProof(e.Index(), uint64(len(tree)), tree.Tile)
		if err != nil {
			t.Fatal(err)
		}
		events[i].Path = path
	}

	log := Signer(t, Origin)
	b := proof.Bundle{
		Stream: events[:1], StreamEnd: events[1],
		Checkpoint: tree.Signed(t), Policy: proof.LogPolicy(log.LogKeys()...),
	}
	var err error
	b.Receipt, err = proof.NewReceipt(receipt, Noon(), granted.Record, b.Stream, proof.Declared{
		Controller:   proof.Controller{Code: "MAN", Name: "Mangaung", Contact: "privacy@mangaung.example"},
		Jurisdiction: "ZA",
	})
	if err != nil {
		t.Fatal(err)
	}
	if file, err = log.SignBundle(b); err != nil {
		t.Fatal(err)
	}
	return file, b.Policy.Text()
}

// grant is the event of the person's consent, which stands nowhere yet.
func grant() proof.Evidence {
	consent, person, sum := uuid.UUID{15: 1}, uuid.UUID{15: 2}, proof.Sum([]byte(Words))
	payload := fmt.Appendf(nil, `{"consent_id":%q,"purpose":"newsletter","notice_version":1,"wording":%q,"sha256":%q,`+
		`"language":"en","channel":"web","recorded_by":"self","given_by":"self","basis":"consent"}`,
		consent, Words, hex.EncodeToString(sum[:]))

	return proof.Evidence{Payload: payload, Header: proof.Header{
		Tenant: uuid.UUID{15: 3}, StreamType: "consent", StreamID: person, Version: 1, EventID: uuid.UUID{15: 4},
		AppendID: uuid.UUID{15: 5}, Ordinal: 1, EventType: "consent.granted.v1",
		Subject: uuid.NullUUID{UUID: person, Valid: true}, Record: consent,
		EffectiveAt: Noon().Add(-time.Hour), RecordedAt: Noon().Add(-time.Hour), Payload: proof.Sum(payload),
	}}
}

// end is the event that states that the person's stream ends with a decision.
func end(decision proof.Evidence, receipt uuid.UUID) proof.Evidence {
	payload := fmt.Appendf(nil, `{"receipt_id":%q,"consent_id":%q,"purpose":"newsletter","stream_type":"consent",`+
		`"stream_id":%q,"stream_version":%d}`, receipt, decision.Record, decision.StreamID, decision.Version)

	e := proof.Evidence{Header: decision.Header, Payload: payload}
	e.StreamType, e.EventType, e.EventID, e.Record = "proof", "proof.issued.v1", uuid.UUID{15: 6}, receipt
	e.EffectiveAt, e.RecordedAt, e.Header.Payload = Noon(), Noon(), proof.Sum(payload)
	return e
}
