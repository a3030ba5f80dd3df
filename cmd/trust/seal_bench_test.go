package main

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/proof"
)

// BenchmarkWitnessed appends 200 events a second to a log under trust up with two
// witnesses on the same machine, and times each from the answer of its append until both
// have cosigned a checkpoint that covers it.
func BenchmarkWitnessed(b *testing.B) {
	for _, every := range []string{"2s", "200ms"} { // the first is the default
		b.Run("every="+every, func(b *testing.B) {
			s := newSite(b, "RATE_LIMIT=off", "CHECKPOINT_EVERY="+every)
			s, policy := s.witnessed()
			way := &way{waiting: map[int64]time.Time{}}
			for b.Loop() {
				way.run(b, s, policy)
			}

			slices.Sort(way.took)
			b.ReportMetric(way.took[len(way.took)/2].Seconds(), "p50-s")
			b.ReportMetric(way.took[len(way.took)*99/100].Seconds(), "p99-s")
		})
	}
}

// witnessed starts trust up with two witnesses, both of which have to cosign.
func (s *site) witnessed() (*site, *proof.Policy) {
	s.t.Helper()
	up := s.start("up")
	pgtest.Eventually(s.t, "a checkpoint is served", func() bool { return s.checkpoint() != "" })
	s = s.with("DATABASE_URL=" + s.kept()["DATABASE_URL"])
	text, args := "", []string{}
	for _, key := range s.shownKeys() {
		text += "log " + key.Vkey() + "\n"
		args = append(args, "--log", key.Vkey())
	}
	up.stop(s.t, syscall.SIGTERM)

	for _, name := range []string{"a", "b"} {
		_, to := s.witnessOf(name, append([]string{"--name", name + ".example/w"}, args...)...)
		for i, key := range to.Keys {
			text += fmt.Sprintf("witness %s%d %s %s\n", name, i, key.Vkey(), to.URL)
		}
	}
	text += "group both all a0 b0\nquorum both\n"
	s = s.with("LOG_POLICY=" + s.file("policy", text))
	s.start("up")
	pgtest.Eventually(s.t, "the system is ready", s.ready)
	policy, err := proof.ParsePolicy([]byte(text))
	must(s.t, err)
	return s, policy
}

// way times how long events take until they are witnessed.
type way struct {
	mu      sync.Mutex
	waiting map[int64]time.Time // since when each position waits
	took    []time.Duration
}

// run appends for half a minute, and waits for the last event.
func (w *way) run(b *testing.B, s *site, policy *proof.Policy) {
	b.Helper()
	store, conn := s.openStore(b), connect(b, s)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		began := time.Now()
		for due := began; due.Before(began.Add(30 * time.Second)); due = due.Add(5 * time.Millisecond) {
			time.Sleep(time.Until(due)) //nolint:forbidigo // the pace of the appends
			done, err := store.Append(b.Context(), oneConsent())
			if err != nil {
				b.Error(err)
				return
			}
			w.mu.Lock()
			w.waiting[done.Position()] = time.Now()
			w.mu.Unlock()
		}
	}()

	for left, over := 1, false; left > 0 || !over; {
		p, err := seal.ReadProgress(b.Context(), conn, policy)
		must(b, err)
		left = w.arrive(p.Cosigned.Size)
		select {
		case <-ended:
			over = true
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// arrive notes that the events up to a position are witnessed, and returns how many wait.
func (w *way) arrive(upTo int64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for position, since := range w.waiting {
		if position <= upTo {
			w.took = append(w.took, time.Since(since))
			delete(w.waiting, position)
		}
	}
	return len(w.waiting)
}
