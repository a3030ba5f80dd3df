package follow

import (
	"testing"

	"github.com/salga-trust/engine/domain"
)

func TestABellWakesThoseConcerned(t *testing.T) {
	t.Parallel()
	wanted := [][]domain.StreamType{
		{domain.UserStream}, {domain.ConsentStream}, {domain.MunicipalityStream, domain.PurposeStream}, nil,
	}

	for list, want := range map[string][]bool{
		"":                 {true, true, true, true},
		"consent":          {false, true, false, true},
		"consent,user":     {true, true, false, true},
		"session":          {false, false, false, true},
		"consents,users":   {false, false, false, true},
		"purpose,consent,": {false, true, true, true},
	} {
		b := &bell{}
		var wakes []<-chan struct{}
		for _, kinds := range wanted {
			wake, hush := b.subscribe(kinds)
			defer hush()
			wakes = append(wakes, wake)
		}

		b.ring(list)
		b.ring(list) // one wake-up is kept

		for i, wake := range wakes {
			if woken := len(wake) == 1; woken != want[i] {
				t.Errorf("%q wakes a follower of %v: %t", list, wanted[i], woken)
			}
		}
	}
}
