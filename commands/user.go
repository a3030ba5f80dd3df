package commands

import (
	"context"
	"errors"
	"strings"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"

	"github.com/salga-trust/engine/domain"
)

// Register is a person's wish for an account, with the consent it rests on.
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

// Register makes an account for a citizen: user.registered and consent.granted in one append, so there is never a user without
// consent. Errors: validation_failed, consent_required, wording_mismatch, unknown_municipality, municipality_inactive,
// email_taken.
func (h *Handler) Register(ctx context.Context, call Call, c Register) (Answer[domain.User], error) {
	person := newPerson(c.Email, c.Password, c.FullName, c.Phone, c.PreferredLanguage)
	person.Role = domain.Citizen
	if err := person.Validate(); err != nil {
		return Answer[domain.User]{}, err
	}
	if c.Consent == nil || !c.Consent.Consented || c.Consent.Purpose != domain.PlatformRegistrationCode {
		return Answer[domain.User]{}, domain.Refuse(domain.CodeConsentRequired,
			"An account needs consent to the purpose platform_registration.")
	}
	municipality, err := h.openMunicipality(ctx, c.MunicipalityCode)
	if err != nil {
		return Answer[domain.User]{}, err
	}
	person.MunicipalityCode = municipality.Code
	id := domain.UserID{UUID: h.newID()}
	call.Tenant = municipality.ID
	r := request{
		name: "user.register", tenant: municipality.ID, body: c,
		scope: "register:" + municipality.ID.String() + ":" + domain.CanonicalEmail(person.Email),
	}
	return h.addUser(ctx, call, r, id, person, func(a *domain.Append) error {
		municipality, err := h.openMunicipality(ctx, municipality.Code) // again: this runs afresh after a conflict
		if err != nil {
			return err
		}
		granted, err := domain.RecordConsent{
			ID: domain.ConsentID{UUID: h.newID()}, Purpose: c.Consent.Purpose, Description: c.Consent.Description,
			Language: c.Consent.Language, Consented: true,
		}.Decide(nil, domain.PlatformRegistration(), h.now())
		a.Actor = id
		a.Writes = append(a.Writes, domain.Write{Stream: domain.ConsentsOf(id), Events: granted})
		a.Expects = append(a.Expects, domain.Expectation{
			Tenant: municipality.ID, Stream: domain.MunicipalityOf(municipality.ID), Version: municipality.Version,
		})
		return err
	})
}

// CreateUser is an admin's or operator's wish for an account of staff. It carries no consent: staff are registered because they
// work here.
type CreateUser struct {
	Email             string          `json:"email"`
	Password          string          `json:"-"`
	FullName          string          `json:"full_name"`
	Phone             string          `json:"phone"`
	PreferredLanguage domain.Language `json:"preferred_language"`
	MunicipalityCode  string          `json:"municipality_code"`
	Role              domain.Role     `json:"role"`
}

// CreateUser makes an account of staff in the caller's tenant. Errors: validation_failed, forbidden, municipality_inactive,
// email_taken.
func (h *Handler) CreateUser(ctx context.Context, call Call, c CreateUser) (Answer[domain.User], error) {
	person := newPerson(c.Email, c.Password, c.FullName, c.Phone, c.PreferredLanguage)
	person.Role = c.Role
	if err := person.Validate(); err != nil {
		return Answer[domain.User]{}, err
	}
	if !call.system && call.actor.Role != domain.Admin {
		return Answer[domain.User]{}, domain.Refuse(domain.CodeForbidden, "Only an admin may make accounts of staff.")
	}
	code, err := h.codeOf(ctx, call.Tenant)
	if err != nil {
		return Answer[domain.User]{}, err
	}
	if c.MunicipalityCode != "" && !strings.EqualFold(c.MunicipalityCode, code) {
		return Answer[domain.User]{}, domain.Refuse(domain.CodeForbidden, "An admin makes accounts in the own municipality only.")
	}
	person.MunicipalityCode = code
	id := domain.UserID{UUID: h.newID()}
	r := request{name: "user.create", tenant: call.Tenant, scope: scopeOf(call), body: c}
	return h.addUser(ctx, call, r, id, person, func(a *domain.Append) error {
		if c.Role == domain.Admin {
			a.Writes = append(a.Writes, domain.Write{
				Stream: domain.AdminsOf(call.Tenant), Expected: domain.AnyVersion, Events: []domain.Event{&domain.AdminAdded{User: id}},
			})
		}
		return nil
	})
}

// addUser appends a new user with claim, credential and key; more adds what else belongs to it.
func (h *Handler) addUser(ctx context.Context, call Call, r request, id domain.UserID, person domain.RegisterUser, more func(*domain.Append) error) (Answer[domain.User], error) {
	claim := emailClaim(call.Tenant, person.Email)
	done, err := h.execute(ctx, call, r, func(ctx context.Context, call Call) (domain.Append, error) {
		if _, held, err := h.Store.Holder(ctx, claim); err != nil || held {
			return domain.Append{}, firstErr(err, emailTaken()) // before the costly hash; the append itself decides
		}
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
	return h.userAnswer(ctx, call.Tenant, done)
}

func emailTaken() *domain.Error {
	return domain.Refuse(domain.CodeEmailTaken, "An account with this e-mail address exists in this municipality.")
}

func newPerson(email, password, name, phone string, language domain.Language) domain.RegisterUser {
	if language == "" {
		language = domain.English
	}
	return domain.RegisterUser{
		Email: tidy(email), Password: password, FullName: domain.TidyName(tidy(name)), Phone: E164(phone),
		PreferredLanguage: language,
	}
}

// tidy trims text and puts it in Unicode form C, so that one spelling of Ṱ is one value.
func tidy(text string) string { return norm.NFC.String(strings.TrimSpace(text)) }

// E164 gives a phone number in E.164 form; what is no valid number of any country comes back as it is, for the domain to refuse.
func E164(phone string) string {
	phone = strings.TrimSpace(phone)
	if phone == "" {
		return ""
	}
	n, err := phonenumbers.Parse(phone, "ZA")
	if err != nil || !phonenumbers.IsPossibleNumber(n) {
		return "invalid"
	}
	return phonenumbers.Format(n, phonenumbers.E164)
}

func firstErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func emailClaim(tenant domain.TenantID, email string) domain.Claim {
	return domain.Claim{Tenant: tenant, Kind: domain.EmailClaim, Value: domain.CanonicalEmail(email)}
}
