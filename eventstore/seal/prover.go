package seal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/proof"
)

// ProverConfig says how decisions are proven.
type ProverConfig struct {
	View *View
	// Seeds returns those of the key that signs now; nil: this process has none.
	Seeds func() (*proof.Seeds, error)
	// Witnesses returns the policy whose witnesses must have cosigned; nil: none must.
	Witnesses func() (*proof.Policy, error)
	// Patience is how long a proof waits for a checkpoint.
	Patience time.Duration
	Logger   *slog.Logger
}

// Prover makes decision bundles of what is sealed: files that anybody can check. It is
// safe for concurrent use.
type Prover struct{ config ProverConfig }

// NewProver returns a prover.
func NewProver(config ProverConfig) *Prover { return &Prover{config} }

// How often a proof that waits looks for a checkpoint, and at how many of the newest: the
// very newest may still be without its witnesses.
const (
	lookEvery = 100 * time.Millisecond
	lookBack  = 16
)

// pending says why there is no proof yet.
func pending(why string, wait time.Duration) *domain.Error {
	e := domain.Refuse(domain.CodeProofPending, "%s", why)
	e.Wait = wait
	return e
}

const (
	askSoon  = 2 * time.Second
	askLater = time.Minute // an operator has to do something first
)

func notSigned() *domain.Error {
	return pending("This system does not sign its log, so nothing in it can be proven yet: the operator must set "+
		"LOG_SIGNING_KEY.", askLater)
}

// Covered returns up to which position the newest checkpoint covers the log; 0: there is
// none. Error: proof_pending, if this process does not have the key that signs.
func (p *Prover) Covered(ctx context.Context) (position int64, err error) {
	err = p.config.View.read(ctx, func(tx pgx.Tx) error {
		if _, _, err := p.key(ctx, tx); err != nil {
			return err
		}
		newest, err := Newest(ctx, tx)
		if errors.Is(err, ErrNone) {
			return nil
		}
		position = int64(newest.Size)
		return err
	})
	return position, err
}

// key returns the signer for the origin in force, and the policy under which its proofs
// are believed.
func (p *Prover) key(ctx context.Context, tx pgx.Tx) (*proof.Signer, *proof.Policy, error) {
	seeds, err := p.config.Seeds()
	if err != nil {
		return nil, nil, err
	}
	if seeds == nil {
		return nil, nil, notSigned()
	}
	all, err := AllKeys(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, pending("No checkpoint of the log has been signed yet: ask again in a few seconds.", askSoon)
	}

	last := all[len(all)-1]
	signer, err := proof.NewSigner(last.Origin, *seeds)
	if err != nil || !slices.Equal(verifiersOf(signer), last.Verifiers) {
		return nil, nil, pending("Another key signs this log than this process has: the operator must give it the "+
			"same LOG_SIGNING_KEY.", askLater)
	}

	witnesses, err := p.config.Witnesses()
	if err != nil {
		return nil, nil, err
	}
	if witnesses == nil {
		return signer, proof.LogPolicy(signer.LogKeys()...), nil
	}
	return signer, witnesses.Of(signer.LogKeys()...), nil
}

// Prove makes the bundle of a decision, and waits for a checkpoint that covers it. What
// it returns was checked as a stranger would check it. Errors: proof_pending,
// not_provable, log_damaged.
func (p *Prover) Prove(ctx context.Context, d domain.Proof) ([]byte, error) {
	patience := time.NewTimer(p.config.Patience)
	defer patience.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()

	for {
		file, err := p.try(ctx, d)
		waits, is := errors.AsType[*domain.Error](err)
		if !is || waits.Code != domain.CodeProofPending || waits.Wait == askLater {
			return file, err
		}

		select {
		case <-ctx.Done():
			return nil, err
		case <-patience.C:
			return nil, err
		case <-look.C:
		}
	}
}

// try makes the bundle if a checkpoint covers all that it is made from.
func (p *Prover) try(ctx context.Context, d domain.Proof) (file []byte, err error) {
	var signer *proof.Signer
	var bundle proof.Bundle
	err = p.config.View.read(ctx, func(tx pgx.Tx) error {
		if signer, bundle.Policy, err = p.key(ctx, tx); err != nil {
			return err
		}
		believed, note, err := covering(ctx, tx, d.Statement, bundle.Policy)
		if err != nil {
			return err
		}

		bundle.Checkpoint = note
		return gather(ctx, tx, d, believed.Checkpoint, &bundle)
	})
	if err != nil {
		return nil, p.explain(ctx, err)
	}

	bundle.Receipt, err = proof.NewReceipt(d.Receipt, d.IssuedAt, d.Consent.UUID, bundle.Stream, declared(d))
	if err != nil {
		return nil, p.refuse(ctx, err)
	}
	if file, err = signer.SignBundle(bundle); err != nil {
		return nil, p.refuse(ctx, err)
	}

	// So that nobody is ever handed a file that proves nothing: this never fails.
	if _, err := proof.Check(file, bundle.Policy); err != nil {
		return nil, fmt.Errorf("a proof was made that does not hold: %w", err)
	}
	return file, nil
}

