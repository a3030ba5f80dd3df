package eventstore_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestNothingIsStampedWhileTheClocksDiffer(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{
		"ours is ahead": 24 * time.Hour, "ours is behind": -24 * time.Hour, "a little too far": 6 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := w.head(t)
			known := grant(w.tenant, someone(), 0)
			if _, err := w.store.Append(t.Context(), known); err != nil {
				t.Fatal(err)
			}

			w.store.SetClock(func() time.Time { return time.Now().Add(ahead) })
			_, err := w.store.Append(t.Context(), grant(w.tenant, someone(), 0))
			refused(t, err, domain.CodeClockDiffers)
			if again, err := w.store.Append(t.Context(), known); err != nil || !again.Repeat {
				t.Errorf("an append that is in the log already: %+v, %v", again, err)
			}

			w.store.SetClock(time.Now)
			if _, err := w.store.Append(t.Context(), grant(w.tenant, someone(), 0)); err != nil {
				t.Errorf("once the clocks agree: %v", err)
			}
			if head := w.head(t); head != before+2 {
				t.Errorf("the head went from %d to %d", before, head)
			}
		})
	}
}

func TestAStampThatGotOldOnItsWayIsNotTakenForAWrongClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	calls := 0
	w.store.SetClock(func() time.Time {
		calls++
		if calls == 1 {
			return time.Now().Add(-time.Minute) // as if the call had waited for a minute
		}
		return time.Now()
	})

	if _, err := w.store.Append(t.Context(), grant(w.tenant, someone(), 0)); err != nil || calls != 2 {
		t.Errorf("after %d stamps: %v", calls, err)
	}
}

func TestALogAheadOfTheClockGoesOnAndEventsHoldFromTheTrueInstant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `set session_replication_role = replica;
		update trust.events set recorded_at = recorded_at + interval '1 day'
			where position = (select max(position) from trust.events);
		reset session_replication_role`)

	began := time.Now().Add(-time.Second)
	done, err := w.store.Append(t.Context(), grant(w.tenant, someone(), 0))
	if err != nil {
		t.Fatal(err)
	}

	e := done.Events[0]
	if ahead := e.RecordedAt.Sub(began); ahead < 23*time.Hour {
		t.Errorf("recorded_at ran backwards to %s", e.RecordedAt)
	}
	if e.EffectiveAt.Before(began) || e.EffectiveAt.After(time.Now().Add(time.Second)) {
		t.Errorf("takes effect at %s", e.EffectiveAt)
	}

	stored, err := w.store.Load(t.Context(), w.tenant, e.Stream)
	if err != nil || !stored[0].EffectiveAt.Equal(e.EffectiveAt) || !stored[0].RecordedAt.Equal(e.RecordedAt) {
		t.Errorf("the answer says %s and %s; stored is %+v, %v", e.EffectiveAt, e.RecordedAt, stored, err)
	}
}

// Programs of the previous release call both functions without their clock: they are
// answered as before, whatever it shows.
func TestProgramsThatDoNotTellTheirClockGoOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.head(t)
	for _, function := range []string{"append", "append_one"} {
		args, err := w.store.Arguments(t.Context(), grant(w.tenant, someone(), 0))
		if err != nil {
			t.Fatal(err)
		}
		w.beforeCodes(t) // these programs do not send codes either
		args = args[:len(args)-2]

		places := make([]string, len(args))
		for i := range places {
			places[i] = "$" + strconv.Itoa(i+1)
		}
		sql := "select outcomes, firsts, versions, at from trust." + function + "(" + strings.Join(places, ", ") + ")"

		var outcomes []int16
		var firsts []int64
		var versions []int32
		var at time.Time
		err = w.db.Conn(t, pgtest.Query).QueryRow(t.Context(), sql, args...).Scan(&outcomes, &firsts, &versions, &at)
		before++
		if err != nil || outcomes[0] != 0 || firsts[0] != before || w.head(t) != before {
			t.Errorf("%s: outcomes %d, first positions %d, at %s, %v", function, outcomes, firsts, at, err)
		}
	}
}
