package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/witness"
)

// How often the log is looked at for a checkpoint that a witness has not cosigned, at
// most how long after failures, and when a witness that is behind is reported.
const (
	askEvery     = time.Second
	askLongest   = time.Minute
	behindForgot = 5 * time.Minute
)

// logPolicy reads the policy of LOG_POLICY, or the file policy in DATA_DIR, and whom it
// wants asked; nil if there is neither.
func logPolicy(c *settings.Config) (*proof.Policy, []witness.Endpoint, error) {
	path, named := c.PolicyFile()
	if _, err := os.Stat(path); !named && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	policy, err := readPolicy(path)
	if err != nil {
		return nil, nil, err
	}

	endpoints, err := witness.Endpoints(policy)
	if err != nil {
		return nil, nil, exit.WrongUsage("%s: %v", path, err)
	}
	return policy, endpoints, nil
}

// askWitnesses has the witnesses of the policy cosign what is signed, until ctx ends. A
// policy that cannot be read keeps nobody from sealing and signing: it is looked at again
// until it can.
func askWitnesses(ctx context.Context, pool *pgxpool.Pool, c *settings.Config, log *slog.Logger) {
	_, endpoints, err := logPolicy(c)
	for said := ""; err != nil; _, endpoints, err = logPolicy(c) {
		if err.Error() != said {
			said = err.Error()
			log.ErrorContext(ctx, "no witness is asked", slog.String("why", said))
		}
		if !retry.Wait(ctx, askLongest) {
			return
		}
	}
	if len(endpoints) == 0 {
		return
	}

	asker := &witness.Asker{
		Log: witnessedLog{pool}, Client: witness.NewClient(nil), Endpoints: endpoints, Logger: log,
		Every: askEvery, Longest: askLongest,
	}
	asker.Run(ctx)
}

// witnessedLog is the log as package witness needs it. The pool connects as
// trust_projector.
type witnessedLog struct{ pool *pgxpool.Pool }

func (l witnessedLog) Newest(ctx context.Context) (witness.Published, bool, error) {
	newest, err := seal.Newest(ctx, l.pool)
	if errors.Is(err, seal.ErrNone) {
		return witness.Published{}, false, nil
	}
	return witness.Published{Number: newest.Number, Signed: []byte(newest.Note)}, err == nil, err
}

func (l witnessedLog) Cosigned(ctx context.Context, origin string, key proof.Key) (uint64, error) {
	return seal.CosignedSize(ctx, l.pool, origin, key.Vkey())
}

func (l witnessedLog) Prove(
	ctx context.Context, older uint64, newer proof.Checkpoint,
) (path []proof.Hash, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, l.pool, options, func(tx pgx.Tx) error {
		path, err = seal.Consistency(ctx, tx, older, newer)
		return err
	})
	return path, eventstore.Unavailable(err)
}

func (l witnessedLog) Keep(ctx context.Context, published witness.Published, c witness.Cosignature) error {
	return seal.Cosign(ctx, l.pool, published.Number, c.Key.Vkey(), c.Line)
}

// witnessTroubles names the witnesses that have long not cosigned what was signed.
func witnessTroubles(p seal.Progress) (troubles []string) {
	for _, w := range p.Witnesses {
		if w.Witness.URL != "" && w.Waiting > behindForgot {
			troubles = append(troubles, fmt.Sprintf(
				"the witness %s has not cosigned for %s (it did up to %d events, of %d); project-seal logs why",
				w.Witness.Name, w.Waiting.Round(time.Second), w.Cosigned.Size, p.Signed.Size))
		}
	}
	return troubles
}
