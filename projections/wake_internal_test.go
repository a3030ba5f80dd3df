package projections

import (
	"testing"

	"github.com/salga-trust/engine/domain"
)

func TestABellWakesThoseConcerned(t *testing.T) {
	t.Parallel()
	kinds := []domain.StreamType{domain.UserStream, domain.ConsentStream, domain.MunicipalityStream}
	for list, want := range map[string][]bool{
		"":                 {true, true, true},
		"consent":          {false, true, false},
		"consent,user":     {true, true, false},
		"session":          {false, false, false},
		"consents,users":   {false, false, false},
		"purpose,consent,": {false, true, false},
	} {
		b := &bell{}
		var wakes []<-chan struct{}
		for _, kind := range kinds {
			wake, hush := b.subscribe(kind)
			defer hush()
			wakes = append(wakes, wake)
		}
		b.ring(list)
		b.ring(list) // one wake-up is kept
		for i, wake := range wakes {
			if woken := len(wake) == 1; woken != want[i] {
				t.Errorf("%q wakes %s: %t", list, kinds[i], woken)
			}
		}
	}
}
