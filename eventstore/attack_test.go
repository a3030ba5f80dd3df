package eventstore_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// attack changes something that an attacker with the database, but without the master
// key, can change. The attacked part never opens again: reader and tenant are the answers
// of the reader of all tenants and of the tenant's own store, either an error that
// matches or the state of the victim's personal part.
type attack struct {
	name   string
	sql    string
	reader string // absent, withheld, or a regular expression for the error
	tenant string // empty: the same as reader
	victim int64  // position of the event that must not open; 0: 3
	anew   bool   // afterwards the person's key is created again
}

const (
	absent   = "absent"
	withheld = "withheld"
)

// The layout of an attacked sealed column, as SQL expressions in bytes: kind 0, key id 1
// to 16, length 17 to 20, nonce 21 to 32, ciphertext, tag (16), and then the second part.
const (
	inKind       = "0"
	inKey        = "9"
	inLength     = "20"
	inNonce      = "27"
	inCiphertext = "33"
	end          = "(21 + get_byte(sealed, 19) * 256 + get_byte(sealed, 20))"
	inTag        = end + " - 16"
	ofSecond     = end
)

func sealed(value string) string {
	return "update trust.events set sealed = " + value + " where position = 3"
}

func flipped(at string) string {
	return sealed("set_bit(sealed, 8 * (" + at + "), 1 - get_bit(sealed, 8 * (" + at + ")))")
}

func keptTo(at string) string { return sealed("substr(sealed, 1, " + at + ")") }

func swapped(a, b int64) string {
	return fmt.Sprintf(`update trust.events e set sealed = o.sealed from trust.events o
		where (e.position, o.position) in ((%[1]d, %[2]d), (%[2]d, %[1]d))`, a, b)
}

const victimsKey = "(select subject_id from trust.events where position = 3)"

// key changes the victim's key.
func key(change string) string {
	return "update trust.keys set " + change + " where key_id = " + victimsKey
}

// keyOf replaces the victim's wrapped key with that of another one, k.
func keyOf(other string) string {
	return "update trust.keys v set wrapped = k.wrapped from trust.keys k where v.key_id = " + victimsKey + " and " +
		other
}

