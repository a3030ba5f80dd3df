package domain

import (
	"cmp"
	"slices"
	"time"
	"unicode/utf8"
)

// Outcome is what a person decided about a purpose.
type Outcome string

// The outcomes, from the one that permits most to the one that permits least.
const (
	OutcomeGranted   Outcome = "granted"
	OutcomeRefused   Outcome = "refused"
	OutcomeWithdrawn Outcome = "withdrawn"
)

// Outcomes lists every outcome.
func Outcomes() []Outcome { return []Outcome{OutcomeGranted, OutcomeRefused, OutcomeWithdrawn} }

// Grade says what a claimed decision rests on. The burden of proof of a consent is on the
// municipality (POPIA s11(2)(a)), so every answer that rests on a claim names its grade.
type Grade string

// The grades, weakest first. A decision that was recorded here has none.
const (
	// GradeClaimed: the source says so, and nothing else is known.
	GradeClaimed Grade = "claimed"
	// GradeDocumented: besides, a document or recording of the decision is kept.
	GradeDocumented Grade = "documented"
	// GradeWitnessed: besides, somebody who was present vouches for it in a signed
	// statement, which is kept.
	GradeWitnessed Grade = "witnessed"
)

// Grades lists every grade.
func Grades() []Grade { return []Grade{GradeClaimed, GradeDocumented, GradeWitnessed} }

type (
	// ConsentClaimed says what a source outside this system says that a person decided:
	// a spreadsheet, an older program. It is not what the person said here. What is not
	// known of the decision is empty; if the wording is not known, this is no consent to
	// any wording.
	ConsentClaimed struct {
		Decision
		Claim ConsentClaim `json:"claim"`
		// ValidityDays is for how many days grants for the purpose held when this one is
		// said to have been given; 0: without end.
		ValidityDays int `json:"validity_days,omitempty"`
	}
	// ConsentClaim says who says so, and what that rests on.
	ConsentClaim struct {
		Decided Outcome `json:"decided"`
		Grade   Grade   `json:"evidence_grade"`
		Source  string  `json:"source"`
		// FileSHA256 and Line name the record: a line in a file with this hash.
		FileSHA256 string `json:"file_sha256"`
		Line       int    `json:"line"`
		// DayOnly: the source knows only the day, and given_at is its beginning in South
		// Africa.
		DayOnly bool `json:"day_only,omitempty"`
	}
)

// EventType implements Event.
func (*ConsentClaimed) EventType() string { return "consent.claimed.v1" }

func (e *ConsentClaimed) changes() []FieldChange {
	return slices.Concat(payloadFields(&e.Claim), payloadFields(e, "claim"), e.sealed())
}

// GradeOf returns the grade of a claim, and nothing for a decision recorded here.
func GradeOf(e Event) Grade {
	if claimed, is := e.(*ConsentClaimed); is {
		return claimed.Claim.Grade
	}
	return ""
}

// outcomeOf returns what an event decides, or "" for an event of another stream.
func outcomeOf(e Event) Outcome {
	switch e := e.(type) {
	case *ConsentGranted:
		return OutcomeGranted
	case *ConsentRefused:
		return OutcomeRefused
	case *ConsentWithdrawn:
		return OutcomeWithdrawn
	case *ConsentClaimed:
		return e.Claim.Decided
	default:
		return ""
	}
}

func isClaim(h held) bool { return GradeOf(h.Event) != "" }

// claimsFirst puts decisions that are in order into the order in which they count where
// some are claims, and returns when the person first decided here; zero: never. Of one
// instant a claim comes first, since it never outvotes what the person said here, and of
// several claims the one that permits least comes last. So the order in which claims were
// imported does not matter.
func claimsFirst(events []held) ([]held, time.Time) {
	if !slices.ContainsFunc(events, isClaim) {
		return events, time.Time{}
	}

	slices.SortStableFunc(events, func(a, b held) int {
		first, isFirst := a.Event.(*ConsentClaimed)
		second, isSecond := b.Event.(*ConsentClaimed)
		switch {
		case !a.from.Equal(b.from):
			return a.from.Compare(b.from)
		case isFirst && isSecond:
			return first.before(second)
		case isFirst:
			return -1
		case isSecond:
			return 1
		default:
			return 0
		}
	})

	here := slices.IndexFunc(events, func(h held) bool { return !isClaim(h) })
	if here < 0 {
		return events, time.Time{}
	}
	return events, events[here].from
}

