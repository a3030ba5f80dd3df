package http

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

type impactInput struct {
	Paging

	Code      string `path:"code"`
	Version   int    `query:"notice_version" minimum:"1" doc:"The version that would require a new answer; default: the next one."`
	CountOnly string `query:"count_only" enum:"true,false" doc:"true: items is empty and next null; nobody is shown, so no read is recorded."`
}

type impactOutput struct {
	Body impactBody `nameHint:"Impact"`
}

type impactBody struct {
	Purpose       string         `json:"purpose" example:"sms_alert"`
	NoticeVersion int            `json:"notice_version" doc:"The version asked about: consents under older ones would lapse." example:"2"`
	Position      int64          `json:"position" doc:"The log position that the answer is based on." example:"1042"`
	Count         int64          `json:"count" doc:"How many people would have to be asked again." example:"1"`
	Items         []affectedBody `json:"items" nullable:"false" doc:"These people, in order of their ids."`
	Next          *string        `json:"next" doc:"Pass as after for the next page; null: this is the last."`
}

// affectedBody is a person who would have to be asked again.
type affectedBody struct {
	SubjectID     uuid.UUID `json:"subject_id" format:"uuid"`
	ConsentID     uuid.UUID `json:"consent_id" format:"uuid" doc:"The consent that would lapse."`
	NoticeVersion *int      `json:"notice_version" doc:"The version that they agreed to; null, only in a claim: not known." example:"1"`
	Language      *string   `json:"language" enum:"en,zu,af" doc:"In which they were asked; null, only in a claim: not known." example:"zu"`
	Channel       *string   `json:"channel" enum:"web,counter,phone,whatsapp,ussd,paper" doc:"On which they answered; null, only in a claim: not known."`
	GivenAt       instant   `json:"given_at"`
	EvidenceGrade *string   `json:"evidence_grade" enum:"claimed,documented,witnessed" doc:"Set if the consent is only claimed by another source; null: recorded here."`
	ValidUntil    *instant  `json:"valid_until" nullable:"true" doc:"From this instant on it no longer holds anyway; null: no end is known."`
}

// impact lists who would have to be asked again if a notice were published that requires
// it.
func (s *server) impact(ctx context.Context, call commands.Call, in *impactInput) (*impactOutput, error) {
	code := domain.CanonicalPurposeCode(in.Code)
	rules, err := s.config.Commands.Rules(ctx, call.Tenant, domain.Clocks{Now: s.config.Now()}, code)
	if err != nil {
		return nil, err
	}
	purpose := rules.Terms(code).Purpose
	if !purpose.Exists() {
		return nil, domain.Refuse(domain.CodeUnknownPurpose, "This municipality has never had such a purpose.")
	}
	version, err := nextVersion(purpose, in.Version)
	if err != nil {
		return nil, err
	}

	countOnly := in.CountOnly == "true"
	if countOnly && in.After != "" {
		var f domain.Faults
		f.Add(cursorParameter, "invalid", "Leave this out with count_only: a count has no pages.")
		return nil, f.Err()
	}

	older := func(n domain.Notice) bool { return n.Version < version }
	found, err := s.config.Queries.Impact(ctx, call.Tenant, projections.ImpactFilter{
		Purpose: code, Rules: rules, Newer: slices.DeleteFunc(slices.Clone(purpose.Notices), older),
		CountOnly: countOnly,
	}, in.page())
	if err != nil {
		return nil, err
	}

	people := each(found.Items, func(a projections.Affected) domain.UserID { return a.Subject })
	filter := map[string]string{"purpose": code, "notice_version": strconv.Itoa(version)}
	if err := s.recordRead(ctx, call, "consents", filter, people...); err != nil {
		return nil, err
	}

	return &impactOutput{Body: impactBody{
		Purpose: code, NoticeVersion: version, Position: found.Position, Count: found.Count,
		Items: each(found.Items, affectedOf), Next: orNull(found.Next),
	}}, nil
}

// nextVersion returns the version of a notice that a question is about: at most the one
// that would be published next.
func nextVersion(p domain.Purpose, asked int) (int, error) {
	next := p.Current().Version + 1
	if asked == 0 {
		return next, nil
	}

	if asked > next {
		var f domain.Faults
		f.Add("notice_version", "invalid", fmt.Sprintf("The next version of this notice is %d.", next))
		return 0, f.Err()
	}
	return asked, nil
}

func affectedOf(a projections.Affected) affectedBody {
	b := affectedBody{
		SubjectID: a.Subject.UUID, ConsentID: a.Consent.UUID, Language: orNull(string(a.Language)),
		Channel: orNull(string(a.Channel)), GivenAt: instant(a.GivenAt), EvidenceGrade: orNull(string(a.Grade)),
		ValidUntil: instantOrNull(a.ValidUntil),
	}
	if a.NoticeVersion > 0 {
		b.NoticeVersion = &a.NoticeVersion
	}
	return b
}
