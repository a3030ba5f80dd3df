package http

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// purposeBody is a purpose in answers, with the wording to show before anyone consents.
type purposeBody struct {
	Code            string       `json:"code" example:"sms_alert"`
	Basis           domain.Basis `json:"basis" enum:"consent,contract,legal_obligation,subject_interest,public_law_duty,legitimate_interest"`
	Special         bool         `json:"special_personal_information" doc:"As defined in POPIA s26." example:"false"`
	CompetentPerson bool         `json:"competent_person_required" doc:"true: it is about children, so a competent person must decide for them (POPIA s35)." example:"false"`
	Retention       string       `json:"retention" example:"until consent is withdrawn; proof of consent 3 years longer"`
	Retired         bool         `json:"retired" doc:"true: nothing more is recorded for it." example:"false"`
	RetiredAt       *instant     `json:"retired_at,omitempty" doc:"Since when; absent: it is not retired."`
	Own             bool         `json:"own" doc:"true: the municipality's own; false: a default of SALGA's for all." example:"false"`
	Validity        *int         `json:"validity_days" nullable:"true" doc:"How many days a consent holds that is given now; null: until it is withdrawn." example:"730"`
	Notice          noticeBody   `json:"notice" doc:"The newest version."`
}

type noticeBody struct {
	Version     int               `json:"version" example:"1"`
	Texts       map[string]string `json:"texts" doc:"By language: en, zu, af." example:"{\"en\":\"To send you SMS alerts about water and electricity interruptions.\",\"zu\":\"Ukukuthumelela izaziso ze-SMS mayelana nokuphazamiseka kwamanzi nogesi.\",\"af\":\"Om SMS-kennisgewings oor water- en kragonderbrekings aan u te stuur.\"}"`
	PublishedAt *instant          `json:"published_at" nullable:"true" doc:"null: built in."`
	InUseSince  instant           `json:"in_use_since" doc:"When people were first shown this wording; 0001-01-01T00:00:00Z: from the very start."`
	Reconsent   *instant          `json:"reconsent" nullable:"true" doc:"When consents under older versions lapse; null: they do not."`
	Validity    *int              `json:"validity_days" nullable:"true" doc:"How many days a consent under this version holds; null: until it is withdrawn." example:"730"`
	SHA256      map[string]string `json:"sha256" doc:"SHA-256 of each text's UTF-8 bytes, hexadecimal." example:"{\"en\":\"1c31e3af462d98d0d2af3cefc4abc7a34d63efa7ac23e4c65afb9065bc0b9dd4\",\"zu\":\"73ddd2a0da691577a089bdafe694337a82a03ea8ed8d2270340d41a12b3da39e\",\"af\":\"7abb6b08158307913f6b1584f1e7d1a02e25071291b0c233516b3ded27311e1f\"}"`
}

func purposeOf(p domain.Purpose) purposeBody {
	return purposeBody{
		Code: p.Code, Basis: p.Basis, Special: p.Special, CompetentPerson: p.CompetentPerson,
		Retention: p.Retention, Retired: p.Retired, RetiredAt: instantOrNull(p.Retirement.At),
		Own:    !p.Tenant.IsPlatform(),
		Notice: noticeOf(p.Current()), Validity: daysOrNull(p.Current().ValidityDays),
	}
}

func noticeOf(n domain.Notice) noticeBody {
	return noticeBody{
		Version: n.Version, Texts: byLanguage(n.Texts), SHA256: byLanguage(n.SHA256),
		PublishedAt: instantOrNull(n.PublishedAt), InUseSince: instant(n.InUseSince),
		Reconsent: instantOrNull(n.Reconsent), Validity: daysOrNull(n.ValidityDays),
	}
}

func daysOrNull(days int) *int {
	if days == 0 {
		return nil
	}
	return &days
}

func byLanguage(texts map[domain.Language]string) map[string]string {
	named := make(map[string]string, len(texts))
	for l, text := range texts {
		named[string(l)] = text
	}
	return named
}

type purposesInput struct {
	Paging
	MunicipalityCode string `query:"municipality_code" doc:"In any letter case; if missing: the defaults for all."`
	Retired          string `query:"retired" enum:"true,false" doc:"true: those that are retired; false, and if missing: those in force."`
}

type purposesOutput struct {
	Body listBody[purposeBody]
}

func (s *server) purposes(ctx context.Context, _ commands.Call, in *purposesInput) (*purposesOutput, error) {
	tenant, err := s.municipalityOrAll(ctx, in.MunicipalityCode)
	if err != nil {
		return nil, err
	}

	list := s.config.Commands.Purposes
	if in.Retired == "true" {
		list = s.config.Commands.RetiredPurposes
	}
	purposes, err := list(ctx, tenant)
	if err != nil {
		return nil, err
	}
	page, err := pageOf(purposes, in.Paging, func(p domain.Purpose) string { return p.Code })
	if err != nil {
		return nil, err
	}
	return &purposesOutput{Body: listOf(page, purposeOf)}, nil
}

// municipalityOrAll returns the tenant with a code; without one, the platform, whose
// purposes are the defaults for all.
func (s *server) municipalityOrAll(ctx context.Context, code string) (domain.TenantID, error) {
	if code == "" {
		return domain.PlatformTenant(), nil
	}
	return s.config.Commands.TenantOf(ctx, code)
}

// pageOf cuts a page out of items ordered by a key, from which the cursor is made. A key
// has only lower-case letters, digits and underscores.
func pageOf[T any](items []T, page Paging, key func(T) string) (projections.Listing[T], error) {
	last, err := base64.RawURLEncoding.DecodeString(page.After)
	if err != nil || strings.Trim(string(last), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		var f domain.Faults
		f.Add(cursorParameter, "invalid", "Give next of the previous page.")
		return projections.Listing[T]{}, f.Err()
	}

	rest := slices.DeleteFunc(items, func(item T) bool { return key(item) <= string(last) })
	return projections.List(rest[:min(len(rest), page.page().Fetch())], nil, page.page(), func(item T) (T, string) {
		return item, base64.RawURLEncoding.EncodeToString([]byte(key(item)))
	})
}

// NamedPurpose names a purpose in a path. It is exported for huma, see Paging.
type NamedPurpose struct {
	Code             string `path:"code"`
	MunicipalityCode string `query:"municipality_code" doc:"In any letter case; if missing: the defaults for all."`
}

func (s *server) named(ctx context.Context, in *NamedPurpose) (domain.Purpose, error) {
	tenant, err := s.municipalityOrAll(ctx, in.MunicipalityCode)
	if err != nil {
		return domain.Purpose{}, err
	}
	return s.config.Commands.Purpose(ctx, tenant, in.Code)
}

type purposeOutput struct {
	ETag string `header:"ETag"`
	Body purposeBody
}

func (s *server) purpose(ctx context.Context, _ commands.Call, in *NamedPurpose) (*purposeOutput, error) {
	p, err := s.named(ctx, in)
	if err != nil {
		return nil, err
	}
	return &purposeOutput{ETag: etag(p.Version), Body: purposeOf(p)}, nil
}

type noticesInput struct {
	Paging
	NamedPurpose
}

type noticesOutput struct {
	Body listBody[noticeBody]
}

// notices lists every version of a purpose's wording, oldest first.
func (s *server) notices(ctx context.Context, _ commands.Call, in *noticesInput) (*noticesOutput, error) {
	p, err := s.named(ctx, &in.NamedPurpose)
	if err != nil {
		return nil, err
	}

	list, err := pageOf(slices.Clone(p.Notices), in.Paging, func(n domain.Notice) string {
		return fmt.Sprintf("%09d", n.Version)
	})
	if err != nil {
		return nil, err
	}
	return &noticesOutput{Body: listOf(list, noticeOf)}, nil
}

type noticeInput struct {
	NamedPurpose
	Version string `path:"version"`
}

type noticeOutput struct {
	Body noticeBody
}

func (s *server) notice(ctx context.Context, _ commands.Call, in *noticeInput) (*noticeOutput, error) {
	p, err := s.named(ctx, &in.NamedPurpose)
	if err != nil {
		return nil, err
	}

	i := slices.IndexFunc(p.Notices, func(n domain.Notice) bool { return strconv.Itoa(n.Version) == in.Version })
	if i < 0 {
		return nil, domain.Refuse(domain.CodeNotFound, "This purpose has no such notice.")
	}
	return &noticeOutput{Body: noticeOf(p.Notices[i])}, nil
}

