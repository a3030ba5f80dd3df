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
	tree, granted := Grown(300, 300, ""), grant(t)
	granted.Position = int64(len(tree) + 1)
	leaf, err := granted.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	tree = append(tree, leaf)
	if granted.Path, err = proof.InclusionProof(granted.Index(), uint64(len(tree)), tree.Tile); err != nil {
		t.Fatal(err)
	}

	log := Signer(t, Origin)
	b := proof.Bundle{
		Stream: []proof.Evidence{granted}, StreamEnd: proof.StreamEnd{Version: 1, AsOf: uint64(len(tree))},
		Checkpoint: tree.Signed(t), Policy: proof.LogPolicy(log.LogKeys()...),
	}
	b.Receipt, err = proof.NewReceipt(uuid.UUID{15: 9}, Noon(), granted.Record, b.Stream, proof.Declared{
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
func grant(t testing.TB) proof.Evidence {
	t.Helper()
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