// covering returns the newest checkpoint that covers a position and that a policy
// believes, as it was signed and cosigned.
func covering(
	ctx context.Context, tx pgx.Tx, position int64, policy *proof.Policy,
) (believed proof.Believed, note []byte, err error) {
	rows, err := tx.Query(ctx, selectSigned+"order by number desc limit $1", lookBack)
	if err != nil {
		return believed, nil, eventstore.Unavailable(err)
	}
	candidates, err := pgx.CollectRows(rows, scanSigned)
	if err != nil {
		return believed, nil, eventstore.Unavailable(err)
	}

	candidates = slices.DeleteFunc(candidates, func(c Signed) bool {
		return c.Size < uint64(position) || c.Origin != policy.Logs[0].Key.Name()
	})
	for _, c := range candidates {
		lines, err := Cosignatures(ctx, tx, c.Number)
		if err != nil {
			return believed, nil, err
		}
		note = []byte(c.Note + strings.Join(lines, ""))
		if believed, err = policy.Open(note); err == nil {
			return believed, note, nil
		}
	}

	why := "No checkpoint covers this yet, so it cannot be proven yet: ask again in a few seconds."
	if len(candidates) > 0 {
		why = "Not enough witnesses have cosigned a checkpoint that covers this: ask again in a few seconds."
	}
	return believed, nil, pending(why, askSoon)
}

// gather fills a bundle with the events that prove a decision, each with the proof that a
// checkpoint covers it.
func gather(ctx context.Context, tx pgx.Tx, d domain.Proof, c proof.Checkpoint, bundle *proof.Bundle) error {
	positions := append(slices.Clone(d.Stream), d.Statement)
	if d.Notice > 0 {
		positions = append(positions, d.Notice)
	}
	stored, err := eventstore.StoredAt(ctx, tx, positions...)
	if err != nil {
		return err
	}
	paths, err := Inclusion(ctx, tx, c, positions...)
	if err != nil {
		return err
	}

	all := make([]proof.Evidence, len(stored))
	for i, e := range stored {
		all[i] = proof.Evidence{Header: HeaderOf(e), Payload: e.Payload, Path: paths[i]}
	}
	k := len(d.Stream)
	bundle.Stream, bundle.StreamEnd = all[:k], all[k]
	if d.Notice > 0 {
		bundle.Notice = &all[k+1]
	}
	return nil
}

// explain turns what shows that the log was changed into a refusal.
func (p *Prover) explain(ctx context.Context, err error) error {
	_, differs := errors.AsType[*Difference](err)
	_, gap := errors.AsType[*eventstore.GapError](err)
	if !differs && !gap {
		return err
	}

	p.config.Logger.ErrorContext(ctx, "the log does not fit its checkpoint; run trust verify",
		slog.String("why", err.Error()))
	return domain.Refuse(domain.CodeLogDamaged,
		"The log is not what was sealed, so nothing is proven from it: the operator must investigate.").Because(err)
}

// refuse refuses a decision of which a stranger would not believe the proof.
func (p *Prover) refuse(ctx context.Context, err error) error {
	p.config.Logger.WarnContext(ctx, "a decision cannot be proven", slog.String("why", err.Error()))
	return domain.NotProvable("What is recorded of this person's decisions contradicts itself, or is too much for " +
		"one file, so nobody could check a proof of it.").Because(err)
}

// unknown is declared wherever this system does not know a thing: nothing is made up.
const unknown = "not known to this system"

// declared says what no event proves: of the controller, the purpose and the law.
func declared(d domain.Proof) proof.Declared {
	controller := proof.Controller{
		Code: d.Controller.Code, Name: d.Controller.Name, Contact: known(d.Controller.ContactEmail),
	}
	if !d.Controller.Exists() { // SALGA, which is no municipality
		controller.Code, controller.Name = domain.PlatformCode, "South African Local Government Association"
	}

	return proof.Declared{
		Controller: controller, PersonalData: []string{unknown}, SpecialCategory: d.Purpose.Special,
		Recipients: []string{unknown}, StorageLocation: unknown, Retention: known(d.Purpose.Retention),
		Jurisdiction: "South Africa (Protection of Personal Information Act 4 of 2013)",
		WithdrawalMethod: "in one's own account, or by asking the municipality's staff, who record it; by program: " +
			"POST /api/v1/consents/" + d.Consent.String() + "/withdraw",
		Authority: "Information Regulator (South Africa)",
	}
}

func known(text string) string {
	if text == "" {
		return unknown
	}
	return text
}
