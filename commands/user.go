package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/salga-trust/engine/domain"
)

// Register asks for a citizen's account, with the consent it rests on.
type Register struct {
	Email             string           `json:"email"`
	Password          string           `json:"-"`
	FullName          string           `json:"full_name"`
	Phone             string           `json:"phone"` // E.164 or South African national form
	PreferredLanguage domain.Language  `json:"preferred_language"`
	MunicipalityCode  string           `json:"municipality_code"`
	Consent           *RegisterConsent `json:"consent"`
}

// RegisterConsent is the consent to the purpose platform_registration.
type RegisterConsent struct {
	Purpose     string          `json:"purpose"`
	Description string          `json:"purpose_description"`
	Language    domain.Language `json:"language"`
	Consented   bool            `json:"consented"`
}

// Register creates a citizen's account. It appends user.registered and consent.granted
// together, so a registered citizen has always consented. Errors: validation_failed,
// consent_required, wording_mismatch, unknown_municipality, municipality_inactive,
// email_taken; for a repeat idempotency_key_reused, subject_erased.
func (h *Handler) Register(ctx context.Context, call Call, c Register) (Answer[domain.User], error) {
	person := newPerson(c.Email, c.Password, c.FullName, c.Phone, c.PreferredLanguage)
	person.Role, person.Consented = domain.Citizen, true
	if err := person.Validate(); err != nil {
		return Answer[domain.User]{}, err
	}

	if c.Consent == nil || !c.Consent.Consented ||
		domain.CanonicalPurposeCode(c.Consent.Purpose) != domain.PlatformRegistrationCode {
		return Answer[domain.User]{}, domain.Refuse(domain.CodeConsentRequired,
			"An account needs consent to the purpose platform_registration.")
	}

	tenant, err := h.TenantOf(ctx, c.MunicipalityCode)
	if err != nil {
		return Answer[domain.User]{}, err
	}
	person.MunicipalityCode = domain.CanonicalMunicipalityCode(c.MunicipalityCode) // as tenantOf found it
	id := domain.UserID{UUID: h.newID()}
	call.Tenant = tenant

	r := request{
		name: "user.register", tenant: tenant, body: c,
		scope: "register:" + tenant.String() + ":" + domain.CanonicalEmail(person.Email),
	}
	return h.addUser(ctx, call, r, id, person, func(a *domain.Append) error {
		// Checked only here, so that a registration carried out before the municipality
		// closed is still answered.
		municipality, err := h.openMunicipality(ctx, c.MunicipalityCode)
		if err != nil {
			return err
		}

		granted, err := domain.RecordConsent{
			ID: domain.ConsentID{UUID: h.newID()}, Purpose: domain.PlatformRegistrationCode,
			Description: c.Consent.Description,
			Language:    c.Consent.Language, Consented: true,
		}.Decide(nil, domain.PlatformRegistration(), h.now())

		a.Actor = id
		a.Writes = append(a.Writes, domain.Write{Stream: domain.ConsentsOf(id), Events: granted})
		a.Expects = append(a.Expects, domain.Expectation{
			Tenant: tenant, Stream: domain.MunicipalityOf(tenant), Version: municipality.Version,
		})
		return err
	})
}

// CreateUser asks, as an admin or operator, for a staff account. It carries no consent:
// staff are registered because they work here.
type CreateUser struct {
	Email             string          `json:"email"`
	Password          string          `json:"-"`
	FullName          string          `json:"full_name"`
	Phone             string          `json:"phone"`
	PreferredLanguage domain.Language `json:"preferred_language"`
	MunicipalityCode  string          `json:"municipality_code"`
	Role              domain.Role     `json:"role"`
}

