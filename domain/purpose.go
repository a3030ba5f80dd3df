package domain

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Basis is the ground of POPIA s11(1) that processing for a purpose rests on.
type Basis string

// The six grounds, in the order of s11(1)(a) to (f).
const (
	ConsentBasis       Basis = "consent"
	ContractBasis      Basis = "contract"
	LegalObligation    Basis = "legal_obligation"
	SubjectInterest    Basis = "subject_interest"
	PublicLawDuty      Basis = "public_law_duty"
	LegitimateInterest Basis = "legitimate_interest"
)

// Bases lists the grounds in the order of s11(1).
func Bases() []Basis {
	return []Basis{ConsentBasis, ContractBasis, LegalObligation, SubjectInterest, PublicLawDuty, LegitimateInterest}
}

// Events of a purpose's stream.
type (
	// PurposeDefined creates a purpose. Its first notice follows in the same append.
	PurposeDefined struct {
		Code      string `json:"code"`
		Basis     Basis  `json:"basis"`
		Special   bool   `json:"special_personal_information"` // POPIA s26
		Retention string `json:"retention"`
		// CompetentPerson: the subjects are children, so a competent person must consent
		// (POPIA s35(1)(a)).
		CompetentPerson bool `json:"competent_person_required,omitempty"`
	}
	// PurposeNoticePublished holds one version of the wording, in every language.
	PurposeNoticePublished struct {
		Code   string              `json:"code"`
		Notice int                 `json:"notice_version"` // 1, 2, 3 …
		Texts  map[Language]string `json:"texts"`
		SHA256 map[Language]string `json:"sha256"` // of the UTF-8 text, hexadecimal
		// InUseSince is when people were first shown this wording, which may be long
		// before it was registered here. The zero instant: before everything. Nil: since
		// its publication; except that notices an operator published before this field
		// existed are the defaults, which are older than any log.
		InUseSince *time.Time `json:"in_use_since,omitempty"`
		// Reconsent is when grants under older versions lapse; zero: they do not.
		Reconsent time.Time `json:"reconsent,omitzero"`
		// ValidityDays is how many days a grant under this version holds; 0: for ever.
		ValidityDays int `json:"validity_days,omitempty"`
	}
	// PurposeRetired ends a purpose: nothing more is recorded for it.
	PurposeRetired struct {
		Code string `json:"code"`
	}
)

// EventType implements Event.
func (*PurposeDefined) EventType() string { return "purpose.defined.v1" }

// EventType implements Event.
func (*PurposeNoticePublished) EventType() string { return "purpose.notice_published.v1" }

// EventType implements Event.
func (*PurposeRetired) EventType() string { return "purpose.retired.v1" }

func (*PurposeRetired) changes() []FieldChange { return []FieldChange{turned("retired", true)} }

// Notice is one version of a purpose's wording.
type Notice struct {
	Version     int
	Texts       map[Language]string
	SHA256      map[Language]string
	PublishedAt time.Time
	InUseSince  time.Time // zero: before everything

	Reconsent    time.Time // when grants under older versions lapse; zero: they do not
	ValidityDays int       // how many days a grant under this version holds; 0: for ever
	Event        EventRef  // its publication; zero: it is built in
}

// EventRef names an event of the log.
type EventRef struct {
	EventID    uuid.UUID
	EventType  string
	Position   int64
	At         time.Time // when it takes effect
	RecordedAt time.Time
}

// Ref names a recorded event.
func (r Recorded) Ref() EventRef {
	return EventRef{
		EventID: r.EventID, EventType: r.Event.EventType(), Position: r.Position, At: r.EffectiveAt,
		RecordedAt: r.RecordedAt,
	}
}

// Purpose is the state its events fold into.
type Purpose struct {
	Tenant          TenantID // the platform tenant if it is a default for all municipalities
	Code            string
	Basis           Basis
	Special         bool
	Retention       string
	CompetentPerson bool
	Notices         []Notice // oldest first, at least one once defined
	Retired         bool
	Version         int

	Definition EventRef // zero: it is built in
	Retirement EventRef // zero: it is not retired
}

// Exists reports whether the purpose was ever defined.
func (p Purpose) Exists() bool { return p.Code != "" }

// Evolve returns the state after one more event.
func (p Purpose) Evolve(r Recorded) Purpose {
	switch e := r.Event.(type) {
	case *PurposeDefined:
		p = Purpose{
			Tenant: r.Tenant, Code: e.Code, Basis: e.Basis, Special: e.Special, Retention: e.Retention,
			CompetentPerson: e.CompetentPerson, Definition: r.Ref(),
		}
	case *PurposeNoticePublished:
		p.Notices = append(p.Notices[:len(p.Notices):len(p.Notices)], Notice{
			Version: e.Notice, Texts: e.Texts, SHA256: e.SHA256, PublishedAt: r.EffectiveAt,
			InUseSince: e.inUseSince(r), Reconsent: e.Reconsent, ValidityDays: e.ValidityDays, Event: r.Ref(),
		})
	case *PurposeRetired:
		p.Retired, p.Retirement = true, r.Ref()
	}

	p.Version = r.Version
	return p
}

