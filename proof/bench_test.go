package proof_test

import (
	"testing"

	"github.com/salga-trust/engine/proof"
)

// BenchmarkBundle checks the bundle of one decision, with the notice that it rests on,
// out of a log of a million events, with one witness.
func BenchmarkBundle(b *testing.B) {
	w := granted(b)
	w.others(1_000_000)
	witness := signer(b, "witness.example/w", 2)
	policy, err := proof.ParsePolicy([]byte(w.policy().Text()[:len(w.policy().Text())-len("quorum none\n")] +
		"witness W " + witness.WitnessKeys()[0].Vkey() + "\nquorum W\n"))
	if err != nil {
		b.Fatal(err)
	}
	bundle := w.bundle(policy, witness)
	file := w.file(bundle)

	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			w.file(bundle)
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if report, err := proof.Check(file, policy); err != nil || !report.Proven {
				b.Fatal(report, err)
			}
		}
		b.ReportMetric(float64(len(file)), "B")
	})
}
