package seal_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/seal"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/proof"
)

// memory is the tree of another library, all in memory.
type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = m[index]
	}
	return hashes, nil
}

// reference makes the tree of the first n events by another library, out of what the
// leaves are said to hold.
func (w *world) reference(t *testing.T, n int64) proof.Hash {
	t.Helper()
	var tree memory
	must(t, eventstore.EachStored(t.Context(), w.projector, 0, n, func(e eventstore.Stored) error {
		entry, err := seal.HeaderOf(e).Encode()
		if err != nil {
			return err
		}
		hashes, err := tlog.StoredHashes(e.Position-1, entry, tree)
		tree = append(tree, hashes...)
		return err
	}))
	hash, err := tlog.TreeHash(n, tree)
	must(t, err)
	return proof.Hash(hash)
}

func TestEveryEventIsALeafHoweverTheLogIsCutIntoRanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 700)

	for _, upTo := range []int64{1, 2, 255, 256, 257, 600, w.head(t)} {
		must(t, w.seal(t, upTo))
	}
	must(t, w.signer.Sign(t.Context()))

	newest := w.newest(t)
	if root := w.reference(t, w.head(t)); newest.Root != root || newest.Size != uint64(w.head(t)) {
		t.Errorf("signed root %x of %d events, want %x", newest.Root, newest.Size, root)
	}
	var positions []int64
	for position := range w.head(t) {
		positions = append(positions, position+1)
	}
	signed, paths, err := w.view.Inclusion(t.Context(), positions...)
	must(t, err)
	must(t, eventstore.EachStored(t.Context(), w.projector, 0, w.head(t), func(e eventstore.Stored) error {
		leaf, err := seal.HeaderOf(e).Leaf()
		if err != nil {
			return err
		}
		index := uint64(e.Position) - 1
		return proof.VerifyInclusion(leaf, index, signed.Size, paths[index], signed.Root)
	}))

	for _, older := range []int64{1, 255, 256, 257, 512, 700, 701} {
		path, err := w.view.Consistency(t.Context(), uint64(older), signed.Checkpoint)
		must(t, err)
		root := w.reference(t, older)
		if err := proof.VerifyConsistency(uint64(older), signed.Size, path, root, signed.Root); err != nil {
			t.Errorf("%d events begin not the log: %v", older, err)
		}
	}
}

func TestTheWorkerSealsForgedEventsAsTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 2)
	forged := w.db.Forge(t, pgtest.Forgery{
		Tenant: w.tenant.UUID, Stream: newID(), StreamType: "consent", Type: "consent.granted.v1", Payload: "{}",
	})
	w.grow(t, 300)

	w.work(t)
	pgtest.Eventually(t, "everything is sealed", func() bool { return w.position(t) == w.head(t) })
	must(t, w.signer.Sign(t.Context()))
	if _, _, err := w.view.Inclusion(t.Context(), forged); err != nil {
		t.Error(err)
	}
}

func TestNothingIsSignedBeforeTheFirstEventAndNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.signer.Sign(t.Context()))
	if _, err := w.view.Checkpoint(t.Context()); !errors.Is(err, seal.ErrNone) || w.kept != nil {
		t.Fatalf("got %v, want none yet", err)
	}

	first := w.sign(t)
	must(t, w.signer.Sign(t.Context()))
	if again := w.newest(t); again.Number != first.Number || first.Number != 1 {
		t.Errorf("signed %d, then %d", first.Number, again.Number)
	}
	if string(w.kept) != first.Note {
		t.Error("what was kept outside is not what was signed")
	}
}

func TestACheckpointCarriesBothSignaturesAndThoseOfWitnesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newest := w.sign(t)
	witness, err := proof.NewSigner("witness.example", proof.Seeds{})
	must(t, err)
	lines, err := witness.Cosign(newest.Checkpoint, newest.SignedAt)
	must(t, err)
	for i, line := range strings.SplitAfter(strings.TrimSuffix(string(lines), "\n"), "\n") {
		vkey := witness.WitnessKeys()[i].Vkey()
		line = strings.TrimSuffix(line, "\n") + "\n"
		must(t, seal.Cosign(t.Context(), w.projector, newest.Number, vkey, line))
		must(t, seal.Cosign(t.Context(), w.projector, newest.Number, vkey, line))
	}

	note, err := w.view.Checkpoint(t.Context())
	must(t, err)
	keys, err := seal.AllKeys(t.Context(), w.projector)
	must(t, err)
	var all []proof.Key
	for _, vkey := range keys[0].Verifiers {
		key, err := proof.ParseKey(vkey)
		must(t, err)
		all = append(all, key)
	}
	opened, err := proof.Open(note, append(all, witness.WitnessKeys()...)...)
	must(t, err)
	if len(opened.By) != 4 || opened.Origin != origin {
		t.Errorf("%d signatures, want two of the log and two of the witness", len(opened.By))
	}
}

