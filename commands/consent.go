package commands

import (
	"context"
	"slices"
	"time"

	"github.com/salga-trust/engine/domain"
)

// RecordConsent asks to record a decision about a purpose: the caller's own or, for
// staff, that of another person of the tenant.
type RecordConsent struct {
	Subject       domain.UserID           `json:"subject_id,omitzero"` // zero: the caller
	Purpose       string                  `json:"purpose"`
	Description   string                  `json:"purpose_description,omitempty"`
	Language      domain.Language         `json:"language"`
	Consented     bool                    `json:"consented"`
	Channel       domain.Channel          `json:"channel,omitempty"`
	GivenAt       time.Time               `json:"given_at,omitzero"`
	ValidUntil    time.Time               `json:"valid_until,omitzero"` // of a grant; zero: no end was agreed
	NoticeVersion int                     `json:"notice_version,omitempty"`
	Evidence      *domain.Evidence        `json:"evidence,omitempty"`
	GivenBy       *domain.CompetentPerson `json:"given_by,omitempty"`
}

// RecordConsent appends a grant or a refusal. Errors: validation_failed, forbidden,
// not_found, unknown_purpose, purpose_not_consent_based, wording_mismatch,
// notice_changed, already_granted, in_force, evidence_required,
// competent_person_required, given_at_in_future, account_inactive, subject_erased.
func (h *Handler) RecordConsent(ctx context.Context, call Call, c RecordConsent) (Answer[domain.Decided], error) {
	subject, err := call.Subject(c.Subject)
	if err != nil {
		return Answer[domain.Decided]{}, err
	}

	wish := domain.RecordConsent{
		ID: domain.ConsentID{UUID: h.newID()}, Purpose: domain.CanonicalPurposeCode(c.Purpose),
		Description: c.Description, Language: c.Language,
		Consented: c.Consented, Channel: c.Channel, GivenAt: c.GivenAt.UTC().Truncate(time.Microsecond),
		ValidUntil: c.ValidUntil, NoticeVersion: c.NoticeVersion,
		Evidence: c.Evidence, GivenBy: c.GivenBy, ByStaff: subject != call.User, ByProgram: call.IsProgram(),
	}
	var history []domain.Recorded

	r := request{name: "consent.record", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		tail := domain.TailFor(subject, wish.Purpose, wish.GivenAt, time.Time{})
		known, version, expects, err := h.consents(ctx, call, subject, tail)
		if err != nil {
			return domain.Append{}, err
		}

		history = known
		events, on, err := h.decideConsent(ctx, call.Tenant, wish, history)
		if err != nil {
			return domain.Append{}, err
		}

		return domain.Append{
			Tenant:  call.Tenant,
			Writes:  []domain.Write{{Stream: tail.Stream, Expected: version, Events: events}},
			Expects: append(expects, on...),
		}, nil
	})
	if err != nil {
		return Answer[domain.Decided]{}, err
	}
	return h.consentAnswer(ctx, history, done)
}

// WithdrawConsent asks to withdraw a consent.
type WithdrawConsent struct {
	Consent  domain.ConsentID `json:"consent_id"`
	Reason   string           `json:"reason,omitempty"`
	GivenAt  time.Time        `json:"given_at,omitzero"`
	Evidence *domain.Evidence `json:"evidence,omitempty"`
}

