package relay

import (
	"strings"
	"testing"
)

func TestNoTwoCodesHaveOneTokenAndEachIsOneToken(t *testing.T) {
	t.Parallel()
	tokens := map[string]string{}
	for _, code := range []string{
		"", "CPT", "SALGA", "cpt", "_", "%", "%5F", "A.B", "A*", ">", "A B", "A\tB", "A\x00", "Ṋ", "A-B", "A%2EB",
	} {
		got := token(code)
		strange := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(".*>", r) }
		if got == "" || strings.ContainsFunc(got, strange) {
			t.Errorf("%q is written as %q", code, got)
		}
		if other, taken := tokens[got]; taken {
			t.Errorf("%q and %q are both written as %q", code, other, got)
		}
		tokens[got] = code
	}
	if token("CPT") != "CPT" || token("A.B") != "A%2EB" {
		t.Errorf("got %q and %q", token("CPT"), token("A.B"))
	}
}