func attacks() []attack {
	const here, nowhere = "position 3", "sealed column is malformed"
	const person, tenant = "unwrap subject key", "unwrap tenant key"
	const notOurs = "the master key does not belong to this database"

	return []attack{
		// Moved whole.
		{name: "swapped between two events of a person", sql: swapped(3, 4), reader: "position (3|4)"},
		{name: "swapped between two people", sql: swapped(2, 8), reader: "position 2", victim: 2},
		{name: "swapped between two tenants", sql: swapped(2, 10), reader: "position 2", tenant: withheld, victim: 2},
		{
			name: "the event moved to another tenant",
			sql:  "update trust.events set tenant_id = gen_random_uuid() where position = 3", reader: here,
			tenant: withheld,
		},
		{
			name: "the event moved to another tenant with its key", sql: `with moved as (` +
				key("tenant_id = '00000000-0000-7000-8000-000000000001'") + `)
				update trust.events set tenant_id = '00000000-0000-7000-8000-000000000001' where position = 3`,
			reader: person,
		},
		{
			name: "another event id", sql: "update trust.events set event_id = gen_random_uuid() where position = 3",
			reader: here,
		},
		{
			name: "another event type",
			sql:  "update trust.events set event_type = 'user.registered.v1' where position = 3", reader: here,
		},
		{
			name: "another event type of the same form",
			sql:  "update trust.events set event_type = 'consent.refused.v1' where position = 5", reader: "position 5",
			victim: 5,
		},
		{
			name: "one blank more in the payload",
			sql: `update trust.events set payload = replace(payload::text, '"fields"', '"fields" ')::json
				where position = 3`, reader: here,
		},
		{
			name:   "another value in the payload",
			sql:    "update trust.events set payload = replace(payload::text, 'phone', 'fax')::json where position = 3",
			reader: here,
		},

		// Another key named.
		{
			name: "the id of another person's key", sql: sealed(
				"overlay(sealed placing (select uuid_send(subject_id) from trust.events where position = 8) from 2)"),
			reader: here,
		},
		{
			name: "the id of another tenant's person's key",
			sql: sealed("overlay(sealed placing (select uuid_send(subject_id) from trust.events where position = " +
				"10) from 2)"), reader: here, tenant: withheld,
		},
		{name: "the id of a key that is not there", sql: sealed(
			"overlay(sealed placing uuid_send(gen_random_uuid()) from 2)"), reader: withheld},
		{
			name: "the person's key destroyed without a trace and made anew",
			sql:  "delete from trust.keys where key_id = " + victimsKey, anew: true, reader: "position 2",
		},

		// The parts of the column.
		{name: "the kinds of the two parts swapped", sql: sealed("set_byte(set_byte(sealed, 0, 2), " + ofSecond +
			", 1)"), reader: nowhere},
		{name: "the two parts in the other order", sql: sealed("substr(sealed, 1 + " + ofSecond +
			") || substr(sealed, 1, " + ofSecond + ")"), reader: nowhere},
		{
			name:   "the origin as the subject's part",
			sql:    sealed("set_byte(substr(sealed, 1 + " + ofSecond + "), 0, 1)"),
			reader: here,
		},
		{
			name:   "the subject's part as the origin",
			sql:    sealed("set_byte(substr(sealed, 1, " + ofSecond + "), 0, 2)"),
			reader: absent, tenant: "origin at position 3",
		},
		{
			name: "the subject's part twice", sql: sealed("substr(sealed, 1, " + ofSecond + ") || sealed"),
			reader: nowhere,
		},

		// Cut off.
		{name: "cut off whole", sql: keptTo("0"), reader: absent},
		{name: "cut off in the key id", sql: keptTo(inKey), reader: nowhere},
		{name: "cut off behind the kind", sql: keptTo("1"), reader: nowhere},
		{name: "cut off in the length", sql: keptTo(inLength), reader: nowhere},
		{name: "cut off before the nonce", sql: keptTo("21"), reader: nowhere},
		{name: "cut off in the nonce", sql: keptTo(inNonce), reader: nowhere},
		{name: "cut off behind the nonce", sql: keptTo("33"), reader: nowhere},
		{name: "cut off before the tag", sql: keptTo(inTag), reader: nowhere},
		{name: "cut off one byte before the end of the first part", sql: keptTo(end + " - 1"), reader: nowhere},
		{
			name: "cut off one byte before the end of the second part", sql: keptTo("length(sealed) - 1"),
			reader: nowhere,
		},
		{name: "cut off and said to be so long", sql: sealed(
			"overlay(set_byte(sealed, 20, get_byte(sealed, 20) - 1) placing '' from " + end + " for 1)"), reader: here},
		{
			name: "only the nonce left and said to be so long",
			sql:  sealed(`overlay(substr(sealed, 1, 33) placing '\x0000000c' from 18)`), reader: here,
		},
		{
			name: "nothing left and said to be so long",
			sql:  sealed(`overlay(substr(sealed, 1, 21) placing '\x00000000' from 18)`), reader: here,
		},

		// Made longer.
		{name: "one byte more at the end", sql: sealed(`sealed || '\x00'`), reader: nowhere},
		{
			name:   "a part of an unknown kind more",
			sql:    sealed(`sealed || '\x03' || substr(sealed, 2, ` + end + " - 1)"),
			reader: nowhere,
		},
		{name: "one byte more at the beginning", sql: sealed(`'\x00' || sealed`), reader: nowhere},
		{
			name: "one byte more before the second part, and said to be so long",
			sql: sealed(`overlay(set_byte(sealed, 20, get_byte(sealed, 20) + 1) placing '\x00' from 1 + ` + end +
				" for 0)"), reader: here,
		},
		{name: "said to be longer than it is", sql: sealed("set_byte(sealed, 17, 255)"), reader: nowhere},
		{
			name: "said to be shorter than it is", sql: sealed("set_byte(sealed, 20, get_byte(sealed, 20) - 1)"),
			reader: nowhere,
		},

		// One bit.
		{name: "a bit of the kind", sql: flipped(inKind), reader: nowhere},
		{name: "a bit of the key id", sql: flipped(inKey), reader: withheld},
		{name: "a bit of the length", sql: flipped(inLength), reader: nowhere},
		{name: "a bit of the nonce", sql: flipped(inNonce), reader: here},
		{name: "a bit of the ciphertext", sql: flipped(inCiphertext), reader: here},
		{name: "a bit of the tag", sql: flipped(inTag), reader: here},

		// Keys.
		{
			name: "wrapped keys swapped between two people",
			sql:  keyOf("k.key_id = (select subject_id from trust.events where position = 8)"), reader: person,
		},
		{
			name: "wrapped keys swapped between people of two tenants",
			sql:  keyOf("k.key_id = (select subject_id from trust.events where position = 10)"), reader: person,
		},
		{name: "the wrapped key of the month for a person's", sql: keyOf("k.kind = 'month'"), reader: person},
		{
			name: "the wrapped key of the tenant for a person's",
			sql:  keyOf("k.key_id = k.tenant_id and k.tenant_id = v.tenant_id"), reader: person,
		},
		{name: "a person's key said to be a month's", sql: key("kind = 'month'"), reader: "unwrap month key"},
		{name: "a person's key said to be a tenant's", sql: key("kind = 'tenant'"), reader: tenant},
		{
			name: "a person's key said to be another tenant's",
			sql:  key("tenant_id = '00000000-0000-7000-8000-000000000001'"), reader: person, tenant: withheld,
		},
		{
			name: "a bit of a wrapped key", sql: key("wrapped = set_bit(wrapped, 120, 1 - get_bit(wrapped, 120))"),
			reader: person,
		},
		{name: "a wrapped key cut off", sql: key("wrapped = substr(wrapped, 1, length(wrapped) - 1)"), reader: person},
		{name: "a wrapped key cut off in its nonce", sql: key("wrapped = substr(wrapped, 1, 7)"), reader: person},
		{name: "a wrapped key made longer", sql: key(`wrapped = wrapped || '\x00'`), reader: person},
		{
			name: "wrapped keys swapped between two tenants",
			sql: `update trust.keys v set wrapped = k.wrapped from trust.keys k
				where v.kind = 'tenant' and k.kind = 'tenant' and v.key_id <> k.key_id`, reader: tenant,
		},
		{
			name: "a tenant's key said to be another tenant's",
			sql: `update trust.keys set tenant_id = '00000000-0000-7000-8000-000000000001'
				where kind = 'tenant'`, reader: tenant, tenant: "has no key",
		},
		{
			name: "a tenant's key said to be a person's",
			sql:  "update trust.keys set kind = 'subject' where kind = 'tenant'", reader: "is stored as a subject key",
		},
		{
			name: "tenants' keys said to be people's, each of the other's tenant",
			sql: `update trust.keys v set kind = 'subject', tenant_id = k.tenant_id
				from trust.keys k where v.kind = 'tenant' and k.kind = 'tenant' and v.key_id <> k.key_id`,
			reader: "is stored as a subject key", tenant: "has no key",
		},

		// Secrets.
		{
			name:   "the names of the two secrets swapped",
			sql:    `update trust.secrets v set wrapped = k.wrapped from trust.secrets k where v.name <> k.name`,
			reader: notOurs,
		},
		{
			name: "the check in the place of the lookup key",
			sql: `update trust.secrets v set wrapped = k.wrapped from trust.secrets k
				where v.name = 'lookup' and k.name = 'check'`, reader: notOurs,
		},
		{
			name: "a tenant's key in the place of the lookup key",
			sql: `update trust.secrets v set wrapped = k.wrapped from trust.keys k
				where v.name = 'lookup' and k.kind = 'tenant'`, reader: notOurs,
		},
		{
			name: "a bit of the lookup key",
			sql: `update trust.secrets set wrapped = set_bit(wrapped, 120, 1 - get_bit(wrapped, 120))
				where name = 'lookup'`, reader: notOurs,
		},
	}
}

