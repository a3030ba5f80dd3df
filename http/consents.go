package http

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections/reports"
)

// consentBody is a recorded decision in answers.
type consentBody struct {
	ID                 uuid.UUID     `json:"id" format:"uuid"`
	SubjectID          uuid.UUID     `json:"subject_id" format:"uuid"`
	Purpose            string        `json:"purpose" example:"sms_alert"`
	PurposeDescription *string       `json:"purpose_description" doc:"The wording that was shown; null, only in a claim: not known." example:"Ukukuthumelela izaziso ze-SMS mayelana nokuphazamiseka kwamanzi nogesi."`
	Language           *string       `json:"language" enum:"en,zu,af" doc:"null, only in a claim: not known." example:"zu"`
	Consented          bool          `json:"consented" doc:"false: a refusal, or a claimed withdrawal." example:"true"`
	ConsentedAt        *instant      `json:"consented_at" nullable:"true" doc:"When the person said yes; null for a refusal." example:"2026-03-01T12:00:00.000000Z"`
	Withdrawn          bool          `json:"withdrawn" example:"false"`
	WithdrawnAt        *instant      `json:"withdrawn_at" nullable:"true"`
	ValidUntil         *instant      `json:"valid_until" nullable:"true" doc:"From this instant on it no longer holds, as was agreed; null: no end was agreed."`
	LapsesAt           *instant      `json:"lapses_at" nullable:"true" doc:"From this instant on it no longer holds, because a newer notice requires a new answer; null: none does."`
	Status             domain.Status `json:"status" enum:"granted,refused,withdrawn,expired,lapsed,annulled" doc:"What has become of it by the instant asked about." example:"granted"`
	InForce            bool          `json:"in_force" doc:"true: this consent is what allows processing at that instant." example:"true"`
	AnnulledAt         *instant      `json:"annulled_at" nullable:"true" doc:"Since when this entry is known to count for nothing; null: it counts."`
	MovedTo            *uuid.UUID    `json:"moved_to" nullable:"true" format:"uuid" doc:"Its copy, if two records of one person were merged."`
	Channel            *string       `json:"channel" enum:"web,counter,phone,whatsapp,ussd,paper" doc:"null, only in a claim: not known." example:"web"`
	GivenAt            instant       `json:"given_at" doc:"When the person decided."`
	RecordedAt         instant       `json:"recorded_at" doc:"When it was recorded."`
	NoticeVersion      *int          `json:"notice_version" doc:"null, only in a claim: not known, so that it is no consent to any wording." example:"1"`
	SHA256             *string       `json:"sha256" doc:"SHA-256 of the wording shown; null, only in a claim: not known." example:"73ddd2a0da691577a089bdafe694337a82a03ea8ed8d2270340d41a12b3da39e"`
	GivenBy            string        `json:"given_by" enum:"self,competent_person" doc:"Who decided (POPIA s35)."`
	RecordedBy         *uuid.UUID    `json:"recorded_by" nullable:"true" format:"uuid" doc:"The account, or the service account of a program, that recorded it; null: an operator."`
	EvidenceSHA256     *string       `json:"evidence_sha256" doc:"SHA-256 of the scanned form or other evidence; null: none."`
	EvidenceGrade      *string       `json:"evidence_grade" enum:"claimed,documented,witnessed" doc:"Set if this is only claimed by another source: claimed, nothing else is known; documented, a document or recording is kept; witnessed, a signed statement of somebody who was present is kept. null: recorded here."`
	Source             *string       `json:"source" doc:"The source that claims it; null: recorded here."`
	CreatedBy          *uuid.UUID    `json:"created_by" nullable:"true" format:"uuid" doc:"The same as recorded_by."`
	UpdatedAt          instant       `json:"updated_at" doc:"When its newest event was recorded."`
	UpdatedBy          *uuid.UUID    `json:"updated_by" nullable:"true" format:"uuid" doc:"The account that recorded its newest event; null: an operator."`
	Position           int64         `json:"position" doc:"Position of its newest event." example:"1042"`
}

