// Package storetest holds the contract of commands.Store as tests, for every
// implementation of it: the log in Postgres, and the log in memory that the tests of
// package http use.
//
// Owns: the promises that commands rest on. An implementation that breaks one behaves
// differently from the real log, and a test on it proves nothing.
//
// Guarantees: Exercise uses nothing but commands.Store, and a new store for each promise.
//
// Fails how: as a test, with the promise as its name.
//
// Not here: promises that only the real log makes: group commit, row-level security,
// sealing, a database that cannot be reached (package eventstore).
package storetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
)

// Exercise runs the contract on stores that open makes, each of them empty.
func Exercise(t *testing.T, open func(*testing.T) commands.Store) {
	t.Helper()

	for promise, test := range map[string]func(*town){
		"events are loaded in order, of the streams asked for": loadInOrder,
		"a tail holds the newest decisions of a stream":        loadTails,
		"people are found with their newest decisions":         loadPeople,
		"personal parts are withheld unless asked for":         withholdPersonalParts,
		"tenants are apart":                       keepTenantsApart,
		"an append is sent twice and made once":   appendOnce,
		"a stream that moved is a conflict":       demandVersions,
		"a claim is held once":                    holdClaimsOnce,
		"an append is whole or absent":            appendAllOrNothing,
		"credentials are set, kept and deleted":   keepCredentials,
		"a code of a second factor is used once":  keepSecondFactors,
		"a one-time code is spent once":           keepOneTimeCodes,
		"client secrets are kept and forgotten":   keepClientSecrets,
		"a session is rotated and ended":          keepSessions,
		"a destroyed key erases":                  eraseByKey,
		"a trail is not erased":                   keepTrails,
		"everybody who ever held a role is found": findHolders,
		"a digest is the same for the same parts": digestParts,
	} {
		t.Run(promise, func(t *testing.T) {
			t.Parallel()
			test(newTown(t, open(t)))
		})
	}
}

// town is a municipality on a store, without a resident.
type town struct {
	t *testing.T
	commands.Store
	tenant domain.TenantID
}

func newTown(t *testing.T, store commands.Store) *town {
	t.Helper()
	w := &town{t: t, Store: store}
	w.tenant = w.found()
	return w
}

// found makes a tenant with its key.
func (w *town) found() domain.TenantID {
	w.t.Helper()
	tenant := domain.TenantID{UUID: newID()}
	w.mustAppend(domain.Append{
		Tenant: tenant,
		Writes: []domain.Write{{Stream: domain.MunicipalityOf(tenant), Events: []domain.Event{
			&domain.MunicipalityRegistered{Code: "NC084", Name: "!Kheis", Province: "Northern Cape"},
		}}},
		Side: []domain.SideWrite{domain.CreateTenantKey{Tenant: tenant}},
	})

	return tenant
}

// resident returns the append that makes a user: the event has a personal part, sealed
// under a new key.
func (w *town) resident(id domain.UserID) domain.Append {
	return domain.Append{
		ID: newID(), Tenant: w.tenant,
		Writes: []domain.Write{{Stream: domain.UserOf(id), Events: []domain.Event{&domain.UserRegistered{
			MunicipalityCode: "NC084", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
			Person: domain.Known(domain.PersonFacts{Email: "thandi@example.org", FullName: "Thandi Nkosi"}),
		}}}},
		Side: []domain.SideWrite{domain.CreateSubjectKey{Subject: id}},
	}
}

// settle makes a user.
func (w *town) settle() domain.UserID {
	w.t.Helper()
	id := domain.UserID{UUID: newID()}
	w.mustAppend(w.resident(id))
	return id
}

// change returns an append of an event without a personal part.
func (w *town) change(id domain.UserID, expected int) domain.Append {
	return domain.Append{ID: newID(), Tenant: w.tenant, Writes: []domain.Write{
		{Stream: domain.UserOf(id), Expected: expected, Events: []domain.Event{&domain.UserPasswordChanged{}}},
	}}
}

// sides returns an append of side writes, and of the events that must accompany them.
func (w *town) sides(side ...domain.SideWrite) domain.Append {
	return domaintest.Beside(domain.Append{ID: newID(), Tenant: w.tenant, Side: side})
}

func (w *town) mustAppend(a domain.Append) domain.Appended {
	w.t.Helper()
	if a.ID == uuid.Nil {
		a.ID = newID()
	}
	done, err := w.Append(w.ctx(), a)
	w.ok(err)
	return done
}

func (w *town) load(streams ...domain.Stream) []domain.Recorded {
	w.t.Helper()
	events, err := w.Load(w.ctx(), w.tenant, streams...)
	w.ok(err)
	return events
}

func (w *town) head() int64 {
	w.t.Helper()
	head, err := w.Head(w.ctx())
	w.ok(err)
	return head
}

func (w *town) ctx() context.Context { return w.t.Context() }

func (w *town) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