// An attacker with the database but without the keys may change any byte. A part that was
// tampered with never opens, and the error says where it is but not what it holds.
func TestASealedPartOpensOnlyWhereItWasSealed(t *testing.T) {
	t.Parallel()
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			w := &world{db: pgtest.New(t)} // not newWorld: the log is broken at the end
			w.store, w.admin = open(t, w.db), &admin{conn: w.db.Superuser(t)}
			w.tenant = w.municipality(t, "CPT")
			user := w.lifeOf(t)                          // at positions 2 to 7
			w.register(t, w.tenant, "other@example.org") // 8
			other := w.municipality(t, "JHB")            // 9
			w.register(t, other, "other@example.org")    // 10
			// 11: about nobody and by an unknown actor, so under the key of the month.
			must(t)(w.store.Append(t.Context(), domain.Append{
				ID: newID(), Tenant: w.tenant, Origin: domain.Origin{IP: "203.0.113.7"}, Writes: []domain.Write{{
					Stream: domain.Stream{Type: domain.AccessStream, ID: newID()},
					Events: []domain.Event{&domain.TenantMismatch{Route: "GET /"}},
				}},
			}))
			w.everythingOpens(t, user)

			// Without triggers and without codes: the seal must hold by itself.
			w.exec(t, "set session_replication_role = replica")
			w.beforeCodes(t)
			w.exec(t, "update trust.events set code = null")
			before := w.dump(t)
			w.exec(t, a.sql)
			if fmt.Sprint(w.dump(t)) == fmt.Sprint(before) {
				t.Fatal("the attack changed nothing")
			}
			if a.anew {
				must(t)(open(t, w.db).Append(t.Context(), side(w.tenant, domain.CreateSubjectKey{Subject: user})))
			}
			if a.victim == 0 {
				a.victim = 3
			}

			events, err := w.readAll(t)
			neverOpens(t, "the reader", events, err, a.victim, a.reader)

			if a.tenant == "" {
				a.tenant = a.reader
			}
			tenant := domain.TenantID{UUID: query[[16]byte](t, w,
				"select tenant_id from trust.events where position = $1", a.victim)}
			events, err = w.loadAfresh(t, tenant, user)
			neverOpens(t, "the tenant's store", events, err, a.victim, a.tenant)
		})
	}
}

