package eventstore

import (
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// The database cuts the purpose out of the text of an event, as the first of that name.
func TestThePurposeComesFirstInTheTextOfAnEventOfConsents(t *testing.T) {
	t.Parallel()
	found := 0
	for _, e := range domaintest.Examples() {
		if domain.StreamTypeOf(e.EventType()) != domain.ConsentStream {
			continue
		}
		found++
		payload, _, err := domain.Encode(e)
		if err != nil {
			t.Fatal(err)
		}

		_, after, _ := strings.Cut(string(payload), `"purpose":"`)
		cut, _, _ := strings.Cut(after, `"`)
		groups := byPurpose([]row{{payload: payload}})
		if cut == "" || len(groups[cut]) != 1 {
			t.Errorf("%s: %q in the text, %v in the JSON", e.EventType(), cut, groups)
		}
	}
	if found < 5 {
		t.Errorf("%d types of events", found)
	}
}
