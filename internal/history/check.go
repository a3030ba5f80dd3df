package history

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/google/uuid"
)

// Check returns every violation of a run; none if the run is possible.
func Check(run Run) []Violation {
	c := &check{
		run:   run,
		sent:  make(map[uuid.UUID]*Append, len(run.Appends)),
		there: make(map[uuid.UUID][]int, len(run.Appends)),
		at:    make(map[Stream][]int),
	}
	for i := range run.Appends {
		a := &run.Appends[i]
		if c.sent[a.ID] != nil {
			c.violates(Twice, "append %s", a.ID)
		}
		c.sent[a.ID] = a
	}

	c.log()
	c.bound()
	c.appends()
	c.claims()
	c.looks()
	c.reads()
	c.tables()
	return c.found
}

// check is one judgement. An event is named by its index in the log.
type check struct {
	run   Run
	found []Violation

	sent     map[uuid.UUID]*Append
	there    map[uuid.UUID][]int // the events of each append in the log
	at       map[Stream][]int    // the events of each stream, by version - 1
	earliest []Moment            // an event cannot have been in the log before this
	latest   []Moment            // an event must have been in the log after this
}

const never = Moment(math.MaxInt64)

func (c *check) violates(kind Kind, about string, args ...any) {
	c.found = append(c.found, Violation{kind, fmt.Sprintf(about, args...)})
}

// log checks the log alone: no gap in positions or in the versions of a stream, and
// nothing that nobody sent.
func (c *check) log() {
	for i, e := range c.run.Log {
		if want := int64(i) + 1; e.Position != want {
			c.violates(Broken, "position %d is where %d should be", e.Position, want)
		}

		c.at[e.Stream] = append(c.at[e.Stream], i)
		if want := len(c.at[e.Stream]); e.Version != want {
			c.violates(Broken, "position %d has version %d of its stream, and should have %d",
				e.Position, e.Version, want)
		}

		if e.Append == uuid.Nil {
			continue
		}
		c.there[e.Append] = append(c.there[e.Append], i)
		if c.sent[e.Append] == nil {
			c.violates(Unasked, "position %d, append %s", e.Position, e.Append)
		}
	}
}

// bound finds when each event was committed, as closely as the answers allow: after its
// append was sent, and before it was acknowledged. Commits are in order of position, so
// what is known of one event also bounds its neighbours.
func (c *check) bound() {
	n := len(c.run.Log)
	c.earliest, c.latest = make([]Moment, n), make([]Moment, n)
	for i, e := range c.run.Log {
		c.latest[i] = never
		if a := c.sent[e.Append]; a != nil {
			c.earliest[i] = a.Sent
			if a.Outcome == Added {
				c.latest[i] = a.Answered
			}
		}
	}

	for i := 1; i < n; i++ {
		c.earliest[i] = max(c.earliest[i], c.earliest[i-1])
		c.latest[n-1-i] = min(c.latest[n-1-i], c.latest[n-i])
	}
}

// appends checks that every answer was true.
func (c *check) appends() {
	for i := range c.run.Appends {
		a := &c.run.Appends[i]
		there := c.there[a.ID]

		switch {
		case a.Outcome != Added && a.Outcome != Unknown:
			if len(there) > 0 {
				c.violates(Present, "append %s is at position %d", a.ID, c.run.Log[there[0]].Position)
			}
		case len(there) > a.size():
			c.violates(Doubled, "append %s has %d events in the log, of %d", a.ID, len(there), a.size())
		case len(there) == 0 && a.Outcome == Added:
			c.violates(Lost, "append %s", a.ID)
		case len(there) == 0: // no answer says that it is there
		case len(there) < a.size():
			c.violates(Partial, "append %s has %d events in the log, of %d", a.ID, len(there), a.size())
		default:
			c.asAsked(a, there)
			if a.Outcome == Added {
				c.asTold(a, there)
			}
		}

		if a.Outcome == Conflicting {
			c.conflict(a)
		}
	}
}

