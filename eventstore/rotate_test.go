package eventstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

const nextKey = "the next master key of at least thirty-two characters"

// beginRotation re-wraps in a transaction that is still open.
func (w *world) beginRotation(t testing.TB, master, next string) (tx pgx.Tx, count int, err error) {
	t.Helper()
	tx, err = w.db.Conn(t, pgtest.Owner).BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		t.Fatal(err)
	}
	count, err = eventstore.Rotate(t.Context(), tx, []byte(master), []byte(next))
	return tx, count, err
}

// rotateOn re-wraps and commits.
func rotateOn(ctx context.Context, conn *pgx.Conn, master, next string) (count int, err error) {
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		count, err = eventstore.Rotate(ctx, tx, []byte(master), []byte(next))
		return err
	})
	return count, err
}

func (w *world) mustRotate(t testing.TB, master, next string) int {
	t.Helper()
	count, err := rotateOn(t.Context(), w.db.Conn(t, pgtest.Owner), master, next)
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// openUnder opens the store with a key other than the usual one.
func (w *world) openUnder(t testing.TB, key string) *eventstore.Store {
	t.Helper()
	return openOn(t, w.db.Pool(t, pgtest.Query), key)
}

// wrappedByMaster selects what a rotation changes.
const wrappedByMaster = `select array_agg(x order by x) from (
	select name || encode(wrapped, 'hex') from trust.secrets
	union all select key_id || encode(wrapped, 'hex') from trust.keys where kind = 'tenant') y (x)`

func TestARotationReWrapsTenantsKeysAndSecretsAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.lifeOf(t)
	w.municipality(t, "JHB")
	before, rest := query[[]string](t, w, wrappedByMaster), w.rest(t)
	digest := w.store.Digest("login", "remarked@example.org")

	if n := w.mustRotate(t, masterKey, nextKey); n != 6 {
		t.Errorf("%d re-wrapped, want the keys of three tenants and three secrets", n)
	}
	for i, now := range query[[]string](t, w, wrappedByMaster) {
		if slices.Contains(before, now) {
			t.Errorf("the %d. key is wrapped as before", i+1)
		}
	}
	if diff := cmp.Diff(rest, w.rest(t)); diff != "" {
		t.Errorf("something else changed:\n%s", diff)
	}

	if _, err := eventstore.Open(t.Context(), w.db.Pool(t, pgtest.Query), []byte(masterKey)); !errors.Is(err,
		eventstore.ErrWrongMasterKey) {
		t.Errorf("under the old key the store says %v", err)
	}
	store := w.openUnder(t, nextKey)
	events, err := store.LoadPersonal(t.Context(), w.tenant, lifeStreams(user)...)
	if subject, origin := personal(events); err != nil || !allAre(subject, domain.Open, 5) ||
		!allAre(origin, domain.Open, 6) {
		t.Errorf("under the next key: states %v, %v, %v", subject, origin, err)
	}
	if accounts, err := store.Accounts(t.Context(), "remarked@example.org", w.tenant); err != nil ||
		len(accounts) != 1 || store.Digest("login", "remarked@example.org") != digest {
		t.Errorf("the account is not found by its address: %d accounts, %v", len(accounts), err)
	}

	again := w.dump(t)
	if n := w.mustRotate(t, masterKey, nextKey); n != 0 {
		t.Errorf("the second time %d were re-wrapped", n)
	}
	w.unchanged(t, again)
	w.mustRotate(t, nextKey, masterKey)
}

// rest returns all rows without the values that the master key wraps.
func (w *world) rest(t testing.TB) map[string][]string {
	t.Helper()
	rest := w.dump(t)
	delete(rest, "trust.secrets")
	rest["trust.keys"] = query[[]string](t, w,
		`select array_agg((to_jsonb(k) - case kind when 'tenant' then 'wrapped' else '' end)::text order by key_id)
		from trust.keys k`)
	return rest
}

func TestARotationThatIsNotCommittedOrCannotOpenEverythingChangesNothing(t *testing.T) {
	t.Parallel()
	const damaged = "update trust.keys set wrapped = set_bit(wrapped, 120, 1 - get_bit(wrapped, 120)) where key_id " +
		"= (select max(key_id::text)::uuid from trust.keys where kind = 'tenant')"

	for name, c := range map[string]struct{ master, next, damage, want string }{
		"not committed": {masterKey, nextKey, "", ""},
		"neither key is the database's": {
			nextKey, "yet another key of at least thirty-two characters", "",
			eventstore.ErrWrongMasterKey.Error(),
		},
		"a tenant's key does not open": {masterKey, nextKey, damaged, "tenant key "},
		"a secret does not open": {
			masterKey, nextKey,
			"insert into trust.secrets values ('pepper', '\\x00')", "secret pepper does not open",
		},
		"done already, but a key does not open": {nextKey, masterKey, damaged, "tenant key "},
		"no process has used the database so far": {
			masterKey, nextKey, "delete from trust.secrets",
			eventstore.ErrNoKeys.Error(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{db: pgtest.New(t)}
			w.store, w.admin = open(t, w.db), &admin{conn: w.db.Superuser(t)}
			w.municipality(t, "CPT")
			if c.damage != "" {
				w.exec(t, c.damage)
			}

			before := w.dump(t)
			tx, _, err := w.beginRotation(t, c.master, c.next)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.unchanged(t, before)
		})
	}
}