func TestAViewShowsNoTileThatTheCheckpointDoesNotCover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 300)
	if _, err := w.view.Tile(t.Context(), 0, 0, 1); !errors.Is(err, seal.ErrNoTile) {
		t.Errorf("got %v before the first checkpoint, want no tile", err)
	}
	w.sign(t)
	w.grow(t, 300)
	must(t, w.seal(t, w.head(t)))

	for _, c := range []struct {
		level int
		index uint64
		width int
		there bool
	}{
		{0, 0, 256, true},
		{0, 1, 45, true},
		{0, 1, 46, false},
		{0, 1, 256, false},
		{1, 0, 1, true},
		{1, 0, 2, false},
		{2, 0, 1, false},
		{0, 1 << 60, 1, false},
		{63, 0, 1, false},
	} {
		hashes, err := w.view.Tile(t.Context(), c.level, c.index, c.width)
		there := err == nil && len(hashes) == c.width
		if there != c.there || err != nil && !errors.Is(err, seal.ErrNoTile) {
			t.Errorf("tile %+v: %d hashes, %v", c, len(hashes), err)
		}
	}
}

func TestWhatWasSealedIsNeverChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 300)
	w.sign(t)
	super := w.db.Superuser(t)
	for _, table := range []string{"log_hashes", "log_checkpoints", "log_signers", "log_cosignatures"} {
		for _, statement := range []string{"delete from trust." + table, "truncate trust." + table + " cascade"} {
			if table == "log_hashes" && strings.HasPrefix(statement, "delete") {
				continue // it is made anew from the events: see Restart
			}
			_, err := super.Exec(t.Context(), statement)
			if err == nil || !strings.Contains(err.Error(), "never changed") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	}
}

func TestACheckpointIsKeptOutsideBeforeAnybodySeesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.keep = errors.New("disk full")
	must(t, w.seal(t, w.head(t)))
	w.refuses(t, "disk full")
	if _, err := w.view.Checkpoint(t.Context()); !errors.Is(err, seal.ErrNone) {
		t.Errorf("got %v, want none", err)
	}

	w.keep = nil
	must(t, w.signer.Sign(t.Context()))
	if state := w.state(t); state.State == follow.Halted {
		t.Errorf("still halted: %s", state.Error)
	}
}

func TestACheckpointThatIsKeptOutsideAloneIsSignedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sign(t)
	w.exec(t, "delete from trust.log_checkpoints")
	w.start(t)
	if again := w.sign(t); again.Text() == "" || again.Number != 1 {
		t.Errorf("got %+v", again)
	}
}

// A log that went back behind a checkpoint is not signed under its origin, and under
// another one only once an event in it says so.
func TestALogThatLostEventsIsSignedOnlyUnderAnotherOriginThatNamesTheOldHead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 5)
	w.sign(t)
	saved := w.kept
	w.grow(t, 5)
	lost := w.sign(t)

	// Yesterday's database: the copy outside is all that remembers the rest.
	outside := w.kept
	w.exec(t, `delete from trust.events where position > 6`)
	w.exec(t, `delete from trust.log_checkpoints where number > 1`)
	w.exec(t, `update trust.checkpoints set position = 6, event_position = 6, event_id = trust.event_at(6)`)
	w.kept = outside
	w.start(t)
	w.refuses(t, "a checkpoint of 11 events was published under this origin")
	w.grow(t, 20)
	must(t, w.advanced(t))
	w.refuses(t, "the first 11 events are not those of a checkpoint that was published")
	if state := w.state(t); state.State != follow.Halted || !strings.Contains(state.Error, "trust log renew") {
		t.Errorf("state %+v", state)
	}
	if err := w.seal(t, w.head(t)); err == nil {
		t.Error("sealed although nothing may be signed")
	}

	w.origin = "example.org/log/2"
	w.start(t)
	w.refuses(t, "no event says that it was lost")
	must(t, pgx.BeginFunc(t.Context(), w.db.Superuser(t), func(tx pgx.Tx) error {
		all, err := seal.Lost(t.Context(), tx, w.reader, lost.Checkpoint)
		must(t, err)
		if len(all) != 1 || all[0].Text() != lost.Text() {
			t.Errorf("lost %v, want %v", all, lost)
		}
		_, err = w.reader.Fork(t.Context(), tx, seal.ForkOf(all[0]))
		return err
	}))
	w.start(t)
	must(t, w.signer.Sign(t.Context()))
	if again := w.sign(t); again.Origin != w.origin || string(saved) == again.Note {
		t.Errorf("signed as %s", again.Origin)
	}
	if state := w.state(t); state.State == follow.Halted {
		t.Errorf("still halted: %s", state.Error)
	}
	must(t, w.verify(t, lost.Checkpoint))

	// Back under the first name, all that the database and its copy still know would fit.
	w.origin = origin
	w.start(t)
	w.grow(t, 1)
	must(t, w.seal(t, w.head(t)))
	w.refuses(t, "events were lost under this origin, as event 27 says")
}