// asAsked checks that an append in the log is there as it was asked for, whatever the
// answer was: its events side by side, each in its stream and about its record, and right
// after the expected version.
func (c *check) asAsked(a *Append, there []int) {
	n := 0
	for _, w := range a.Writes {
		for i, record := range w.Records {
			is := c.run.Log[there[n]]
			switch {
			case there[n] != there[0]+n:
				c.violates(Otherwise, "append %s is torn at position %d", a.ID, is.Position)
			case is.Stream != w.Stream:
				c.violates(Otherwise, "append %s is in another stream at position %d", a.ID, is.Position)
			case w.Expected != AnyVersion && is.Version != w.Expected+1+i:
				c.violates(Otherwise, "append %s expected version %d, and has version %d at position %d",
					a.ID, w.Expected, is.Version, is.Position)
			case record != uuid.Nil && is.Record != record:
				c.violates(Otherwise, "append %s is about another record at position %d", a.ID, is.Position)
			default:
				n++
				continue
			}

			return
		}
	}
}

func (c *check) asTold(a *Append, there []int) {
	if len(a.Events) != len(there) {
		c.violates(Moved, "append %s was told of %d events, and has %d", a.ID, len(a.Events), len(there))
		return
	}

	for i, told := range a.Events {
		if is := c.run.Log[there[i]]; !same(told, is) {
			c.violates(Moved, "append %s was told position %d, version %d, and is at %d, version %d",
				a.ID, told.Position, told.Version, is.Position, is.Version)
			return
		}
	}
}

// same reports whether an event is where its append was told; not every answer has its
// version, id and record.
func same(told, is Event) bool {
	return told.Position == is.Position && told.Stream == is.Stream &&
		(told.Version == 0 || told.Version == is.Version) && (told.ID == uuid.Nil || told.ID == is.ID) &&
		(told.Record == uuid.Nil || told.Record == is.Record)
}

// conflict checks that the append expected the version that the answer says it did, and
// that the stream may have had the named version at some moment between the question that
// was answered and its answer.
func (c *check) conflict(a *Append) {
	says := a.Conflict
	events := c.at[says.Stream]

	switch {
	case !a.expects(says.Stream, says.Expected):
		c.violates(Untrue, "append %s was told that it expected version %d of a stream, and never did",
			a.ID, says.Expected)
	case says.Actual == says.Expected:
		c.violates(Untrue, "append %s expected version %d, which the stream had", a.ID, says.Expected)
	case says.Actual < 0 || says.Actual > len(events):
		c.violates(Untrue, "append %s was told version %d, which the stream never had", a.ID, says.Actual)
	case says.Actual > 0 && c.earliest[events[says.Actual-1]] > a.Answered:
		c.violates(Untrue, "append %s was told version %d, before there was one", a.ID, says.Actual)
	case says.Actual < len(events) && c.latest[events[says.Actual]] < a.Asked:
		c.violates(Untrue, "append %s was told version %d, after there was a newer one", a.ID, says.Actual)
	}
}

// claims checks that each claim has at most one holder, and had one before anybody was
// told that it is taken.
func (c *check) claims() {
	holders := map[string]int{}
	for _, a := range c.run.Appends {
		there := c.there[a.ID]
		if a.Claim == "" || len(there) == 0 {
			continue
		}

		if other, held := holders[a.Claim]; held {
			c.violates(HeldTwice, "%s: positions %d and %d",
				a.Claim, c.run.Log[other].Position, c.run.Log[there[0]].Position)
		}
		holders[a.Claim] = there[0]
	}

	for _, a := range c.run.Appends {
		if a.Outcome != Taken {
			continue
		}
		if holder, held := holders[a.Claim]; !held || c.earliest[holder] > a.Answered {
			c.violates(Unheld, "%s, to append %s", a.Claim, a.ID)
		}
	}
}

