package history_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/internal/history"
)

func TestAnHonestHistoryHasNoViolation(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		if found := history.Check(honest(seed)); len(found) > 0 {
			t.Errorf("seed %d: %v", seed, found)
		}
	}
}

// Each kind of damage is found in every history, as what it is and as nothing else.
func TestPlantedDamageOfEachKindIsFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  history.Kind
		plant func(*history.Run)
	}{
		"an acknowledged append that is not in the log": {history.Lost, func(run *history.Run) {
			a := *last(run, history.Added)
			a.ID, a.Claim = newID(), ""
			a.Sent, a.Answered = end, end+1
			run.Appends = append(run.Appends, a)
		}},
		"half of an acknowledged append": {history.Partial, func(run *history.Run) {
			w := &last(run, history.Added).Writes[0]
			w.Records = append(slices.Clone(w.Records), newID(), newID())
		}},
		"half of an append of unknown outcome": {history.Partial, func(run *history.Run) {
			again(run, unknown(run, 2).ID)
		}},
		"an answer that tells of fewer events": {history.Moved, func(run *history.Run) {
			a := last(run, history.Added)
			a.Events = nil
		}},
		"an acknowledged append that is in the log twice": {history.Doubled, func(run *history.Run) {
			again(run, last(run, history.Added).ID)
		}},
		"an append of unknown outcome that is in the log twice": {history.Doubled, func(run *history.Run) {
			a := unknown(run, 1)
			again(run, a.ID)
			again(run, uuid.Nil)
			again(run, a.ID)
		}},
		"an append at another position": {history.Moved, func(run *history.Run) {
			a := last(run, history.Added)
			a.Events = slices.Clone(a.Events)
			a.Events[0].Position++
		}},
		"an append at another version": {history.Moved, func(run *history.Run) {
			a := last(run, history.Added)
			a.Events = slices.Clone(a.Events)
			a.Events[0].Version++
		}},
		"an append in another stream": {history.Moved, func(run *history.Run) {
			a := last(run, history.Added)
			a.Events = slices.Clone(a.Events)
			a.Events[0].Stream.Tenant = newID()
		}},
		"another event in the place of an acknowledged one": {history.Moved, func(run *history.Run) {
			a := last(run, history.Added)
			a.Events = slices.Clone(a.Events)
			a.Events[0].ID = newID()
		}},
		"another record in the place of an acknowledged one": {history.Moved, func(run *history.Run) {
			a := last(run, history.Added)
			a.Events = slices.Clone(a.Events)
			a.Events[0].Record = newID()
		}},

		"an acknowledged append at a version that it did not expect": {history.Otherwise, func(run *history.Run) {
			last(run, history.Added).Writes[0].Expected = 1 << 10
		}},
		"an append of unknown outcome at a version that it did not expect": {history.Otherwise, func(run *history.Run) {
			last(run, history.Unknown, run.Log...).Writes[0].Expected = 1 << 10
		}},
		"an append in a stream that it did not name": {history.Otherwise, func(run *history.Run) {
			last(run, history.Added).Writes[0].Stream.ID = newID()
		}},
		"an append about something else": {history.Otherwise, func(run *history.Run) {
			w := &last(run, history.Added).Writes[0]
			w.Records = slices.Clone(w.Records)
			w.Records[len(w.Records)-1] = newID()
		}},
		"an append of unknown outcome with another between its events": {history.Otherwise, func(run *history.Run) {
			a := unknown(run, 2)
			again(run, a.ID)
			again(run, uuid.Nil)
			again(run, a.ID)
		}},
		"an append of unknown outcome in two streams": {history.Otherwise, func(run *history.Run) {
			a := unknown(run, 2)
			again(run, a.ID)
			again(run, a.ID)
			run.Log[len(run.Log)-1].Stream.ID, run.Log[len(run.Log)-1].Version = newID(), 1
		}},
		"an answer that belongs to another append": {history.Twice, func(run *history.Run) {
			a := *last(run, history.Added)
			a.Claim = ""
			run.Appends = append(run.Appends, a)
		}},

		"a refused append that is in the log": {history.Present, func(run *history.Run) {
			again(run, last(run, history.Refused).ID)
		}},
		"a conflict that is in the log": {history.Present, func(run *history.Run) {
			again(run, last(run, history.Conflicting).ID)
		}},
		"a claim told as taken, and in the log": {history.Present, func(run *history.Run) { plantTaken(run) }},
		"an append that nobody sent":            {history.Unasked, func(run *history.Run) { again(run, newID()) }},

		"a conflict with what was expected": {history.Untrue, func(run *history.Run) {
			a := last(run, history.Conflicting)
			a.Conflict.Expected = a.Conflict.Actual
			a.Writes[0].Expected = a.Conflict.Actual
		}},
		"a conflict about a stream that was not written": {history.Untrue, func(run *history.Run) {
			c := conflictOn(run, run.Log[len(run.Log)-1])
			c.Writes[0].Stream = history.Stream{ID: newID()}
		}},
		"a conflict with what was not expected": {history.Untrue, func(run *history.Run) {
			last(run, history.Conflicting).Conflict.Expected++
		}},
		"a conflict with a version that was no more when it was asked again": {history.Untrue, func(run *history.Run) {
			c := conflictOn(run, run.Log[len(run.Log)-1])
			c.Conflict.Actual, c.Sent = 0, 0
		}},
		"a conflict with a version that never was": {history.Untrue, func(run *history.Run) {
			last(run, history.Conflicting).Conflict.Actual = 1 << 20
		}},
		"a conflict with a version that was not yet": {history.Untrue, func(run *history.Run) {
			c := conflictOn(run, run.Log[len(run.Log)-1])
			c.Sent, c.Asked, c.Answered = 0, 0, 0
		}},
		"a conflict with a version that was no more": {history.Untrue, func(run *history.Run) {
			c := conflictOn(run, run.Log[len(run.Log)-1])
			c.Conflict.Actual = 0
		}},

		"a claim that nobody holds": {history.Unheld, func(run *history.Run) {
			run.Appends = append(run.Appends, history.Append{
				ID: newID(), Sent: end, Answered: end, Outcome: history.Taken, Claim: "nobody's",
			})
		}},
		"a claim told as taken before it was": {history.Unheld, func(run *history.Run) {
			a := history.Append{ID: newID(), Outcome: history.Taken, Claim: "new"}
			run.Appends = append(run.Appends, a)
			b := unknown(run, 1)
			b.Claim = "new"
			again(run, b.ID)
		}},
		"a claim that two hold": {history.HeldTwice, func(run *history.Run) {
			for range 2 {
				a := unknown(run, 1)
				a.Claim = "ours"
				again(run, a.ID)
			}
		}},

		"a reader that skipped an event": {history.Skipped, func(run *history.Run) {
			l := longest(run)
			l.Seen = slices.Delete(slices.Clone(l.Seen), 1, 2)
		}},
		"a reader that went on further on": {history.Skipped, func(run *history.Run) {
			l := longest(run)
			l.After, l.Seen = l.After+1, l.Seen[1:]
		}},
		"a reader that saw an event twice": {history.Skipped, func(run *history.Run) {
			l := longest(run)
			l.Seen = slices.Insert(slices.Clone(l.Seen), 1, l.Seen[0])
		}},
		"a reader that saw what is not in the log": {history.Unlike, func(run *history.Run) {
			l := longest(run)
			l.Seen = slices.Clone(l.Seen)
			l.Seen[1].Event = newID()
		}},
		"a reader that saw more than there is": {history.Unlike, func(run *history.Run) {
			l := &run.Looks[len(run.Looks)-1]
			l.Seen = append(slices.Clone(l.Seen), history.Seen{Position: int64(len(run.Log)) + 1, Event: newID()})
		}},
		"a reader that saw an event before it was sent": {history.Early, func(run *history.Run) {
			l := longest(run)
			l.Began, l.Ended = 0, 0
		}},
		"a reader that missed what was acknowledged": {history.Behind, func(run *history.Run) {
			run.Looks = append(run.Looks, history.Look{Reader: 99, Began: end, Ended: end})
		}},

		"a read that shows what was no longer the newest": {history.Outdated, func(run *history.Run) {
			r := run.Reads[len(run.Reads)-1]
			newer := unknown(run, 1)
			newer.Writes[0].Stream, newer.Writes[0].Expected = r.Stream, history.AnyVersion
			newer.Outcome, newer.Answered = history.Added, end
			again(run, newer.ID)
			newer.Events = run.Log[len(run.Log)-1:]
			r.Began, r.Ended, r.Record = end+1, end+1, uuid.Nil
			run.Reads = append(run.Reads, r)
		}},
		"a read that shows an event before it was sent": {history.Early, func(run *history.Run) {
			r := &run.Reads[len(run.Reads)-1]
			r.Began, r.Ended = 0, 0
		}},
		"a read that shows what is not in the log": {history.Unlike, func(run *history.Run) {
			run.Reads[0].Append = newID()
		}},
		"a read about one record that shows another": {history.Unlike, func(run *history.Run) {
			run.Reads[0].Record = newID()
		}},

		"a row that is stale":            {history.Stale, func(run *history.Run) { run.Tables[0].Rows["a"] = "0" }},
		"a row that is missing":          {history.Stale, func(run *history.Run) { delete(run.Tables[0].Rows, "a") }},
		"a row that comes from no event": {history.Stale, func(run *history.Run) { run.Tables[0].Rows["c"] = "3" }},

		"a gap in the positions": {history.Broken, func(run *history.Run) {
			again(run, uuid.Nil)
			run.Log[len(run.Log)-1].Position++
		}},
		"a gap in the versions of a stream": {history.Broken, func(run *history.Run) {
			again(run, uuid.Nil)
			run.Log[len(run.Log)-1].Version++
		}},
	} {
		for seed := range uint64(10) {
			run := honest(seed)
			c.plant(&run)
			if found := history.Check(run); len(found) != 1 || found[0].Kind != c.want {
				t.Errorf("%s, seed %d: found %v, want %q and nothing else", name, seed, found, c.want)
			}
		}
	}
}

