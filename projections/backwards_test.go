package projections_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/projections"
)

// lose removes the events after a position from the log, with the keys that came with
// them, as happens when a replica that does not have them is promoted.
func (w *world) lose(t *testing.T, after int64) {
	t.Helper()
	w.force(t, `with lost as (delete from trust.events where position > $1 returning stream_id, version)
		delete from trust.keys where key_id in (select stream_id from lost where version = 1)`, after)
}

// backwards asserts that status, verify and queries all report a table as ahead of its
// log, and that it stays where it is.
func (w *world) backwards(t *testing.T, name string, at int64) {
	t.Helper()
	s := w.becomes(t, name, follow.Halted)
	if !s.Ahead || s.Lag < 0 || s.Position != at || !strings.Contains(s.Error, "the log went backwards") {
		t.Errorf("status %+v, want a halt at %d", s, at)
	}

	err := w.verify(t)
	if d, ok := errors.AsType[*projections.Difference](err); !ok || d.Projection == "" ||
		!strings.Contains(d.What, "the log went backwards") {
		t.Errorf("Verify: %v", err)
	}
	if err := w.queries.WaitFor(t.Context(), name, 1); !refused(err, domain.CodeReadModelBehind) {
		t.Errorf("a table that is ahead has reached nothing of this log: %v", err)
	}
}

func TestATableAheadOfItsLogHaltsAndIsBroughtBackByARebuild(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]struct {
		stopped bool // nobody follows while the events are lost
		again   int  // how many events take the positions of those that were lost
	}{
		"the checkpoint is beyond the head":        {again: 0},
		"the head has grown to the checkpoint":     {again: 3},
		"the head has grown past it":               {again: 7},
		"it grew past it while nobody followed":    {again: 7, stopped: true},
		"it stayed behind while nobody followed":   {again: 1, stopped: true},
		"it came to the checkpoint with nobody on": {again: 3, stopped: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			stop := w.work(t, projections.Followers()...)
			w.register(t, w.tenant, "stays")
			kept := w.head(t)
			for _, lost := range []string{"lost-1", "lost-2", "lost-3"} {
				w.register(t, w.tenant, lost)
			}
			for _, table := range tables() {
				w.caughtUp(t, table)
			}

			if meanwhile.stopped {
				stop()
			}

			w.lose(t, kept)
			for range meanwhile.again {
				w.register(t, w.tenant, "again")
			}
			if meanwhile.stopped {
				w.work(t, projections.Followers()...)
			}
			w.backwards(t, "users", kept+3)

			for range 5 { // whatever else comes
				w.register(t, w.tenant, "later")
			}
			w.backwards(t, "users", kept+3)

			r := newRebuilder(t, w)
			for _, table := range tables() {
				_, err := r.try(t.Context(), t, table)
				must(t, err)
			}
			for _, table := range tables() {
				w.caughtUp(t, table)
				if s := w.becomes(t, table, follow.Running); s.Error != "" || s.Ahead {
					t.Errorf("status %+v", s)
				}
			}

			var users int
			must(t, w.db.Superuser(t).QueryRow(t.Context(), "select count(*) from trust.users").Scan(&users))
			if want := 1 + meanwhile.again + 5; users != want {
				t.Errorf("%d users, want %d: one was skipped, or one that was lost is still there", users, want)
			}
		})
	}
}

// tables names every read table.
func tables() []string {
	var names []string
	for _, p := range projections.All() {
		names = append(names, p.Name())
	}
	return names
}