// looks checks that each reader saw, at each moment, the log from its beginning up to
// some position: not one still to come, nor less than had been acknowledged.
func (c *check) looks() {
	acknowledged := c.acknowledged()
	places := map[int]int64{}
	for _, l := range c.run.Looks {
		if place := places[l.Reader]; l.After != place {
			c.violates(Skipped, "reader %d went on behind position %d, having seen those up to %d",
				l.Reader, l.After, place)
		}
		c.prefix(l)
		places[l.Reader] = l.upTo()

		if upTo := l.upTo(); upTo > 0 && upTo <= int64(len(c.run.Log)) && c.earliest[upTo-1] > l.Ended {
			c.violates(Early, "reader %d saw position %d before it was sent", l.Reader, upTo)
		}
		if must := acknowledged.before(l.Began); l.upTo() < must {
			c.violates(Behind, "reader %d saw the log up to position %d after %d was acknowledged",
				l.Reader, l.upTo(), must)
		}
	}
}

func (c *check) prefix(l Look) {
	place := l.After
	for _, s := range l.Seen {
		switch {
		case s.Position != place+1:
			c.violates(Skipped, "reader %d saw position %d next to %d", l.Reader, s.Position, place)
		case s.Position > int64(len(c.run.Log)), c.run.Log[s.Position-1].ID != s.Event:
			c.violates(Unlike, "reader %d saw event %s at position %d", l.Reader, s.Event, s.Position)
		}
		place = s.Position
	}
}

// reads checks that what each answer showed may have been the newest when it was given.
func (c *check) reads() {
	for _, r := range c.run.Reads {
		of := c.at[r.Stream]
		shown := -1
		for i, n := range of {
			if e := c.run.Log[n]; e.Append == r.Append && r.about(e) {
				shown = i
			}
		}

		if shown < 0 {
			c.violates(Unlike, "an answer about stream %s showed append %s", r.Stream.ID, r.Append)
			continue
		}
		if c.earliest[of[shown]] > r.Ended {
			c.violates(Early, "an answer showed append %s before it was sent", r.Append)
		}

		missed := func(n int) bool { return r.about(c.run.Log[n]) && c.latest[n] < r.Began }
		if i := slices.IndexFunc(of[shown+1:], missed); i >= 0 {
			c.violates(Outdated, "an answer showed append %s after position %d was acknowledged",
				r.Append, c.run.Log[of[shown+1+i]].Position)
		}
	}
}

// mark is a moment, and the position up to which the log had been acknowledged by then.
type mark struct {
	at       Moment
	position int64
}

// marks are in order of both.
type marks []mark

func (c *check) acknowledged() marks {
	var all marks
	for _, a := range c.run.Appends {
		if there := c.there[a.ID]; a.Outcome == Added && len(there) > 0 && len(there) == len(a.Events) {
			all = append(all, mark{a.Answered, c.run.Log[there[len(there)-1]].Position})
		}
	}

	slices.SortFunc(all, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(all); i++ {
		all[i].position = max(all[i].position, all[i-1].position)
	}
	return all
}

// before returns the newest position that had been acknowledged before a moment.
func (m marks) before(at Moment) int64 {
	n, _ := slices.BinarySearchFunc(m, at, func(e mark, at Moment) int { return cmp.Compare(e.at, at) })
	if n == 0 {
		return 0
	}
	return m[n-1].position
}

// tables checks that every row is as a fresh fold of the log makes it.
func (c *check) tables() {
	for _, t := range c.run.Tables {
		for _, key := range slices.Sorted(maps.Keys(t.Fresh)) {
			if row, is := t.Rows[key]; !is || row != t.Fresh[key] {
				c.violates(Stale, "%s, row %s", t.Name, key)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(t.Rows)) {
			if _, is := t.Fresh[key]; !is {
				c.violates(Stale, "%s, row %s comes from no event", t.Name, key)
			}
		}
	}
}
