package seal_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/proof"
)

// tampering is something that whoever owns the database can do, and what Verify says.
type tampering struct {
	sql, says string
	// hidden says that the log itself is untouched: an outsider sees nothing wrong.
	hidden bool
}

// victim is the position of an event with sealed parts, below a stored hash.
const victim = 3

// tamperings leave out nothing that issue 18 names. Each is undone before the next.
func tamperings() map[string]tampering {
	const inFirst = "one of the events 1 to"
	all := map[string]tampering{
		"the last event is deleted": {
			sql:  "delete from trust.events where position = $head",
			says: "the log went backwards",
		},
		"the last event is deleted, and the sealer set back": {
			sql: "delete from trust.events where position = $head; " +
				"update trust.checkpoints set position = position - 1, " +
				"event_position = null, event_id = null",
			says: "a checkpoint of 303 events was signed",
		},
		"an event is deleted": {
			sql:  "delete from trust.events where position = 17",
			says: "event 17: is missing",
		},
		"an event is deleted, and the others renumbered": {
			sql: "delete from trust.events where position = 17; " +
				"update trust.events set position = -position where position > 17;" +
				"update trust.events set position = -position - 1 where position < 0; $follow",
			says: "the log went backwards",
		},
		"two events are swapped": {
			sql: "update trust.events set position = -1 where position = 20; update trust.events set position = 20 " +
				"where position = 40; update trust.events set position = 40 where position = -1",
			says: inFirst,
		},
		"an event is inserted in the past": {
			sql: `update trust.events set position = -position where position >= 17;
				update trust.events set position = -position + 1 where position < 0;
				insert into trust.events select 17, tenant_id, stream_type, gen_random_uuid(), 1, gen_random_uuid(),
					gen_random_uuid(), 1, event_type, subject_id, record_id, actor_id, payload, sealed, metadata,
					effective_at, recorded_at, code from trust.events where position = 16;
				update trust.checkpoints set event_position = null, event_id = null`,
			says: inFirst,
		},
		"a tile is replaced": {
			sql:    "update trust.log_hashes set hash = sha256('another')",
			says:   "hash 0 of level 1 of the tree is not that of the events: it was changed",
			hidden: true,
		},
		"a tile is removed": {
			sql: "delete from trust.log_hashes", says: "hash 0 of level 1 of the tree is missing", hidden: true,
		},
		"a tile is added": {
			sql:    "insert into trust.log_hashes values (1, 1, sha256('more'))",
			says:   "the tree holds hashes of events after 303",
			hidden: true,
		},
		"a checkpoint gets another root": {
			sql:    "update trust.log_checkpoints set root = sha256('another') where number = 1",
			says:   "checkpoint 1, of 280 events, is not as it was signed",
			hidden: true,
		},
		"a checkpoint gets another note": {
			sql:    "update trust.log_checkpoints set note = (select note from trust.log_checkpoints where number = 1)",
			says:   "checkpoint 2, of 303 events, is not as it was signed",
			hidden: true,
		},
		"a checkpoint gets another size": {
			sql:    "update trust.log_checkpoints set size = 281 where number = 1",
			says:   "checkpoint 1, of 281 events, is not as it was signed",
			hidden: true,
		},
		"a checkpoint is removed": {
			sql:    "delete from trust.log_checkpoints where number = 1",
			says:   "1 checkpoints were removed",
			hidden: true,
		},
		"the keys are replaced": {
			sql:    "update trust.log_signers set verifiers = array[verifiers[1]]",
			says:   "is not as it was signed",
			hidden: true,
		},
	}

	// One byte, or as little as the column can change by.
	for column, value := range map[string]string{
		"payload":   `overlay(payload::text placing ' ' from 2 for 0)::json`,
		"sealed":    `set_byte(sealed, 40, get_byte(sealed, 40) # 1)`,
		"metadata":  `(metadata::text || ' ')::json`,
		"tenant_id": flipped("tenant_id"), "stream_type": `stream_type || 'x'`, "stream_id": flipped("stream_id"),
		"version": "version + 1", "event_id": flipped("event_id"), "append_id": flipped("append_id"),
		"ordinal": "ordinal + 1", "event_type": `replace(event_type, 'v1', 'v2')`, "subject_id": flipped("subject_id"),
		"record_id": flipped("record_id"), "actor_id": flipped("actor_id"),
		"effective_at": "effective_at - interval '1 microsecond'",
		"recorded_at":  "recorded_at + interval '1 microsecond'",
	} {
		all[column+" is changed"] = tampering{
			sql:  fmt.Sprintf("update trust.events set %s = %s where position = %d", column, value, victim),
			says: inFirst,
		}
	}
	for _, column := range []string{"sealed", "subject_id", "actor_id"} {
		all[column+" is taken away"] = tampering{
			sql: fmt.Sprintf("update trust.events set %s = null where position = %d", column, victim), says: inFirst,
		}
	}
	all["an event after the last stored hash is changed"] = tampering{
		sql:  "update trust.events set metadata = (metadata::text || ' ')::json where position = 290",
		says: "the log does not fit the checkpoint of 303 events: one of the events 281 to 303 was changed",
	}
	return all
}

// flipped changes the last digit of an id.
func flipped(column string) string {
	const other = "overlay(%[1]s::text placing case right(%[1]s::text, 1) when '0' then '1' else '0' end from 36)::uuid"
	return fmt.Sprintf(other, column)
}

