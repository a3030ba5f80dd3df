package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/wholefile"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/webhooks"
)

// signing signs checkpoints in the process that seals the log.
type signing struct {
	*opened

	sealer *seal.Sealer
	log    *slog.Logger
	grown  chan struct{} // buffers one: more was sealed
}

// sealerAmong returns the sealer, if it is among the followers.
func sealerAmong(followers []follow.Follower) *seal.Sealer {
	for _, f := range followers {
		if sealer, is := f.(*seal.Sealer); is {
			return sealer
		}
	}
	return nil
}

// nameLog tells followers that hand events on under which name the log is known.
func nameLog(followers []follow.Follower, origin string) {
	for _, f := range followers {
		if hooks, is := f.(*webhooks.Follower); is {
			hooks.Origin = origin
		}
	}
}

// committed tells the signer when more was sealed.
func (s *signing) committed(follower string, _, _ int64, _ time.Duration) {
	if follower != seal.Name {
		return
	}
	select {
	case s.grown <- struct{}{}:
	default:
	}
}

// run signs until ctx ends. It waits for the database, as the worker beside it does.
func (s *signing) run(ctx context.Context) error {
	reader := s.reading(ctx)
	if reader == nil {
		return nil
	}

	c := s.config
	signer := seal.NewSigner(seal.SignerConfig{
		Pool: s.pool, Reader: reader, Origin: c.LogOrigin, Seeds: *c.LogSeeds, Every: c.CheckpointEvery, Grown: s.grown,
		Kept: func() ([]byte, error) { return keptCheckpoint(c) },
		Keep: func(note []byte) error { return keepCheckpoint(c, note) }, Logger: s.log,
	}, s.sealer)
	if err := signer.Run(ctx); err != nil {
		return exit.Unreachable(err, "start again, with the key that signs now as LOG_SIGNING_KEY")
	}
	return nil
}

// reading opens the log for reading; nil if ctx ends first. A wrong master key is left to
// the worker, which says so.
func (s *signing) reading(ctx context.Context) *eventstore.Reader {
	pauses := pg.NewBackoff(100*time.Millisecond, 2*time.Second)
	for {
		reader, err := eventstore.NewReader(ctx, s.pool, []byte(s.config.MasterKey))
		if err == nil {
			return reader
		}
		if !pauses.Wait(ctx) {
			return nil
		}
	}
}

// keptCheckpoint returns the newest checkpoint that was kept in DATA_DIR; nil: none.
func keptCheckpoint(c *settings.Config) ([]byte, error) {
	note, err := owned.Read(c.CheckpointFile(), owned.Plain)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return note, err
}

// keepCheckpoint keeps a checkpoint in DATA_DIR, which it makes if it is missing.
func keepCheckpoint(c *settings.Config, note []byte) error {
	if err := os.MkdirAll(filepath.Dir(c.CheckpointFile()), 0o700); err != nil {
		return err
	}
	return wholefile.Write(c.CheckpointFile(), string(note))
}

// heldCheckpoints returns the checkpoints that this machine knows of besides those in the
// database.
func heldCheckpoints(c *settings.Config) ([]proof.Checkpoint, error) {
	note, err := keptCheckpoint(c)
	if err != nil {
		return nil, exit.Unreachable(err, "cannot read the copy of the newest checkpoint in DATA_DIR")
	}
	if note == nil {
		return nil, nil
	}

	checkpoint, err := proof.Unsigned(note)
	if err != nil {
		return nil, exit.NotSo("the file checkpoint in DATA_DIR is damaged: %v", err)
	}
	return []proof.Checkpoint{checkpoint}, nil
}