// Nothing can be concluded about what a run never tried.
func TestARunIsHeldAgainstWhatItTried(t *testing.T) {
	t.Parallel()
	without := func(outcome history.Outcome) func(*history.Run) {
		return func(run *history.Run) {
			run.Appends = slices.DeleteFunc(run.Appends, func(a history.Append) bool { return a.Outcome == outcome })
		}
	}

	for name, c := range map[string]struct {
		want string
		take func(*history.Run)
	}{
		"":                       {"", func(*history.Run) {}},
		"no acknowledged append": {"no append was acknowledged", without(history.Added)},
		"no conflict":            {"no append met a conflict", without(history.Conflicting)},
		"no claim that is taken": {"no append asked for a claim that was taken", without(history.Taken)},
		"no refusal":             {"no append was refused", without(history.Refused)},
		"no unknown outcome":     {"no append of unknown outcome is in the log", without(history.Unknown)},
		"no look":                {"no reader looked", func(run *history.Run) { run.Looks = nil }},
		"readers that end early": {"reader 1 did not look after the last answer", func(run *history.Run) {
			run.Looks = run.Looks[:len(run.Looks)-1]
		}},
		"no read":       {"there are no reads", func(run *history.Run) { run.Reads = nil }},
		"no read table": {"there are no read tables", func(run *history.Run) { run.Tables = nil }},
		"a read table without rows": {"consents has no rows", func(run *history.Run) {
			run.Tables[0] = history.Table{Name: "consents"}
		}},
	} {
		for seed := range uint64(10) {
			run := honest(seed)
			c.take(&run)
			if lacks := history.Lacks(run); strings.Join(lacks, "; ") != c.want {
				t.Errorf("%q, seed %d: it lacks %q, want %q", name, seed, lacks, c.want)
			}
		}
	}
}

