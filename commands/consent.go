package commands

import (
	"context"
	"slices"
	"time"

	"github.com/salga-trust/engine/domain"
)

// RecordConsent asks to record a decision about a purpose: the caller's own, or as staff that of
// another person of the tenant.
type RecordConsent struct {
	Subject       domain.UserID           `json:"subject_id,omitzero"` // zero: the caller
	Purpose       string                  `json:"purpose"`
	Description   string                  `json:"purpose_description,omitempty"`
	Language      domain.Language         `json:"language"`
	Consented     bool                    `json:"consented"`
	Channel       domain.Channel          `json:"channel,omitempty"`
	GivenAt       time.Time               `json:"given_at,omitzero"`
	NoticeVersion int                     `json:"notice_version,omitempty"`
	Evidence      *domain.Evidence        `json:"evidence,omitempty"`
	GivenBy       *domain.CompetentPerson `json:"given_by,omitempty"`
}

// RecordConsent appends a grant or a refusal. Errors: validation_failed, forbidden, not_found,
// unknown_purpose, purpose_not_consent_based, wording_mismatch, notice_changed, already_granted,
// in_force, evidence_required, competent_person_required, given_at_in_future, account_inactive,
// subject_erased.
func (h *Handler) RecordConsent(ctx context.Context, call Call, c RecordConsent) (Answer[domain.Consent], error) {
	subject, err := call.Subject(c.Subject)
	if err != nil {
		return Answer[domain.Consent]{}, err
	}

	wish := domain.RecordConsent{
		ID: domain.ConsentID{UUID: h.newID()}, Purpose: domain.CanonicalPurposeCode(c.Purpose), Description: c.Description, Language: c.Language,
		Consented: c.Consented, Channel: c.Channel, GivenAt: c.GivenAt.UTC().Truncate(time.Microsecond),
		NoticeVersion: c.NoticeVersion, Evidence: c.Evidence, GivenBy: c.GivenBy, ByStaff: subject != call.User,
	}
	stream := domain.ConsentsOf(subject)
	var history []domain.Recorded

	r := request{name: "consent.record", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		var expects []domain.Expectation
		if history, expects, err = h.consents(ctx, call, subject); err != nil {
			return domain.Append{}, err
		}

		events, on, err := h.decideConsent(ctx, call.Tenant, wish, history)
		if err != nil {
			return domain.Append{}, err
		}

		return domain.Append{
			Tenant:  call.Tenant,
			Writes:  []domain.Write{{Stream: stream, Expected: len(history), Events: events}},
			Expects: append(expects, on...),
		}, nil
	})
	if err != nil {
		return Answer[domain.Consent]{}, err
	}
	return h.consentAnswer(ctx, history, done)
}

// WithdrawConsent asks to take a consent back.
type WithdrawConsent struct {
	Consent domain.ConsentID `json:"consent_id"`
	Reason  string           `json:"reason,omitempty"`
	GivenAt time.Time        `json:"given_at,omitzero"`
}

// WithdrawConsent takes a consent back; a second time changes nothing and the first stands.
// Withdrawing platform_registration is never refused (POPIA s11(2)(b)): the same append closes the
// account and ends its sessions. A consent of another tenant, or for a citizen of another person,
// answers as an absent one. Errors: validation_failed, not_found, not_granted, given_at_in_future.
func (h *Handler) WithdrawConsent(ctx context.Context, call Call, c WithdrawConsent) (Answer[domain.Consent], error) {
	subject, err := h.subjectOf(ctx, call, c.Consent)
	if err != nil {
		return Answer[domain.Consent]{}, err
	}

	wish := domain.WithdrawConsent{
		ID: c.Consent, Reason: c.Reason, GivenAt: c.GivenAt.UTC().Truncate(time.Microsecond),
		ByStaff: subject != call.User,
	}
	stream := domain.ConsentsOf(subject)
	var history []domain.Recorded

	r := request{name: "consent.withdraw", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		if history, err = h.Store.Load(ctx, call.Tenant, stream); err != nil {
			return domain.Append{}, err
		}

		withdrawn, err := wish.Decide(history, h.now())
		if err != nil || len(withdrawn) == 0 {
			return domain.Append{}, err
		}

		a := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: stream, Expected: len(history), Events: withdrawn}},
		}
		if withdrawn[0].(*domain.ConsentWithdrawn).Purpose == domain.PlatformRegistrationCode {
			err = h.closeAccount(ctx, &a, subject)
		}
		return a, err
	})
	if err != nil {
		return Answer[domain.Consent]{}, err
	}

	if len(done.Events) == 0 {
		consent, _ := domain.ConsentIn(history, c.Consent)
		return Answer[domain.Consent]{Value: consent, Position: consent.Position}, nil
	}
	return h.consentAnswer(ctx, history, done)
}

