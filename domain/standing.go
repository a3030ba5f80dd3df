package domain

import (
	"maps"
	"slices"
	"time"
)

const day = 24 * time.Hour

// Clocks are the two instants that a question is about, and the instant of asking.
type Clocks struct {
	At      time.Time // zero: no bound: every event counts, however it was stamped
	KnownAt time.Time // counts only what was recorded by then; zero: no bound
	Now     time.Time
}

// instant is when what ends without an event is judged. Intervals are half-open: a grant
// holds from the instant at which it was given up to, and not at, the instant of its end.
func (c Clocks) instant() time.Time {
	if c.At.IsZero() {
		return c.Now
	}
	return c.At
}

func (c Clocks) knows(recordedAt time.Time) bool {
	return c.KnownAt.IsZero() || !recordedAt.After(c.KnownAt)
}

// began reports whether something that takes effect at an instant has done so.
func (c Clocks) began(at time.Time) bool { return c.At.IsZero() || !at.After(c.At) }

// Status says in one word what has become of a decision.
type Status string

// What becomes of a decision.
const (
	StatusGranted   Status = "granted"
	StatusRefused   Status = "refused"
	StatusWithdrawn Status = "withdrawn"
	StatusExpired   Status = "expired"  // its own time is over, see Consent.ValidUntil
	StatusLapsed    Status = "lapsed"   // people had to be asked again by then, see Notice.Reconsent
	StatusAnnulled  Status = "annulled" // an entry made in error, which counts for nothing
)

// Statuses lists them all.
func Statuses() []Status {
	return []Status{StatusGranted, StatusRefused, StatusWithdrawn, StatusExpired, StatusLapsed, StatusAnnulled}
}

// Standing is what has become of a decision by an instant, as known at another.
type Standing struct {
	Status Status
	// InForce reports whether this grant is what allows processing.
	InForce bool
	// Lapse is when a newer wording ends, or would have ended, a grant that was not
	// withdrawn; zero: none does.
	Lapse Lapse
}

// Lapse is the end of grants because people must be asked again.
type Lapse struct {
	At time.Time
	By EventRef // the notice that demands it
}

// Decided is a decision and what has become of it.
type Decided struct {
	Consent
	Standing
}

// Until returns the instant from which the grant no longer holds, as far as is known;
// zero: none.
func (d Decided) Until() time.Time { return earlier(d.ValidUntil, d.Lapse.At) }

// earlier returns the earlier of two instants, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// Terms is what the purposes with one code demand of consents: a tenant's own and the
// default, which the own one hides while it is in use. The zero Terms demands nothing.
type Terms struct {
	// Purpose is the one that was in use. It does not exist if neither does.
	Purpose Purpose

	clocks      Clocks
	own, shared Purpose
	lapsing     bool // some notice demands that people are asked again
}

// TermsOf returns the terms at the instants of a question. A purpose that does not exist
// is the zero Purpose.
func TermsOf(own, shared Purpose, c Clocks) Terms {
	t := Terms{Purpose: own, clocks: c, own: own, shared: shared}
	if !own.Exists() || !t.inUse(own, c.At) && shared.Exists() {
		t.Purpose = shared
	}

	for _, p := range []Purpose{own, shared} {
		t.lapsing = t.lapsing || slices.ContainsFunc(p.Notices, func(n Notice) bool { return !n.Reconsent.IsZero() })
	}
	return t
}

// inUse reports whether a purpose was known, and in use at an instant; zero: ever. One
// that was defined later says nothing about the time before it, unless its words were in
// use by then.
func (t Terms) inUse(p Purpose, at time.Time) bool {
	return p.Exists() && t.clocks.knows(p.Definition.RecordedAt) && p.WasInUse(at)
}

// Retired returns the event that had ended the purpose.
func (t Terms) Retired() (EventRef, bool) {
	end := t.Purpose.Retirement
	return end, t.Purpose.Retired && t.clocks.knows(end.RecordedAt) && t.clocks.began(end.At)
}

// Lawful reports whether the purpose rests on a ground other than consent.
func (t Terms) Lawful() bool {
	return t.Purpose.Basis != ConsentBasis && t.inUse(t.Purpose, t.clocks.At)
}

// closed reports whether no consent counts for the purpose.
func (t Terms) closed() bool {
	_, retired := t.Retired()
	return t.Purpose.Exists() && (retired || t.Lawful())
}

// Of returns what has become of a decision that was folded by the same two clocks.
func (t Terms) Of(c Consent) Decided {
	d := Decided{Consent: c}
	switch {
	case !c.AnnulledAt.IsZero():
		d.Status = StatusAnnulled
		return d
	case c.Withdrawn(): // also a claimed withdrawal, which consents to nothing
		d.Status = StatusWithdrawn
		return d
	case !c.Consented:
		d.Status = StatusRefused
		return d
	}

	d.Lapse = t.lapse(c)
	switch end := d.Until(); {
	case end.IsZero() || end.After(t.clocks.instant()):
		d.Status, d.InForce = StatusGranted, c.SupersededAt.IsZero() && !t.closed()
	case end.Equal(c.ValidUntil): // at the same instant, it would have ended anyway
		d.Status = StatusExpired
	default:
		d.Status = StatusLapsed
	}
	return d
}

// lapse returns when a grant lapses; zero: never.
func (t Terms) lapse(c Consent) Lapse {
	if !t.lapsing {
		return Lapse{}
	}
	return t.LapseOf(c.NoticeVersion, c.SHA256, c.GivenAt)
}

