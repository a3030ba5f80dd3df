package witness

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/salga-trust/engine/proof"
)

// Log is what asking for cosignatures needs of a log.
type Log interface {
	// Newest returns the newest checkpoint that was signed; false if there is none.
	Newest(ctx context.Context) (Published, bool, error)
	// Cosigned returns the size of the newest checkpoint of an origin for which Keep was
	// called with a key's cosignature; 0: none.
	Cosigned(ctx context.Context, origin string, key proof.Key) (uint64, error)
	// Prove returns the proof that the tree of a size begins the one of a checkpoint.
	Prove(ctx context.Context, older uint64, newer proof.Checkpoint) ([]proof.Hash, error)
	// Keep stores a cosignature. It may be called again with one that is there.
	Keep(ctx context.Context, published Published, c Cosignature) error
}

// Published is a checkpoint of the log.
type Published struct {
	Number int64 // how the log tells its checkpoints apart
	Signed []byte
}

// Asker has every witness of a policy cosign the newest checkpoint. Each is asked on its
// own, so that one that is down delays nobody, and the log least of all: checkpoints are
// signed and served without waiting for it.
type Asker struct {
	Log       Log
	Client    *Client
	Endpoints []Endpoint
	Logger    *slog.Logger
	// Every is how often the log is looked at; after a failure it doubles, up to Longest.
	Every, Longest time.Duration
}

// Run asks until ctx ends.
func (a *Asker) Run(ctx context.Context) {
	var asking sync.WaitGroup
	for _, to := range a.Endpoints {
		asking.Go(func() { a.keepAsking(ctx, to) })
	}
	asking.Wait()
}

func (a *Asker) keepAsking(ctx context.Context, to Endpoint) {
	pause, said := a.Every, ""
	for {
		err := a.Ask(ctx, to)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && said != "":
			a.Logger.InfoContext(ctx, "a witness cosigns again", slog.String("witness", to.Name))
			fallthrough
		case err == nil:
			pause, said = a.Every, ""
		default:
			pause = min(2*pause, a.Longest)
			if text := err.Error(); text != said {
				said = text
				a.Logger.ErrorContext(ctx, "a witness does not cosign", slog.String("witness", to.Name),
					slog.String("why", text))
			}
		}

		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Ask asks one witness to cosign the newest checkpoint, unless it has. Errors: those of
// Client.AddCheckpoint, and of the log.
func (a *Asker) Ask(ctx context.Context, to Endpoint) error {
	for {
		newest, there, err := a.Log.Newest(ctx)
		if err != nil || !there {
			return err
		}
		ours, err := proof.Unsigned(newest.Signed)
		if err != nil {
			return err
		}

		known, all := ours.Size, true
		for _, key := range to.Keys {
			size, err := a.Log.Cosigned(ctx, ours.Origin, key)
			if err != nil {
				return err
			}
			known, all = min(known, size), all && size == ours.Size
		}
		if all {
			return nil
		}

		prove := func(ctx context.Context, older, _ uint64) ([]proof.Hash, error) {
			return a.Log.Prove(ctx, older, ours)
		}
		given, err := a.Client.AddCheckpoint(ctx, to, newest.Signed, known, prove)
		if split, is := errors.AsType[*SplitViewError](err); is && split.Size > ours.Size {
			// It may be ours all the same: signed meanwhile, and cosigned for another
			// process.
			if later, _, err := a.Log.Newest(ctx); err == nil && later.Number > newest.Number {
				continue
			}
		}
		if err != nil {
			return err
		}
		for _, c := range given {
			if err := a.Log.Keep(ctx, newest, c); err != nil {
				return err
			}
		}
		return nil
	}
}