// WithdrawConsent withdraws a consent. Withdrawing it again changes nothing, unless the
// new withdrawal was given earlier: the earliest counts. Withdrawing one's own
// platform_registration is never refused (POPIA s11(2)(b)): see closeAccount. A consent
// of another tenant is answered as if it did not exist, and so for a citizen is a consent
// of another person. Errors: validation_failed, not_found, not_granted,
// given_at_in_future, evidence_required; for another person's platform_registration also
// forbidden, last_admin.
func (h *Handler) WithdrawConsent(ctx context.Context, call Call, c WithdrawConsent) (Answer[domain.Decided], error) {
	subject, err := h.subjectOf(ctx, call, c.Consent)
	if err != nil {
		return Answer[domain.Decided]{}, err
	}

	wish := domain.WithdrawConsent{
		ID: c.Consent, Reason: c.Reason, GivenAt: c.GivenAt.UTC().Truncate(time.Microsecond),
		Evidence: c.Evidence, ByStaff: subject != call.User,
		ByProgram: call.IsProgram(),
	}
	tail := domain.TailOf(subject, c.Consent)
	var history []domain.Recorded

	r := request{name: "consent.withdraw", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		known, version, err := h.Store.LoadTail(ctx, call.Tenant, tail)
		if err != nil {
			return domain.Append{}, err
		}

		history = known
		withdrawn, err := wish.Decide(history, h.now())
		if err != nil || len(withdrawn) == 0 {
			return domain.Append{}, err
		}

		a := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: tail.Stream, Expected: version, Events: withdrawn}},
		}
		if w := withdrawn[0].(*domain.ConsentWithdrawn); w.Purpose == domain.PlatformRegistrationCode {
			err = h.closeAccount(ctx, call, &a, subject, w)
		}
		return a, err
	})
	if err != nil {
		return Answer[domain.Decided]{}, err
	}

	if len(done.Events) == 0 {
		consent, _ := domain.ConsentIn(history, c.Consent)
		decided, err := h.decided(ctx, consent, h.now())
		return Answer[domain.Decided]{Value: decided, Position: consent.Position, Stood: true}, err
	}
	return h.consentAnswer(ctx, history, done)
}

// consents loads the events that a subject's decision rests on, and the version of their
// consent stream. If the subject is not the caller, it makes sure that they exist and
// have not been erased.
func (h *Handler) consents(
	ctx context.Context, call Call, subject domain.UserID, tail domain.Tail,
) (history []domain.Recorded, version int, expects []domain.Expectation, err error) {
	if subject == call.User {
		history, version, err = h.Store.LoadTail(ctx, call.Tenant, tail)
		return history, version, nil, err
	}

	person := domain.UserOf(subject)
	events, version, err := h.Store.LoadTail(ctx, call.Tenant, tail, person)
	if err != nil {
		return nil, 0, nil, err
	}

	user := domain.Fold[domain.User](of(events, person))
	if !user.Exists() {
		return nil, 0, nil, domain.Refuse(domain.CodeNotFound, "There is no such person.")
	}
	if err := user.TakesCommands(); err != nil {
		return nil, 0, nil, err
	}

	expects = []domain.Expectation{{Tenant: call.Tenant, Stream: person, Version: user.Version}}
	return of(events, tail.Stream), version, expects, nil
}

// decideConsent decides on the purpose held in memory. If that leads to a refusal, it
// decides again on the purpose in the log, since memory may be out of date.
func (h *Handler) decideConsent(
	ctx context.Context, tenant domain.TenantID, wish domain.RecordConsent, history []domain.Recorded,
) ([]domain.Event, []domain.Expectation, error) {
	for {
		purpose, expects, cached, err := h.purpose(ctx, tenant, wish.Purpose, wish.GivenAt)
		if err != nil {
			return nil, nil, err
		}
		if purpose.Exists() && purpose.Tenant == tenant && !tenant.IsPlatform() {
			if wish.Hidden, _, err = h.loadPurpose(ctx, domain.PlatformTenant(), wish.Purpose); err != nil {
				return nil, nil, err
			}
		}

		events, err := wish.Decide(history, purpose, h.now())
		if err == nil || !cached {
			return events, expects, err
		}

		h.purposes.forget(
			domain.PurposeOf(tenant, wish.Purpose), domain.PurposeOf(domain.PlatformTenant(), wish.Purpose))
	}
}

// consentAnswer returns the consent as an append left it. history is what the append was
// decided on; for a repeat it is loaded here.
func (h *Handler) consentAnswer(
	ctx context.Context, history []domain.Recorded, done domain.Appended,
) (Answer[domain.Decided], error) {
	i := slices.IndexFunc(done.Events, func(e domain.Recorded) bool { return e.Stream.Type == domain.ConsentStream })
	if i < 0 {
		return Answer[domain.Decided]{}, keyReused()
	}
	event := done.Events[i]

	if done.Repeat {
		tail := domain.TailOf(event.Subject, domain.ConsentID{UUID: event.Record})
		known, _, err := h.Store.LoadTail(ctx, event.Tenant, tail)
		if err != nil {
			return Answer[domain.Decided]{}, err
		}
		history = until(known, done.Position())
	} else {
		history = append(history, of(done.Events, event.Stream)...)
	}

	consent, _ := domain.ConsentIn(history, domain.ConsentID{UUID: event.Record})
	decided, err := h.decided(ctx, consent, event.RecordedAt)
	return Answer[domain.Decided]{Value: decided, Position: done.Position()}, err
}