// LapseOf returns when a grant lapses that was given at an instant under a wording; zero:
// never.
//
// A wording is known by its version and its words, because a tenant's own purpose begins
// with version 1 again; where both purposes have it, by when it was shown. Every wording
// of the own purpose is newer than every one of the default that it hides, and a wording
// that neither has is older than all.
func (t Terms) LapseOf(version int, sha256 string, given time.Time) (first Lapse) {
	consider := func(p Purpose, demands func(n Notice) bool) {
		for _, n := range p.Notices {
			if !n.Reconsent.IsZero() && t.clocks.knows(n.Event.RecordedAt) && demands(n) &&
				(first.At.IsZero() || n.Reconsent.Before(first.At)) {
				first = Lapse{At: n.Reconsent, By: n.Event}
			}
		}
	}

	words, has := t.own.wording(version, sha256)
	own := has && t.clocks.knows(words.Event.RecordedAt) && !given.Before(words.InUseSince)
	consider(t.own, func(n Notice) bool { return !own || n.Version > version })
	if own {
		return first
	}

	_, shared := t.shared.wording(version, sha256)
	consider(t.shared, func(n Notice) bool {
		return !t.inUse(t.own, n.Reconsent) && (!shared || n.Version > version)
	})
	return first
}

// wording finds the version of the notice with a text that has this hash.
func (p Purpose) wording(version int, sha256 string) (Notice, bool) {
	i := slices.IndexFunc(p.Notices, func(n Notice) bool {
		return n.Version == version && slices.ContainsFunc(Languages(), func(l Language) bool {
			return n.SHA256[l] == sha256
		})
	})
	if i < 0 {
		return Notice{}, false
	}
	return p.Notices[i], true
}

// PurposesIn folds the events of purposes, whatever their order among each other.
func PurposesIn(events []Recorded) []Purpose {
	byStream := map[Stream]Purpose{}
	for _, e := range events {
		byStream[e.Stream] = byStream[e.Stream].Evolve(e)
	}

	purposes := make([]Purpose, 0, len(byStream))
	for _, p := range byStream {
		if p.Exists() {
			purposes = append(purposes, p)
		}
	}
	return purposes
}

// Rules are the terms of all purposes of a tenant, at the instants of one question.
type Rules struct {
	clocks Clocks
	terms  map[string]Terms // by code
}

// RulesOf returns the rules that follow from a tenant's own purposes and the defaults.
func RulesOf(own, shared []Purpose, c Clocks) Rules {
	type pair struct{ own, shared Purpose }
	byCode := map[string]pair{PlatformRegistrationCode: {shared: PlatformRegistration()}}
	for _, p := range shared {
		if p.Code != PlatformRegistrationCode {
			byCode[p.Code] = pair{shared: p}
		}
	}
	for _, p := range own {
		if p.Code != PlatformRegistrationCode {
			byCode[p.Code] = pair{own: p, shared: byCode[p.Code].shared}
		}
	}

	r := Rules{clocks: c, terms: make(map[string]Terms, len(byCode))}
	for code, p := range byCode {
		r.terms[code] = TermsOf(p.own, p.shared, c)
	}
	return r
}

// Of returns what has become of a decision that was folded by the rules' two clocks.
func (r Rules) Of(c Consent) Decided {
	terms, known := r.terms[c.Purpose]
	if !known {
		terms.clocks = r.clocks
	}
	return terms.Of(c)
}

// Terms returns the terms of the purposes with a code.
func (r Rules) Terms(code string) Terms { return r.terms[code] }

// Clocks returns the instants of the question.
func (r Rules) Clocks() Clocks { return r.clocks }

// Instant is when what ends without an event is judged.
func (r Rules) Instant() time.Time { return r.clocks.instant() }

// Closed lists the codes of the purposes for which no consent counts.
func (r Rules) Closed() []string {
	var codes []string
	for code, t := range r.terms {
		if t.closed() {
			codes = append(codes, code)
		}
	}
	slices.Sort(codes)
	return codes
}

// WordingLapse is when grants under one wording lapse.
type WordingLapse struct {
	Purpose       string
	NoticeVersion int    // 0: of every wording that is not listed
	SHA256        string // of the words shown
	At            time.Time
	// Before limits it to grants given before an instant; zero: all.
	Before time.Time
}

// Lapses lists the wordings of the purposes with a notice that demands that people are
// asked again, and when grants under each lapse; zero: never. It is what Of knows, as a
// table that a query can join.
func (r Rules) Lapses() (all []WordingLapse) {
	for _, code := range slices.Sorted(maps.Keys(r.terms)) {
		t := r.terms[code]
		if !t.lapsing {
			continue
		}
		all = append(all, WordingLapse{Purpose: code, At: t.LapseOf(0, "", endOfTime()).At})

		type wording struct {
			version int
			sha256  string
		}
		listed := map[wording]bool{}
		for _, n := range slices.Concat(t.own.Notices, t.shared.Notices) {
			for _, l := range Languages() {
				w := wording{n.Version, n.SHA256[l]}
				if listed[w] {
					continue
				}
				listed[w] = true
				all = append(all, t.wordingLapses(code, w.version, w.sha256)...)
			}
		}
	}
	return all
}

// wordingLapses lists when grants under one wording lapse: one line for all and, if the
// own purpose took over the very words of the default, one for those given before that.
func (t Terms) wordingLapses(code string, version int, sha256 string) []WordingLapse {
	w := WordingLapse{Purpose: code, NoticeVersion: version, SHA256: sha256}
	w.At = t.LapseOf(version, sha256, endOfTime()).At
	lapses := []WordingLapse{w}

	if words, has := t.own.wording(version, sha256); has && !words.InUseSince.IsZero() {
		w.At, w.Before = t.LapseOf(version, sha256, words.InUseSince.Add(-time.Microsecond)).At, words.InUseSince
		lapses = append(lapses, w)
	}
	return lapses
}

// endOfTime is after every instant of the log.
func endOfTime() time.Time { return time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }
