package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
)

// A rebuild is one transaction, so a rebuild that is killed changes nothing. It
//
//  1. makes the next version of the table and copies into it the rows of all events up to
//     the head of one snapshot, stream by stream, in memory for a page;
//  2. compares it with the live version, which goes on being read and followed;
//  3. follows the log until it is close behind the head;
//  4. takes the view's lock, follows to the projector's checkpoint, points the view at
//     the new version, commits.
//
// Only the last step makes anybody wait. A projector that is behind, or halted, is
// brought to the position of the new version.

// Stage is what a rebuild is doing.
type Stage string

// The stages, in their order.
const (
	Copying   Stage = "copying"
	Indexing  Stage = "indexing"
	Comparing Stage = "comparing"
	Following Stage = "following"
	Switching Stage = "switching"
	// Waiting is for more than a second, before the switch; meanwhile it goes on
	// following.
	Waiting Stage = "waiting for readers of the table"
)

// Report is called with the stage of a rebuild, and, where it counts events, with how
// many of how many are done.
type Report func(stage Stage, done, total int64)

// Rebuilt says what a rebuild did.
type Rebuilt struct {
	Position int64  // every event up to here is in the table
	Rows     int64  // how many it copied
	Kept     string // the version before, which nobody reads any more
	Wrong    Wrong  // what was wrong in that version
}

// Wrong counts the rows of a read table that differ from the log, as far as the table had
// followed it.
type Wrong struct {
	Missing, Extra, Changed int64
	First                   uuid.UUID // the smallest id among them
}

// None reports whether every row was right.
func (w Wrong) None() bool { return w == Wrong{} }

// ErrRebuilding says that the same read table is already being rebuilt.
var ErrRebuilding = errors.New("this read table is already being rebuilt")

// closeBehind is how many events may be left to fold when readers are made to wait: a few
// hundredths of a second's work.
const closeBehind = 500

// rebuildSpace is the first half of an advisory lock's key, to keep it apart from other
// locks.
const rebuildSpace = 7267413

// Rebuild builds a new version of a read table from the log beside the live one, and
// switches to it. It takes two connections in the role trust_owner from db. An event that
// cannot be folded, or a gap in the log, ends it without any change.
func Rebuild(ctx context.Context, db Beginner, r *eventstore.Reader, p Projection, report Report) (Rebuilt, error) {
	b := rebuild{Projection: p, db: db, reader: r, report: report}

	err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		b.tx = tx
		for _, step := range []func(context.Context) error{b.begin, b.copy, b.index, b.compare, b.follow, b.change} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Rebuilt{}, fmt.Errorf("rebuild %s: %w", p.Name(), err)
	}
	return b.done, nil
}

// rebuild is a rebuild in progress. done.Position is how far the next version has got.
type rebuild struct {
	Projection
	db     Beginner
	reader *eventstore.Reader
	report Report
	tx     pgx.Tx
	next   string // name of the next version
	done   Rebuilt
}

// begin makes the next version, empty and without indexes. Check constraints are not
// copied: a read table accepts all of history.
func (b *rebuild) begin(ctx context.Context) (err error) {
	const claim = `select pg_catalog.pg_try_advisory_xact_lock($1, pg_catalog.hashtext($2))`
	const create = `create table %s (like %s including all excluding indexes excluding constraints)`

	var alone bool
	if err := b.tx.QueryRow(ctx, claim, rebuildSpace, b.Name()).Scan(&alone); err != nil {
		return err
	}
	if !alone {
		return ErrRebuilding
	}

	if b.done.Kept, err = liveVersion(ctx, b.tx, b.Name()); err != nil {
		return err
	}
	all, err := versions(ctx, b.tx, b.Name())
	if err != nil {
		return err
	}

	b.next = nextVersion(b.Name(), all)
	return b.exec(ctx, create, b.next, b.done.Kept)
}

// copy fills the next version from a snapshot of the log. The keys are from the same
// snapshot, so the people whose keys are gone are exactly those erased in the log up to
// Position.
func (b *rebuild) copy(ctx context.Context) error {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return pgx.BeginTxFunc(ctx, b.db, snapshot, func(log pgx.Tx) (err error) {
		source := b.source()
		var total int64
		if b.done.Position, total, err = b.reader.Count(ctx, log, source.kind); err != nil {
			return err
		}

		reading, stop := context.WithCancel(ctx)
		pages := readHistories(reading, b.reader, log, source.kind, b.done.Position)
		defer func() {
			stop()
			for range pages.events { // until the reader has let go of its transaction
			}
		}()

		rows := &rowSource{source: source, pages: pages, folded: func(n int64) { b.report(Copying, n, total) }}
		table := pgx.Identifier(strings.Split(b.next, "."))
		b.done.Rows, err = b.tx.CopyFrom(ctx, table, source.columns, rows)
		return cmp.Or(rows.err, err) // COPY passes rows.err on as text only
	})
}

