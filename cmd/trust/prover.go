package main

import (
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/owned"
	"github.com/salga-trust/engine/proof"
)

// proofPatience is how long whoever asks for a proof waits for a checkpoint.
const proofPatience = 5 * time.Second

// newProver returns what makes decision bundles. The pool connects as trust_query.
func newProver(c *settings.Config, pool *pgxpool.Pool, log *slog.Logger) *seal.Prover {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return seal.NewProver(seal.ProverConfig{
		View: seal.NewView(pool), Patience: proofPatience, Logger: log,
		Seeds: func() (*proof.Seeds, error) { return signingSeeds(c) },
		Witnesses: func() (*proof.Policy, error) {
			policy, _, err := logPolicy(c)
			return policy, err
		},
	})
}

// signingSeeds returns those of the key that signs; nil: there is none. A key that trust
// up keeps is read each time, because trust keys sign may have changed it.
func signingSeeds(c *settings.Config) (*proof.Seeds, error) {
	if !c.KeepsSigningKey() {
		return c.LogSeeds, nil
	}
	kept, err := settings.ReadEnvFile(c.EnvFile(), owned.Secret)
	if err != nil || kept["LOG_SIGNING_KEY"] == "" {
		return nil, err
	}
	return settings.ParseSigningKey(kept["LOG_SIGNING_KEY"])
}
