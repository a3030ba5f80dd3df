package proof_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gowebpki/jcs"
)

// A bundle is signed over its canonical form, so the library that makes it must make that
// of RFC 8785: on the documents that its authors published, and on the numbers of its
// appendix B.
func TestTheCanonicalFormIsThatOfRFC8785(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(moduleDir(t, "github.com/gowebpki/jcs"), "testdata")
	inputs, err := filepath.Glob(filepath.Join(dir, "input", "*.json"))
	if err != nil || len(inputs) < 10 {
		t.Fatalf("%d documents (%v)", len(inputs), err)
	}
	for _, input := range inputs {
		given, err := os.ReadFile(input)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, "output", filepath.Base(input)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := jcs.Transform(given)
		if err != nil || !bytes.Equal(got, bytes.TrimRight(want, "\n")) {
			t.Errorf("%s: %s (%v), want %s", filepath.Base(input), got, err, want)
		}
	}

	for bits, want := range map[uint64]string{
		0x0000000000000000: "0", 0x8000000000000000: "0",
		0x0000000000000001: "5e-324", 0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308", 0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992", 0xc340000000000000: "-9007199254740992",
		0x4430000000000000: "295147905179352830000", 0x44b52d02c7e14af5: "9.999999999999997e+22",
		0x44b52d02c7e14af6: "1e+23", 0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000", 0x444b1ae4d6e2ef4f: "999999999999999900000",
		0x444b1ae4d6e2ef50: "1e+21", 0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7",
		0x3eb0c6f7a0b5ed8d: "0.000001", 0x41b3de4355555553: "333333333.3333332",
		0x41b3de4355555554: "333333333.33333325", 0x41b3de4355555555: "333333333.3333333",
		0x41b3de4355555556: "333333333.3333334", 0x41b3de4355555557: "333333333.33333343",
		0xbecbf647612f3696: "-0.0000033333333333333333", 0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		if got, err := jcs.NumberToJSON(math.Float64frombits(bits)); err != nil || got != want {
			t.Errorf("%016x is %s (%v), want %s", bits, got, err, want)
		}
	}
	for _, number := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got, err := jcs.NumberToJSON(number); err == nil {
			t.Errorf("%f is %s", number, got)
		}
	}
}