// CreateUser creates a staff account in the caller's tenant. Errors: validation_failed,
// forbidden, consent_required (for a citizen), municipality_inactive, email_taken; for a
// repeat idempotency_key_reused, subject_erased.
func (h *Handler) CreateUser(ctx context.Context, call Call, c CreateUser) (Answer[domain.User], error) {
	person := newPerson(c.Email, c.Password, c.FullName, c.Phone, c.PreferredLanguage)
	person.Role = c.Role
	if err := person.Validate(); err != nil {
		return Answer[domain.User]{}, err
	}
	if err := call.demandAdmin("create staff accounts"); err != nil {
		return Answer[domain.User]{}, err
	}

	code, err := h.CodeOf(ctx, call.Tenant)
	if err != nil {
		return Answer[domain.User]{}, err
	}
	if named := domain.CanonicalMunicipalityCode(c.MunicipalityCode); named != "" && named != code {
		return Answer[domain.User]{}, domain.Refuse(domain.CodeForbidden,
			"An admin may create accounts only in their own municipality.")
	}
	person.MunicipalityCode = code

	id := domain.UserID{UUID: h.newID()}
	r := request{name: "user.create", tenant: call.Tenant, scope: scopeOf(call), body: c}
	return h.addUser(ctx, call, r, id, person, func(a *domain.Append) error {
		if c.Role == domain.Admin {
			a.Writes = append(a.Writes, domain.Write{
				Stream: domain.AdminsOf(call.Tenant), Expected: domain.AnyVersion,
				Events: []domain.Event{&domain.AdminAdded{User: id}},
			})
		}
		return nil
	})
}

// addUser appends a new user with claim, credential and key; more adds the rest.
func (h *Handler) addUser(
	ctx context.Context, call Call, r request, id domain.UserID, person domain.RegisterUser,
	more func(*domain.Append) error,
) (Answer[domain.User], error) {
	claim := emailClaim(call.Tenant, person.Email)

	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		events, err := person.Decide()
		if err != nil {
			return domain.Append{}, err
		}

		a := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.UserOf(id), Events: events}},
		}
		if err := more(&a); err != nil {
			return domain.Append{}, err
		}
		keepOfficers(&a, domain.User{ID: id}, events)

		// Only to save the costly hash: the append itself decides.
		if err := h.demandFree(ctx, call.Tenant, person.Email, id); err != nil {
			return domain.Append{}, err
		}

		verifier, err := h.hasher.hash(ctx, person.Password)
		a.Side = []domain.SideWrite{
			domain.CreateSubjectKey{Subject: id},
			domain.TakeClaim{Claim: claim, Holder: id.UUID},
			domain.SetCredential{User: id, Email: claim.Value, Verifier: verifier},
		}
		return a, err
	})

	if _, taken := errors.AsType[*domain.ClaimTakenError](err); taken {
		return Answer[domain.User]{}, emailTaken().Because(err)
	}
	if err != nil {
		return Answer[domain.User]{}, err
	}
	return h.userAnswerTo(ctx, call, done, person.Password)
}

// ChangeProfile asks for other details of the caller's account; nil fields stay.
type ChangeProfile struct {
	FullName          *string          `json:"full_name,omitempty"`
	Phone             *string          `json:"phone,omitempty"`
	PreferredLanguage *domain.Language `json:"preferred_language,omitempty"`
	Email             *string          `json:"email,omitempty"`
	CurrentPassword   string           `json:"-"` // a new e-mail address needs it
}

// ChangeProfile changes the caller's details. A new e-mail address moves claim and
// credential in the same append. Errors: validation_failed, stale, password_wrong,
// email_taken; for a repeat idempotency_key_reused.
func (h *Handler) ChangeProfile(ctx context.Context, call Call, c ChangeProfile) (Answer[domain.User], error) {
	r := request{name: "user.change_profile", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		user, _, err := h.person(ctx, call.Tenant, call.User)
		if err != nil {
			return domain.Append{}, err
		}
		if err := matching(call, user.Version); err != nil {
			return domain.Append{}, err
		}

		events, err := c.wish().Decide(user)
		if err != nil || len(events) == 0 {
			return domain.Append{}, err
		}

		a := domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{{Stream: domain.UserOf(call.User), Expected: user.Version, Events: events}},
		}
		if _, moves := events[len(events)-1].(*domain.UserEmailChanged); !moves {
			return a, nil
		}

		// Checked on every try: a new password may be what moved the account.
		if err := h.checkPassword(ctx, call, c.CurrentPassword); err != nil {
			return domain.Append{}, err
		}
		if err := h.demandFree(ctx, call.Tenant, *c.Email, call.User); err != nil {
			return domain.Append{}, err
		}

		a.Side = moveEmail(user, *c.Email)
		return a, nil
	})

	if _, taken := errors.AsType[*domain.ClaimTakenError](err); taken {
		return Answer[domain.User]{}, emailTaken().Because(err)
	}
	if err != nil {
		return Answer[domain.User]{}, err
	}

	if len(done.Events) == 0 {
		return h.userNow(ctx, call.Tenant, call.User)
	}
	if movedEmail(done.Events) {
		return h.userAnswerTo(ctx, call, done, c.CurrentPassword)
	}
	return h.userAnswer(ctx, call.Tenant, done)
}