// consents loads a subject's consent stream and, when the subject is another person, makes sure that
// they exist and were not erased.
func (h *Handler) consents(
	ctx context.Context, call Call, subject domain.UserID,
) ([]domain.Recorded, []domain.Expectation, error) {
	stream, person := domain.ConsentsOf(subject), domain.UserOf(subject)
	if subject == call.User {
		events, err := h.Store.Load(ctx, call.Tenant, stream)
		return events, nil, err
	}

	events, err := h.Store.Load(ctx, call.Tenant, stream, person)
	if err != nil {
		return nil, nil, err
	}

	user := domain.Fold[domain.User](of(events, person))
	switch {
	case !user.Exists():
		return nil, nil, domain.Refuse(domain.CodeNotFound, "There is no such person.")
	case user.Erased:
		return nil, nil, domain.Refuse(domain.CodeSubjectErased, "This person's data was erased.")
	}

	expects := []domain.Expectation{{Tenant: call.Tenant, Stream: person, Version: user.Version}}
	return of(events, stream), expects, nil
}

// decideConsent decides on the purpose in memory, and again on the log's when that refuses: memory
// may be out of date.
func (h *Handler) decideConsent(
	ctx context.Context, tenant domain.TenantID, wish domain.RecordConsent, history []domain.Recorded,
) ([]domain.Event, []domain.Expectation, error) {
	for {
		purpose, expects, cached, err := h.purpose(ctx, tenant, wish.Purpose)
		if err != nil {
			return nil, nil, err
		}

		events, err := wish.Decide(history, purpose, h.now())
		if err == nil || !cached {
			return events, expects, err
		}
		h.purposes.forget(
			domain.PurposeOf(tenant, wish.Purpose), domain.PurposeOf(domain.PlatformTenant(), wish.Purpose))
	}
}

// consentAnswer returns the consent as an append left it. history is what the append was decided on;
// a repeat loads it.
func (h *Handler) consentAnswer(
	ctx context.Context, history []domain.Recorded, done domain.Appended,
) (Answer[domain.Consent], error) {
	i := slices.IndexFunc(done.Events, func(e domain.Recorded) bool { return e.Stream.Type == domain.ConsentStream })
	if i < 0 {
		return Answer[domain.Consent]{}, keyReused()
	}
	event := done.Events[i]

	if done.Repeat {
		var err error
		if history, err = h.Store.Load(ctx, event.Tenant, event.Stream); err != nil {
			return Answer[domain.Consent]{}, err
		}
		history = until(history, done.Position())
	} else {
		history = append(history, of(done.Events, event.Stream)...)
	}

	consent, _ := domain.ConsentIn(history, domain.ConsentID{UUID: event.Record})
	return Answer[domain.Consent]{Value: consent, Position: done.Position()}, nil
}

// subjectOf finds the person who decided about a consent, without a read table. Whoever acts for nobody else asks about their
// own: whether it is theirs shows when their decisions are read.
func (h *Handler) subjectOf(ctx context.Context, call Call, id domain.ConsentID) (domain.UserID, error) {
	if !call.ActsForOthers() {
		return call.User, nil
	}

	stream, found, err := h.Store.StreamOf(ctx, call.Tenant, id.UUID)
	if err != nil {
		return domain.UserID{}, err
	}
	if !found || stream.Type != domain.ConsentStream {
		return domain.UserID{}, domain.Refuse(domain.CodeNotFound, "There is no such consent.")
	}
	return stream.Subject(), nil
}

// closeAccount adds to an append the closing of an account whose consent was withdrawn. This is
// never refused, not even to a tenant's last admin: SALGA can appoint another.
func (h *Handler) closeAccount(ctx context.Context, a *domain.Append, id domain.UserID) error {
	person, staff := domain.UserOf(id), domain.AdminsOf(a.Tenant)
	history, err := h.Store.Load(ctx, a.Tenant, person, staff)
	if err != nil {
		return err
	}
	user, admins := domain.Fold[domain.User](of(history, person)), domain.Fold[domain.Admins](of(history, staff))

	events := user.Deactivate(domain.CauseConsentWithdrawn)
	if len(events) == 0 {
		return nil
	}

	a.Writes = append(a.Writes, domain.Write{Stream: domain.UserOf(user.ID), Expected: user.Version, Events: events})
	if slices.Contains(admins.Users, user.ID) {
		a.Writes = append(a.Writes, domain.Write{
			Stream: domain.AdminsOf(user.Tenant), Expected: admins.Version,
			Events: []domain.Event{&domain.AdminRemoved{User: user.ID}},
		})
	}
	endSessions(a, user.ID)
	return nil
}
