package http

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// consentBody is a recorded decision in answers.
type consentBody struct {
	ID                 uuid.UUID  `json:"id" format:"uuid"`
	SubjectID          uuid.UUID  `json:"subject_id" format:"uuid"`
	Purpose            string     `json:"purpose" example:"sms_alert"`
	PurposeDescription *string    `json:"purpose_description" doc:"The wording that was shown; null, only in a claim: not known." example:"Ukukuthumelela izaziso ze-SMS mayelana nokuphazamiseka kwamanzi nogesi."`
	Language           *string    `json:"language" enum:"en,zu,af" doc:"null, only in a claim: not known." example:"zu"`
	Consented          bool       `json:"consented" doc:"false: a refusal, or a claimed withdrawal." example:"true"`
	ConsentedAt        *instant   `json:"consented_at" nullable:"true" doc:"When the person said yes; null for a refusal." example:"2026-03-01T12:00:00.000000Z"`
	Withdrawn          bool       `json:"withdrawn" example:"false"`
	WithdrawnAt        *instant   `json:"withdrawn_at" nullable:"true"`
	Channel            *string    `json:"channel" enum:"web,counter,phone,whatsapp,ussd,paper" doc:"null, only in a claim: not known." example:"web"`
	GivenAt            instant    `json:"given_at" doc:"When the person decided."`
	RecordedAt         instant    `json:"recorded_at" doc:"When it was recorded."`
	NoticeVersion      *int       `json:"notice_version" doc:"null, only in a claim: not known, so that it is no consent to any wording." example:"1"`
	SHA256             *string    `json:"sha256" doc:"SHA-256 of the wording shown; null, only in a claim: not known." example:"73ddd2a0da691577a089bdafe694337a82a03ea8ed8d2270340d41a12b3da39e"`
	GivenBy            string     `json:"given_by" enum:"self,competent_person" doc:"Who decided (POPIA s35)."`
	RecordedBy         *uuid.UUID `json:"recorded_by" nullable:"true" format:"uuid" doc:"The account that recorded it; null: an operator."`
	EvidenceSHA256     *string    `json:"evidence_sha256" doc:"SHA-256 of the scanned form or other evidence; null: none."`
	EvidenceGrade      *string    `json:"evidence_grade" enum:"claimed,documented,witnessed" doc:"Set if this is only claimed by another source: claimed, nothing else is known; documented, a document or recording is kept; witnessed, a signed statement of somebody who was present is kept. null: recorded here."`
	Source             *string    `json:"source" doc:"The source that claims it; null: recorded here."`
	Position           int64      `json:"position" doc:"Position of its newest event." example:"1042"`
}

func consentOf(c domain.Consent) consentBody {
	b := consentBody{
		ID: c.ID.UUID, SubjectID: c.Subject.UUID, Purpose: c.Purpose, PurposeDescription: orNull(c.Wording),
		Language: orNull(string(c.Language)), Consented: c.Consented, Withdrawn: c.Withdrawn(),
		WithdrawnAt: instantOrNull(c.WithdrawnAt), Channel: orNull(string(c.Channel)), GivenAt: instant(c.GivenAt),
		RecordedAt: instant(c.RecordedAt), SHA256: orNull(c.SHA256), GivenBy: c.GivenBy,
		RecordedBy: idOrNull(c.RecordedBy.UUID), EvidenceSHA256: orNull(c.EvidenceSHA256),
		EvidenceGrade: orNull(string(c.Grade)), Source: orNull(c.Source), Position: c.Position,
	}
	if c.Consented {
		b.ConsentedAt = instantOrNull(c.GivenAt)
	}
	if c.NoticeVersion > 0 {
		b.NoticeVersion = &c.NoticeVersion
	}
	return b
}

type consentOutput struct {
	Body consentBody
}

type consentChanged struct {
	Position string `header:"Event-Position"`
	Body     consentBody
}