// movedEmail reports whether a change needed the current password.
func movedEmail(events []domain.Recorded) bool {
	return slices.ContainsFunc(events, func(r domain.Recorded) bool {
		_, moved := r.Event.(*domain.UserEmailChanged)
		return moved
	})
}

func (c ChangeProfile) wish() domain.ChangeProfile {
	return domain.ChangeProfile{
		FullName: c.FullName, Phone: c.Phone, Email: c.Email, PreferredLanguage: c.PreferredLanguage,
	}
}

func moveEmail(user domain.User, email string) []domain.SideWrite {
	claim := emailClaim(user.Tenant, email)
	return append(releaseEmail(user),
		domain.TakeClaim{Claim: claim, Holder: user.ID.UUID}, domain.SetCredential{User: user.ID, Email: claim.Value})
}

// releaseEmail gives up a user's address, under every spelling that it may have been
// claimed under.
func releaseEmail(user domain.User) []domain.SideWrite {
	var side []domain.SideWrite
	for _, spelling := range domain.EmailSpellings(user.Email) {
		side = append(side, domain.ReleaseClaim{
			Claim: domain.Claim{Tenant: user.Tenant, Kind: domain.EmailClaim, Value: spelling}, Holder: user.ID.UUID,
		})
	}
	return side
}

// demandFree refuses an address that another user has claimed, including under a spelling
// from before addresses had one form. Such spellings are only ever given up, so nobody
// can take one between this check and the append.
func (h *Handler) demandFree(ctx context.Context, tenant domain.TenantID, email string, user domain.UserID) error {
	for _, spelling := range domain.EmailSpellings(email) {
		holder, held, err := h.Store.Holder(ctx, domain.Claim{Tenant: tenant, Kind: domain.EmailClaim, Value: spelling})
		if err != nil {
			return err
		}
		if held && holder != user.UUID {
			return emailTaken()
		}
	}
	return nil
}

// ChangePassword asks for a new password for the caller's account.
type ChangePassword struct {
	Current string `json:"-"`
	New     string `json:"-"`
}

// ChangePassword replaces the caller's password and ends all their other sessions. For a
// repeat the former password is wrong, which would be recorded as a guess: so it is
// looked for first. Errors: validation_failed, password_wrong; for a repeat
// idempotency_key_reused.
func (h *Handler) ChangePassword(ctx context.Context, call Call, c ChangePassword) (Answer[struct{}], error) {
	var f domain.Faults
	f.Password("new_password", c.New)
	if err := f.Err(); err != nil {
		return Answer[struct{}]{}, err
	}

	r := request{name: "user.change_password", tenant: call.Tenant, scope: scopeOf(call), body: c}
	done, repeated, err := h.delivered(ctx, call, r)
	if err == nil && !repeated {
		done, err = h.execute(ctx, call, r, h.replacePassword(c))
	}
	if err == nil && done.Repeat {
		err = h.samePassword(ctx, call, done, c.New)
	}
	return Answer[struct{}]{Position: done.Position()}, err
}

// replacePassword decides on a change of password.
func (h *Handler) replacePassword(c ChangePassword) decision {
	return func(ctx context.Context, call Call) (domain.Append, error) {
		own, sessions := domain.UserOf(call.User), domain.SessionsOf(call.User)
		if err := h.checkPassword(ctx, call, c.Current); err != nil {
			return domain.Append{}, err
		}
		verifier, err := h.hasher.hash(ctx, c.New)
		if err != nil {
			return domain.Append{}, err
		}

		return domain.Append{
			Tenant: call.Tenant,
			Writes: []domain.Write{
				{Stream: own, Expected: call.actor.Version, Events: []domain.Event{&domain.UserPasswordChanged{}}},
				{Stream: sessions, Expected: domain.AnyVersion, Events: []domain.Event{&domain.SessionEnded{
					SessionID: call.Session, Scope: domain.ScopeOthers, Cause: domain.CausePasswordChanged,
				}}},
			},
			Side: []domain.SideWrite{
				domain.SetCredential{User: call.User, Verifier: verifier},
				domain.EndSessions{User: call.User, Except: call.Session},
			},
		}, nil
	}
}

