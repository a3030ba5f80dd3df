package eventstore_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/eventstore"
)

// trust.append_one is trust.append for a lone caller: one rule, written twice. Both make
// each append of a random sequence on the same state, the first of them in a transaction
// that is rolled back; their answers and all tables must agree.
func TestBothAppendFunctionsAgree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.store // of a process that was started before a rotation
	w.mustRotate(t, masterKey, nextKey)
	w.mustRotate(t, nextKey, masterKey)
	w.store = open(t, w.db)

	seen := map[int16]int{}
	every := []int16{failedCall, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	unseen := func(outcome int16) bool { return seen[outcome] == 0 }

	trials := func(r *rapid.T) {
		// Emptied, because these tables are compared whole.
		w.exec(t, "delete from trust.claims; delete from trust.credentials; delete from trust.sessions")

		g := newGenerator(w.tenant)
		for range rapid.IntRange(1, 8).Draw(r, "appends") {
			a := g.append(r)
			args, err := rapid.SampledFrom([]*eventstore.Store{w.store, w.store, old}).Draw(r, "store").
				Arguments(t.Context(), a)
			if err != nil {
				continue // it needs a key that was destroyed
			}
			if rapid.IntRange(0, 9).Draw(r, "a wrong clock") == 0 {
				args[len(args)-1] = time.Now().Add(-time.Hour)
			}

			one := w.trial(t, eventstore.CallAppendOne, args, false)
			many := w.trial(t, eventstore.CallAppend, args, true)
			if one != many {
				r.Fatalf("%+v\nappend_one: %+v\nappend:     %+v", a, one, many)
			}
			seen[one.outcome]++
		}
	}

	// A rare outcome may need more rounds.
	for round := 0; round == 0 || (round < 30 && slices.ContainsFunc(every, unseen)); round++ {
		rapid.Check(t, trials)
	}
	if slices.ContainsFunc(every, unseen) {
		t.Errorf("not every outcome came up: %v", seen)
	}
}

// trial is the result of a call of an append function.
type trial struct {
	outcome int16
	answer  string
	tables  string
}

// failedCall stands for an error of the database.
const failedCall = -1