type purposeChanged struct {
	ETag     string `header:"ETag"`
	Position string `header:"Event-Position"`
	Body     purposeBody
}

func purposeAnswer(a commands.Answer[domain.Purpose], err error) (*purposeChanged, error) {
	if err != nil {
		return nil, err
	}
	return &purposeChanged{ETag: etag(a.Value.Version), Position: position(a.Position), Body: purposeOf(a.Value)}, nil
}

// textsBody is a wording in every language.
type textsBody struct {
	English   string `json:"en" says:"min=1;max=5000" example:"To tell you about events"`
	Zulu      string `json:"zu" says:"min=1;max=5000" example:"Ukukwazisa ngemicimbi"`
	Afrikaans string `json:"af" says:"min=1;max=5000" example:"Om jou van geleenthede te vertel"`
}

func (b textsBody) texts() map[domain.Language]string {
	return map[domain.Language]string{domain.English: b.English, domain.Zulu: b.Zulu, domain.Afrikaans: b.Afrikaans}
}

type definePurposeInput struct {
	Body struct {
		Code      string `json:"code" says:"max=64" doc:"Lower-case words joined by underscores." example:"event_news"`
		Basis     string `json:"basis" says:"enum=consent|contract|legal_obligation|subject_interest|public_law_duty|legitimate_interest" example:"consent"`
		Special   bool   `json:"special_personal_information" doc:"As defined in POPIA s26." example:"false"`
		Retention string `json:"retention" says:"min=1;max=500" doc:"How long data for this purpose is kept (POPIA s14)." example:"1 year after the last event"`
		Validity  *int   `json:"validity_days,omitempty" minimum:"1" maximum:"36525" doc:"How many days a consent holds; default: until it is withdrawn. The value in force when it was given counts."`
		Notice    struct {
			Texts      textsBody `json:"texts"`
			InUseSince *moment   `json:"in_use_since,omitempty" doc:"When people were first shown this wording, not in the future; default: now. 0001-01-01T00:00:00Z: from the very start."`
		} `json:"notice"`
	} `nameHint:"DefinePurposeBody"`
}

func (s *server) definePurpose(
	ctx context.Context, call commands.Call, in *definePurposeInput,
) (*purposeChanged, error) {
	b := in.Body
	return purposeAnswer(s.config.Commands.DefinePurpose(ctx, call, domain.DefinePurpose{
		Code: b.Code, Basis: domain.Basis(b.Basis), Special: b.Special, Retention: b.Retention,
		Texts: b.Notice.Texts.texts(), InUseSince: b.Notice.InUseSince.pointer(), ValidityDays: b.Validity,
	}))
}

type publishNoticeInput struct {
	Code string `path:"code"`
	Body struct {
		Texts      textsBody `json:"texts"`
		InUseSince *moment   `json:"in_use_since,omitempty" doc:"When people were first shown this wording: not in the future, and not before the wording it replaces; default: now."`
		Reconsent  *moment   `json:"reconsent,omitempty" doc:"Consents under older versions lapse at this instant, which is not in the past; default: they stay."`
		Validity   *int      `json:"validity_days,omitempty" minimum:"0" maximum:"36525" doc:"How many days a consent under this version holds; 0: until it is withdrawn; default: as under the version before."`
	} `nameHint:"PublishNoticeBody"`
}

func (s *server) publishNotice(
	ctx context.Context, call commands.Call, in *publishNoticeInput,
) (*purposeChanged, error) {
	return purposeAnswer(s.config.Commands.PublishNotice(ctx, call, commands.PublishNotice{
		Code: in.Code, Texts: in.Body.Texts.texts(), InUseSince: in.Body.InUseSince.pointer(),
		Reconsent: in.Body.Reconsent.pointer(), ValidityDays: in.Body.Validity,
	}))
}

type retirePurposeInput struct {
	Code string `path:"code"`
}

func (s *server) retirePurpose(
	ctx context.Context, call commands.Call, in *retirePurposeInput,
) (*purposeChanged, error) {
	return purposeAnswer(s.config.Commands.RetirePurpose(ctx, call, commands.RetirePurpose{Code: in.Code}))
}
