package eventstore_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The arguments of trust.append, by index.
const (
	argTenant, argEvents                        = 1, 2
	argStreamAppend, argStreamTenant, argStream = 3, 4, 6
	argEventStream, argOffset, argOrdinal       = 8, 9, 10
	argType, argPayload, argSealed, argMetadata = 12, 16, 17, 18
	argEffective, argSide, argCode              = 19, 20, 21
)

// forgery is a call of the append function that our own program never makes, by an
// attacker with the API's login to the database.
type forgery struct {
	name string
	// append is the honest append to start from; nil: two events in one stream.
	append func(t *testing.T, w *world) domain.Append
	forge  func(args []any)
}

func put[T any](place, element int, value T) func([]any) {
	return func(args []any) { args[place].([]T)[element] = value }
}

// sideAs changes the one side write of an append.
func sideAs(field string, value any) func([]any) {
	return func(args []any) {
		var rows []map[string]any
		if err := json.Unmarshal(args[argSide].([]byte), &rows); err != nil {
			panic(err)
		}
		rows[0][field] = value
		args[argSide], _ = json.Marshal(rows)
	}
}

func sidesAlone(writes ...domain.SideWrite) func(*testing.T, *world) domain.Append {
	return func(_ *testing.T, w *world) domain.Append {
		return domain.Append{ID: newID(), Tenant: w.tenant, Side: writes}
	}
}

func aProgram() domain.ServiceAccountID { return domain.ServiceAccountID{UUID: newID()} }

// besideAnother is a side write beside the event that it needs, but about somebody else.
func besideAnother(write func(domain.UserID) domain.SideWrite) func(*testing.T, *world) domain.Append {
	return func(_ *testing.T, w *world) domain.Append {
		a := side(w.tenant, write(someone()))
		a.Side = []domain.SideWrite{write(someone())}
		return a
	}
}