// An operator who names a lost checkpoint under the origin that goes on would excuse any
// change: whoever verifies is told, also how many checkpoints an event excuses.
func TestAnEventThatNamesALossExcusesNothingUnderTheSameOrigin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grow(t, 5)
	changed := w.sign(t)
	w.exec(t, "update trust.events set metadata = (metadata::text || ' ')::json where position = 3")
	if err := w.verify(t); err == nil {
		t.Error("the change is not noticed at all")
	}

	must(t, pgx.BeginFunc(t.Context(), w.db.Superuser(t), func(tx pgx.Tx) error {
		_, err := w.reader.Fork(t.Context(), tx, seal.ForkOf(changed.Checkpoint))
		return err
	}))
	done, err := seal.Verify(t.Context(), w.projector, w.reader, nil, changed.Checkpoint)
	if err != nil || done.Lost != 1 || done.Checkpoints != 0 {
		t.Errorf("with the event alone: %+v (%v)", done, err)
	}

	next := proof.Checkpoint{Origin: origin, Size: 7, Root: w.reference(t, 7)}
	log, err := proof.NewSigner(origin, w.seeds)
	must(t, err)
	note, err := log.Sign(next, time.Now())
	must(t, err)
	w.exec(t, `insert into trust.log_checkpoints (number, origin, size, root, note) values (2, $1, 7, $2, $3)`, origin,
		next.Root[:], string(note))
	err = w.verify(t)
	if err == nil || !strings.Contains(err.Error(), "event 7: says that events were lost under the origin") {
		t.Errorf("with the next checkpoint: %v", err)
	}
}

// Of several processes that seal, each keeps a copy outside of what any of them signed:
// so none of them goes on behind it when the database has lost it.
func TestEachProcessKeepsOutsideWhatAnotherSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := *w
	other.start(t)
	first := w.sign(t)
	must(t, other.signer.Sign(t.Context()))
	w.grow(t, 3)
	second := w.sign(t)
	must(t, other.signer.Sign(t.Context()))
	if string(other.kept) != second.Note {
		t.Errorf("the other process keeps %q", other.kept)
	}

	// What does not fit the log replaces no copy.
	w.exec(t, `insert into trust.log_checkpoints (number, origin, size, root, note)
		select 3, origin, size + 1, root, note from trust.log_checkpoints where number = 2`)
	other.refuses(t, "checkpoint of 5 events was published")
	if string(other.kept) != second.Note {
		t.Errorf("it keeps %q, which does not fit", other.kept)
	}

	w.exec(t, `delete from trust.events where position > 1`)
	w.exec(t, `delete from trust.log_checkpoints where number > 1`)
	w.exec(t, `update trust.checkpoints set position = 1, event_position = 1, event_id = trust.event_at(1)`)
	other.start(t)
	other.refuses(t, "a checkpoint of 4 events was published under this origin")
	if first.Size != 1 {
		t.Errorf("the first has %d events", first.Size)
	}
}

func TestAnotherKeySignsOnlyOnceItIsMadeKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.sign(t)
	old := w.signer
	w.grow(t, 1)
	must(t, w.seal(t, w.head(t)))

	w.seeds.MLDSA44[3] = 7
	w.start(t)
	w.refuses(t, "LOG_SIGNING_KEY is not the key that signed before")
	must(t, w.in(t, func(tx pgx.Tx) error { return seal.Rotate(t.Context(), tx, w.seeds) }))
	must(t, w.in(t, func(tx pgx.Tx) error { return seal.Rotate(t.Context(), tx, w.seeds) })) // again: nothing changes
	w.start(t)
	w.sign(t)
	if err := old.Sign(t.Context()); !errors.Is(err, seal.ErrOtherKey) {
		t.Errorf("the old key: %v", err)
	}

	all, err := seal.AllKeys(t.Context(), w.projector)
	must(t, err)
	if len(all) != 2 || slices.Equal(all[0].Verifiers, all[1].Verifiers) {
		t.Fatalf("keys %+v", all)
	}
	var keys []proof.Key
	for _, vkey := range all[0].Verifiers {
		key, err := proof.ParseKey(vkey)
		must(t, err)
		keys = append(keys, key)
	}
	if _, err := proof.Open([]byte(before.Note), keys...); err != nil {
		t.Errorf("what the old key signed is not verified any more: %v", err)
	}
	must(t, w.verify(t))
}

func TestALogThatNeverRestsIsSignedLessOften(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.every = 20 * time.Millisecond
	w.start(t)
	close(w.grown) // it always says so
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.signer.Run(ctx) }()
	pgtest.Eventually(t, "five checkpoints are signed", func() bool {
		w.grow(t, 1)
		must(t, w.seal(t, w.head(t)))
		newest, err := seal.Newest(t.Context(), w.projector)
		return err == nil && newest.Number >= 5
	})
	stop()
	must(t, pgtest.Receive(t, ended))

	rows, err := w.projector.Query(t.Context(), `select signed_at - lag(signed_at) over (order by number)
		from trust.log_checkpoints order by number offset 1`)
	must(t, err)
	gaps, err := pgx.CollectRows(rows, pgx.RowTo[time.Duration])
	must(t, err)
	if gaps[2] < 40*time.Millisecond || gaps[3] < 40*time.Millisecond {
		t.Errorf("between checkpoints: %v", gaps)
	}
}