// before orders claims of one instant by what they say, so that copies stand in the same
// order: of two that say the same, the one under newer words comes first.
func (e *ConsentClaimed) before(other *ConsentClaimed) int {
	return cmp.Or(cmp.Compare(e.rank(), other.rank()), cmp.Compare(other.NoticeVersion, e.NoticeVersion),
		cmp.Compare(e.SHA256, other.SHA256), cmp.Compare(e.Claim.Source, other.Claim.Source),
		cmp.Compare(e.ConsentID.String(), other.ConsentID.String()))
}

func (e *ConsentClaimed) rank() int { return slices.Index(Outcomes(), e.Claim.Decided) }

// Until returns the instant from which a grant that was given at an instant no longer
// holds; zero: never.
func (e *ConsentClaimed) Until(given time.Time) time.Time {
	return (&ConsentGranted{ValidityDays: e.ValidityDays}).Until(given)
}

// claims completes the record of a claim.
func (e *ConsentClaimed) claims(c *Consent) {
	c.Grade, c.Source = e.Claim.Grade, e.Claim.Source

	switch e.Claim.Decided {
	case OutcomeGranted:
		c.Consented, c.ValidUntil = true, e.Until(c.GivenAt)
	case OutcomeWithdrawn:
		c.WithdrawnAt = c.GivenAt
	case OutcomeRefused:
	}
}

// claim returns which records are grants that were not withdrawn once a claim is among
// them: a claimed withdrawal ends the claimed grants, also where it decides nothing.
func (c *Consents) claim(open []int, h held, e *ConsentClaimed) []int {
	switch e.Claim.Decided {
	case OutcomeGranted:
		open = append(open, len(c.records))
	case OutcomeWithdrawn:
		open = slices.DeleteFunc(open, func(i int) bool {
			if c.records[i].Grade == "" {
				return false
			}
			c.records[i].end(h.Recorded)
			return true
		})
	case OutcomeRefused:
	}
	return open
}

// ClaimConsent asks to record what a source outside this system says that a person
// decided. What the source does not know is zero.
type ClaimConsent struct {
	ID            ConsentID
	Purpose       string
	Claim         ConsentClaim
	GivenAt       time.Time
	Language      Language
	Channel       Channel
	NoticeVersion int
	WordingSHA256 string
	Evidence      *Evidence
	GivenBy       *CompetentPerson // nil: the subject
}

// MaxSource is how many characters the name of a source may have.
const MaxSource = 100

// Source checks the name of a source of claims.
func (f *Faults) Source(field, source string) {
	switch {
	case IsBlank(source):
		f.Add(field, "required", "Name the system or file that the claims come from.")
	case utf8.RuneCountInString(source) > MaxSource:
		f.Add(field, "too_long", "Give at most 100 characters.")
	case !printable(source) || !written(source):
		f.Add(field, "invalid", "A name has no control or invisible characters.")
	}
}

// Decide returns the claim, or nothing if the history has it already. history is the
// subject's decisions about the purpose; current is the purpose in force for the tenant,
// and then the one in force when the decision was given (each zero if there is none); now
// is the instant of asking.
//
// A decision that is said to have been given after the person decided here is refused,
// because a claim never outvotes what a person said here.
func (c ClaimConsent) Decide(history []Recorded, current, then Purpose, now time.Time) ([]Event, error) {
	var f Faults
	if c.Check(&f); f.Err() != nil {
		return nil, f.Err()
	}

	c = c.tidy()
	if err := c.possible(current, now); err != nil {
		return nil, err
	}

	for i := range history {
		if d, is := decisionOf(history[i].Event); is && d.ConsentID == c.ID {
			return nil, nil
		}
	}
	if outvotes(history, c.Purpose, c.GivenAt) {
		return nil, Refuse(CodeDecidedHere,
			"This person has decided about this purpose here, no later than this is said to have been given, and "+
				"that counts. If they changed their mind, record it with its evidence.")
	}

	d, err := c.decision(then)
	if err != nil {
		return nil, err
	}
	return []Event{&ConsentClaimed{Decision: d, Claim: c.Claim, ValidityDays: c.validity(current, then)}}, nil
}

// validity returns for how many days the grant holds; 0: without end, or it is none.
// Where no words were in use when it was given, it holds no longer than one that is given
// now.
func (c ClaimConsent) validity(current, then Purpose) int {
	if c.Claim.Decided != OutcomeGranted {
		return 0
	}
	if n := then.NoticeAt(c.GivenAt); n.Version > 0 {
		return n.ValidityDays
	}
	return current.Current().ValidityDays
}

