package domain_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
)

func TestSpellingsOfOneExternalIDHaveOneForm(t *testing.T) {
	t.Parallel()
	for want, spellings := range map[string][]string{
		"04AB123":  {"04ab123", " 04-AB-123 ", "04\u2011ab\u2013123", "０４ab１２３", "04\u00a0ab\t123", "04\u00adAB123"},
		"ACC/7.1":  {"acc/7.1", "ACC / 7.1"},
	} {
		for _, spelling := range spellings {
			if got := domain.CanonicalExternalID(spelling); got != want {
				t.Errorf("%q becomes %q, want %q", spelling, got, want)
			}
		}
	}
}

func TestAnExternalIDInItsFormStaysAsItIs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		form := domain.CanonicalExternalID(rapid.String().Draw(t, "typed"))
		if again := domain.CanonicalExternalID(form); again != form {
			t.Fatalf("%q becomes %q", form, again)
		}
	})
}