// refused fails the test unless an append fails with an error of the type of as, which it
// sets, and leaves the log as it was.
func refused[E error](w *town, a domain.Append, as *E) {
	w.t.Helper()
	before := w.head()

	_, err := w.Append(w.ctx(), a)
	found, is := errors.AsType[E](err)
	if !is {
		w.t.Fatalf("got %v, want %T", err, *as)
	}
	*as = found
	if after := w.head(); after != before {
		w.t.Errorf("a refused append moved the head from %d to %d", before, after)
	}
}

func loadInOrder(w *town) {
	one, two := w.settle(), w.settle()
	w.mustAppend(w.change(one, 1))
	last := w.mustAppend(w.change(two, domain.AnyVersion))

	events := w.load(domain.UserOf(two), domain.UserOf(one))
	if len(events) != 4 {
		w.t.Fatalf("%d events, want 4", len(events))
	}
	for i, e := range events {
		if i > 0 && e.Position <= events[i-1].Position {
			w.t.Errorf("position %d after %d", e.Position, events[i-1].Position)
		}
		if e.Tenant != w.tenant || e.EventID == uuid.Nil || e.AppendID == uuid.Nil || e.RecordedAt.IsZero() ||
			e.EffectiveAt.IsZero() {
			w.t.Errorf("an event lacks something: %+v", e)
		}
	}
	if v := events[2].Version; v != 2 {
		w.t.Errorf("version %d, want 2", v)
	}
	if w.head() != last.Position() || events[3].Position != last.Position() {
		w.t.Errorf("the head is %d, the last event at %d, appended at %d", w.head(), events[3].Position,
			last.Position())
	}

	all, err := w.LoadAll(w.ctx(), w.tenant, domain.UserStream)
	w.ok(err)
	if len(all) != 4 {
		w.t.Errorf("%d events of all users, want 4", len(all))
	}
	if none := w.load(domain.ConsentsOf(one)); len(none) != 0 {
		w.t.Errorf("a stream that does not exist has %d events", len(none))
	}
}

func loadTails(w *town) {
	id := w.settle()
	stream := domain.ConsentsOf(id)
	var last domain.Decision
	for version, purpose := range []string{"newsletter", "research", "newsletter"} {
		last = domain.Decision{ConsentID: domain.ConsentID{UUID: newID()}, Purpose: purpose}
		w.mustAppend(domain.Append{Tenant: w.tenant, Writes: []domain.Write{
			{Stream: stream, Expected: version, Events: []domain.Event{&domain.ConsentGranted{Decision: last}}},
		}})
	}

	for _, tail := range []domain.Tail{
		domain.TailFor(id, "newsletter", time.Time{}, time.Time{}), domain.TailOf(id, last.ConsentID),
	} {
		events, version, err := w.LoadTail(w.ctx(), w.tenant, tail, domain.UserOf(id))
		w.ok(err)
		var newest, beside int
		for _, e := range events {
			switch e.Stream {
			case stream:
				newest = e.Version
			case domain.UserOf(id):
				beside++
			}
		}
		if version != 3 || newest != 3 || beside != 1 {
			w.t.Errorf("version %d, newest event %d, %d events of the person", version, newest, beside)
		}
	}

	_, version, err := w.LoadTail(w.ctx(), w.tenant, domain.TailFor(w.settle(), "newsletter", time.Time{}, time.Time{}))
	w.ok(err)
	if version != 0 {
		w.t.Errorf("a person who never decided has version %d", version)
	}
}

func loadPeople(w *town) {
	decided, undecided, other := w.settle(), w.settle(), w.found()
	for version, purpose := range []string{"newsletter", "research", "newsletter"} {
		w.mustAppend(domain.Append{Tenant: w.tenant, Writes: []domain.Write{{
			Stream: domain.ConsentsOf(decided), Expected: version, Events: []domain.Event{&domain.ConsentGranted{
				Decision: domain.Decision{ConsentID: domain.ConsentID{UUID: newID()}, Purpose: purpose},
			}},
		}}})
	}
	w.mustAppend(domain.Append{Tenant: w.tenant, Writes: []domain.Write{{
		Stream: domain.ConsentsOf(decided), Expected: 3, Events: []domain.Event{&domain.ConsentAnnulled{
			ConsentID: domain.ConsentID{UUID: newID()}, Purpose: "newsletter", Annuls: newID(),
		}},
	}}})

	// What lies between is not asked for.
	about := func(expected int, e domain.Event) domain.Append {
		return domain.Append{Tenant: w.tenant, Writes: []domain.Write{
			{Stream: domain.UserOf(undecided), Expected: expected, Events: []domain.Event{e}},
		}}
	}
	w.mustAppend(about(1, &domain.ResidentMerged{From: undecided, Into: decided}))
	w.mustAppend(w.change(undecided, 2))
	w.mustAppend(about(3, &domain.ResidentUnmerged{From: undecided, Into: decided}))
	head := w.head()
	w.mustAppend(about(4, &domain.ResidentMerged{From: undecided, Into: decided}))
	late := w.settle()

	people := []domain.UserID{decided, undecided, late, {UUID: newID()}}
	all := func([]domain.Recorded) bool { return false }
	found, err := w.LoadPeople(w.ctx(), w.tenant, people, "newsletter", head, all)
	w.ok(err)
	if len(found) != 2 || len(found[decided].Person) == 0 || len(found[undecided].Person) == 0 {
		w.t.Fatalf("found %+v", found)
	}
	merges := found[undecided].Person
	if len(merges) != 3 || merges[0].Version != 1 || merges[1].Version != 2 || merges[2].Version != 4 {
		w.t.Errorf("the record and its merges are %+v", merges)
	}
	if from, is := merges[1].Event.(*domain.ResidentMerged); !is || from.Into != decided {
		w.t.Errorf("merged by %+v", merges[1].Event)
	}
	consents := found[decided].Consents
	if len(consents) != 3 || consents[0].Version != 1 || consents[1].Version != 3 || consents[2].Version != 4 ||
		len(found[undecided].Consents) != 0 {
		w.t.Errorf("decisions %+v", found)
	}

	none, err := w.LoadPeople(w.ctx(), other, people, "newsletter", w.head(), all)
	w.ok(err)
	if len(none) != 0 {
		w.t.Errorf("another tenant finds %+v", none)
	}
}

