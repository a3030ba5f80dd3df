package eventstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// sideRow is a side write in the JSON that trust.append takes.
type sideRow struct {
	Append  int       `json:"append"` // from 1
	N       int       `json:"n"`      // in its append, from 0
	Kind    string    `json:"kind"`
	Tenant  uuid.UUID `json:"tenant"`
	ID      uuid.UUID `json:"id,omitzero"`
	Name    string    `json:"name,omitempty"`
	Owner   uuid.UUID `json:"owner,omitzero"`
	Digest  bytea     `json:"digest,omitempty"`
	Token   bytea     `json:"token,omitempty"`
	Value   string    `json:"value,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Step    int64     `json:"step,omitzero"`
	Seen    int64     `json:"seen,omitzero"`
	Wrong   int       `json:"wrong,omitzero"`
}

// bytea is bytes in JSON in the form that Postgres reads.
type bytea []byte

// MarshalText implements encoding.TextMarshaler.
func (b bytea) MarshalText() ([]byte, error) {
	return append([]byte(`\x`), hex.EncodeToString(b)...), nil
}

// prepareSide turns an append's side writes into rows, and returns the keys that they
// create, so that the append's own events can be sealed under them.
func (s *Store) prepareSide(ctx context.Context, e *entry) (map[uuid.UUID]foundKey, error) {
	made := map[uuid.UUID]foundKey{}
	for n, w := range e.Side {
		r := sideRow{N: n, Tenant: e.Tenant.UUID}
		var err error

		switch w := w.(type) {
		case domain.CreateSubjectKey:
			err = s.createKey(ctx, e, &r, w.Subject.UUID, e.Tenant, subjectKey, made)
		case domain.CreateTenantKey:
			err = s.createKey(ctx, e, &r, w.Tenant.UUID, w.Tenant, tenantKey, made)
		case domain.CreateMonthKey:
			err = s.createKey(ctx, e, &r, monthID(e.Tenant, w.Month), e.Tenant, monthKey, made)
		case domain.OfferSecondFactor:
			err = s.offerSecondFactor(ctx, e, &r, w, made)
		default:
			err = s.side(e, &r, w)
		}

		if err != nil {
			return nil, err
		}
		e.side = append(e.side, r)
	}
	return made, nil
}

func (s *Store) createKey(
	ctx context.Context, e *entry, r *sideRow, id uuid.UUID, tenant domain.TenantID, kind string,
	made map[uuid.UUID]foundKey,
) error {
	above := s.vault.master
	if kind != tenantKey {
		var err error
		if above, err = s.keys.tenant(ctx, tenant); err != nil {
			return err
		}
	}

	b, row, err := makeKey(id, tenant, kind, above)
	if err != nil {
		return err
	}

	r.Kind, r.ID, r.Tenant, r.Name, r.Token = "create_key", id, tenant.UUID, kind, row.wrapped
	if kind == tenantKey {
		r.Digest = s.vault.proof
	}

	made[id] = foundKey{box: b, usable: true}
	e.touches = append(e.touches, touchID("key", id))
	return nil
}

func (s *Store) side(e *entry, r *sideRow, w domain.SideWrite) error {
	switch w := w.(type) {
	case domain.TakeClaim:
		s.claim(e, r, "take_claim", w.Claim, w.Holder)
	case domain.ReleaseClaim:
		s.claim(e, r, "release_claim", w.Claim, w.Holder)

	case domain.SetCredential:
		r.Kind, r.ID, r.Value = "set_credential", w.User.UUID, w.Verifier
		if w.Email != "" {
			digest := s.loginDigest(w.Email)
			r.Digest = digest[:]
		}
	case domain.DeleteCredential:
		r.Kind, r.ID = "delete_credential", w.User.UUID

	case domain.DemandNoActs:
		r.Kind, r.ID = "demand_no_acts", w.User.UUID
		// See noteAct.
		e.touches = append(e.touches, touchID(acts, w.User.UUID))
	case domain.DestroySubjectKey:
		r.Kind, r.ID = "destroy_key", w.Subject.UUID

	case domain.StartSession:
		r.Kind, r.ID, r.Owner, r.Token, r.Expires = "start_session", w.Session, w.User.UUID, w.Token[:], w.ExpiresAt
	case domain.RotateSession:
		r.Kind, r.ID, r.Digest, r.Token, r.Expires = "rotate_session", w.Session, w.From[:], w.To[:], w.ExpiresAt
		e.touches = append(e.touches, touchID("session", w.Session), touch{kind: "sessions"})
	case domain.EndSession:
		r.Kind, r.ID, r.Name = "end_session", w.Session, "once"
		e.touches = append(e.touches, touchID("session", w.Session), touch{kind: "sessions"})
	case domain.EndAllSessions:
		r.Kind = "end_sessions"
		// As for EndSessions.
		e.touches = append(e.touches, touch{kind: "sessions", write: true})
	case domain.EndSessions:
		r.Kind, r.Owner, r.ID = "end_sessions", w.User.UUID, w.Except
		// Rotating or ending a session does not say whose it is, so neither shares a
		// batch with this: it would be judged first.
		e.touches = append(e.touches, touch{kind: "sessions", write: true})

	case domain.SetSecondFactor:
		r.Kind, r.ID, r.Owner, r.Step = "set_second_factor", w.User.UUID, w.Factor, w.Step
		e.touches = append(e.touches, touchID("second factor", w.User.UUID))
	case domain.SpendCode:
		r.Kind, r.ID, r.Owner, r.Step = "spend_code", w.User.UUID, w.Factor, w.Step
		r.Seen, r.Wrong = w.Seen.Step, w.Seen.Wrong
		e.touches = append(e.touches, touchID("second factor", w.User.UUID))
	case domain.CountWrongCode:
		r.Kind, r.ID, r.Owner, r.Expires = "count_wrong_code", w.User.UUID, w.Factor, w.At
		r.Seen, r.Wrong = w.Seen.Step, w.Seen.Wrong
		e.touches = append(e.touches, touchID("second factor", w.User.UUID))
	case domain.RemoveSecondFactor:
		r.Kind, r.ID = "remove_second_factor", w.User.UUID
		e.touches = append(e.touches, touchID("second factor", w.User.UUID))

	case domain.IssueOneTimeCode:
		e.oneTimeCode(r, "issue_one_time_code", w.User, w.Kind, w.Code)
		r.Digest, r.Token, r.Expires = w.FirstHalf[:], w.Digest[:], w.ExpiresAt
	case domain.SpendOneTimeCode:
		e.oneTimeCode(r, "spend_one_time_code", w.User, w.Kind, w.Code)
		r.Wrong = w.Wrong
	case domain.CountWrongTry:
		e.oneTimeCode(r, "count_wrong_try", w.User, w.Kind, w.Code)
		r.Wrong = w.Wrong

	case domain.AddClientSecret:
		r.Kind, r.ID, r.Owner, r.Digest = "add_client_secret", w.Account.UUID, w.Secret, w.Digest[:]
	case domain.DropClientSecret:
		r.Kind, r.ID, r.Owner = "drop_client_secret", w.Account.UUID, w.Secret

	default:
		return fmt.Errorf("unknown side write %T", w)
	}
	return nil
}

func (s *Store) claim(e *entry, r *sideRow, kind string, c domain.Claim, holder uuid.UUID) {
	digest := s.claimDigest(c)
	r.Kind, r.Tenant, r.Name, r.Digest, r.ID = kind, c.Tenant.UUID, string(c.Kind), digest[:], holder
	e.touches = append(e.touches, touch{kind: "claim", id: string(c.Tenant.UUID[:]) + string(digest[:]), write: true})
}

// claimKind returns the kind of claim that a side write takes.
func (e *entry) claimKind(n int) domain.ClaimKind {
	if take, ok := e.Side[n].(domain.TakeClaim); ok {
		return take.Claim.Kind
	}
	return ""
}