// end is later than everything that happens in an honest history.
const end = history.Moment(1 << 40)

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// last returns the newest append with an outcome; if events are given, the newest that
// one of them belongs to.
func last(run *history.Run, outcome history.Outcome, of ...history.Event) *history.Append {
	for i := len(run.Appends) - 1; ; i-- { // every honest history has some of each
		a := &run.Appends[i]
		is := func(e history.Event) bool { return e.Append == a.ID }
		if a.Outcome == outcome && (len(of) == 0 || slices.ContainsFunc(of, is)) {
			a.Writes = slices.Clone(a.Writes)
			return a
		}
	}
}

// unknown adds an append of unknown outcome, with some events in a new stream.
func unknown(run *history.Run, size int) *history.Append {
	run.Appends = append(run.Appends, history.Append{
		ID: newID(), Sent: end,
		Writes: []history.Write{{Stream: history.Stream{ID: newID()}, Records: make([]uuid.UUID, size)}},
	})
	return &run.Appends[len(run.Appends)-1]
}

func longest(run *history.Run) *history.Look {
	long := &run.Looks[0]
	for i := range run.Looks {
		if len(run.Looks[i].Seen) > len(long.Seen) {
			long = &run.Looks[i]
		}
	}
	return long
}

// again adds an event of an append to the end of the log: at the end of its stream, or in
// a new one if the append is not recorded or has no writes.
func again(run *history.Run, id uuid.UUID) {
	e := history.Event{
		Position: int64(len(run.Log)) + 1, ID: newID(), Append: id, Stream: history.Stream{ID: newID()}, Version: 1,
	}
	for _, a := range run.Appends {
		if a.ID == id && len(a.Writes) > 0 {
			e.Stream = a.Writes[0].Stream
		}
	}
	for _, other := range run.Log {
		if other.Stream == e.Stream {
			e.Version++
		}
	}

	run.Log = append(run.Log, e)
}

