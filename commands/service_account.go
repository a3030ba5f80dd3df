package commands

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// IssuedSecret is a service account with a secret that was just made for it. The secret
// is shown only once; the answer to a repeat leaves it out.
type IssuedSecret struct {
	Account domain.ServiceAccount
	Secret  string
}

// CreateServiceAccount creates what a program of the caller's tenant signs in with, and
// its first secret. Errors: validation_failed, forbidden, name_taken; for a repeat
// idempotency_key_reused.
func (h *Handler) CreateServiceAccount(
	ctx context.Context, call Call, c domain.CreateServiceAccount,
) (Answer[IssuedSecret], error) {
	if err := call.demandAdmin("create service accounts"); err != nil {
		return Answer[IssuedSecret]{}, err
	}

	id, secret := domain.ServiceAccountID{UUID: h.newID()}, newClientSecret()
	r := request{name: "service_account.create", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(context.Context, Call) (domain.Append, error) {
		events, err := c.Decide(secret.id)
		if err != nil {
			return domain.Append{}, err
		}

		name := events[0].(*domain.ServiceAccountCreated).Name
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.ServiceAccountOf(id), Events: events}},
			Side: []domain.SideWrite{
				domain.TakeClaim{Claim: programClaim(call.Tenant, name), Holder: id.UUID}, h.keep(id, secret),
			},
		}, nil
	})
	if _, taken := errors.AsType[*domain.ClaimTakenError](err); taken {
		err = domain.Refuse(domain.CodeNameTaken, "Another service account of this municipality has this name.").
			Because(err)
	}
	return h.issued(ctx, done, secret, err)
}

// RotateSecret asks for another secret of a service account.
type RotateSecret struct {
	Account domain.ServiceAccountID `json:"account_id"`
	Overlap time.Duration           `json:"overlap"` // how long the former ones go on; 0: they end at once
}

// RotateSecret makes another secret. Errors: validation_failed, forbidden, not_found,
// service_account_revoked, too_many_secrets; for a repeat idempotency_key_reused.
func (h *Handler) RotateSecret(ctx context.Context, call Call, c RotateSecret) (Answer[IssuedSecret], error) {
	secret := newClientSecret()
	done, err := h.changeServiceAccount(ctx, call, "service_account.rotate", c.Account, c,
		func(a domain.ServiceAccount) ([]domain.Event, []domain.SideWrite, error) {
			wish := domain.RotateSecret{Overlap: c.Overlap}
			events, err := wish.Decide(a, secret.id, h.now())
			if err != nil {
				return nil, nil, err
			}

			side := []domain.SideWrite{h.keep(a.ID, secret)}
			return events, append(side, dropEnded(a, events[0], h.now())...), nil
		})
	return h.issued(ctx, done, secret, err)
}

// RevokeServiceAccount asks to end a service account.
type RevokeServiceAccount struct {
	Account domain.ServiceAccountID `json:"account_id"`
}

// RevokeServiceAccount ends a service account, its secrets and the tokens made with them.
// Doing so again changes nothing. Errors: forbidden, not_found; for a repeat
// idempotency_key_reused.
func (h *Handler) RevokeServiceAccount(
	ctx context.Context, call Call, c RevokeServiceAccount,
) (Answer[domain.ServiceAccount], error) {
	var stood Answer[domain.ServiceAccount]
	done, err := h.changeServiceAccount(ctx, call, "service_account.revoke", c.Account, c,
		func(a domain.ServiceAccount) ([]domain.Event, []domain.SideWrite, error) {
			events := a.Revoke()
			if len(events) == 0 {
				stood = Answer[domain.ServiceAccount]{Value: a, Stood: true}
				return nil, nil, nil
			}

			side := []domain.SideWrite{
				domain.ReleaseClaim{Claim: programClaim(a.Tenant, a.Name), Holder: a.ID.UUID},
			}
			return events, append(side, dropEnded(a, events[0], h.now())...), nil
		})
	if err != nil {
		return Answer[domain.ServiceAccount]{}, err
	}

	if len(done.Events) == 0 {
		history, err := h.Store.Load(ctx, call.Tenant, domain.ServiceAccountOf(c.Account))
		stood.Position = domain.Appended{Events: history}.Position()
		return stood, err
	}
	return h.serviceAccountAnswer(ctx, done)
}