func consentOf(c domain.Decided) consentBody {
	b := consentBody{
		ID: c.ID.UUID, SubjectID: c.Subject.UUID, Purpose: c.Purpose, PurposeDescription: orNull(c.Wording),
		Language: orNull(string(c.Language)), Consented: c.Consented, Withdrawn: c.Withdrawn(),
		WithdrawnAt: instantOrNull(c.WithdrawnAt), AnnulledAt: instantOrNull(c.AnnulledAt),
		MovedTo: idOrNull(c.MovedTo.UUID), Channel: orNull(string(c.Channel)), GivenAt: instant(c.GivenAt),
		RecordedAt: instant(c.RecordedAt), SHA256: orNull(c.SHA256), GivenBy: c.GivenBy,
		RecordedBy: idOrNull(c.RecordedBy.UUID), EvidenceSHA256: orNull(c.EvidenceSHA256),
		EvidenceGrade: orNull(string(c.Grade)), Source: orNull(c.Source),
		CreatedBy: idOrNull(c.RecordedBy.UUID), UpdatedAt: instant(c.UpdatedAt), UpdatedBy: idOrNull(c.UpdatedBy.UUID),
		Position: c.Position, ValidUntil: instantOrNull(c.ValidUntil), LapsesAt: instantOrNull(c.Lapse.At),
		Status: c.Status, InForce: c.InForce,
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

func consentAnswer(a commands.Answer[domain.Decided], err error) (*consentChanged, error) {
	if err != nil {
		return nil, err
	}
	return &consentChanged{Position: position(a.Position), Body: consentOf(a.Value)}, nil
}

type recordConsentInput struct {
	Body recordConsentBody
}

type recordConsentBody struct {
	SubjectID          string        `json:"subject_id,omitempty" minLength:"1" says:"format=uuid" doc:"Another person of your municipality; staff and programs only. A program must name one."`
	Purpose            string        `json:"purpose" doc:"Code of a registered purpose." example:"sms_alert"`
	PurposeDescription string        `json:"purpose_description,omitempty" minLength:"1" doc:"The wording that was shown; must match the registry."`
	Language           string        `json:"language" says:"enum=en|zu|af" doc:"That of the wording shown." example:"zu"`
	Consented          bool          `json:"consented" doc:"false records a refusal." example:"true"`
	Channel            string        `json:"channel,omitempty" minLength:"1" says:"enum=web|counter|phone|whatsapp|ussd|paper" doc:"Default: web; a program must name one."`
	GivenAt            *moment       `json:"given_at,omitempty" doc:"If more than 5 minutes ago: needs evidence, and a channel other than web."`
	ValidUntil         *moment       `json:"valid_until,omitempty" doc:"From this instant on a grant no longer holds; after given_at. It may have passed. If the purpose has validity_days, the earlier end counts."`
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
		ValidUntil: ending(&f, b.ValidUntil), NoticeVersion: b.NoticeVersion,
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
func given(f *domain.Faults, at *moment) time.Time {
	if at != nil && at.Year() < 1900 {
		f.Add("given_at", "invalid", "Give the instant at which the person decided.")
	}
	return at.orZero()
}

// ending reads when a grant ends; zero: no end was agreed.
func ending(f *domain.Faults, at *moment) time.Time {
	if at != nil && at.Year() < 1900 { // the zero instant, too
		f.Add("valid_until", "invalid", "A consent must end after it was given.")
	}
	return at.orZero()
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
		GivenAt  *moment       `json:"given_at,omitempty" doc:"When the person withdrew it; default: now."`
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
	err = recordUnchanged(ctx, s, call, a, s.consentRefused(ctx, call, c.Consent, err), "consents", subjectOfConsent)
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

// consentRefused records a read where the refusal reveals something about another
// person's consent. It returns the refusal.
func (s *server) consentRefused(ctx context.Context, call commands.Call, id domain.ConsentID, refusal error) error {
	if refusal == nil || !call.ActsForOthers() {
		return refusal
	}

	c, err := s.config.Queries.Consent(ctx, call.Tenant, domain.UserID{}, id)
	if err != nil {
		return refusal // nobody has this consent
	}
	return s.recordRefusal(ctx, call, refusal, "consents", c.Subject)
}

type annulConsentInput struct {
	ID   string `path:"id"`
	Body struct {
		Reason   string        `json:"reason" doc:"What the error was." example:"recorded on the wrong person"`
		Entry    string        `json:"entry,omitempty" minLength:"1" says:"enum=decision|withdrawal" doc:"Default: the decision. withdrawal: the one in withdrawn_at."`
		Evidence *evidenceBody `json:"evidence,omitempty" doc:"Needed if processing is allowed after this that is not allowed now."`
	} `nameHint:"AnnulConsentBody"`
}

func (s *server) annulConsent(ctx context.Context, call commands.Call, in *annulConsentInput) (*consentChanged, error) {
	id, err := namedID(in.ID)
	if err != nil {
		return nil, err
	}

	c := commands.AnnulConsent{
		Consent: domain.ConsentID{UUID: id}, Entry: domain.Entry(in.Body.Entry), Reason: in.Body.Reason,
	}
	if e := in.Body.Evidence; e != nil {
		c.Evidence = &domain.Evidence{SHA256: e.SHA256, Reference: e.Reference}
	}

	a, err := s.config.Commands.AnnulConsent(ctx, call, c)
	err = s.consentRefused(ctx, call, c.Consent, err)
	return consentAnswer(a, recordUnchanged(ctx, s, call, a, err, "consents", subjectOfConsent))
}

func subjectOfConsent(c domain.Decided) domain.UserID { return c.Subject }

type consentsInput struct {
	Paging
	SubjectID string `query:"subject_id" format:"uuid" doc:"Another person of your municipality; staff only."`
	Counting  string `query:"counting" enum:"true,false" doc:"true: for each purpose only the decision that counts, which is the one in force, otherwise the newest that was not annulled. All are on one page, so that limit and after have no meaning."`
}

type consentsOutput struct {
	Body listBody[consentBody]
}

func (s *server) consents(ctx context.Context, call commands.Call, in *consentsInput) (*consentsOutput, error) {
	subject, err := subjectOf(call, in.SubjectID)
	if err != nil {
		return nil, err
	}

	list := s.newestConsents
	if in.Counting == "true" {
		list = s.countingConsents
	}
	found, err := list(ctx, call, subject, in)
	if err != nil {
		return nil, err
	}

	if len(found.Items) > 0 { // all are the subject's
		err = s.recordRead(ctx, call, "consents", nil, subject)
	} else {
		err = s.recordNoConsents(ctx, call, subject)
	}
	return &consentsOutput{Body: found}, err
}

// newestConsents returns a page of somebody's decisions.
func (s *server) newestConsents(
	ctx context.Context, call commands.Call, subject domain.UserID, in *consentsInput,
) (page listBody[consentBody], err error) {
	list, err := s.config.Queries.Consents(ctx, call.Tenant, subject, in.page())
	if err != nil {
		return page, err
	}
	standing, err := s.config.Commands.Standing(ctx, call.Tenant, list.Items...)
	return listBody[consentBody]{Items: each(standing, consentOf), Next: orNull(list.Next)}, err
}

// countingConsents returns somebody's decisions that count. It reads only what settles
// which these are, from the log, however much else they decided.
func (s *server) countingConsents(
	ctx context.Context, call commands.Call, subject domain.UserID, _ *consentsInput,
) (all listBody[consentBody], err error) {
	q := reports.ReplayQuery{Subject: subject, Counting: true, Now: s.config.Now()}
	if q.Position, err = s.config.Commands.Store.Head(ctx); err != nil {
		return all, err
	}

	all.Items = []consentBody{}
	err = s.config.Reports.Replay(ctx, call.Tenant, q, func(d domain.Decided) error {
		all.Items = append(all.Items, consentOf(d))
		return nil
	})
	return all, err
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

	standing, err := s.config.Commands.Standing(ctx, call.Tenant, c)
	if err != nil {
		return nil, err
	}
	return &consentOutput{Body: consentOf(standing[0])}, nil
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
		Reason     domain.Reason `json:"reason" enum:"unknown_subject,purpose_retired,lawful_without_consent,granted,refused,withdrawn,expired,notice_superseded,not_yet_given,never_asked" doc:"The first of these that applies. unknown_subject: your municipality has no such person, or had none at known_at; expired: its own end has come; notice_superseded: a newer notice requires a new answer; not_yet_given: a consent takes effect after at. Later releases add reasons: let allowed decide." example:"granted"`
		Basis      domain.Basis  `json:"basis" enum:"consent,contract,legal_obligation,subject_interest,public_law_duty,legitimate_interest" doc:"The POPIA s11 ground of the purpose."`
		Position   int64         `json:"position" doc:"The log position that the answer is based on." example:"1042"`
		ValidUntil *instant      `json:"valid_until" nullable:"true" doc:"From this instant on a consent no longer holds, as far as is known: its own end or, if earlier, that set by a newer notice; null: no end is known, or there is no consent."`
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
	// yet, is also information about them. If their record was merged into another, it is
	// that one which was read.
	if c.Known {
		if err := s.recordHourly(ctx, call, "check", checkFilter(in.Purpose), c.Record); err != nil {
			return nil, err
		}
	}

	var out checkConsentOutput
	out.Body.Allowed, out.Body.Reason, out.Body.Basis, out.Body.Position = c.Allowed, c.Reason, c.Basis, c.Position
	out.Body.ValidUntil = instantOrNull(c.ValidUntil)
	out.Body.EvidenceGrade = orNull(string(c.Grade))
	if c.Decided {
		out.Body.DecidedBy = &decidedBody{
			EventID: c.By.EventID, EventType: c.By.EventType, Position: c.By.Position, At: instant(c.By.At),
		}
	}
	return &out, nil
}

// checkFilter is what the record of a check says besides who was asked about: the same
// for one person and for many.
func checkFilter(purpose string) map[string]string {
	return map[string]string{"purpose": domain.CanonicalPurposeCode(purpose)}
}

type checkConsentsInput struct {
	Body checkConsentsBody
}

type checkConsentsBody struct {
	Purpose    string   `json:"purpose" example:"sms_alert"`
	SubjectIDs []string `json:"subject_ids" maxItems:"1000" nullable:"false" doc:"At most 1000 people. Somebody may be named twice." example:"[\"019c0000-0000-7000-8000-000000000001\"]"`
	At         *moment  `json:"at,omitempty" doc:"Default: now."`
	KnownAt    *moment  `json:"known_at,omitempty" doc:"Default: now."`
}

func (b checkConsentsBody) question() (commands.CheckConsents, error) {
	var f domain.Faults
	q := commands.CheckConsents{
		Purpose: b.Purpose, At: b.At.orZero(), KnownAt: b.KnownAt.orZero(),
		Subjects: make([]domain.UserID, len(b.SubjectIDs)),
	}

	faults := 0
	for i, text := range b.SubjectIDs {
		id, ok := parseID(text)
		if ok && id != uuid.Nil {
			q.Subjects[i] = domain.UserID{UUID: id}
			continue
		}

		if faults++; faults <= maxFaults {
			f.Add(fmt.Sprintf("subject_ids[%d]", i), "invalid",
				"Give an id: hexadecimal digits in the form 8-4-4-4-12.")
		}
	}
	return q, f.Err()
}

type checkConsentsOutput struct {
	Body struct {
		Position int64         `json:"position" doc:"The log position that all answers are based on." example:"1042"`
		Items    []checkedBody `json:"items" nullable:"false" doc:"One for each id, in the order given."`
	} `nameHint:"Checks"`
}

type checkedBody struct {
	SubjectID  uuid.UUID     `json:"subject_id" format:"uuid"`
	Allowed    bool          `json:"allowed" example:"true"`
	Reason     domain.Reason `json:"reason" enum:"unknown_subject,purpose_retired,lawful_without_consent,granted,refused,withdrawn,expired,notice_superseded,not_yet_given,never_asked" doc:"As for one person." example:"granted"`
	ValidUntil *instant      `json:"valid_until" nullable:"true" doc:"As for one person."`

	EvidenceGrade *string `json:"evidence_grade" enum:"claimed,documented,witnessed" doc:"As for one person."`
}

// checkConsents answers for many people at once. All whom the municipality has are
// recorded as one read.
func (s *server) checkConsents(
	ctx context.Context, call commands.Call, in *checkConsentsInput,
) (*checkConsentsOutput, error) {
	q, err := in.Body.question()
	if err != nil {
		return nil, err
	}
	c, err := s.config.Commands.CheckConsents(ctx, call, q)
	if err != nil {
		return nil, err
	}

	if err := s.recordHourly(ctx, call, "check", checkFilter(q.Purpose), c.Known...); err != nil {
		return nil, err
	}

	var out checkConsentsOutput
	out.Body.Position, out.Body.Items = c.Position, make([]checkedBody, len(c.Checks))
	for i, check := range c.Checks {
		out.Body.Items[i] = checkedBody{
			SubjectID: q.Subjects[i].UUID, Allowed: check.Allowed, Reason: check.Reason,
			ValidUntil: instantOrNull(check.ValidUntil), EvidenceGrade: orNull(string(check.Grade)),
		}
	}
	return &out, nil
}