// loadAfresh reads a person's events as a process does that remembers no key.
func (w *world) loadAfresh(t testing.TB, tenant domain.TenantID, user domain.UserID) ([]domain.Recorded, error) {
	t.Helper()
	store, err := eventstore.Open(t.Context(), w.db.Pool(t, pgtest.Query), []byte(masterKey),
		eventstore.Patience(pgtest.Patience))
	if err != nil {
		return nil, err
	}
	defer store.Close()

	return store.LoadPersonal(t.Context(), tenant, lifeStreams(user)...)
}

// everythingOpens proves that the parts to be attacked open as long as nobody touches
// them.
func (w *world) everythingOpens(t testing.TB, user domain.UserID) {
	t.Helper()
	events, err := w.readAll(t)
	if subject, _ := personal(events); err != nil || !allAre(subject, domain.Open, 7) {
		t.Fatalf("untouched, the reader returns states %v, %v", subject, err)
	}

	events, err = w.loadAfresh(t, w.tenant, user)
	if subject, origin := personal(events); err != nil || !allAre(subject, domain.Open, 5) ||
		!allAre(origin, domain.Open, 6) {
		t.Fatalf("untouched, the tenant's store returns states %v, %v, %v", subject, origin, err)
	}
}

// neverOpens fails the test unless the answer is the wanted one, and shows no value.
func neverOpens(t testing.TB, who string, events []domain.Recorded, err error, victim int64, want string) {
	t.Helper()
	if state, ok := map[string]domain.PersonalState{absent: domain.Absent, withheld: domain.Withheld}[want]; ok {
		subject, _ := personal(at(events, victim))
		if err != nil || !allAre(subject, state, 1) {
			t.Errorf("%s returns states %v, %v; want %s", who, subject, err, want)
		}
		return
	}

	if err == nil {
		subject, origin := personal(at(events, victim))
		t.Errorf("%s opened it, or skipped it: states %v, %v", who, subject, origin)
		return
	}
	if !regexp.MustCompile(want).MatchString(err.Error()) {
		t.Errorf("%s says %v; want %q", who, err, want)
	}
	for _, mark := range marks() {
		if strings.Contains(err.Error(), mark) {
			t.Errorf("%s tells what it holds: %v", who, err)
		}
	}
}

func at(events []domain.Recorded, position int64) []domain.Recorded {
	for _, e := range events {
		if e.Position == position {
			return []domain.Recorded{e}
		}
	}
	return nil
}