func withholdPersonalParts(w *town) {
	id := w.settle()

	closed := domain.Fold[domain.User](w.load(domain.UserOf(id)))
	if closed.FullName != "" || closed.Role != domain.Citizen {
		w.t.Errorf("loaded %+v", closed)
	}
	events, err := w.LoadPersonal(w.ctx(), w.tenant, domain.UserOf(id))
	w.ok(err)
	if open := domain.Fold[domain.User](events); open.FullName != "Thandi Nkosi" {
		w.t.Errorf("opened %+v", open)
	}
}

func keepTenantsApart(w *town) {
	id, other := w.settle(), w.found()

	events, err := w.Load(w.ctx(), other, domain.UserOf(id))
	w.ok(err)
	all, err := w.LoadAll(w.ctx(), other, domain.UserStream)
	w.ok(err)
	if len(events)+len(all) != 0 {
		w.t.Errorf("another tenant sees %d and %d events", len(events), len(all))
	}

	stream, found, err := w.StreamOf(w.ctx(), w.tenant, id.UUID)
	w.ok(err)
	if !found || stream != domain.UserOf(id) {
		w.t.Errorf("found %v %v", stream, found)
	}
	_, found, err = w.StreamOf(w.ctx(), other, id.UUID)
	w.ok(err)
	if found {
		w.t.Error("another tenant finds a record")
	}

	if _, err := w.Load(w.ctx(), domain.TenantID{}, domain.UserOf(id)); err == nil {
		w.t.Error("a query without a tenant is answered")
	}
	if _, err := w.Append(w.ctx(), domain.Append{ID: newID(), Writes: w.change(id, 1).Writes}); err == nil {
		w.t.Error("an append without a tenant is made")
	}
}

func appendOnce(w *town) {
	id := domain.UserID{UUID: newID()}
	a := w.resident(id)
	first := w.mustAppend(a)
	head := w.head()

	// The expected version is out of date by now, but a repeat counts as a repeat before
	// it counts as a conflict.
	again := w.mustAppend(a)
	if first.Repeat || !again.Repeat || len(again.Events) != 1 || again.Position() != first.Position() ||
		w.head() != head {
		w.t.Errorf("first %+v, again %+v", first, again)
	}

	for name, tenant := range map[string]domain.TenantID{"its tenant": w.tenant, "all tenants": {}} {
		found, err := w.FindAppend(w.ctx(), tenant, a.ID)
		w.ok(err)
		if len(found) != 1 || found[0].Position != first.Position() {
			w.t.Errorf("in %s: %+v", name, found)
		}
	}
	for name, absent := range map[string]struct {
		tenant domain.TenantID
		id     uuid.UUID
	}{
		"another tenant": {w.found(), a.ID}, "no append": {w.tenant, newID()},
		"no append of anybody": {domain.TenantID{}, newID()},
	} {
		found, err := w.FindAppend(w.ctx(), absent.tenant, absent.id)
		w.ok(err)
		if len(found) != 0 {
			w.t.Errorf("in %s: %+v", name, found)
		}
	}
}