// plantTaken adds an append that was told that its claim is taken, although it is in the
// log: nobody held the claim.
func plantTaken(run *history.Run) {
	a := history.Append{ID: newID(), Sent: end, Answered: end + 1, Outcome: history.Taken, Claim: "its own"}
	run.Appends = append(run.Appends, a)
	again(run, a.ID)
}

// conflictOn adds an append that was told, at the end, the newest version of an event's
// stream.
func conflictOn(run *history.Run, e history.Event) *history.Append {
	run.Appends = append(run.Appends, history.Append{
		ID: newID(), Writes: []history.Write{{Stream: e.Stream, Expected: 1 << 10}},
		Sent: end, Asked: end, Answered: end, Outcome: history.Conflicting,
		Conflict: history.Conflict{Stream: e.Stream, Expected: 1 << 10, Actual: e.Version},
	})
	return &run.Appends[len(run.Appends)-1]
}

// honest makes a history like that of an honest log: appends are sent, committed and
// answered, in that order and interleaved.
func honest(seed uint64) history.Run {
	m := &model{chance: rand.New(rand.NewPCG(seed, 0)), versions: map[history.Stream]int{}, claims: map[string]bool{}}
	for range 4 {
		m.streams = append(m.streams, history.Stream{Tenant: newID(), Kind: "consent", ID: newID()})
	}

	for range 400 {
		m.step()
	}
	for len(m.open) > 0 {
		m.finish()
	}
	m.commit(m.send(history.Append{ID: newID()}), history.Added)
	m.finish()
	for reader := range 2 {
		m.look(reader)
	}
	m.read()

	m.run.Tables = []history.Table{{
		Name: "consents", Rows: map[string]string{"a": "1", "b": "2"}, Fresh: map[string]string{"a": "1", "b": "2"},
	}}
	return m.run
}

type model struct {
	chance   *rand.Rand
	now      history.Moment
	run      history.Run
	streams  []history.Stream
	versions map[history.Stream]int
	claims   map[string]bool
	open     []int // appends that were sent, but not yet answered
	settled  []int // appends whose outcome is settled, but not yet told
	places   [2]int64
}

func (m *model) step() {
	switch m.chance.IntN(5) {
	case 0:
		m.send(history.Append{ID: newID()})
	case 1:
		if i := m.unsettled(); i >= 0 {
			m.settle(i)
		}
	case 2:
		if len(m.open) > 0 {
			m.finish()
		}
	case 3:
		m.look(m.chance.IntN(2))
	case 4:
		m.read()
	}
}