func (e *PurposeNoticePublished) inUseSince(r Recorded) time.Time {
	switch {
	case e.InUseSince != nil:
		return *e.InUseSince
	case r.Metadata.ActorRole == RoleSystem:
		return time.Time{}
	default:
		return r.EffectiveAt
	}
}

// isAhead reports whether a notice was stamped by a clock that ran ahead.
func (p Purpose) isAhead(now time.Time) bool {
	return slices.ContainsFunc(p.Notices, func(n Notice) bool { return n.PublishedAt.After(now) })
}

// Current returns the newest notice.
func (p Purpose) Current() Notice { return p.Notices[len(p.Notices)-1] }

// NoticeAt returns the notice in use at an instant, or the zero Notice before the first
// was.
func (p Purpose) NoticeAt(t time.Time) (in Notice) {
	for _, n := range p.Notices {
		if !n.InUseSince.After(t) {
			in = n
		}
	}
	return in
}

// WasInUse reports whether any wording of the purpose was in use at an instant; the zero
// instant means now.
func (p Purpose) WasInUse(at time.Time) bool {
	return p.Exists() && (at.IsZero() || p.NoticeAt(at).Version > 0)
}

// DefinePurpose asks to define a purpose with its first notice.
type DefinePurpose struct {
	Code            string
	Basis           Basis
	Special         bool
	Retention       string
	CompetentPerson bool
	Texts           map[Language]string
	InUseSince      *time.Time `json:",omitempty"` // of the first notice; nil: its publication
	ValidityDays    *int       `json:",omitempty"` // how many days a grant holds; nil: for ever
}

// Decide returns the definition and its first notice, with the code in lower case. now is
// the instant of asking.
func (c DefinePurpose) Decide(p Purpose, now time.Time) ([]Event, error) {
	code := CanonicalPurposeCode(c.Code)
	c.Retention = TidyText(c.Retention)

	var f Faults
	if !purposePattern.MatchString(code) || len(code) > MaxPurposeCode {
		f.Add("code", "invalid", "A purpose code is lower-case words joined by underscores, at most 64 characters.")
	}
	OneOf(&f, "basis", c.Basis, Bases())
	if IsBlank(c.Retention) {
		f.Add("retention", "required", "Say how long data for this purpose is kept (POPIA s14).")
	}
	f.Text("retention", c.Retention, MaxRetention)
	f.texts("notice.texts", c.Texts)
	f.inUseSince("notice.in_use_since", c.InUseSince, time.Time{}, now)
	f.validityDays(c.ValidityDays, 1)
	if c.ValidityDays != nil && c.Basis != ConsentBasis && slices.Contains(Bases(), c.Basis) {
		f.Add("validity_days", "invalid", "Only a consent can end by itself: this purpose rests on another ground.")
	}
	if err := f.Err(); err != nil {
		return nil, err
	}

	if p.Exists() || code == PlatformRegistrationCode {
		return nil, Refuse(CodePurposeTaken, "A purpose with this code already exists.")
	}

	first := notice(code, 1, c.Texts, c.InUseSince)
	if c.ValidityDays != nil {
		first.ValidityDays = *c.ValidityDays
	}
	return []Event{
		&PurposeDefined{
			Code: code, Basis: c.Basis, Special: c.Special, Retention: c.Retention, CompetentPerson: c.CompetentPerson,
		},
		first,
	}, nil
}

// MaxValidityDays bounds how long a grant may hold by itself: a hundred years.
const MaxValidityDays = 36_525

func (f *Faults) validityDays(days *int, least int) {
	if days != nil && (*days < least || *days > MaxValidityDays) {
		f.Add("validity_days", "invalid", fmt.Sprintf("Give a number of days from %d to %d.", least, MaxValidityDays))
	}
}

// PublishNotice asks to publish the next version of a purpose's wording.
type PublishNotice struct {
	Texts      map[Language]string
	InUseSince *time.Time // nil: its publication
	// Reconsent is when grants under older versions lapse: not in the past. Nil: they do
	// not.
	Reconsent *time.Time `json:",omitempty"`
	// ValidityDays is how many days a grant under this version holds; 0: for ever. Nil:
	// as under the version before.
	ValidityDays *int `json:",omitempty"`
}