func demandVersions(w *town) {
	id := w.settle()
	own := domain.UserOf(id)

	for _, expected := range []int{0, 2} {
		var c *domain.ConflictError
		refused(w, w.change(id, expected), &c)
		if c.Stream != own || c.Expected != expected || c.Actual != 1 {
			w.t.Errorf("conflict %+v", c)
		}
	}

	// A stream that is only looked at, here of another tenant.
	looked := w.change(id, 1)
	elsewhere := w.found()
	looked.Expects = []domain.Expectation{{Tenant: elsewhere, Stream: domain.MunicipalityOf(elsewhere), Version: 2}}
	var c *domain.ConflictError
	refused(w, looked, &c)
	if c.Stream != domain.MunicipalityOf(elsewhere) || c.Actual != 1 {
		w.t.Errorf("conflict %+v", c)
	}
	looked.ID, looked.Expects[0].Version = newID(), 1
	w.mustAppend(looked)
	w.mustAppend(w.change(id, domain.AnyVersion))
}

func holdClaimsOnce(w *town) {
	claim := domain.Claim{Tenant: w.tenant, Kind: domain.EmailClaim, Value: "thandi@example.org"}
	holder, rival := newID(), newID()
	holds := func(want uuid.UUID) {
		w.t.Helper()
		got, held, err := w.Holder(w.ctx(), claim)
		w.ok(err)
		if got != want || held != (want != uuid.Nil) {
			w.t.Errorf("held by %v (%v), want %v", got, held, want)
		}
	}

	holds(uuid.Nil)
	w.mustAppend(w.sides(domain.TakeClaim{Claim: claim, Holder: holder}))
	holds(holder)
	var taken *domain.ClaimTakenError
	refused(w, w.sides(domain.TakeClaim{Claim: claim, Holder: rival}), &taken)
	if taken.Kind != domain.EmailClaim {
		w.t.Errorf("taken: %+v", taken)
	}

	w.mustAppend(w.sides(domain.ReleaseClaim{Claim: claim, Holder: rival}))
	holds(holder)
	w.mustAppend(w.sides(domain.ReleaseClaim{Claim: claim, Holder: holder}))
	holds(uuid.Nil)
	w.mustAppend(w.sides(domain.TakeClaim{Claim: claim, Holder: rival}))
	holds(rival)
}

func appendAllOrNothing(w *town) {
	id := w.settle()
	free := domain.Claim{Tenant: w.tenant, Kind: domain.EmailClaim, Value: "free@example.org"}
	taken := domain.Claim{Tenant: w.tenant, Kind: domain.EmailClaim, Value: "taken@example.org"}
	w.mustAppend(w.sides(domain.TakeClaim{Claim: taken, Holder: newID()}))

	spoilt := w.change(id, 1)
	spoilt.Side = []domain.SideWrite{
		domain.TakeClaim{Claim: free, Holder: id.UUID}, domain.TakeClaim{Claim: taken, Holder: id.UUID},
	}
	refused(w, domaintest.Beside(spoilt), new(*domain.ClaimTakenError))
	stale := w.change(id, 7)
	stale.Side = []domain.SideWrite{domain.TakeClaim{Claim: free, Holder: id.UUID}}
	refused(w, domaintest.Beside(stale), new(*domain.ConflictError))

	_, held, err := w.Holder(w.ctx(), free)
	w.ok(err)
	if held || len(w.load(domain.UserOf(id))) != 1 {
		w.t.Error("a part of a refused append stayed")
	}
}

func keepCredentials(w *town) {
	const email = "thandi@example.org"
	id, elsewhere := w.settle(), w.found()
	accounts := func(tenant domain.TenantID) []domain.Account {
		w.t.Helper()
		found, err := w.Accounts(w.ctx(), email, tenant)
		w.ok(err)
		return found
	}
	verifies := func(tenant domain.TenantID, want string) {
		w.t.Helper()
		got, err := w.Verifier(w.ctx(), tenant, id)
		w.ok(err)
		if got != want {
			w.t.Errorf("verifier %q, want %q", got, want)
		}
	}

	w.mustAppend(w.sides(domain.SetCredential{User: id, Email: email, Verifier: "first"}))
	for _, tenant := range []domain.TenantID{w.tenant, {}} {
		if found := accounts(tenant); len(found) != 1 ||
			found[0] != (domain.Account{Tenant: w.tenant, User: id, Verifier: "first"}) {
			w.t.Errorf("accounts %+v", found)
		}
	}
	if found := accounts(elsewhere); len(found) != 0 {
		w.t.Errorf("another tenant has %+v", found)
	}
	verifies(elsewhere, "")

	w.mustAppend(w.sides(domain.SetCredential{User: id, Verifier: "second"})) // keeps the address
	if found := accounts(w.tenant); len(found) != 1 || found[0].Verifier != "second" {
		w.t.Errorf("accounts %+v", found)
	}
	verifies(w.tenant, "second")

	for range 2 {
		other := &town{t: w.t, Store: w.Store, tenant: w.found()}
		other.mustAppend(other.sides(domain.SetCredential{User: other.settle(), Email: email, Verifier: "other"}))
	}
	if found := accounts(domain.TenantID{}); len(found) != 2 {
		w.t.Errorf("%d of three accounts, want two", len(found))
	}

	w.mustAppend(w.sides(domain.DeleteCredential{User: id}))
	verifies(w.tenant, "")
	if found := accounts(w.tenant); len(found) != 0 {
		w.t.Errorf("accounts %+v", found)
	}
}