// checkPassword refuses a wrong password of the signed-in caller.
func (h *Handler) checkPassword(ctx context.Context, call Call, password string) error {
	ok, err := h.isPasswordOf(ctx, call, call.User, password)
	if err != nil {
		return err
	}
	if !ok {
		return domain.Refuse(domain.CodePasswordWrong, "The current password is wrong.")
	}
	return nil
}

// isPasswordOf reports whether this is the password of an account of the caller's tenant,
// at the cost of one hash. It is a guess like a sign-in: it counts against the same
// limit, and a failure goes into the same record.
func (h *Handler) isPasswordOf(ctx context.Context, call Call, user domain.UserID, password string) (bool, error) {
	if call.Guess != nil {
		person, _, err := h.person(ctx, call.Tenant, user)
		if err != nil {
			return false, err
		}
		if err := call.guess(ctx, person.Email); err != nil {
			return false, err
		}
	}

	// Read only now: the wait for a guess may have been long.
	verifier, err := h.Store.Verifier(ctx, call.Tenant, user)
	if err != nil {
		return false, err
	}

	fits, err := h.hasher.matches(ctx, password, verifier)
	if err == nil && !fits {
		h.passwordFailed(call, user, call.command, call.command)
	}
	return fits, err
}

// person loads one account with its personal fields.
func (h *Handler) person(
	ctx context.Context, tenant domain.TenantID, id domain.UserID,
) (domain.User, []domain.Recorded, error) {
	events, err := h.Store.LoadPersonal(ctx, tenant, domain.UserOf(id))
	if err != nil {
		return domain.User{}, nil, err
	}

	user := domain.Fold[domain.User](events)
	if !user.Exists() {
		return domain.User{}, nil, domain.Refuse(domain.CodeNotFound, "There is no such user.")
	}
	return user, events, nil
}

// userNow returns an account as it is now.
func (h *Handler) userNow(ctx context.Context, tenant domain.TenantID, id domain.UserID) (Answer[domain.User], error) {
	user, events, err := h.person(ctx, tenant, id)
	if err != nil {
		return Answer[domain.User]{}, err
	}
	return Answer[domain.User]{Value: user, Position: events[len(events)-1].Position, Stood: true}, nil
}

// userAnswerTo is userAnswer for a command that carried a password. A fingerprint covers
// no password, so the password of a repeat is compared with the account's: if it differs,
// or the account's has changed since, it is a different request.
func (h *Handler) userAnswerTo(
	ctx context.Context, call Call, done domain.Appended, password string,
) (Answer[domain.User], error) {
	a, err := h.userAnswer(ctx, call.Tenant, done)
	if err != nil || !done.Repeat {
		return a, err
	}

	call.command = done.Events[0].Metadata.Command
	same, err := h.isPasswordOf(ctx, call, a.Value.ID, password)
	if err != nil {
		return Answer[domain.User]{}, err
	}
	if !same {
		return Answer[domain.User]{}, keyReused()
	}
	return a, nil
}

// userAnswer returns the account as an append left it, which for a repeat may be long
// ago. If the person has been erased since, that is no longer known. Error:
// subject_erased.
func (h *Handler) userAnswer(
	ctx context.Context, tenant domain.TenantID, done domain.Appended,
) (Answer[domain.User], error) {
	for _, e := range done.Events {
		if e.Stream.Type != domain.UserStream {
			continue
		}

		events, err := h.Store.LoadPersonal(ctx, tenant, e.Stream)
		if err != nil {
			return Answer[domain.User]{}, err
		}
		user := domain.Fold[domain.User](until(events, done.Position()))
		if user.Erased {
			return Answer[domain.User]{}, subjectErased()
		}
		return Answer[domain.User]{Value: user, Position: done.Position()}, nil
	}

	return Answer[domain.User]{}, keyReused()
}

func emailTaken() *domain.Error {
	return domain.Refuse(domain.CodeEmailTaken,
		"An account with this e-mail address already exists in this municipality.")
}

func subjectErased() *domain.Error {
	return domain.Refuse(domain.CodeSubjectErased, "This person's data was erased.")
}

func newPerson(email, password, name, phone string, language domain.Language) domain.RegisterUser {
	if language == "" {
		language = domain.English
	}
	return domain.RegisterUser{
		Email: email, Password: password, FullName: name, Phone: phone, PreferredLanguage: language,
	}
}

func emailClaim(tenant domain.TenantID, email string) domain.Claim {
	return domain.Claim{Tenant: tenant, Kind: domain.EmailClaim, Value: domain.CanonicalEmail(email)}
}
