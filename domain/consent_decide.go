package domain

import (
	"math"
	"slices"
	"time"
)

// LateAfter is how old a decision may be and still count as just made, on the web and
// without evidence: a form may have been left open.
const LateAfter = 5 * time.Minute

// RecordConsent asks to record a decision of a subject about a purpose.
type RecordConsent struct {
	ID            ConsentID
	Purpose       string
	Description   string // the wording the client showed; empty: the registry's
	Language      Language
	Consented     bool
	Channel       Channel   // empty: Web
	GivenAt       time.Time // zero: now
	ValidUntil    time.Time // of a grant; zero: no end was agreed
	NoticeVersion int       // the notice shown; 0: the one in force
	Evidence      *Evidence
	GivenBy       *CompetentPerson // nil: the subject
	ByStaff       bool             // for another person, by staff or by a program
	ByProgram     bool             // which then names the channel

	// Hidden is the default that the tenant's own purpose hides, and under which an
	// earlier grant may have been given; zero: none.
	Hidden Purpose
}

// Evidence proves a decision: a hash of the artefact and where it is kept.
type Evidence struct{ SHA256, Reference string }

// Decide returns the grant or the refusal. history is the subject's consent stream,
// purpose the one in force for the tenant (the zero Purpose if there is none), now the
// instant of asking.
func (c RecordConsent) Decide(history []Recorded, purpose Purpose, now time.Time) ([]Event, error) {
	if c.Channel == "" && !c.ByProgram {
		c.Channel = Web
	}
	c.GivenAt, c.ValidUntil = stated(c.GivenAt), stated(c.ValidUntil)
	c = c.tidy()

	if err := c.validate(now); err != nil {
		return nil, err
	}
	if err := c.timely(now); err != nil {
		return nil, err
	}

	if isAhead(c.Purpose, history, now) || purpose.isAhead(now) {
		c.GivenAt = unlessJustNow(c.GivenAt, now)
	}

	notice, err := c.notice(purpose)
	if err != nil {
		return nil, err
	}
	terms := TermsOf(purpose, c.Hidden, Clocks{At: c.GivenAt, Now: now})
	then := ConsentsFor(c.Purpose, history, c.GivenAt, time.Time{})
	if err := c.possible(then, terms, notice); err != nil {
		return nil, err
	}

	d := c.decision(notice)
	if c.Consented {
		return []Event{&ConsentGranted{Decision: d, ValidUntil: c.ValidUntil, ValidityDays: notice.ValidityDays}}, nil
	}
	return []Event{&ConsentRefused{d}}, nil
}

// tidy returns the command with each text in its canonical form.
func (c RecordConsent) tidy() RecordConsent {
	if e := c.Evidence; e != nil {
		c.Evidence = &Evidence{SHA256: e.SHA256, Reference: TidyText(e.Reference)}
	}
	if p := c.GivenBy; p != nil {
		c.GivenBy = &CompetentPerson{
			Name: TidyName(p.Name), Relation: TidyText(p.Relation), Authority: TidyText(p.Authority),
		}
	}
	return c
}

func (c RecordConsent) validate(now time.Time) error {
	var f Faults
	OneOf(&f, "language", c.Language, Languages())
	if c.Channel == "" {
		f.Add("channel", "required", "Say on which channel the person decided.")
	} else {
		OneOf(&f, "channel", c.Channel, Channels())
	}
	if c.Purpose == "" {
		f.Add("purpose", "required", "Name the purpose.")
	}

	f.evidence(c.Evidence)
	f.competentPerson(c.GivenBy)

	c.ends(&f, now)
	return f.Err()
}

func (f *Faults) competentPerson(p *CompetentPerson) {
	if p == nil {
		return
	}
	f.Name("given_by.name", p.Name, MinName)
	f.required("given_by.relation", p.Relation)
	f.required("given_by.authority", p.Authority)
}

// ends checks the instant of a grant's end. It may have passed: a form that is recorded
// late says what held in its time.
func (c RecordConsent) ends(f *Faults, now time.Time) {
	given := c.GivenAt
	if given.IsZero() {
		given = now
	}

	switch {
	case c.ValidUntil.IsZero():
	case !c.Consented:
		f.Add("valid_until", "invalid", "A refusal has no end.")
	case c.Purpose == PlatformRegistrationCode:
		f.Add("valid_until", "invalid", "An account rests on this consent until one or the other is ended.")
	case !c.ValidUntil.After(given):
		f.Add("valid_until", "invalid", "A consent must end after it was given.")
	}
}