func keepSecondFactors(w *town) {
	id, factor, elsewhere := w.settle(), newID(), w.found()
	at := time.Now().UTC().Truncate(time.Microsecond)
	beside := func(event domain.Event, stream domain.Stream, side ...domain.SideWrite) domain.Append {
		a := w.sides(side...)
		a.Writes = []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: []domain.Event{event}}}
		return a
	}
	changed := func(event domain.Event, side ...domain.SideWrite) domain.Append {
		return beside(event, domain.UserOf(id), side...)
	}
	tried := func(event domain.Event, side ...domain.SideWrite) domain.Append {
		return beside(event, domain.SessionsOf(id), side...)
	}
	holds := func(want domain.Authenticator) {
		w.t.Helper()
		got, err := w.Authenticator(w.ctx(), w.tenant, id)
		w.ok(err)
		if !reflect.DeepEqual(got, want) {
			w.t.Errorf("it has %+v, want %+v", got, want)
		}

		other, err := w.Authenticator(w.ctx(), elsewhere, id)
		w.ok(err)
		if !reflect.DeepEqual(other, domain.Authenticator{}) {
			w.t.Errorf("another tenant sees %+v", other)
		}
	}
	spend := func(step int64, seen domain.CodesSeen) domain.Append {
		return tried(&domain.SessionStarted{}, domain.SpendCode{User: id, Factor: factor, Step: step, Seen: seen})
	}
	count := func(seen domain.CodesSeen) domain.Append {
		return tried(&domain.SignInFailed{Count: 1, Cause: domain.FailedByCode},
			domain.CountWrongCode{User: id, Factor: factor, At: at, Seen: seen})
	}
	offer := func(factor uuid.UUID, secret string) domain.Append {
		return changed(&domain.SecondFactorBegun{FactorID: factor, ExpiresAt: at},
			domain.OfferSecondFactor{User: id, Factor: factor, Secret: []byte(secret), ExpiresAt: at})
	}
	set := func(factor uuid.UUID, step int64) domain.Append {
		return changed(&domain.SecondFactorSet{FactorID: factor},
			domain.SetSecondFactor{User: id, Factor: factor, Step: step})
	}
	var stale *domain.CodeStaleError

	holds(domain.Authenticator{})
	w.mustAppend(changed(&domain.UserPasswordChanged{},
		domain.SetCredential{User: id, Email: "thandi@example.org", Verifier: "first"}))
	w.mustAppend(offer(newID(), "former"))
	w.mustAppend(offer(factor, "secret"))
	holds(domain.Authenticator{Offered: factor, OfferedSecret: []byte("secret"), OfferedUntil: at})
	refused(w, set(newID(), 7), &stale)
	w.mustAppend(set(factor, 7))
	holds(domain.Authenticator{Factor: factor, Secret: []byte("secret"), Step: 7})

	for _, stays := range []domain.Append{
		spend(7, domain.CodesSeen{Step: 7}), spend(6, domain.CodesSeen{Step: 7}), // used
		spend(9, domain.CodesSeen{Step: 6}), spend(9, domain.CodesSeen{Step: 7, Wrong: 1}), // out of date
		count(domain.CodesSeen{Step: 7, Wrong: 1}),
	} {
		refused(w, stays, &stale)
	}
	w.mustAppend(count(domain.CodesSeen{Step: 7}))
	holds(domain.Authenticator{Factor: factor, Secret: []byte("secret"), Step: 7, WrongCodes: 1, WrongAt: at})
	w.mustAppend(spend(9, domain.CodesSeen{Step: 7, Wrong: 1}))
	holds(domain.Authenticator{Factor: factor, Secret: []byte("secret"), Step: 9})

	w.mustAppend(changed(&domain.UserPasswordChanged{}, domain.SetCredential{User: id, Verifier: "second"}))
	holds(domain.Authenticator{Factor: factor, Secret: []byte("secret"), Step: 9})
	w.mustAppend(changed(&domain.SecondFactorRemoved{FactorID: factor, Cause: domain.BySelf},
		domain.RemoveSecondFactor{User: id}))
	holds(domain.Authenticator{})
	refused(w, spend(10, domain.CodesSeen{}), &stale)
}