// changeServiceAccount changes a service account of the caller's tenant.
func (h *Handler) changeServiceAccount(
	ctx context.Context, call Call, name string, id domain.ServiceAccountID, body any,
	decide func(domain.ServiceAccount) ([]domain.Event, []domain.SideWrite, error),
) (domain.Appended, error) {
	if err := call.demandAdmin("change service accounts"); err != nil {
		return domain.Appended{}, err
	}

	r := request{name: name, tenant: call.Tenant, scope: scopeOf(call), body: body}
	return h.execute(ctx, call, r, func(ctx context.Context, _ Call) (domain.Append, error) {
		a, err := h.ServiceAccount(ctx, call.Tenant, id)
		if err != nil {
			return domain.Append{}, err
		}

		events, side, err := decide(a)
		if err != nil || len(events) == 0 {
			return domain.Append{}, err
		}
		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.ServiceAccountOf(id), Expected: a.Version, Events: events}},
			Side:   side,
		}, nil
	})
}

// issued answers with the secret that an append has put into force; a repeat without it.
func (h *Handler) issued(
	ctx context.Context, done domain.Appended, secret clientSecret, err error,
) (Answer[IssuedSecret], error) {
	if err != nil {
		return Answer[IssuedSecret]{}, err
	}

	a, err := h.serviceAccountAnswer(ctx, done)
	issued := IssuedSecret{Account: a.Value, Secret: secret.text}
	if done.Repeat {
		issued.Secret = ""
	}
	return Answer[IssuedSecret]{Value: issued, Position: a.Position}, err
}

// serviceAccountAnswer returns the service account as an append left it.
func (h *Handler) serviceAccountAnswer(
	ctx context.Context, done domain.Appended,
) (Answer[domain.ServiceAccount], error) {
	first := done.Events[0]
	history, err := h.Store.Load(ctx, first.Tenant, first.Stream)
	if err != nil {
		return Answer[domain.ServiceAccount]{}, err
	}

	a := domain.Fold[domain.ServiceAccount](until(history, done.Position()))
	return Answer[domain.ServiceAccount]{Value: a, Position: done.Position()}, nil
}

// dropEnded forgets the secrets that an event ends, and those whose time was over.
func dropEnded(a domain.ServiceAccount, e domain.Event, now time.Time) (side []domain.SideWrite) {
	for _, secret := range a.Ended(e, now) {
		side = append(side, domain.DropClientSecret{Account: a.ID, Secret: secret})
	}
	return side
}

func programClaim(tenant domain.TenantID, name string) domain.Claim {
	return domain.Claim{
		Tenant: tenant, Kind: domain.ServiceAccountNameClaim, Value: domain.CanonicalName(name),
	}
}

// clientSecret is a secret in clear.
type clientSecret struct {
	id   uuid.UUID
	text string
}

// secretPrefix tells people and scanners of repositories what they have found.
const secretPrefix = "salga_secret_"

// newClientSecret makes a secret of 256 random bits. It has only letters, digits, - and
// _, which mean themselves in a form and in HTTP Basic.
func newClientSecret() clientSecret {
	var random [32]byte
	_, _ = rand.Read(random[:]) // it never fails: crypto/rand

	return clientSecret{id: uuid.New(), text: secretPrefix + base64.RawURLEncoding.EncodeToString(random[:])}
}

// keep returns the side write that keeps what a secret is proved by.
//
// A slow hash such as Argon2id makes each guess of a password costly, because people's
// passwords can be guessed. Nobody guesses 256 random bits, so it would only cost the
// server: every check by a program that renews its token, and a way to exhaust it.
func (h *Handler) keep(id domain.ServiceAccountID, secret clientSecret) domain.SideWrite {
	return domain.AddClientSecret{Account: id, Secret: secret.id, Digest: h.digestOf(id, secret.text)}
}

// digestOf returns the keyed hash of a secret: without the key, which the database never
// sees in the clear, nobody can put a secret of their own into the table.
func (h *Handler) digestOf(id domain.ServiceAccountID, secret string) [32]byte {
	return h.Store.Digest("client secret", id.String(), secret)
}

// provenSecret returns the secret of a service account that a text is, in the same time
// whether there is such a service account or not.
func (h *Handler) provenSecret(
	ctx context.Context, id domain.ServiceAccountID, text string,
) (found domain.ClientDigest, proven bool, err error) {
	secrets, err := h.Store.ClientSecrets(ctx, id)
	if err != nil {
		return domain.ClientDigest{}, false, err
	}

	digest := h.digestOf(id, text)
	for _, s := range append(slices.Clone(secrets), domain.ClientDigest{}) { // nobody's, so that one is compared
		if subtle.ConstantTimeCompare(s.Digest[:], digest[:]) == 1 && s.Secret != uuid.Nil {
			found, proven = s, true
		}
	}
	return found, proven, nil
}