func forgeries() []forgery {
	soon := time.Now().Add(time.Hour)
	infinite := pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	ancient := pgtype.Timestamptz{Time: time.Date(-100, 1, 1, 0, 0, 0, 0, time.UTC), Valid: true}
	from2 := func(place int) func([]any) {
		return func(args []any) {
			args[place] = pgtype.Array[int32]{
				Elements: args[place].([]int32), Valid: true,
				Dims: []pgtype.ArrayDimension{{Length: int32(len(args[place].([]int32))), LowerBound: 2}},
			}
		}
	}

	return []forgery{
		// Events that leave a gap, or halt every reader of the log.
		{name: "an ordinal that leaves a gap", forge: put[int32](argOrdinal, 1, 3)},
		{name: "an ordinal of nought", forge: put[int32](argOrdinal, 0, 0)},
		{name: "an ordinal far away", forge: put[int32](argOrdinal, 1, math.MaxInt16)},
		{name: "an ordinal twice", forge: put[int32](argOrdinal, 1, 1)},
		{name: "an offset that leaves a gap", forge: put[int32](argOffset, 1, 3)},
		{name: "an offset below", forge: put[int32](argOffset, 0, -1)},
		{name: "fewer events than it says", forge: put[int32](argEvents, 0, 3)},
		{name: "more events than it says", forge: put[int32](argEvents, 0, 1)},
		{name: "no events, it says", forge: put[int32](argEvents, 0, 0)},
		{name: "less than no events", forge: put[int32](argEvents, 0, -2)},
		{name: "an event of a stream that is not there", forge: put[int32](argEventStream, 1, 2)},
		{name: "a stream of an append that is not there", forge: put[int32](argStreamAppend, 0, 2)},
		{name: "arrays that begin elsewhere", forge: from2(argOffset)},
		{name: "events in another tenant", forge: put(argStreamTenant, 0, [16]byte(newID()))},
		{name: "an append of another tenant", forge: put(argTenant, 0, [16]byte(newID()))},
		{name: "a type that nobody knows", forge: put(argType, 1, "consent.invented.v1")},
		{name: "a type of another kind of stream", forge: put(argType, 1, "user.role_changed.v1")},
		{name: "effective before all time", forge: put(argEffective, 0, infinite)},
		{name: "effective in a year that has no JSON", forge: put(argEffective, 1, ancient)},

		{name: "a payload that no query can read", forge: put(argPayload, 0, `{"a":"\u0000"}`)},
		{name: "half a character", forge: put(argPayload, 1, `{"a":"\ud800"}`)},
		{name: "metadata that no query can read", forge: put(argMetadata, 1, `{"a":"\u0000"}`)},
		{name: "a sealed part without end", forge: put(argSealed, 0, make([]byte, 9<<20))},
		{name: "a code without end", forge: put(argCode, 0, make([]byte, 65))},
		{name: "a payload without end", forge: put(argPayload, 0, `{"a":"`+strings.Repeat("a", 9<<20)+`"}`)},

		// Side writes without their event.
		{name: "a claim alone", append: sidesAlone(domain.TakeClaim{
			Holder: newID(),
			Claim:  domain.Claim{Kind: domain.EmailClaim},
		})},
		{name: "a credential alone", append: sidesAlone(domain.SetCredential{
			User: someone(), Email: "a",
			Verifier: "b",
		})},
		{name: "a credential's end alone", append: sidesAlone(domain.DeleteCredential{User: someone()})},
		{name: "a second factor alone", append: sidesAlone(domain.SetSecondFactor{User: someone(), Factor: newID()})},
		{name: "a second factor's end alone", append: sidesAlone(domain.RemoveSecondFactor{User: someone()})},
		{name: "a one-time code alone", append: sidesAlone(domain.IssueOneTimeCode{
			User: someone(), Kind: domain.PasswordResetCode, Code: newID(), ExpiresAt: time.Now(),
		})},
		{name: "the end of a one-time code alone", append: sidesAlone(domain.SpendOneTimeCode{
			User: someone(), Kind: domain.PasswordResetCode, Code: newID(),
		})},
		{name: "a wrong try alone", append: sidesAlone(domain.CountWrongTry{
			User: someone(), Kind: domain.PasswordResetCode, Code: newID(),
		})},
		{name: "a program's secret alone", append: sidesAlone(domain.AddClientSecret{
			Account: aProgram(), Secret: newID(),
		})},
		{name: "a program's secret ended alone", append: sidesAlone(domain.DropClientSecret{
			Account: aProgram(), Secret: newID(),
		})},
		{name: "a code alone", append: sidesAlone(domain.SpendCode{User: someone(), Factor: newID(), Step: 1})},
		{name: "a wrong code alone", append: sidesAlone(domain.CountWrongCode{
			User: someone(), Factor: newID(),
			At: soon,
		})},
		{name: "a person's key alone", append: sidesAlone(domain.CreateSubjectKey{Subject: someone()})},
		{name: "a tenant's key alone", append: func(*testing.T, *world) domain.Append {
			id := domain.TenantID{UUID: newID()}
			return domain.Append{ID: newID(), Tenant: id, Side: []domain.SideWrite{domain.CreateTenantKey{Tenant: id}}}
		}},
		{name: "a session alone", append: sidesAlone(domain.StartSession{
			Session: newID(), User: someone(),
			ExpiresAt: soon,
		})},
		{name: "a session's end alone", append: sidesAlone(domain.EndSession{Session: newID()})},
		{name: "the end of all sessions alone", append: sidesAlone(domain.EndAllSessions{})},
		{name: "a person's key destroyed without a trace", append: func(t *testing.T, w *world) domain.Append {
			t.Helper()
			user := w.register(t, w.tenant, "destroyed@example.org")
			return domain.Append{
				ID: newID(), Tenant: w.tenant,
				Side: []domain.SideWrite{domain.DestroySubjectKey{Subject: user}},
			}
		}},
		{
			name: "a side write of a kind that nobody knows", append: sidesAlone(domain.DemandNoActs{User: someone()}),
			forge: sideAs("kind", "drop_table"),
		},

		// Side writes beside the event of another.
		{name: "a key destroyed beside another's erasure", append: func(t *testing.T, w *world) domain.Append {
			t.Helper()
			user := w.register(t, w.tenant, "beside@example.org")
			a := side(w.tenant, domain.DestroySubjectKey{Subject: someone()})
			a.Side = []domain.SideWrite{domain.DestroySubjectKey{Subject: user}}
			return a
		}},
		{name: "a credential beside another's", append: besideAnother(func(u domain.UserID) domain.SideWrite {
			return domain.SetCredential{User: u, Email: "a", Verifier: "b"}
		})},
		{name: "a program's secret beside another's", append: func(_ *testing.T, w *world) domain.Append {
			a := side(w.tenant, domain.AddClientSecret{Account: aProgram(), Secret: newID()})
			a.Side = []domain.SideWrite{domain.AddClientSecret{Account: aProgram(), Secret: newID()}}
			return a
		}},
		{name: "a one-time code beside another's", append: func(_ *testing.T, w *world) domain.Append {
			code := newID()
			a := side(w.tenant)
			a.Writes = []domain.Write{{
				Stream: domain.UserOf(someone()), Expected: domain.AnyVersion,
				Events: []domain.Event{&domain.EmailVerificationBegun{CodeID: code, ExpiresAt: soon}},
			}}
			a.Side = []domain.SideWrite{domain.IssueOneTimeCode{
				User: someone(), Kind: domain.EmailVerificationCode, Code: code, ExpiresAt: soon,
			}}
			return a
		}},
		{name: "a session beside another's", append: besideAnother(func(u domain.UserID) domain.SideWrite {
			return domain.StartSession{Session: newID(), User: u, ExpiresAt: soon}
		})},
		{name: "a credential of a person in another tenant", append: func(t *testing.T, w *world) domain.Append {
			t.Helper()
			user := w.register(t, w.municipality(t, "JHB"), "elsewhere@example.org")
			return side(w.tenant, domain.SetCredential{User: user, Verifier: "theirs"})
		}},
		{name: "the key of a person in another tenant", append: func(t *testing.T, w *world) domain.Append {
			t.Helper()
			user := w.register(t, w.municipality(t, "EKU"), "elsewhere@example.org")
			return side(w.tenant, domain.DestroySubjectKey{Subject: user})
		}},
		{name: "a tenant's key as if it were a person's", append: func(_ *testing.T, w *world) domain.Append {
			return side(w.tenant, domain.DestroySubjectKey{Subject: domain.UserID{UUID: w.tenant.UUID}})
		}},
		{name: "a tenant's key of another name", append: func(_ *testing.T, w *world) domain.Append {
			return side(w.tenant, domain.CreateTenantKey{Tenant: w.tenant})
		}, forge: func(args []any) {
			id := newID()
			args[argStream].([][16]byte)[0] = id
			sideAs("id", id)(args)
		}},
		{name: "a rotation in no tenant", append: func(_ *testing.T, w *world) domain.Append {
			return side(w.tenant, domain.RotateSession{Session: newID()})
		}, forge: sideAs("tenant", nil)},
		{name: "a side write in another tenant", append: func(_ *testing.T, w *world) domain.Append {
			return side(w.tenant, domain.SetCredential{User: someone(), Email: "a", Verifier: "b"})
		}, forge: sideAs("tenant", newID())},
		{name: "a session for ever", append: func(_ *testing.T, w *world) domain.Append {
			return side(w.tenant, domain.StartSession{Session: newID(), User: someone(), ExpiresAt: soon})
		}, forge: sideAs("expires", "infinity")},
	}
}