func (f *Faults) evidence(e *Evidence) {
	if e == nil {
		return
	}
	if !sha256Pattern.MatchString(e.SHA256) {
		f.Add("evidence.sha256", "invalid", "Give the SHA-256 of the artefact in 64 lower-case hexadecimal digits.")
	}
	f.required("evidence.reference", e.Reference)
}

func (f *Faults) required(field, text string) {
	if IsBlank(text) {
		f.Add(field, "required", "This must not be empty.")
	}
	f.Text(field, text, MaxReference)
}

// timely checks when the decision was made: not in the future, and long ago only with
// evidence and not on the web.
func (c RecordConsent) timely(now time.Time) error {
	if c.GivenAt.After(now) {
		return Refuse(CodeGivenInFuture, "A decision cannot be given in the future.")
	}

	if c.GivenAt.IsZero() || now.Sub(c.GivenAt) <= LateAfter {
		return nil
	}

	if c.Channel == Web || c.Evidence == nil {
		return Refuse(CodeEvidenceRequired,
			"A decision given more than 5 minutes ago needs evidence, and a channel other than web.")
	}
	return nil
}

// takes refuses a decision that the purpose cannot have.
func (p Purpose) takes(consented bool, by *CompetentPerson) error {
	switch {
	case !p.Exists():
		return Refuse(CodeUnknownPurpose, "This municipality has no such purpose.")
	case p.Retired:
		return Refuse(CodeUnknownPurpose, "This purpose was retired.")
	case p.Basis != ConsentBasis:
		return Refuse(CodePurposeNotConsent,
			"Processing for this purpose rests on a ground of POPIA s11 other than consent, so there is nothing to "+
				"consent to.")
	case p.CompetentPerson && by == nil && consented:
		return Refuse(CodeCompetentPerson,
			"For a child, a competent person must consent (POPIA s35): name them in given_by.")
	default:
		return nil
	}
}

// notice finds the wording that the decision is about.
func (c RecordConsent) notice(p Purpose) (Notice, error) {
	if err := p.takes(c.Consented, c.GivenBy); err != nil {
		return Notice{}, err
	}

	// Not NoticeAt(now): our clock and the log's may differ.
	n := p.Current()
	if !c.GivenAt.IsZero() {
		if n = p.NoticeAt(c.GivenAt); n.Version == 0 {
			return Notice{}, Refuse(CodeNoticeChanged, "No words of this purpose were in use then.")
		}
	}

	if c.NoticeVersion != 0 && c.NoticeVersion != n.Version {
		return Notice{}, Refuse(CodeNoticeChanged, "Notice version %d was in use then; show that version.", n.Version)
	}

	if c.Description != "" && tidyWording(c.Description) != tidyWording(n.Texts[c.Language]) {
		return Notice{}, Refuse(CodeWordingMismatch, "This is not the purpose's wording in this language.")
	}
	return n, nil
}

// possible checks the decision against what was in force when it was made.
func (c RecordConsent) possible(then Consents, terms Terms, n Notice) error {
	_, by, _ := then.Check(c.Purpose)
	in, ok := then.InForce(c.Purpose)
	if !ok || terms.Of(in).Status != StatusGranted {
		return nil
	}

	// A tenant's own purpose may shadow the default with a first notice of its own: the
	// same number, other words. And who is only said to have agreed may do so.
	granted, here := by.Event.(*ConsentGranted)
	unchanged := here && in.NoticeVersion == n.Version && in.SHA256 == n.SHA256[in.Language]
	// Somebody may agree for longer, or for less long, before the end has come.
	otherEnd := here && !c.ValidUntil.IsZero() && !c.ValidUntil.Equal(granted.ValidUntil)
	if c.Consented && (!unchanged || otherEnd) {
		return nil
	}

	refusal := Refuse(CodeAlreadyGranted, "A consent for this purpose under this notice is in force.")
	if !c.Consented {
		refusal = Refuse(CodeInForce, "A consent for this purpose is in force: withdraw it instead.")
	}
	refusal.ConsentID = in.ID
	return refusal
}

