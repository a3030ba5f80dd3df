package seal_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/proof"
)

// witness returns a signer with keys of its own.
func witnessNamed(t testing.TB, name string) *proof.Signer {
	t.Helper()
	witness, err := proof.NewSigner(name, proof.Seeds{Ed25519: proof.Sum([]byte(name)), MLDSA44: proof.Sum(nil)})
	must(t, err)
	return witness
}

// cosign stores the cosignature of a witness's first key on a checkpoint.
func (w *world) cosign(t *testing.T, witness *proof.Signer, signed seal.Signed) {
	t.Helper()
	lines, err := witness.Cosign(signed.Checkpoint, signed.SignedAt)
	must(t, err)
	line, _, _ := strings.Cut(string(lines), "\n")
	must(t, seal.Cosign(t.Context(), w.projector, signed.Number, witness.WitnessKeys()[0].Vkey(), line+"\n"))
}

func (w *world) progress(t *testing.T, policy *proof.Policy) seal.Progress {
	t.Helper()
	p, err := seal.ReadProgress(t.Context(), w.projector, policy)
	must(t, err)
	return p
}

// expectSizes compares what is signed, cosigned by enough witnesses, and by each.
func expectSizes(t *testing.T, p seal.Progress, signed, cosigned int64, by ...int64) {
	t.Helper()
	all := []int64{}
	for _, w := range p.Witnesses {
		all = append(all, w.Cosigned.Size)
	}
	want, got := fmt.Sprint(signed, cosigned, by), fmt.Sprint(p.Signed.Size, p.Cosigned.Size, all)
	if got != want {
		t.Errorf("signed, cosigned and by each witness: %s, want %s", got, want)
	}
}

func TestProgressTellsHowFarTheLogIsSignedAndCosigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := witnessNamed(t, "a.example"), witnessNamed(t, "b.example"), witnessNamed(t, "c.example")
	text := ""
	for i, witness := range []*proof.Signer{a, b, c} {
		text += fmt.Sprintf("witness %c %s\n", 'A'+i, witness.WitnessKeys()[0].Vkey())
	}
	two, err := proof.ParsePolicy([]byte(text + "group two 2 A B C\nquorum two\n"))
	must(t, err)

	if p := w.progress(t, two); p.Head != 1 || p.Signed.Size != 0 || p.Behind(p.Signed) != 1 || p.Signed.Age != 0 {
		t.Errorf("before anything is signed: %+v", p)
	}
	first := w.sign(t)
	w.grow(t, 4)
	if p := w.progress(t, nil); p.Signed.Size != 1 || p.Behind(p.Signed) != 4 || p.Signed.Age <= 0 ||
		p.Witnesses != nil {
		t.Errorf("without a policy: %+v", p)
	}

	expectSizes(t, w.progress(t, two), 1, 0, 0, 0, 0)
	w.cosign(t, a, first)
	w.cosign(t, b, first)
	expectSizes(t, w.progress(t, two), 1, 1, 1, 1, 0)

	// One witness at each of two checkpoints is enough for neither.
	second := w.sign(t)
	w.cosign(t, a, second)
	w.grow(t, 5)
	third := w.sign(t)
	w.cosign(t, b, third)
	w.cosign(t, c, second)
	expectSizes(t, w.progress(t, two), 10, 5, 5, 10, 5)

	p := w.progress(t, two)
	if p.Witnesses[1].Waiting != 0 || p.Witnesses[0].Waiting <= 0 || p.Witnesses[0].Waiting > p.Cosigned.Age ||
		p.Witnesses[0].Cosigned.Age != p.Witnesses[2].Cosigned.Age && p.Cosigned.Age < p.Signed.Age {
		t.Errorf("ages: %+v", p)
	}
	none, err := proof.ParsePolicy([]byte(text + "quorum none\n"))
	must(t, err)
	expectSizes(t, w.progress(t, none), 10, 10, 5, 10, 5)
}

// Cosignatures of long ago, and those under another origin, do not count.
func TestProgressLooksAtRecentCheckpointsOfThePresentOriginAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := witnessNamed(t, "a.example")
	policy, err := proof.ParsePolicy(fmt.Appendf(nil, "witness A %s\nquorum A\n", a.WitnessKeys()[0].Vkey()))
	must(t, err)
	w.cosign(t, a, w.sign(t))
	w.grow(t, 1)
	w.sign(t)
	expectSizes(t, w.progress(t, policy), 2, 1, 1)

	w.exec(t, `insert into trust.log_checkpoints (number, origin, size, root, note, signed_at)
		select 10002, origin, 3, root, note, now() - interval '1 minute' from trust.log_checkpoints where number = 2`)
	p := w.progress(t, policy)
	expectSizes(t, p, 3, 0, 0)
	if p.Cosigned.Age < time.Minute || p.Witnesses[0].Waiting < time.Minute ||
		p.Witnesses[0].Cosigned.Age < time.Minute {
		t.Errorf("ages: %+v", p)
	}
	size, err := seal.CosignedSize(t.Context(), w.projector, origin, a.WitnessKeys()[0].Vkey())
	if err != nil || size != 0 {
		t.Errorf("cosigned %d, %v", size, err)
	}

	w.exec(t, `update trust.log_checkpoints set number = 3, origin = 'example.org/2' where number = 10002`)
	expectSizes(t, w.progress(t, policy), 3, 0, 0)
}