func consentAnswer(a commands.Answer[domain.Consent], err error) (*consentChanged, error) {
	if err != nil {
		return nil, err
	}
	return &consentChanged{Position: position(a.Position), Body: consentOf(a.Value)}, nil
}

type recordConsentInput struct {
	Body recordConsentBody
}

type recordConsentBody struct {
	SubjectID          string        `json:"subject_id,omitempty" minLength:"1" says:"format=uuid" doc:"Another person of your municipality; staff only."`
	Purpose            string        `json:"purpose" doc:"Code of a registered purpose." example:"sms_alert"`
	PurposeDescription string        `json:"purpose_description,omitempty" minLength:"1" doc:"The wording that was shown; must match the registry."`
	Language           string        `json:"language" says:"enum=en|zu|af" doc:"That of the wording shown." example:"zu"`
	Consented          bool          `json:"consented" doc:"false records a refusal." example:"true"`
	Channel            string        `json:"channel,omitempty" minLength:"1" says:"enum=web|counter|phone|whatsapp|ussd|paper" doc:"Default: web."`
	GivenAt            *time.Time    `json:"given_at,omitempty" doc:"If more than 5 minutes ago: needs evidence, and a channel other than web."`
	NoticeVersion      int           `json:"notice_version,omitempty" minimum:"1" doc:"The version that was shown."`
	Evidence           *evidenceBody `json:"evidence,omitempty"`
	GivenBy            *givenByBody  `json:"given_by,omitempty" doc:"A competent person who decides for the subject (POPIA s35)."`
}

type evidenceBody struct {
	SHA256    string `json:"sha256" says:"pattern=^[0-9a-f]{64}$" example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`
	Reference string `json:"reference" doc:"Where it is kept." example:"form 114"`
}

type givenByBody struct {
	Name      string `json:"name" example:"Thandi Dlamini"`
	Relation  string `json:"relation" example:"mother"`
	Authority string `json:"authority" doc:"The document that gives them authority." example:"birth certificate"`
}

func (b recordConsentBody) command() (commands.RecordConsent, error) {
	var f domain.Faults
	c := commands.RecordConsent{
		Purpose: b.Purpose, Description: b.PurposeDescription, Language: domain.Language(b.Language),
		Consented: b.Consented, Channel: domain.Channel(b.Channel), GivenAt: given(&f, b.GivenAt),
		NoticeVersion: b.NoticeVersion,
	}

	if b.Evidence != nil {
		c.Evidence = &domain.Evidence{SHA256: b.Evidence.SHA256, Reference: b.Evidence.Reference}
	}
	if b.GivenBy != nil {
		c.GivenBy = &domain.CompetentPerson{
			Name: b.GivenBy.Name, Relation: b.GivenBy.Relation, Authority: b.GivenBy.Authority,
		}
	}
	return c, f.Err()
}

// given reads when a person decided; zero: now. No living person decided anything before
// 1900.
func given(f *domain.Faults, at *time.Time) time.Time {
	if at == nil {
		return time.Time{}
	}
	if at.Year() < 1900 {
		f.Add("given_at", "invalid", "Give the instant at which the person decided.")
	}
	return *at
}

func (s *server) recordConsent(
	ctx context.Context, call commands.Call, in *recordConsentInput,
) (*consentChanged, error) {
	c, err := in.Body.command()
	if err != nil {
		return nil, err
	}
	if c.Subject, err = subjectOf(call, in.Body.SubjectID); err != nil {
		return nil, err
	}

	a, err := s.config.Commands.RecordConsent(ctx, call, c)
	return consentAnswer(a, s.recordRefusal(ctx, call, err, "consents", c.Subject))
}

type withdrawConsentInput struct {
	ID   string `path:"id"`
	Body *struct {
		Reason   string        `json:"reason,omitempty" example:"too many messages"`
		GivenAt  *time.Time    `json:"given_at,omitempty" doc:"When the person withdrew it; default: now."`
		Evidence *evidenceBody `json:"evidence,omitempty" doc:"For another person: needed if given_at is more than 5 minutes ago or before the recorded withdrawal, and for platform_registration."`
	} `nameHint:"WithdrawConsentBody"`
}