func (c RecordConsent) decision(n Notice) Decision {
	d := Decision{
		ConsentID: c.ID, Purpose: c.Purpose, NoticeVersion: n.Version, Wording: n.Texts[c.Language],
		SHA256: n.SHA256[c.Language], Language: c.Language, Channel: c.Channel, GivenAt: c.GivenAt,
		RecordedBy: recordedBy(c.ByStaff, c.ByProgram), GivenBy: BySelf, Basis: ConsentBasis,
	}

	var facts DecisionFacts
	if c.Evidence != nil {
		d.EvidenceSHA256, facts.EvidenceReference = c.Evidence.SHA256, c.Evidence.Reference
	}
	if c.GivenBy != nil {
		d.GivenBy, facts.CompetentPerson = ByCompetentPerson, c.GivenBy
	}

	if facts != (DecisionFacts{}) {
		d.Private = Known(facts)
	}

	return d
}

// WithdrawConsent asks to take a grant back.
type WithdrawConsent struct {
	ID       ConsentID
	Reason   string
	GivenAt  time.Time // zero: now
	Evidence *Evidence
	// For another person: by staff or by a program.
	ByStaff, ByProgram bool
}

// Decide returns the withdrawal. If the grant was withdrawn before, it returns one only
// if it was given earlier: the earliest known counts.
func (c WithdrawConsent) Decide(history []Recorded, now time.Time) ([]Event, error) {
	c.GivenAt, c.Reason = stated(c.GivenAt), TidyText(c.Reason)

	var f Faults
	f.Text("reason", c.Reason, MaxReason)
	f.evidence(c.Evidence)
	if err := f.Err(); err != nil {
		return nil, err
	}

	consent, ok := ConsentIn(history, c.ID)
	switch {
	case !ok:
		return nil, Refuse(CodeNotFound, "There is no such consent.")
	case !consent.AnnulledAt.IsZero():
		return nil, isAnnulled(consent)
	case !consent.Consented && !consent.Withdrawn(): // a claimed withdrawal is withdrawn already
		return nil, Refuse(CodeNotGranted, "This is a refusal: there is nothing to withdraw.")
	case consent.GivenAt.After(now) && !c.GivenAt.After(now):
		// The clock ran ahead when it was given: the withdrawal comes after it all the
		// same.
		c.GivenAt = time.Time{}
	}
	if isAhead(consent.Purpose, history, now) {
		c.GivenAt = unlessJustNow(c.GivenAt, now)
	}

	if consent.Withdrawn() && (c.GivenAt.IsZero() || !c.GivenAt.Before(consent.WithdrawnAt)) {
		return nil, nil
	}
	if err := c.timely(consent, now); err != nil {
		return nil, err
	}
	return []Event{c.event(consent)}, nil
}

// timely checks when a withdrawal that changes something was given. On behalf of another
// person, one dated long ago, or before the one already known, needs evidence.
func (c WithdrawConsent) timely(consent Consent, now time.Time) error {
	long := !c.GivenAt.IsZero() && now.Sub(c.GivenAt) > LateAfter

	switch {
	case c.GivenAt.After(now):
		return Refuse(CodeGivenInFuture, "A withdrawal cannot be given in the future.")
	case !c.GivenAt.IsZero() && c.GivenAt.Before(consent.GivenAt):
		var f Faults
		f.Add("given_at", "invalid", "A withdrawal cannot be given before the consent itself.")
		return f.Err()
	case c.ByStaff && c.Evidence == nil && (long || consent.Withdrawn()):
		return Refuse(CodeEvidenceRequired,
			"For another person, a withdrawal given more than 5 minutes ago, or before the one already recorded, "+
				"needs evidence.")
	}
	return nil
}

func (c WithdrawConsent) event(consent Consent) *ConsentWithdrawn {
	e := &ConsentWithdrawn{
		ConsentID: c.ID, Purpose: consent.Purpose, GivenAt: c.GivenAt, RecordedBy: recordedBy(c.ByStaff, c.ByProgram),
	}

	facts := WithdrawalFacts{Reason: c.Reason}
	if c.Evidence != nil {
		e.EvidenceSHA256, facts.EvidenceReference = c.Evidence.SHA256, c.Evidence.Reference
	}

	if facts != (WithdrawalFacts{}) {
		e.Private = Known(facts)
	}

	return e
}