// Decide returns the next version of the wording, or nothing if it would say and demand
// the same. now is the instant of asking.
func (c PublishNotice) Decide(p Purpose, now time.Time) ([]Event, error) {
	var f Faults
	f.texts("texts", c.Texts)
	switch {
	case !p.Exists():
		return nil, cmp.Or(f.Err(), error(Refuse(CodeUnknownPurpose, "This municipality has no such purpose.")))
	case p.Retired:
		return nil, cmp.Or(f.Err(), error(Refuse(CodeUnknownPurpose, "This purpose was retired.")))
	}

	current := p.Current()
	f.inUseSince("in_use_since", c.InUseSince, current.InUseSince, now)
	c.lapsing(&f, p, now)
	if err := f.Err(); err != nil {
		return nil, err
	}

	next := notice(p.Code, current.Version+1, c.Texts, c.InUseSince)
	next.ValidityDays = current.ValidityDays
	if c.ValidityDays != nil {
		next.ValidityDays = *c.ValidityDays
	}
	if c.Reconsent != nil {
		next.Reconsent = stated(*c.Reconsent)
	}

	asksAnew := c.Reconsent != nil && !next.Reconsent.Equal(current.Reconsent)
	if sameWords(next.Texts, current.Texts) && next.ValidityDays == current.ValidityDays && !asksAnew {
		return nil, nil
	}
	return []Event{next}, nil
}

// lapsing checks what a notice says about the end of grants: those under older versions,
// and those under its own.
func (c PublishNotice) lapsing(f *Faults, p Purpose, now time.Time) {
	f.validityDays(c.ValidityDays, 0)
	if c.Reconsent != nil && stated(*c.Reconsent).Before(now) {
		f.Add("reconsent", "invalid", "People cannot be asked again by an instant in the past.")
	}
	if p.Basis == ConsentBasis {
		return
	}

	const why = "Only a consent can end by itself: this purpose rests on another ground."
	if c.Reconsent != nil {
		f.Add("reconsent", "invalid", why)
	}
	if c.ValidityDays != nil && *c.ValidityDays > 0 {
		f.Add("validity_days", "invalid", why)
	}
}

// Retire returns the event that ends the purpose, or nothing if it has ended or never
// existed.
func (p Purpose) Retire() []Event {
	if p.Retired || !p.Exists() {
		return nil
	}
	return []Event{&PurposeRetired{Code: p.Code}}
}

func (f *Faults) texts(field string, texts map[Language]string) {
	for _, l := range Languages() {
		name := field + "." + string(l)
		if IsBlank(texts[l]) {
			f.Add(name, "required", "Give the wording in every language.")
		}
		f.Text(name, texts[l], MaxNotice)
	}

	for l := range texts {
		if !l.Valid() {
			f.Add(field, "invalid", "The languages are en, zu and af.")
		}
	}
}

// inUseSince checks since when a wording is in use: not in the future, because a wording
// is published once it is in use, and not before the wording that it replaces, which then
// would never have been in use.
func (f *Faults) inUseSince(field string, since *time.Time, former, now time.Time) {
	switch {
	case since == nil:
	case since.After(now):
		f.Add(field, "invalid", "Wording cannot have been in use since an instant in the future: publish it then.")
	case since.Before(former):
		f.Add(field, "invalid", "This wording cannot have been in use since before the wording that it replaces.")
	}
}

func notice(code string, version int, texts map[Language]string, since *time.Time) *PurposeNoticePublished {
	n := &PurposeNoticePublished{
		Code: code, Notice: version, Texts: map[Language]string{}, SHA256: map[Language]string{},
	}

	if since != nil {
		n.InUseSince = new(stated(*since))
	}
	for l, text := range texts {
		text = TidyText(text)
		n.Texts[l], n.SHA256[l] = text, WordingHash(text)
	}
	return n
}

// WordingHash is the SHA-256 of a wording's UTF-8 bytes, in hexadecimal.
func WordingHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sameWords compares wordings in canonical form, so that one published before there was
// such a form does not count as new.
func sameWords(a, b map[Language]string) bool {
	for _, l := range Languages() {
		if TidyText(a[l]) != TidyText(b[l]) {
			return false
		}
	}
	return true
}

// PlatformRegistrationCode is the purpose that every account rests on.
const PlatformRegistrationCode = "platform_registration"

// PlatformRegistration returns the built-in purpose of every registration. It is part of
// the program, not of the log, because nobody could register an account to define it; a
// new wording is a new notice version here.
func PlatformRegistration() Purpose {
	first := notice(PlatformRegistrationCode, 1, map[Language]string{
		English: "To register you on the municipal services platform, and to use your e-mail address, name and " +
			"phone number to identify you and to contact you about the services you ask for.",
		Zulu: "Ukukubhalisa enkundleni yezinsiza zikamasipala, nokusebenzisa ikheli lakho le-imeyili, igama " +
			"nenombolo yocingo ukuze sikwazi ukukubona nokuxhumana nawe ngezinsiza ozicelayo.",
		Afrikaans: "Om u op die munisipale diensteplatform te registreer, en om u e-posadres, naam en " +
			"telefoonnommer te gebruik om u te identifiseer en met u te skakel oor die dienste wat u aanvra.",
	}, &time.Time{})

	return Purpose{
		Tenant: PlatformTenant(), Code: PlatformRegistrationCode, Basis: ConsentBasis,
		Retention: "until the account is closed; proof of consent 3 years longer",
		Notices:   []Notice{{Version: 1, Texts: first.Texts, SHA256: first.SHA256}},
	}
}