func keepOneTimeCodes(w *town) {
	id, other, elsewhere := w.settle(), w.settle(), w.found()
	at := time.Now().UTC().Truncate(time.Microsecond).Add(domain.CodeLasts)
	about := func(stream domain.Stream, event domain.Event, side domain.SideWrite) domain.Append {
		a := w.sides(side)
		a.Writes = []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: []domain.Event{event}}}
		return a
	}
	issue := func(user domain.UserID, kind domain.CodeKind, code uuid.UUID, text string) domain.Append {
		return about(domain.UserOf(user), &domain.EmailVerificationBegun{CodeID: code, ExpiresAt: at},
			domain.IssueOneTimeCode{
				User: user, Kind: kind, Code: code, FirstHalf: w.Digest(text), Digest: w.Digest(text, "whole"),
				ExpiresAt: at,
			})
	}
	spend := func(code uuid.UUID, wrong int) domain.Append {
		return about(domain.UserOf(id), &domain.EmailVerified{CodeID: code},
			domain.SpendOneTimeCode{User: id, Kind: domain.PasswordResetCode, Code: code, Wrong: wrong})
	}
	count := func(code uuid.UUID, wrong int) domain.Append {
		return about(domain.SessionsOf(id), &domain.SignInFailed{Count: 1, Cause: domain.FailedByOneTimeCode},
			domain.CountWrongTry{User: id, Kind: domain.PasswordResetCode, Code: code, Wrong: wrong})
	}
	finds := func(text string, code uuid.UUID, kind domain.CodeKind, wrong int) {
		w.t.Helper()
		got, err := w.OneTimeCode(w.ctx(), w.Digest(text))
		w.ok(err)
		want := domain.OneTimeCode{
			ID: code, Tenant: w.tenant, User: id, Kind: kind, Digest: w.Digest(text, "whole"), ExpiresAt: at,
			Wrong: wrong,
		}
		if code == uuid.Nil {
			want = domain.OneTimeCode{}
		}
		if got != want {
			w.t.Errorf("found %+v, want %+v", got, want)
		}
	}
	gone := uuid.Nil
	var stale *domain.CodeStaleError

	// One of each kind: the next replaces the former.
	finds("a", gone, "", 0)
	former, code, verification := newID(), newID(), newID()
	w.mustAppend(issue(id, domain.PasswordResetCode, former, "a"))
	w.mustAppend(issue(id, domain.EmailVerificationCode, verification, "b"))
	finds("a", former, domain.PasswordResetCode, 0)
	w.mustAppend(issue(id, domain.PasswordResetCode, code, "c"))
	finds("a", gone, "", 0)
	finds("b", verification, domain.EmailVerificationCode, 0)
	finds("c", code, domain.PasswordResetCode, 0)

	// No two begin alike.
	refused(w, issue(other, domain.PasswordResetCode, newID(), "c"), &stale)
	refused(w, issue(id, domain.SignInCode, newID(), "c"), &stale)

	// Each try is judged on those before it.
	refused(w, count(code, 1), &stale)
	refused(w, count(former, 0), &stale)
	w.mustAppend(count(code, 0))
	refused(w, count(code, 0), &stale)
	finds("c", code, domain.PasswordResetCode, 1)
	refused(w, spend(code, 0), &stale)
	refused(w, spend(former, 1), &stale)
	astray := spend(code, 1)
	astray.Tenant = elsewhere
	refused(w, astray, &stale)
	w.mustAppend(spend(code, 1))
	finds("c", gone, "", 0)
	refused(w, spend(code, 1), &stale)

	// Whatever the user signs in with changes, the codes for what was before are gone.
	finds("b", verification, domain.EmailVerificationCode, 0)
	for text, change := range map[string]domain.SideWrite{
		"e": domain.SetCredential{User: id, Email: "thandi@example.org", Verifier: "first"},
		"f": domain.DeleteCredential{User: id},
	} {
		w.mustAppend(issue(id, domain.SignInCode, newID(), text))
		w.mustAppend(w.sides(change))
		finds(text, gone, "", 0)
		finds("b", gone, "", 0)
	}
}

func keepClientSecrets(w *town) {
	one, other := domain.ServiceAccountID{UUID: newID()}, domain.ServiceAccountID{UUID: newID()}
	first, second := newID(), newID()
	holds := func(account domain.ServiceAccountID, want ...domain.ClientDigest) {
		w.t.Helper()
		got, err := w.ClientSecrets(w.ctx(), account)
		w.ok(err)
		slices.SortFunc(got, func(a, b domain.ClientDigest) int { return int(a.Digest[0]) - int(b.Digest[0]) })
		if !slices.Equal(got, want) {
			w.t.Errorf("the secrets of %s are %v, want %v", account, got, want)
		}
	}
	add := func(account domain.ServiceAccountID, secret uuid.UUID, digest byte) domain.SideWrite {
		return domain.AddClientSecret{Account: account, Secret: secret, Digest: [32]byte{digest}}
	}
	kept := func(secret uuid.UUID, digest byte) domain.ClientDigest {
		return domain.ClientDigest{Tenant: w.tenant, Secret: secret, Digest: [32]byte{digest}}
	}

	holds(one)
	w.mustAppend(w.sides(add(one, first, 1)))
	w.mustAppend(w.sides(add(other, newID(), 9)))
	w.mustAppend(w.sides(add(one, second, 2)))
	holds(one, kept(first, 1), kept(second, 2))

	w.mustAppend(w.sides(domain.DropClientSecret{Account: other, Secret: second})) // not theirs
	w.mustAppend(w.sides(domain.DropClientSecret{Account: one, Secret: first}))
	holds(one, kept(second, 2))
}