// As the superuser, with every trigger off and every code made anew (no code is looked
// at here): the log's own check names what was done, and so does an outsider who holds no
// more than an older checkpoint and reads what anybody may read.
func TestNothingIsTamperedWithUnnoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t)
	w.grow(t, 277)
	held := w.sign(t)
	w.grow(t, 23)
	w.sign(t)
	must(t, w.verify(t))
	must(t, w.outsider(t, held.Checkpoint))

	// The snapshots to go back to.
	w.exec(t, `create schema saved; create table saved.events as table trust.events;
		create table saved.checkpoints as table trust.checkpoints;
		create table saved.log_hashes as table trust.log_hashes;
		create table saved.log_checkpoints as table trust.log_checkpoints;
		create table saved.log_signers as table trust.log_signers`)
	const restore = `truncate trust.events, trust.checkpoints, trust.log_hashes, trust.log_checkpoints,
			trust.log_signers;
		insert into trust.events select * from saved.events;
		insert into trust.checkpoints select * from saved.checkpoints;
		insert into trust.log_hashes select * from saved.log_hashes;
		insert into trust.log_checkpoints select * from saved.log_checkpoints;
		insert into trust.log_signers select * from saved.log_signers`

	for name, c := range tamperings() {
		follow := "update trust.checkpoints set position = 302"
		sql := strings.NewReplacer("$head", "303", "$follow", follow).Replace(c.sql)
		w.exec(t, sql)

		err := w.verify(t)
		if d, is := errors.AsType[*seal.Difference](err); !is || !strings.Contains(d.Error(), c.says) {
			t.Errorf("%s: Verify says %v, want %q", name, err, c.says)
		}
		if err := w.outsider(t, held.Checkpoint); err == nil && !c.hidden {
			t.Errorf("%s: an outsider notices nothing", name)
		}
		w.exec(t, restore)
	}
	must(t, w.verify(t))
	must(t, w.outsider(t, held.Checkpoint))
}

// Yesterday's database is whole in itself. The copy outside knows better, and so does
// whoever holds a checkpoint of today.
func TestYesterdaysDatabaseIsNoticedByTheCopyOutsideAndByOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 10)
	w.sign(t)
	w.exec(t, `create schema saved; create table saved.events as table trust.events;
		create table saved.checkpoints as table trust.checkpoints;
		create table saved.log_checkpoints as table trust.log_checkpoints`)
	w.grow(t, 10)
	today := w.sign(t)
	w.exec(t, `truncate trust.events, trust.checkpoints, trust.log_checkpoints;
		insert into trust.events select * from saved.events;
		insert into trust.checkpoints select * from saved.checkpoints;
		insert into trust.log_checkpoints select * from saved.log_checkpoints`)

	must(t, w.verify(t))
	if err := w.verify(t, today.Checkpoint); err == nil || !strings.Contains(err.Error(), "the log ends at 11") {
		t.Errorf("with the copy outside: %v", err)
	}
	if err := w.outsider(t, today.Checkpoint); err == nil {
		t.Error("an outsider notices nothing")
	}
	w.start(t)
	w.refuses(t, "the log ends at 11")
}

// register adds a person, by themselves: the events at positions 2 and 3 have subject,
// actor and sealed parts.
func (w *world) register(t *testing.T) {
	t.Helper()
	user := domain.UserID{UUID: newID()}
	_, err := w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenant, Actor: user, Origin: domain.Origin{IP: "203.0.113.7"},
		Writes: []domain.Write{
			{Stream: domain.UserOf(user), Events: []domain.Event{&domain.UserRegistered{
				MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
				Person: domain.Known(domain.PersonFacts{Email: "thandi@example.org", FullName: "Thandi"}),
			}}},
			{Stream: domain.ConsentsOf(user), Events: []domain.Event{granted()}},
		},
		Side: []domain.SideWrite{domain.CreateSubjectKey{Subject: user}},
	})
	must(t, err)
}

// outsider checks what anybody may read against a checkpoint that was held since: the
// newest checkpoint is of no smaller log, and its leaves make the tree that was held.
func (w *world) outsider(t *testing.T, held proof.Checkpoint) error {
	t.Helper()
	note, err := w.view.Checkpoint(t.Context())
	if err != nil {
		return err
	}
	newest, err := proof.Unsigned(note)
	if err != nil {
		return err
	}

	leaves := func(level int, index uint64, width int) ([]proof.Hash, error) {
		if level == 0 {
			return w.view.Tile(t.Context(), level, index, width)
		}
		hashes := make([]proof.Hash, width)
		for i := range hashes { // of level 1, in a log as small as this
			tile, err := w.view.Tile(t.Context(), 0, uint64(i), proof.TileWidth)
			if err != nil {
				return nil, err
			}
			if hashes[i], err = proof.TileRoot(tile); err != nil {
				return nil, err
			}
		}
		return hashes, nil
	}
	for _, c := range []proof.Checkpoint{held, newest} {
		if c.Size < held.Size {
			return fmt.Errorf("the log had %d events and has %d", held.Size, c.Size)
		}
		root, err := proof.Root(c.Size, leaves)
		if err != nil {
			return err
		}
		if root != c.Root {
			return fmt.Errorf("the first %d events are not those of the checkpoint", c.Size)
		}
	}
	return nil
}