// outvotes reports whether a person had decided here by an instant. What was annulled
// does not count.
func outvotes(history []Recorded, purpose string, by time.Time) bool {
	void := annulmentsIn(history, time.Time{})
	return slices.ContainsFunc(history, func(e Recorded) bool {
		return PurposeNamed(e.Event) == purpose && GradeOf(e.Event) == "" && void.of(&e) == nil &&
			!e.EffectiveAt.After(by)
	})
}

func (c ClaimConsent) tidy() ClaimConsent {
	c.GivenAt, c.Claim.Source = stated(c.GivenAt), TidyName(c.Claim.Source)
	same := RecordConsent{Evidence: c.Evidence, GivenBy: c.GivenBy}.tidy()
	c.Evidence, c.GivenBy = same.Evidence, same.GivenBy
	return c
}

// Check checks each value by itself.
func (c ClaimConsent) Check(f *Faults) {
	c = c.tidy()

	switch c.Purpose {
	case "":
		f.Add("purpose", "required", "Name the purpose.")
	case PlatformRegistrationCode:
		f.Add("purpose", "invalid", "No account rests on a claim: people consent to theirs here.")
	}

	OneOf(f, "decision", c.Claim.Decided, Outcomes())
	OneOf(f, "evidence_grade", c.Claim.Grade, Grades())
	f.Source("source", c.Claim.Source)
	if year := c.GivenAt.Year(); year < earliestDecision || year > latestYear {
		f.Add("given_at", "invalid",
			"Give the day on which the person decided, or the instant, such as 2019-03-01 or 2019-03-01T14:30.")
	}

	if c.Language != "" {
		OneOf(f, "language", c.Language, Languages())
	}
	if c.Channel != "" {
		OneOf(f, "channel", c.Channel, Channels())
	}
	switch {
	case c.NoticeVersion < 0:
		f.Add("notice_version", "invalid", "Versions count from 1.")
	case c.NoticeVersion > 0 && c.Language == "":
		f.Add("language", "required", "Say in which language this version was shown.")
	}
	if c.WordingSHA256 != "" && !sha256Pattern.MatchString(c.WordingSHA256) {
		f.Add("wording_sha256", "invalid", "Give the SHA-256 of the wording in 64 lower-case hexadecimal digits.")
	}

	f.evidence(c.Evidence)
	f.competentPerson(c.GivenBy)
}

// earliestDecision is a year before which no living person decided anything.
const earliestDecision = 1900

// possible checks the claim against the clock and the purpose.
func (c ClaimConsent) possible(p Purpose, now time.Time) error {
	switch {
	case c.GivenAt.After(now):
		return Refuse(CodeGivenInFuture, "A decision cannot be given in the future.")
	case c.Evidenced() != nil:
		return c.Evidenced()
	default:
		return p.takes(c.Claim.Decided == OutcomeGranted, c.GivenBy)
	}
}

// Evidenced refuses a claim whose grade rests on evidence that it does not name.
func (c ClaimConsent) Evidenced() error {
	if c.Claim.Grade == GradeClaimed || c.Evidence != nil {
		return nil
	}
	return Refuse(CodeEvidenceRequired,
		"A claim that is documented or witnessed names its evidence: the document, or the signed statement.")
}

func (c ClaimConsent) decision(p Purpose) (Decision, error) {
	d := RecordConsent{
		ID: c.ID, Purpose: c.Purpose, Language: c.Language, Channel: c.Channel, GivenAt: c.GivenAt,
		Evidence: c.Evidence, GivenBy: c.GivenBy, ByStaff: true,
	}.decision(Notice{})

	n := p.NoticeAt(c.GivenAt)
	if c.NoticeVersion != 0 {
		if n.Version != c.NoticeVersion {
			return Decision{}, Refuse(CodeNoticeChanged, "That version of the notice was not in use then.")
		}
		d.shown(n, c.Language)
		if c.WordingSHA256 != "" && c.WordingSHA256 != d.SHA256 {
			return Decision{}, Refuse(CodeWordingMismatch, "This is not the purpose's wording in this language.")
		}
		return d, nil
	}

	d.SHA256 = c.WordingSHA256
	for _, l := range Languages() {
		if c.WordingSHA256 != "" && c.WordingSHA256 == n.SHA256[l] && (c.Language == "" || c.Language == l) {
			d.shown(n, l)
		}
	}
	return d, nil
}

// shown completes a decision with the wording that it is about.
func (d *Decision) shown(n Notice, in Language) {
	d.NoticeVersion, d.Language, d.Wording, d.SHA256 = n.Version, in, n.Texts[in], n.SHA256[in]
}