func keepSessions(w *town) {
	id := w.settle()
	soon := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	a, b, c := newID(), newID(), newID()
	open := func(session uuid.UUID, want bool) {
		w.t.Helper()
		events, is, err := w.LoadSession(w.ctx(), w.tenant, id, session, domain.UserOf(id))
		w.ok(err)
		if is != want || len(events) != 1 {
			w.t.Errorf("open is %v with %d events, want %v with 1", is, len(events), want)
		}
	}
	rotate := func(from, to byte) domain.Append {
		return w.sides(domain.RotateSession{Session: a, From: [32]byte{from}, To: [32]byte{to}, ExpiresAt: soon})
	}

	open(a, false)
	for _, session := range []uuid.UUID{a, b, c} {
		w.mustAppend(w.sides(domain.StartSession{Session: session, User: id, Token: [32]byte{1}, ExpiresAt: soon}))
		open(session, true)
	}
	other := w.settle()
	if _, is, err := w.LoadSession(w.ctx(), w.tenant, other, a, domain.UserOf(other)); err != nil || is {
		w.t.Errorf("another user's session is open: %v, %v", is, err)
	}
	expired := newID()
	w.mustAppend(w.sides(domain.StartSession{Session: expired, User: id, ExpiresAt: time.Now().Add(-time.Hour)}))
	open(expired, false)

	w.mustAppend(rotate(1, 2))
	w.mustAppend(rotate(1, 2)) // the token just replaced, by the same successor
	refused(w, rotate(1, 3), new(*domain.SessionStaleError))
	w.mustAppend(rotate(2, 3))
	refused(w, rotate(1, 2), new(*domain.SessionStaleError)) // its successor was used

	expires, is, err := w.SessionExpires(w.ctx(), w.tenant, a)
	w.ok(err)
	if !is || !expires.Equal(soon.UTC().Truncate(time.Microsecond)) {
		w.t.Errorf("session %s expires at %s (open: %v), want %s", a, expires, is, soon)
	}

	w.mustAppend(w.sides(domain.EndSession{Session: a}))
	open(a, false)
	if _, is, err := w.SessionExpires(w.ctx(), w.tenant, a); err != nil || is {
		w.t.Errorf("an ended session still has a time to expire (%v)", err)
	}
	refused(w, rotate(3, 4), new(*domain.SessionStaleError))
	refused(w, w.sides(domain.EndSession{Session: a}), new(*domain.SessionStaleError))

	w.mustAppend(w.sides(domain.EndSessions{User: id, Except: c}))
	open(b, false)
	open(c, true)
	w.mustAppend(w.sides(domain.EndSessions{User: id}))
	open(c, false)

	elsewhere := &town{t: w.t, Store: w.Store, tenant: w.found()}
	d, stranger := newID(), elsewhere.settle()
	w.mustAppend(w.sides(domain.StartSession{Session: d, User: id, ExpiresAt: soon}))
	theirs := newID()
	elsewhere.mustAppend(elsewhere.sides(domain.StartSession{Session: theirs, User: stranger, ExpiresAt: soon}))
	w.mustAppend(w.sides(domain.EndAllSessions{}))
	open(d, false)
	if _, is, err := w.LoadSession(w.ctx(), elsewhere.tenant, stranger, theirs); err != nil || !is {
		w.t.Errorf("a session of another tenant has ended (%v)", err)
	}
}

func eraseByKey(w *town) {
	id := w.settle()
	rights := w.lodge(id, id)
	refused(w, w.sides(domain.CreateSubjectKey{Subject: id}), new(*domain.KeyExistsError))

	w.mustAppend(rights)
	w.mustAppend(w.sides(domain.DestroySubjectKey{Subject: id}))
	events, err := w.LoadPersonal(w.ctx(), w.tenant, domain.UserOf(id))
	w.ok(err)
	registered := events[0].Event.(*domain.UserRegistered)
	if registered.Person.State() != domain.Erased {
		w.t.Errorf("the personal part is %v", registered.Person.State())
	}

	// No more personal data is recorded about them, and the key does not come back.
	var e *domain.Error
	refused(w, w.lodge(id, id), &e)
	if e.Code != domain.CodeSubjectErased {
		w.t.Errorf("refused with %s", e.Code)
	}
	refused(w, w.sides(domain.CreateSubjectKey{Subject: id}), new(*domain.KeyExistsError))
}