// decided returns what has become of a consent by an instant, as known then: the answer
// of a command that is sent again is that of the first time.
func (h *Handler) decided(ctx context.Context, c domain.Consent, at time.Time) (domain.Decided, error) {
	clocks := domain.Clocks{KnownAt: at, Now: at}
	if c.Purpose == domain.PlatformRegistrationCode {
		return domain.RulesOf(nil, nil, clocks).Of(c), nil
	}

	own, _, err := h.loadPurpose(ctx, c.Tenant, c.Purpose)
	if err != nil {
		return domain.Decided{}, err
	}
	shared, _, err := h.loadPurpose(ctx, domain.PlatformTenant(), c.Purpose)
	if c.Tenant.IsPlatform() {
		shared = domain.Purpose{}
	}
	return domain.TermsOf(own, shared, clocks).Of(c), err
}

// subjectOf finds the person whose consent this is, without a read table. A caller who
// acts for nobody else is taken to be that person: whether the consent is theirs shows
// when their decisions are read.
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

// closeAccount adds to an append what follows from withdrawing the consent that an
// account rests on: the account is closed, its sessions end, and the consents given
// through it are withdrawn as well, because the person can no longer withdraw them.
//
// The person themselves is never refused, not even a tenant's last admin: SALGA can
// appoint another. Anybody else needs evidence, must be an admin if the account is a
// staff account, and cannot close the account of the last admin. If the account rests on
// a later consent, nothing follows.
func (h *Handler) closeAccount(
	ctx context.Context, call Call, a *domain.Append, id domain.UserID, left *domain.ConsentWithdrawn,
) error {
	own := id == call.User
	person, staff, consents := domain.UserOf(id), domain.AdminsOf(a.Tenant), domain.ConsentsOf(id)

	history, err := h.Store.Load(ctx, a.Tenant, person, staff, consents)
	if err != nil {
		return err
	}
	user, admins := domain.Fold[domain.User](of(history, person)), domain.Fold[domain.Admins](of(history, staff))
	if !user.Account { // and must have none when this is appended
		a.Expects = append(a.Expects, domain.Expectation{Tenant: a.Tenant, Stream: person, Version: user.Version})
		return nil
	}

	if !own {
		if err := mayClose(call, user, left); err != nil {
			return err
		}
	}

	withdrawn, leaves := left.CloseAccount(of(history, consents), h.now())
	if !leaves {
		return nil
	}

	removed, err := admins.Remove(id)
	if err != nil && own {
		removed, err = []domain.Event{&domain.AdminRemoved{User: id}}, nil
	}
	if err != nil {
		return err
	}

	// The withdrawals belong to the stream that the append writes first.
	a.Writes[0].Events = append(a.Writes[0].Events, withdrawn...)

	closed := user.Deactivate(domain.CauseConsentWithdrawn)
	if len(closed) == 0 { // already closed, and must not be reopened meanwhile
		a.Expects = append(a.Expects, domain.Expectation{Tenant: a.Tenant, Stream: person, Version: user.Version})
		return nil
	}

	a.Writes = append(a.Writes, domain.Write{Stream: person, Expected: user.Version, Events: closed})
	if len(removed) > 0 {
		a.Writes = append(a.Writes, domain.Write{Stream: staff, Expected: admins.Version, Events: removed})
	}
	keepOfficers(a, user, closed)
	endSessions(a, id)
	return nil
}

// mayClose refuses to close another person's account without evidence that they asked for
// it. Only an admin may close a staff account: a clerk must not rid a municipality of its
// officers.
func mayClose(call Call, user domain.User, left *domain.ConsentWithdrawn) error {
	if user.Role != domain.Citizen {
		if err := call.demandAdmin("withdraw a colleague's consent to their account"); err != nil {
			return err
		}
	}
	if left.EvidenceSHA256 == "" {
		return domain.Refuse(domain.CodeEvidenceRequired,
			"Closing another person's account on their behalf requires evidence.")
	}
	return nil
}
