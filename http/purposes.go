package http

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// purposeBody is a purpose in answers, with the wording to show before anyone consents.
type purposeBody struct {
	Code      string       `json:"code" example:"sms_alert"`
	Basis     domain.Basis `json:"basis" enum:"consent,contract,legal_obligation,subject_interest,public_law_duty,legitimate_interest"`
	Special   bool         `json:"special_personal_information" doc:"POPIA s26" example:"false"`
	Retention string       `json:"retention" example:"until consent is withdrawn; proof of consent 3 years longer"`
	Notice    noticeBody   `json:"notice"`
}

type noticeBody struct {
	Version    int               `json:"version" example:"1"`
	Texts      map[string]string `json:"texts" doc:"By language: en, zu, af." example:"{\"en\":\"To send you SMS alerts about water and electricity interruptions.\",\"zu\":\"Ukukuthumelela izaziso ze-SMS mayelana nokuphazamiseka kwamanzi nogesi.\",\"af\":\"Om SMS-kennisgewings oor water- en kragonderbrekings aan u te stuur.\"}"`
	InUseSince instant           `json:"in_use_since" doc:"Since when people are shown these words; 0001-01-01T00:00:00Z: before everything."`
	SHA256     map[string]string `json:"sha256" doc:"Of each text's UTF-8 bytes, hexadecimal." example:"{\"en\":\"1c31e3af462d98d0d2af3cefc4abc7a34d63efa7ac23e4c65afb9065bc0b9dd4\",\"zu\":\"73ddd2a0da691577a089bdafe694337a82a03ea8ed8d2270340d41a12b3da39e\",\"af\":\"7abb6b08158307913f6b1584f1e7d1a02e25071291b0c233516b3ded27311e1f\"}"`
}

func purposeOf(p domain.Purpose) purposeBody {
	n := p.Current()
	return purposeBody{
		Code: p.Code, Basis: p.Basis, Special: p.Special, Retention: p.Retention,
		Notice: noticeBody{Version: n.Version, Texts: byLanguage(n.Texts), SHA256: byLanguage(n.SHA256), InUseSince: instant(n.InUseSince)},
	}
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
	MunicipalityCode string `query:"municipality_code" doc:"In any letter case; missing: the defaults for all."`
}

type purposesOutput struct {
	Body listBody[purposeBody]
}

func (s *server) purposes(ctx context.Context, _ commands.Call, in *purposesInput) (*purposesOutput, error) {
	tenant := domain.PlatformTenant()
	if in.MunicipalityCode != "" {
		var err error
		if tenant, err = s.config.Commands.TenantOf(ctx, in.MunicipalityCode); err != nil {
			return nil, err
		}
	}
	purposes, err := s.config.Commands.Purposes(ctx, tenant)
	if err != nil {
		return nil, err
	}
	list, err := pageOf(purposes, in.Paging)
	if err != nil {
		return nil, err
	}
	return &purposesOutput{Body: listOf(list, purposeOf)}, nil
}

// pageOf cuts a page out of purposes in order of their codes, of which a cursor is made.
func pageOf(purposes []domain.Purpose, page Paging) (projections.Listing[domain.Purpose], error) {
	last, err := base64.RawURLEncoding.DecodeString(page.After)
	if err != nil || strings.Trim(string(last), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		var f domain.Faults
		f.Add(cursorParameter, "invalid", "Give next of the page before.")
		return projections.Listing[domain.Purpose]{}, f.Err()
	}

	rest := slices.DeleteFunc(purposes, func(p domain.Purpose) bool { return p.Code <= string(last) })
	return projections.List(rest[:min(len(rest), page.page().Fetch())], nil, page.page(), func(p domain.Purpose) (domain.Purpose, string) {
		return p, base64.RawURLEncoding.EncodeToString([]byte(p.Code))
	})
}

type purposeChanged struct {
	Position string `header:"Event-Position"`
	Body     purposeBody
}

func purposeAnswer(a commands.Answer[domain.Purpose], err error) (*purposeChanged, error) {
	if err != nil {
		return nil, err
	}
	return &purposeChanged{Position: position(a.Position), Body: purposeOf(a.Value)}, nil
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
		Special   bool   `json:"special_personal_information" doc:"POPIA s26" example:"false"`
		Retention string `json:"retention" says:"min=1;max=500" doc:"How long data for this purpose is kept (POPIA s14)." example:"1 year after the last event"`
		Notice    struct {
			Texts      textsBody  `json:"texts"`
			InUseSince *time.Time `json:"in_use_since,omitempty" doc:"Since when people are shown these words, not in the future; missing: from now on. 0001-01-01T00:00:00Z: before everything."`
		} `json:"notice"`
	} `nameHint:"DefinePurposeBody"`
}

func (s *server) definePurpose(ctx context.Context, call commands.Call, in *definePurposeInput) (*purposeChanged, error) {
	b := in.Body
	return purposeAnswer(s.config.Commands.DefinePurpose(ctx, call, domain.DefinePurpose{
		Code: b.Code, Basis: domain.Basis(b.Basis), Special: b.Special, Retention: b.Retention, Texts: b.Notice.Texts.texts(),
		InUseSince: b.Notice.InUseSince,
	}))
}

type publishNoticeInput struct {
	Code string `path:"code"`
	Body struct {
		Texts      textsBody  `json:"texts"`
		InUseSince *time.Time `json:"in_use_since,omitempty" doc:"Since when people are shown these words: not in the future, and not before the words that they replace were; missing: from now on."`
	} `nameHint:"PublishNoticeBody"`
}

func (s *server) publishNotice(ctx context.Context, call commands.Call, in *publishNoticeInput) (*purposeChanged, error) {
	return purposeAnswer(s.config.Commands.PublishNotice(ctx, call, commands.PublishNotice{
		Code: in.Code, Texts: in.Body.Texts.texts(), InUseSince: in.Body.InUseSince,
	}))
}

type retirePurposeInput struct {
	Code string `path:"code"`
}

func (s *server) retirePurpose(ctx context.Context, call commands.Call, in *retirePurposeInput) (*purposeChanged, error) {
	return purposeAnswer(s.config.Commands.RetirePurpose(ctx, call, commands.RetirePurpose{Code: in.Code}))
}
