package seal

import (
	"slices"
	"testing"
	"time"
)

func TestPausesGrowWhileTheLogDoesNotRestButNotWithoutEnd(t *testing.T) {
	t.Parallel()
	s := NewSigner(SignerConfig{Every: 2 * time.Second}, nil)
	var got []time.Duration
	for pause := s.config.Every; len(got) < 5; pause = s.longer(pause) {
		got = append(got, pause/time.Second)
	}
	if want := []time.Duration{2, 4, 4, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("pauses of %d s, want %d", got, want)
	}
}
