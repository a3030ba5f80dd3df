package seal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/pgtest"
)

// running seals and signs, as trust project seal does, until stop is called.
func (w *world) running(b *testing.B) (stop func()) {
	b.Helper()
	quiet, grown, sealer := slog.New(slog.DiscardHandler), make(chan struct{}, 1), &seal.Sealer{}
	signer := seal.NewSigner(seal.SignerConfig{
		Pool: w.projector, Reader: w.reader, Origin: w.origin, Seeds: w.seeds, Every: 2 * time.Second,
		Kept: func() ([]byte, error) { return w.kept, nil },
		Keep: func(note []byte) error {
			w.kept = note
			return nil
		},
		Grown: grown, Logger: quiet,
	}, sealer)
	worker := follow.NewWorker(follow.Config{
		DatabaseURL: w.db.URL(pgtest.Projector), MasterKey: []byte(masterKey), Logger: quiet,
		Committed: func(string, int64, int64, time.Duration) {
			select {
			case grown <- struct{}{}:
			default:
			}
		},
	}, sealer)

	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 2)
	go func() { ended <- worker.Run(ctx) }()
	go func() { ended <- signer.Run(ctx) }()
	return func() {
		cancel()
		must(b, errors.Join(<-ended, <-ended))
	}
}

// sealed waits until everything is sealed.
func (w *world) sealed(b *testing.B) {
	b.Helper()
	const sql = `select coalesce((select position from trust.checkpoints where follower = 'seal'), 0) >= position
		from trust.head()`
	for done := false; !done; time.Sleep(time.Millisecond) { //nolint:forbidigo // the benchmark polls
		must(b, w.projector.QueryRow(b.Context(), sql).Scan(&done))
	}
}

// rate returns how many events a second some callers append, one at a time.
func (w *world) rate(b *testing.B, callers int, howLong time.Duration) float64 {
	b.Helper()
	var n atomic.Int64
	var working sync.WaitGroup
	began := time.Now()
	for range callers {
		working.Go(func() {
			for time.Since(began) < howLong {
				user := domain.UserID{UUID: newID()}
				_, err := w.store.Append(b.Context(), domain.Append{
					ID: newID(), Tenant: w.tenant,
					Writes: []domain.Write{{Stream: domain.ConsentsOf(user), Events: []domain.Event{granted()}}},
				})
				if err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	working.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}

// BenchmarkAppendBesideTheSealer compares appends while the log is sealed and signed with
// appends while it is not, in turn on one log.
func BenchmarkAppendBesideTheSealer(b *testing.B) {
	const rounds, each = 7, 2 * time.Second
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			w := newWorld(b)
			w.rate(b, callers, each/2) // so that connections and plans are ready
			var with, without, ratios []float64

			for b.Loop() {
				for range rounds {
					stop := w.running(b)
					w.sealed(b)
					with = append(with, w.rate(b, callers, each))
					stop()
					without = append(without, w.rate(b, callers, each))
					ratios = append(ratios, with[len(with)-1]/without[len(without)-1])
				}
			}

			b.ReportMetric(median(with), "sealed-events/s")
			b.ReportMetric(median(without), "unsealed-events/s")
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(slices.Min(ratios), "least-ratio")
			b.ReportMetric(slices.Max(ratios), "most-ratio")
		})
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkSeal measures a log of 100 000 events, or of SEAL_EVENTS: how fast it is
// sealed, proven and verified, and what it takes on disk.
func BenchmarkSeal(b *testing.B) {
	size := 100_000
	if given := os.Getenv("SEAL_EVENTS"); given != "" {
		var err error
		size, err = strconv.Atoi(given)
		must(b, err)
	}
	w := newWorld(b)
	began := time.Now()
	for n := 1; n < size; n += 2000 {
		w.grow(b, min(2000, size-n))
	}
	w.exec(b, "vacuum analyze trust.events")
	_, _ = fmt.Fprintf(b.Output(), "%d events were appended in %s\n", size, time.Since(began).Round(time.Second))

	b.Run("seal", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			w.exec(b, "truncate trust.log_hashes")
			w.exec(b, "delete from trust.checkpoints where follower = 'seal'")
			b.StartTimer()
			stop := w.running(b)
			w.sealed(b)
			stop()
		}
		b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
	})
	w.sign(b)
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			w.grow(b, 1)
			w.sign(b)
		}
	})
	b.Run("inclusion", func(b *testing.B) {
		for i := int64(0); b.Loop(); i++ {
			_, _, err := w.view.Inclusion(b.Context(), 1+i*7919%int64(size))
			must(b, err)
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			must(b, w.verify(b))
		}
		b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("disk", func(b *testing.B) { w.measureDisk(b) })
}

// measureDisk reports what rows take with their indexes: of the log, of the tree over it,
// of a checkpoint, and of the cosignatures of one witness with both its keys.
func (w *world) measureDisk(b *testing.B) {
	b.Helper()
	witness := witnessNamed(b, "witness.example")
	for range 300 {
		w.grow(b, 1)
		signed := w.sign(b)
		lines, err := witness.Cosign(signed.Checkpoint, signed.SignedAt)
		must(b, err)
		for i, line := range strings.SplitAfter(strings.TrimSuffix(string(lines), "\n"), "\n") {
			key := witness.WitnessKeys()[i].Vkey()
			must(b, seal.Cosign(b.Context(), w.projector, signed.Number, key, line))
		}
	}

	for unit, sql := range map[string]string{
		"B/event": "select pg_total_relation_size('trust.events')::float8 / count(*) from trust.events",
		"B/leaf":  "select pg_total_relation_size('trust.log_hashes')::float8 / position from trust.head()",
		"B/checkpoint": `select pg_total_relation_size('trust.log_checkpoints')::float8 / count(*)
			from trust.log_checkpoints`,
		"B/cosigned": "select pg_total_relation_size('trust.log_cosignatures')::float8 / 300",
	} {
		var bytes float64
		must(b, w.db.Superuser(b).QueryRow(b.Context(), sql).Scan(&bytes))
		b.ReportMetric(bytes, unit)
	}
}
