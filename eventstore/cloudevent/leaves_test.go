package cloudevent

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// A new type of event asks for a decision about what of it leaves.
func TestEveryTypeOfEventIsListed(t *testing.T) {
	t.Parallel()
	if got, want := Types(), domain.EventTypes(); !slices.Equal(got, want) {
		t.Errorf("leaves lists\n%v, want\n%v", got, want)
	}
}

// Whatever an event holds, personal parts included: only listed fields leave, and each
// listed field is one that an example has.
func TestNothingLeavesThatIsNotListed(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, e := range domaintest.Examples() {
		eventType := e.EventType()
		data, err := leaving(e)
		if err != nil {
			t.Fatal(err)
		}

		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			t.Fatal(err)
		}
		for name := range fields {
			used[eventType+" "+name] = true
			listed := slices.ContainsFunc(strings.Fields(leave[eventType]), func(f string) bool {
				outer, _, _ := strings.Cut(f, ".")
				return outer == name
			})
			if !listed {
				t.Errorf("%s of %s leaves", name, eventType)
			}
		}
	}

	for _, field := range []string{"consent.withdrawn.v1 purpose", "consent.granted.v1 sha256", "webhook.paused.v1 reason"} {
		if !used[field] {
			t.Errorf("%s does not leave", field)
		}
	}
}

func TestTextsThatSomebodyTypedStay(t *testing.T) {
	t.Parallel()
	event, err := Of(domain.Recorded{Event: &domain.WebhookRegistered{URL: "https://example.org/token"}}, "log", "CPT")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(event.Data), "example.org") {
		t.Errorf("the address of a webhook leaves: %s", event.Data)
	}
}