// A key left behind would be lost with the old master key, so the database itself refuses
// half a rotation.
func TestTheDatabaseRefusesHalfARotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.dump(t)
	owner := w.db.Conn(t, pgtest.Owner)
	const tenants = "(select array_agg(key_id) from trust.keys where kind = 'tenant')"
	const secrets = "(select array_agg(name) from trust.secrets)"

	for _, arguments := range []string{
		"'{}', '{}', '{}', '{}'",
		tenants + `, array['\x00', '\x00']::bytea[], '{}', '{}'`,
		`'{}', '{}', ` + secrets + `, array['\x00', '\x00']::bytea[]`,
		tenants + `[1:1], array['\x00']::bytea[], ` + secrets + `, array['\x00', '\x00']::bytea[]`,
		tenants + ` || gen_random_uuid(), array['\x00', '\x00', '\x00']::bytea[], ` + secrets +
			`, array['\x00', '\x00']::bytea[]`,
	} {
		if _, err := owner.Exec(t.Context(), "select trust.rewrap("+arguments+")"); sqlState(err) != "P0001" {
			t.Errorf("%s: %v", arguments, err)
		}
	}
	w.unchanged(t, before)
}

// newTenant is an append that creates a tenant's key.
func newTenant(code string) domain.Append {
	id := domain.TenantID{UUID: newID()}
	return domain.Append{
		ID: newID(), Tenant: id,
		Writes: []domain.Write{{
			Stream: domain.MunicipalityOf(id),
			Events: []domain.Event{
				&domain.MunicipalityRegistered{Code: code, Name: "Municipality " + code, Province: "Gauteng"},
			},
		}},
		Side: []domain.SideWrite{domain.CreateTenantKey{Tenant: id}},
	}
}

// stale fails the test unless err says that the process uses a former master key, and
// that sending it again helps.
func stale(t testing.TB, err error) {
	t.Helper()
	refused(t, err, domain.CodeUnavailable)
	if !errors.Is(err, eventstore.ErrMasterKeyChanged) {
		t.Errorf("got %v", err)
	}
}

// A tenant's key that is wrapped under the old master key after a rotation could never be
// read again.
func TestAProcessWithTheOldKeyMakesNoTenantsKeyAfterARotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.register(t, w.tenant, "one@example.org")
	tx, _, err := w.beginRotation(t, masterKey, nextKey)
	if err != nil {
		t.Fatal(err)
	}

	waiting := w.background(t.Context(), newTenant("JHB")) // prepared under the old key, before the commit
	pgtest.Eventually(t, "it waits for the rotation", func() bool { return len(w.blocked(t)) == 1 })
	inBatch := w.background(t.Context(), newTenant("EKU"))
	neighbour := w.background(t.Context(), grant(w.tenant, user, 0))
	pgtest.Eventually(t, "two more wait for it", func() bool { return w.store.Waiting() == 2 })

	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	stale(t, pgtest.Receive(t, waiting).err)
	stale(t, pgtest.Receive(t, inBatch).err)
	if got := pgtest.Receive(t, neighbour); got.err != nil {
		t.Errorf("its neighbour in the batch: %v", got.err)
	}

	// Appends under keys that it has in memory still work, and the next process reads
	// them.
	w.register(t, w.tenant, "two@example.org")
	next := w.openUnder(t, nextKey)
	must(t)(next.Append(t.Context(), newTenant("JHB")))
	w.mustRotate(t, nextKey, masterKey)
	_, err = w.store.Append(t.Context(), newTenant("EKU"))
	stale(t, err) // rotating back to the same key is another rotation

	events, err := w.readAll(t)
	if subject, _ := personal(events); err != nil ||
		!slices.Equal(subject, []domain.PersonalState{domain.Open, domain.Absent, domain.Open}) {
		t.Errorf("two registrations and a grant without anything personal have states %v, %v", subject, err)
	}
}

func TestARotationWaitsForTheAppendsBeforeItAndReWrapsTheKeysTheyMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := w.lock(t)
	before := w.background(t.Context(), newTenant("JHB"))
	pgtest.Eventually(t, "the append waits", func() bool { return len(w.blocked(t)) == 1 })

	counts := make(chan int, 1)
	owner := w.db.Conn(t, pgtest.Owner)
	go func() {
		n, err := rotateOn(t.Context(), owner, masterKey, nextKey)
		if err != nil {
			t.Error(err)
		}
		counts <- n
	}()
	pgtest.Eventually(t, "the rotation waits behind it", func() bool { return len(w.blocked(t)) == 2 })

	release()
	if got := pgtest.Receive(t, before); got.err != nil {
		t.Error(got.err)
	}
	if n := pgtest.Receive(t, counts); n != 6 {
		t.Errorf("%d re-wrapped, want the keys of three tenants and three secrets", n)
	}
	w.mustRotate(t, nextKey, masterKey)
}

func TestAProcessWithTheOldKeyMakesNoSecretAfterARotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proof := func() []byte { return query[[]byte](t, w, "select wrapped from trust.secrets where name = 'check'") }
	caller := w.db.Conn(t, pgtest.Query)
	once := func(name string, proof []byte) (stored []byte) {
		if err := caller.QueryRow(t.Context(), "select trust.secret_once($1, '\\x0102', $2)", name, proof).
			Scan(&stored); err != nil {
			t.Fatal(err)
		}
		return stored
	}

	old := proof()
	w.mustRotate(t, masterKey, nextKey)
	codes := query[[]byte](t, w, "delete from trust.secrets where name = 'codes' returning wrapped")

	for name, outdated := range map[string][]byte{"of before the rotation": old, "of nothing": nil} {
		if stored := once("codes", outdated); stored != nil {
			t.Errorf("with the proof %s it stored %x", name, stored)
		}
	}
	if stored := once("codes", proof()); len(stored) != 2 {
		t.Errorf("with the proof in force it returns %x", stored)
	}

	w.exec(t, "update trust.secrets set wrapped = $1 where name = 'codes'", codes)
	w.mustRotate(t, nextKey, masterKey)
}
