package commands

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Prover makes files that anybody can check. Package eventstore/seal implements it.
type Prover interface {
	// Covered returns up to which position the log is under a checkpoint; 0: none was
	// signed. Error: proof_pending, if this process cannot sign.
	Covered(ctx context.Context) (position int64, err error)
	// Prove makes the file once a checkpoint covers all that it is made from. Errors:
	// proof_pending, not_provable, log_damaged.
	Prove(ctx context.Context, p domain.Proof) (file []byte, err error)
}

// IssueProof asks for the file that proves a decision and what became of it.
type IssueProof struct {
	Consent domain.ConsentID `json:"consent_id"`
}

// IssuedProof is a file that proves a decision.
type IssuedProof struct {
	Subject  domain.UserID
	Receipt  uuid.UUID
	IssuedAt time.Time
	File     []byte
}

// IssueProof appends the statement of where the person's consent stream ends, and waits
// for a checkpoint that covers it. Who asks again soon is handed the proof that rests on
// the same statement. A consent of another tenant is answered as if it did not exist, and
// so for a citizen is a consent of another person. Errors: not_found, not_provable,
// proof_pending, log_damaged; if no process signs, nothing is appended.
func (h *Handler) IssueProof(ctx context.Context, call Call, c IssueProof) (Answer[IssuedProof], error) {
	subject, err := h.subjectOf(ctx, call, c.Consent)
	if err != nil {
		return Answer[IssuedProof]{}, err
	}

	wish := domain.IssueProof{
		Receipt: h.newID(), Consent: c.Consent, Actor: call.ActorID(), ActorRole: call.roleName(),
	}
	var history []domain.Recorded
	var statement domain.Recorded

	r := request{name: "proof.issue", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		var err error
		if history, err = h.provable(ctx, call.Tenant, subject, c.Consent); err != nil {
			return domain.Append{}, err
		}
		event, err := wish.Decide(history)
		if err != nil {
			return domain.Append{}, err
		}

		covered, err := h.covered(ctx)
		if err != nil {
			return domain.Append{}, err
		}
		statements, version, err := h.Store.LoadTail(ctx, call.Tenant, domain.TailOfProofs(subject, event.Purpose))
		if err != nil {
			return domain.Append{}, err
		}
		var stands bool
		if statement, stands = wish.Standing(statements, event, covered, h.now()); stands {
			return domain.Append{}, nil
		}

		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{
				Stream: domain.ProofsOf(subject), Expected: version, Events: []domain.Event{event},
			}},
			Expects: []domain.Expectation{
				{Tenant: call.Tenant, Stream: domain.ConsentsOf(subject), Version: event.StreamVersion},
			},
		}, nil
	})
	if err != nil {
		return Answer[IssuedProof]{}, err
	}
	if len(done.Events) > 0 {
		statement = done.Events[0]
	}

	answer := Answer[IssuedProof]{Position: statement.Position, Stood: len(done.Events) == 0}
	answer.Value, err = h.prove(ctx, statement, history)
	return answer, err
}

// covered refuses where nothing is signed.
func (h *Handler) covered(ctx context.Context) (int64, error) {
	if h.prover == nil {
		return 0, domain.Refuse(domain.CodeProofPending,
			"This process cannot sign proofs: the operator must set LOG_SIGNING_KEY.")
	}
	return h.prover.Covered(ctx)
}

// provable returns the whole consent stream of a person, unless it is too long, or the
// consent is not in it.
func (h *Handler) provable(
	ctx context.Context, tenant domain.TenantID, subject domain.UserID, consent domain.ConsentID,
) ([]domain.Recorded, error) {
	known, version, err := h.Store.LoadTail(ctx, tenant, domain.TailOf(subject, consent))
	if err != nil {
		return nil, err
	}
	if _, found := domain.ConsentIn(known, consent); !found {
		return nil, domain.Refuse(domain.CodeNotFound, "There is no such consent.")
	}
	if err := domain.Provable(version); err != nil {
		return nil, err
	}
	return h.Store.Load(ctx, tenant, domain.ConsentsOf(subject))
}

// prove has the file made that rests on a statement.
func (h *Handler) prove(
	ctx context.Context, statement domain.Recorded, history []domain.Recorded,
) (IssuedProof, error) {
	code := statement.Event.(*domain.ProofIssued).Purpose
	purposes := []domain.Purpose{domain.PlatformRegistration()}
	if code != domain.PlatformRegistrationCode {
		purposes = nil
		for _, tenant := range []domain.TenantID{statement.Tenant, domain.PlatformTenant()} {
			events, err := h.Store.Load(ctx, tenant, domain.PurposeOf(tenant, code))
			if err != nil {
				return IssuedProof{}, err
			}
			purposes = append(purposes, domain.Fold[domain.Purpose](events))
		}
	}

	controller, err := h.Store.Load(ctx, statement.Tenant, domain.MunicipalityOf(statement.Tenant))
	if err != nil {
		return IssuedProof{}, err
	}

	p := domain.ProofOf(statement, history, purposes...)
	p.Controller = domain.Fold[domain.Municipality](controller)
	file, err := h.prover.Prove(ctx, p)
	return IssuedProof{
		Subject: statement.Stream.Subject(), Receipt: p.Receipt, IssuedAt: p.IssuedAt, File: file,
	}, err
}