// Whoever calls the append function, the log stays whole: no gap, no event that nobody
// can read, no key, credential or session without its event.
func TestTheAppendFunctionRefusesWhatWouldNotLeaveTheLogWhole(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]string{"append": eventstore.CallAppend, "append_one": eventstore.CallAppendOne} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			caller := w.db.Conn(t, pgtest.Query)
			for _, f := range forgeries() {
				w.forge(t, caller, call, f)
			}

			// The same calls succeed when nothing is forged.
			for _, honest := range []domain.Append{twoGrants(w.tenant), registration(w.tenant, "honest@example.org")} {
				if _, err := caller.Exec(t.Context(), call, w.arguments(t, honest)...); err != nil {
					t.Errorf("an honest call: %v", err)
				}
			}
		})
	}
}

func (w *world) forge(t *testing.T, caller *pgx.Conn, call string, f forgery) {
	t.Helper()
	a := twoGrants(w.tenant)
	if f.append != nil {
		a = f.append(t, w)
	}
	args := w.arguments(t, a)
	if f.forge != nil {
		f.forge(args)
	}
	before := w.dump(t)

	_, err := caller.Exec(t.Context(), call, args...)

	// 22: refused, or JSON that Postgres cannot query; 23: a constraint of the tables.
	// Either will do.
	if state := sqlState(err); !strings.HasPrefix(state, "22") && !strings.HasPrefix(state, "23") {
		t.Errorf("%s: %v", f.name, err)
	}
	w.unchanged(t, before)
}

func (w *world) arguments(t *testing.T, a domain.Append) []any {
	t.Helper()
	args, err := w.store.Arguments(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return args
}

func twoGrants(tenant domain.TenantID) domain.Append {
	a := grant(tenant, someone(), 0)
	a.Writes[0].Events = append(a.Writes[0].Events, granted())
	return a
}

func TestTheLoneAppendTakesNoSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	args := w.arguments(t, grant(w.tenant, someone(), 0))
	args[0] = append(args[0].([][16]byte), [16]byte(newID()))
	_, err := w.db.Conn(t, pgtest.Query).Exec(t.Context(), eventstore.CallAppendOne, args...)
	if sqlState(err) != "22023" {
		t.Error(err)
	}
}

// A migration adds each new event type to the database's list, in the kind of stream that
// holds it.
func TestTheDatabaseKnowsEveryEventTypeAndItsStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	known := query[[]string](t, w,
		"select array_agg(event_type || ' in ' || stream_type order by event_type) from trust.event_types")
	var want []string
	for _, eventType := range domain.EventTypes() {
		want = append(want, eventType+" in "+string(domain.StreamTypeOf(eventType)))
	}
	if !slices.Equal(known, want) {
		t.Errorf("the database knows %v, the program %v", known, want)
	}
}

// A secret of an unknown name would stop every rotation.
func TestNobodyMakesASecretThatTheProgramDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller := w.db.Conn(t, pgtest.Query)
	before := w.dump(t)

	for _, name := range []any{"pepper", "", " check", "CHECK", nil} {
		_, err := caller.Exec(t.Context(),
			`select trust.secret_once($1, '\x00', wrapped) from trust.secrets where name = 'check'`, name)
		if sqlState(err) != "22023" {
			t.Errorf("%v: %v", name, err)
		}
	}

	w.unchanged(t, before)
	w.mustRotate(t, masterKey, nextKey)
	w.mustRotate(t, nextKey, masterKey)
}