// WithdrawnConsent is consentBody under an exported name, so that huma reads it where it
// is embedded.
type WithdrawnConsent = consentBody

type consentWithdrawn struct {
	Position string `header:"Event-Position"`
	Body     struct {
		WithdrawnConsent

		Staying []consentBody `json:"staying" nullable:"true" doc:"If this closed the account: consents not given through it, which stay in force; staff can withdraw them. Otherwise null."`
	} `nameHint:"WithdrawnConsentBody"`
}

func (s *server) withdrawConsent(
	ctx context.Context, call commands.Call, in *withdrawConsentInput,
) (*consentWithdrawn, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}

	c := commands.WithdrawConsent{Consent: domain.ConsentID{UUID: id}}
	if in.Body != nil {
		var f domain.Faults
		c.Reason, c.GivenAt = in.Body.Reason, given(&f, in.Body.GivenAt)
		if err := f.Err(); err != nil {
			return nil, err
		}
		if e := in.Body.Evidence; e != nil {
			c.Evidence = &domain.Evidence{SHA256: e.SHA256, Reference: e.Reference}
		}
	}

	a, err := s.config.Commands.WithdrawConsent(ctx, call, c)
	err = recordUnchanged(ctx, s, call, a, s.withdrawalRefused(ctx, call, c.Consent, err), "consents", subjectOfConsent)
	if err != nil {
		return nil, err
	}

	staying, open, err := s.config.Commands.Staying(ctx, call.Tenant, a)
	if err != nil {
		return nil, err
	}

	out := consentWithdrawn{Position: position(a.Position)}
	out.Body.WithdrawnConsent = consentOf(a.Value)
	if !open {
		out.Body.Staying = each(staying, consentOf)
	}
	return &out, nil
}

// withdrawalRefused records a read where the refusal reveals something about another
// person's consent. It returns the refusal.
func (s *server) withdrawalRefused(ctx context.Context, call commands.Call, id domain.ConsentID, refusal error) error {
	if refusal == nil || !call.ActsForOthers() {
		return refusal
	}

	c, err := s.config.Queries.Consent(ctx, call.Tenant, domain.UserID{}, id)
	if err != nil {
		return refusal // nobody has this consent
	}
	return s.recordRefusal(ctx, call, refusal, "consents", c.Subject)
}

func subjectOfConsent(c domain.Consent) domain.UserID { return c.Subject }

type consentsInput struct {
	Paging
	SubjectID string `query:"subject_id" format:"uuid" doc:"Another person of your municipality; staff only."`
}

type consentsOutput struct {
	Body listBody[consentBody]
}

func (s *server) consents(ctx context.Context, call commands.Call, in *consentsInput) (*consentsOutput, error) {
	subject, err := subjectOf(call, in.SubjectID)
	if err != nil {
		return nil, err
	}
	list, err := s.config.Queries.Consents(ctx, call.Tenant, subject, in.page())
	if err != nil {
		return nil, err
	}

	if len(list.Items) > 0 { // all are the subject's
		err = s.recordRead(ctx, call, "consents", nil, subject)
	} else {
		err = s.recordNoConsents(ctx, call, subject)
	}
	if err != nil {
		return nil, err
	}
	return &consentsOutput{Body: listOf(list, consentOf)}, nil
}

// recordNoConsents records a read of a person without consents: that there are none is
// also information about them. If there is no such person, nothing is revealed.
func (s *server) recordNoConsents(ctx context.Context, call commands.Call, subject domain.UserID) error {
	if subject == call.User {
		return nil
	}

	err := s.config.Commands.KnownPerson(ctx, call.Tenant, subject)
	if e, is := errors.AsType[*domain.Error](err); is && e.Code == domain.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}

	return s.recordHourly(ctx, call, "consents", nil, subject)
}