func (m *model) tick() history.Moment {
	m.now++
	return m.now
}

func (m *model) send(a history.Append) int {
	a.Sent = m.tick()
	a.Asked = a.Sent
	m.run.Appends = append(m.run.Appends, a)
	m.open = append(m.open, len(m.run.Appends)-1)
	return len(m.run.Appends) - 1
}

func (m *model) unsettled() int {
	for _, i := range m.open {
		if !slices.Contains(m.settled, i) {
			return i
		}
	}
	return -1
}

// settle gives an append an outcome, at this moment.
func (m *model) settle(i int) {
	a := &m.run.Appends[i]
	s := m.streams[m.chance.IntN(len(m.streams))]
	if m.chance.IntN(2) == 0 { // it is sent again
		a.Asked = m.tick()
	}

	switch m.chance.IntN(8) {
	case 0:
		a.Outcome = history.Refused
	case 1:
		a.Outcome = history.Conflicting
		a.Conflict = history.Conflict{Stream: s, Expected: m.versions[s] + 1 + m.chance.IntN(2), Actual: m.versions[s]}
		a.Writes = []history.Write{{Stream: s, Expected: a.Conflict.Expected, Records: []uuid.UUID{newID()}}}
	case 2, 3:
		a.Claim = fmt.Sprint(m.chance.IntN(8))
		if m.claims[a.Claim] {
			a.Outcome = history.Taken
			break
		}
		m.claims[a.Claim] = true
		m.commit(i, history.Added)
		return
	case 4:
		if m.chance.IntN(2) == 0 {
			m.commit(i, history.Unknown)
			return
		}
	default:
		m.commit(i, history.Added)
		return
	}

	m.settled = append(m.settled, i)
}

// commit adds an append to the log, with one event or two in each of one stream or two.
func (m *model) commit(i int, told history.Outcome) {
	m.tick()
	a := &m.run.Appends[i]
	a.Outcome, a.Writes = told, nil

	first := m.chance.IntN(len(m.streams))
	for n := range 1 + m.chance.IntN(2) {
		m.write(a, m.streams[(first+n)%len(m.streams)])
	}
	m.settled = append(m.settled, i)
}

func (m *model) write(a *history.Append, s history.Stream) {
	w := history.Write{Stream: s, Expected: m.versions[s]}
	if m.chance.IntN(4) == 0 {
		w.Expected = history.AnyVersion
	}

	for range 1 + m.chance.IntN(2) {
		m.versions[s]++
		e := history.Event{
			Position: int64(len(m.run.Log)) + 1, ID: newID(), Append: a.ID, Stream: s, Version: m.versions[s],
			Record: newID(),
		}
		m.run.Log, w.Records = append(m.run.Log, e), append(w.Records, e.Record)
		if a.Outcome == history.Added {
			a.Events = append(a.Events, e)
		}
	}

	a.Writes = append(a.Writes, w)
}

// finish answers an append that waits; one whose outcome is not settled is never answered
// with any.
func (m *model) finish() {
	i := m.open[0]
	m.open = m.open[1:]
	m.run.Appends[i].Answered = m.tick()
}

func (m *model) look(reader int) {
	l := history.Look{Reader: reader, Began: m.tick(), After: m.places[reader]}
	for _, e := range m.run.Log[l.After:] {
		l.Seen = append(l.Seen, history.Seen{Position: e.Position, Event: e.ID})
	}
	l.Ended = m.tick()
	m.places[reader] = int64(len(m.run.Log))
	m.run.Looks = append(m.run.Looks, l)
}

// read asks about the stream of the newest event, or about the record of any event.
func (m *model) read() {
	if len(m.run.Log) == 0 {
		return
	}

	began := m.tick()
	e := m.run.Log[len(m.run.Log)-1]
	r := history.Read{Began: began, Ended: m.tick(), Stream: e.Stream, Append: e.Append}
	if m.chance.IntN(2) == 0 {
		other := m.run.Log[m.chance.IntN(len(m.run.Log))]
		r.Stream, r.Record, r.Append = other.Stream, other.Record, other.Append
	}
	m.run.Reads = append(m.run.Reads, r)
}