func (b *rebuild) index(ctx context.Context) error {
	b.report(Indexing, 0, 0)
	return b.exec(ctx, `select trust.index_version('%[1]s', '%[2]s'), trust.open_version('%[1]s'); analyze %[1]s`,
		b.next, b.done.Kept)
}

// compare counts what is wrong in the live version. The two versions are at different
// positions, so the rows of streams with events in between are left out: an event may
// change other rows than the one whose newest event it is.
func (b *rebuild) compare(ctx context.Context) error {
	const sql = `with changed as materialized (
			select e.tenant_id, e.stream_id from trust.events e where e.stream_type = $1 and e.position > $2)
		select count(*) filter (where o.position is null), count(*) filter (where n.position is null),
			count(*) filter (where n.position is not null and o.position is not null), min(coalesce(n.id, o.id)::text)
		from %[1]s n full join %[2]s o using (%[3]s)
		where n is distinct from o and not exists (select from changed c
			where c.tenant_id = coalesce(n.%[4]s, o.%[4]s) and c.stream_id = coalesce(n.%[5]s, o.%[5]s))`

	b.report(Comparing, 0, 0)
	// Read before the rows, so that what they gain meanwhile is left out.
	checkpoint, err := follow.Position(ctx, b.tx, b.Name())
	after := min(checkpoint, b.done.Position)
	if isBackwards(err) {
		after = math.MaxInt64 // rows of events that no longer exist count as extra
	} else if err != nil {
		return err
	}

	if err := b.exec(ctx, "set local work_mem = '64MB'"); err != nil {
		return err
	}

	wrong, first := &b.done.Wrong, (*string)(nil)
	source := b.source()
	statement := fmt.Sprintf(sql, b.next, b.done.Kept, strings.Join(source.key, ", "),
		source.stream[0], source.stream[1])
	err = b.tx.QueryRow(ctx, statement, string(source.kind), after).
		Scan(&wrong.Missing, &wrong.Extra, &wrong.Changed, &first)
	if err != nil || first == nil {
		return err
	}

	wrong.First, err = uuid.Parse(*first)
	return err
}

// follow folds new events of the log, as a projector does, until few are left.
func (b *rebuild) follow(ctx context.Context) error {
	for {
		head, err := eventstore.Head(ctx, b.tx)
		if err != nil {
			return err
		}

		b.report(Following, b.done.Position, head)
		if head-b.done.Position <= closeBehind {
			return nil
		}
		if err := b.foldTo(ctx, min(head, b.done.Position+pageSize)); err != nil {
			return err
		}
	}
}

func (b *rebuild) foldTo(ctx context.Context, upTo int64) error {
	if upTo <= b.done.Position {
		return nil
	}

	events, err := b.reader.RangeOf(ctx, b.tx, b.Kinds(), b.done.Position, upTo)
	if err != nil {
		return err
	}
	if len(events) > 0 {
		if err := b.into(b.next).Apply(ctx, follow.Tx{Tx: b.tx, Log: b.reader}, events, upTo); err != nil {
			return err
		}
	}

	b.done.Position = upTo
	return nil
}

// change points the view at the next version, and drops the versions that earlier
// rebuilds kept.
func (b *rebuild) change(ctx context.Context) error {
	b.report(Switching, 0, 0)
	if err := lockView(ctx, b.tx, b.Name(), b.wait); err != nil {
		return err
	}

	// A page with nothing for this table does not touch the view, so the view's lock does
	// not stop its projector: the checkpoint's own lock does.
	checkpoint, err := follow.Hold(ctx, b.tx, b.Name())
	if isBackwards(err) {
		checkpoint = 0 // Advance brings it back to the log
	} else if err != nil {
		return err
	}

	if err := b.foldTo(ctx, checkpoint); err != nil {
		return err
	}
	// The projector will not see these events any more.
	if err := b.into(b.next).forget(ctx, b.tx, checkpoint, b.done.Position); err != nil {
		return err
	}

	if err := b.exec(ctx, "create or replace view %s with (security_invoker = true) as select * from %s",
		view(b.Name()), b.next); err != nil {
		return err
	}
	if _, err := dropAllBut(ctx, b.tx, b.Name(), b.next, b.done.Kept); err != nil {
		return err
	}

	return follow.Advance(ctx, b.tx, b.Name(), b.done.Position)
}

// wait follows the log a little further while somebody else holds the table.
func (b *rebuild) wait(ctx context.Context) error {
	b.report(Waiting, 0, 0)
	return b.follow(ctx)
}

// isBackwards reports whether err says that a projector is ahead of its log, so that its
// checkpoint is no position of that log.
func isBackwards(err error) bool {
	_, ok := errors.AsType[*follow.BackwardsError](err)
	return ok
}

// exec runs statements with names in them, all of which this package made.
func (b *rebuild) exec(ctx context.Context, format string, names ...any) error {
	_, err := b.tx.Exec(ctx, fmt.Sprintf(format, names...))
	return err
}