// trial calls a function and looks at the tables in the same transaction. Times of the
// call read "now".
func (w *world) trial(t *testing.T, sql string, args []any, keep bool) trial {
	t.Helper()
	w.admin.Lock()
	defer w.admin.Unlock()
	tx, err := w.admin.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())

	var outcomes []int16
	var firsts []int64
	var versions []int32
	var at, clock time.Time
	var log [16]byte
	if err := tx.QueryRow(t.Context(), sql, args...).
		Scan(&outcomes, &firsts, &versions, &at, &clock, &log); err != nil {
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if !ok {
			t.Fatal(err)
		}
		return trial{failedCall, pg.Code, ""}
	}

	got := trial{outcomes[0] % 10, fmt.Sprint(outcomes, firsts, versions), ""}
	if err := tx.QueryRow(t.Context(), allTables).Scan(&got.tables); err != nil {
		t.Fatal(err)
	}
	if keep {
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// allTables selects the events that the running transaction added, and all rows of the
// other tables.
const allTables = `select coalesce(string_agg(r, e'\n' order by r), '') from (
	select ((to_jsonb(e) - 'recorded_at' - 'effective_at')
		|| jsonb_build_object('held', nullif(effective_at, recorded_at)))::text from trust.events e
		where e.xmin = pg_current_xact_id()::xid
	union all select c::text from trust.claims c
	union all select c::text from trust.credentials c
	union all select ((to_jsonb(k) - 'created_at' - 'destroyed_at')
		|| jsonb_build_object('destroyed', destroyed_at is not null))::text from trust.keys k
	union all select ((to_jsonb(s) - 'replaced_at')
		|| jsonb_build_object('replaced_once', replaced_at is not null))::text from trust.sessions s) as all_of_it (r)`

// generator makes appends that often collide: few streams, claims, sessions and keys.
type generator struct {
	tenant   domain.TenantID
	people   []domain.UserID
	sessions []uuid.UUID
	appends  []uuid.UUID
}

func newGenerator(tenant domain.TenantID) *generator {
	g := &generator{tenant: tenant}
	for range 3 {
		g.people, g.sessions = append(g.people, someone()), append(g.sessions, newID())
	}
	return g
}

func (g *generator) append(r *rapid.T) domain.Append {
	a := domain.Append{ID: newID(), Tenant: g.tenant}
	if len(g.appends) > 0 && rapid.IntRange(0, 5).Draw(r, "again") == 0 {
		a.ID = rapid.SampledFrom(g.appends).Draw(r, "append")
	}
	g.appends = append(g.appends, a.ID)

	if rapid.IntRange(0, 9).Draw(r, "another municipality") == 0 {
		a.Tenant = domain.TenantID{UUID: newID()}
		a.Side = []domain.SideWrite{domain.CreateTenantKey{Tenant: a.Tenant}}
		return domaintest.Beside(a)
	}
	if rapid.Bool().Draw(r, "by somebody") {
		a.Actor = g.person(r)
	}

	version := rapid.SampledFrom([]int{domain.AnyVersion, domain.AnyVersion, 0, 0, 1, 2})
	for range rapid.IntRange(0, 2).Draw(r, "writes") {
		a.Writes = append(a.Writes, g.write(r, version.Draw(r, "expected")))
	}
	for range rapid.IntRange(0, 3).Draw(r, "expects") / 2 {
		a.Expects = append(a.Expects, domain.Expectation{
			Tenant: g.tenant, Stream: domain.ConsentsOf(g.person(r)), Version: version.Draw(r, "expected"),
		})
	}
	for range rapid.IntRange(0, 3).Draw(r, "side writes") {
		a.Side = append(a.Side, g.side(r))
	}

	if rapid.IntRange(0, 9).Draw(r, "side writes without their events") == 0 {
		return a
	}
	return domaintest.Beside(a)
}

func (g *generator) person(r *rapid.T) domain.UserID {
	return rapid.SampledFrom(g.people).Draw(r, "person")
}

func (g *generator) write(r *rapid.T, expected int) domain.Write {
	write := domain.Write{Stream: domain.ConsentsOf(g.person(r)), Expected: expected}
	for range rapid.IntRange(0, 3).Draw(r, "events") {
		event := granted()
		if hours := rapid.IntRange(-2, 2).Draw(r, "given"); hours != 0 {
			event.GivenAt = time.Now().Add(time.Duration(hours) * time.Hour)
		}
		write.Events = append(write.Events, event)
	}
	return write
}

func (g *generator) side(r *rapid.T) domain.SideWrite {
	person, session := g.person(r), rapid.SampledFrom(g.sessions).Draw(r, "session")
	claim := emailClaim(g.tenant, rapid.SampledFrom([]string{"a", "b"}).Draw(r, "claim"))
	tokens := rapid.SampledFrom([]string{"x", "y"})
	expires := time.Now().Add(time.Hour)

	// What is refused only because of something else in the same trial stands here often.
	take, create := domain.TakeClaim{Claim: claim, Holder: person.UUID}, domain.CreateSubjectKey{Subject: person}
	demand := domain.DemandNoActs{User: person}
	return rapid.SampledFrom([]domain.SideWrite{
		take, take, take, create, create, create, create, demand, demand, demand,
		domain.ReleaseClaim{Claim: claim, Holder: person.UUID},
		domain.SetCredential{User: person, Email: "a", Verifier: "x"},
		domain.SetCredential{User: person, Verifier: "y"},
		domain.DeleteCredential{User: person},
		domain.DestroySubjectKey{Subject: person},
		domain.StartSession{Session: session, User: person, Token: token(tokens.Draw(r, "token")), ExpiresAt: expires},
		domain.RotateSession{
			Session: session, From: token(tokens.Draw(r, "from")), To: token(tokens.Draw(r, "to")),
			ExpiresAt: expires,
		},
		domain.EndSession{Session: session},
		domain.EndSessions{User: person, Except: session},
		domain.EndAllSessions{},
	}).Draw(r, "side write")
}