func keepTrails(w *town) {
	clerk, citizen := w.settle(), w.settle()
	w.mustAppend(w.lodge(clerk, clerk)) // about themselves
	w.mustAppend(w.act(clerk, domain.Stream{Type: domain.AccessStream, ID: newID()},
		&domain.TenantMismatch{Route: "GET /", Named: w.tenant}))
	w.mustAppend(w.sides(domain.DemandNoActs{User: clerk}))

	w.mustAppend(w.lodge(citizen, clerk))
	refused(w, w.sides(domain.DemandNoActs{User: clerk}), new(*domain.StaffRecordError))
	w.mustAppend(w.sides(domain.DemandNoActs{User: citizen}))

	// Acts about nobody, about several people, in another tenant, and acts that need an
	// office even when they are about oneself.
	elsewhere := newTown(w.t, w.Store)
	for what, act := range map[string]func(domain.UserID) domain.Append{
		"closed a municipality": func(by domain.UserID) domain.Append {
			return elsewhere.act(by, domain.MunicipalityOf(elsewhere.tenant), &domain.MunicipalityDeactivated{})
		},
		"recorded in another tenant": func(by domain.UserID) domain.Append {
			return elsewhere.lodge(elsewhere.settle(), by)
		},
		"looked at many": func(by domain.UserID) domain.Append {
			return w.act(by, domain.Stream{Type: domain.AccessStream, ID: newID()},
				&domain.PersonalDataRead{Route: "GET /", Fields: "audit"})
		},
		"lifted a hold on themselves": func(by domain.UserID) domain.Append {
			return w.act(by, domain.RightsOf(by), &domain.HoldLifted{HoldID: domain.HoldID{UUID: newID()}})
		},
	} {
		officer := w.settle()
		w.mustAppend(w.sides(domain.DemandNoActs{User: officer}))
		w.mustAppend(act(officer))
		_, err := w.Append(w.ctx(), w.sides(domain.DemandNoActs{User: officer}))
		if _, is := errors.AsType[*domain.StaffRecordError](err); !is {
			w.t.Errorf("somebody who %s: %v", what, err)
		}
	}
}

func findHolders(w *town) {
	citizen, promoted, demoted := w.settle(), w.settle(), w.settle()
	change := func(user domain.UserID, from, to domain.Role) domain.Append {
		return w.act(w.settle(), domain.UserOf(user),
			&domain.UserRoleChanged{Role: domain.Change[domain.Role]{Old: from, New: to}})
	}
	w.mustAppend(change(promoted, domain.Citizen, domain.Manager))
	w.mustAppend(change(demoted, domain.Citizen, domain.Admin))
	w.mustAppend(change(demoted, domain.Admin, domain.FieldWorker))
	elsewhere := newTown(w.t, w.Store)
	elsewhere.mustAppend(elsewhere.act(elsewhere.settle(), domain.UserOf(elsewhere.settle()), &domain.UserRoleChanged{
		Role: domain.Change[domain.Role]{Old: domain.Citizen, New: domain.Manager},
	}))

	for _, c := range []struct {
		roles []domain.Role
		want  []domain.UserID
	}{
		{[]domain.Role{domain.Manager, domain.Admin}, []domain.UserID{promoted, demoted}},
		{[]domain.Role{domain.FieldWorker}, []domain.UserID{demoted}},
		{[]domain.Role{domain.SAPSLiaison}, nil},
	} {
		found, err := w.EverHeld(w.ctx(), w.tenant, c.roles...)
		w.ok(err)
		missing := slices.ContainsFunc(c.want, func(u domain.UserID) bool { return !slices.Contains(found, u) })
		if missing || len(found) != len(c.want) {
			w.t.Errorf("%v: found %v, want %v; the citizen is %v", c.roles, found, c.want, citizen)
		}
	}
}

// act returns an append of one event by an actor.
func (w *town) act(by domain.UserID, stream domain.Stream, event domain.Event) domain.Append {
	return domain.Append{
		ID: newID(), Tenant: w.tenant, Actor: by, ActorTenant: w.tenant,
		Writes: []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: []domain.Event{event}}},
	}
}

// lodge returns an append about a person by an actor, with a personal part.
func (w *town) lodge(about, by domain.UserID) domain.Append {
	return domain.Append{
		ID: newID(), Tenant: w.tenant, Actor: by, ActorTenant: w.tenant,
		Writes: []domain.Write{{Stream: domain.RightsOf(about), Expected: domain.AnyVersion, Events: []domain.Event{
			&domain.RequestLodged{
				RequestID: domain.RequestID{UUID: newID()}, Kind: domain.CorrectionRequest, LodgedBy: domain.ByStaff,
				DueOn: "2026-04-07", Private: domain.Known(domain.FreeText{Text: "my surname is Ṋemavhola"}),
			},
		}}},
	}
}

func digestParts(w *town) {
	one := w.Digest("a", "bc")
	if w.Digest("a", "bc") != one {
		w.t.Error("the same parts have two digests")
	}
	if w.Digest("ab", "c") == one || w.Digest("a", "bc", "") == one {
		w.t.Error("other parts have the same digest")
	}
}