// CloseAccount returns the withdrawals that follow when the consent an account rests on
// is withdrawn: one for every consent that was given through the account. A consent given
// before the person left is withdrawn from that instant; one given after it, from now.
// There are none, and left is false, if the person consented to the account again
// afterwards, so that it stays open.
func (e *ConsentWithdrawn) CloseAccount(history []Recorded, now time.Time) (withdrawn []Event, left bool) {
	from := e.GivenAt
	if from.IsZero() {
		from = now
	}

	last := Recorded{Event: e, Position: math.MaxInt64, EffectiveAt: from, RecordedAt: now}
	after := append(history[:len(history):len(history)], last)
	if _, again := ConsentsFor(e.Purpose, after, time.Time{}, time.Time{}).InForce(e.Purpose); again {
		return nil, false
	}

	all := ConsentsAt(history, time.Time{}, time.Time{})
	for _, c := range all.AllInForce() {
		if c.Purpose == e.Purpose || c.RecordedBy != c.Subject {
			continue
		}

		w := &ConsentWithdrawn{
			ConsentID: c.ID, Purpose: c.Purpose, GivenAt: e.GivenAt, RecordedBy: e.RecordedBy,
			Cause: CauseAccountClosed,
		}
		if c.GivenAt.After(e.GivenAt) {
			w.GivenAt = time.Time{}
		}
		withdrawn = append(withdrawn, w)
	}

	return append(withdrawn, e.movedBack(history, all, from)...), true
}

// movedBack returns earlier withdrawals for consents that ended when the account did: the
// person is now known to have left earlier, so those consents end earlier too.
func (e *ConsentWithdrawn) movedBack(history []Recorded, all Consents, from time.Time) (withdrawn []Event) {
	fell := map[ConsentID]time.Time{} // ended with the account, and when
	for _, r := range history {
		if w, is := r.Event.(*ConsentWithdrawn); is && w.Cause == CauseAccountClosed {
			fell[w.ConsentID] = r.EffectiveAt
		}
	}

	for _, c := range all.Records() {
		at, is := fell[c.ID]
		if is && c.WithdrawnAt.Equal(at) && at.After(from) && !c.GivenAt.After(from) {
			withdrawn = append(withdrawn, &ConsentWithdrawn{
				ConsentID: c.ID, Purpose: c.Purpose, GivenAt: from, RecordedBy: e.RecordedBy, Cause: CauseAccountClosed,
			})
		}
	}

	return withdrawn
}

func recordedBy(staff, program bool) string {
	switch {
	case program:
		return ByProgram
	case staff:
		return ByStaff
	default:
		return BySelf
	}
}

// isAhead reports whether a decision about a purpose was stamped by a clock that ran
// ahead: it takes effect later than now, although it was recorded before now.
func isAhead(purpose string, history []Recorded, now time.Time) bool {
	return slices.ContainsFunc(history, func(e Recorded) bool {
		return e.EffectiveAt.After(now) && PurposeNamed(e.Event) == purpose
	})
}

// unlessJustNow drops an instant that counts as just now. An event that takes effect when
// it is recorded comes after everything recorded before it, even after events stamped by
// a clock that ran ahead.
func unlessJustNow(given, now time.Time) time.Time {
	if now.Sub(given) <= LateAfter {
		return time.Time{}
	}
	return given
}

// stated returns an instant as the log keeps it, in UTC and microseconds, so that payload
// and effective time agree.
func stated(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// WithdrawAll returns a withdrawal for every purpose that has a grant in force: nothing
// may be processed any longer for a person who is erased.
func WithdrawAll(history []Recorded, byStaff bool) (events []Event) {
	for _, c := range ConsentsAt(history, time.Time{}, time.Time{}).AllInForce() {
		events = append(events, &ConsentWithdrawn{
			ConsentID: c.ID, Purpose: c.Purpose, RecordedBy: recordedBy(byStaff, false),
		})
	}
	return events
}