// subjectOf reads the id of the person asked about: the caller, if none is given.
func subjectOf(call commands.Call, text string) (domain.UserID, error) {
	var f domain.Faults
	asked := domain.UserID{UUID: optionalID(&f, "subject_id", text)}
	if err := f.Err(); err != nil {
		return domain.UserID{}, err
	}

	return call.Subject(asked)
}

type consentInput struct {
	ID string `path:"id"`
}

func (s *server) consent(ctx context.Context, call commands.Call, in *consentInput) (*consentOutput, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}

	whose := call.User
	if call.ActsForOthers() {
		whose = domain.UserID{} // anybody of the tenant
	}
	c, err := s.config.Queries.Consent(ctx, call.Tenant, whose, domain.ConsentID{UUID: id})
	if err != nil {
		return nil, err
	}

	if err := s.recordRead(ctx, call, "consents", nil, c.Subject); err != nil {
		return nil, err
	}
	return &consentOutput{Body: consentOf(c)}, nil
}

type checkConsentInput struct {
	SubjectID string `query:"subject_id" format:"uuid" doc:"Another person of your municipality; staff only."`
	Purpose   string `query:"purpose" required:"true" example:"sms_alert"`
	At        moment `query:"at" doc:"Default: now."`
	KnownAt   moment `query:"known_at" doc:"Default: now."`
}

type checkConsentOutput struct {
	Body struct {
		Allowed    bool          `json:"allowed" example:"true"`
		Reason     domain.Reason `json:"reason" enum:"unknown_subject,purpose_retired,lawful_without_consent,granted,refused,withdrawn,not_yet_given,never_asked" doc:"The first of these that applies. unknown_subject: the person was not known at known_at; not_yet_given: a consent takes effect after at." example:"granted"`
		Basis      domain.Basis  `json:"basis" enum:"consent,contract,legal_obligation,subject_interest,public_law_duty,legitimate_interest" doc:"The POPIA s11 ground of the purpose."`
		Position   int64         `json:"position" doc:"The log position that the answer is based on." example:"1042"`
		ValidUntil *instant      `json:"valid_until" nullable:"true" doc:"When the consent expires; null: never."`
		DecidedBy  *decidedBody  `json:"decided_by" doc:"The event that decides it; null: none."`

		EvidenceGrade *string `json:"evidence_grade" enum:"claimed,documented,witnessed" doc:"Set if only a claim by another source decides it: what that rests on. null: no claim decides it."`
	} `nameHint:"Check"`
}

type decidedBody struct {
	EventID   uuid.UUID `json:"event_id" format:"uuid"`
	EventType string    `json:"event_type" example:"consent.granted.v1"`
	Position  int64     `json:"position" example:"1042"`
	At        instant   `json:"at" doc:"When it takes effect."`
}

func (s *server) checkConsent(
	ctx context.Context, call commands.Call, in *checkConsentInput,
) (*checkConsentOutput, error) {
	subject, err := subjectOf(call, in.SubjectID)
	if err != nil {
		return nil, err
	}
	c, err := s.config.Commands.CheckConsent(ctx, call, commands.CheckConsent{
		Subject: subject, Purpose: in.Purpose, At: in.At.Time, KnownAt: in.KnownAt.Time,
	})
	if err != nil {
		return nil, err
	}

	// Recorded whatever the answer is: that somebody was never asked, or was not known
	// yet, is also information about them.
	filter := map[string]string{"purpose": domain.CanonicalPurposeCode(in.Purpose)}
	if err := s.recordHourly(ctx, call, "check", filter, subject); err != nil {
		return nil, err
	}

	var out checkConsentOutput
	out.Body.Allowed, out.Body.Reason, out.Body.Basis, out.Body.Position = c.Allowed, c.Reason, c.Basis, c.Position
	out.Body.EvidenceGrade = orNull(string(c.Grade))
	if c.Decided {
		out.Body.DecidedBy = &decidedBody{
			EventID: c.By.EventID, EventType: c.By.Event.EventType(), Position: c.By.Position,
			At: instant(c.By.EffectiveAt),
		}
	}
	return &out, nil
}
