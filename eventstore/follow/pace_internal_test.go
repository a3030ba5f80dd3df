package follow

import (
	"testing"
	"time"
)

// A calm follower rests once it has caught up, but not within a backlog; any other
// follower does not rest at all.
func TestOnlyACalmFollowerRestsAfterAPageThatIsNotFull(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		calm, want time.Duration
		upTo       int64
	}{
		"calm, one event":         {250 * time.Millisecond, 250 * time.Millisecond, 1},
		"calm, almost a page":     {250 * time.Millisecond, 250 * time.Millisecond, firstPage - 1},
		"calm, a whole page":      {250 * time.Millisecond, 0, firstPage},
		"in a hurry, one event":   {0, 0, 1},
		"in a hurry, a full page": {0, 0, firstPage},
	} {
		p := newPace(5000, c.calm)
		p.succeeded(span{After: 0, UpTo: c.upTo}, time.Millisecond)
		if got := p.pause(); got != c.want {
			t.Errorf("%s: it rests for %s, want %s", name, got, c.want)
		}
		if again := p.pause(); again != 0 {
			t.Errorf("%s: it rests twice, again for %s", name, again)
		}
	}
}
