package eventstore_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The usual defect of such systems: a position is assigned before the commit, so a reader
// passes it and never comes back. Here transaction A appends and stays open, and B
// appends. Whatever order they commit in, a reader that goes on from what it saw sees
// every event.
func TestNothingIsSkippedWhenAnEarlierAppendCommitsLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reader := newTail(t, w)
	reader.readAll(t)

	a := begin(t, w)
	a.append(t, w)
	b := begin(t, w)

	appended := make(chan error, 1)
	go func() {
		_, err := b.tx.Exec(t.Context(), b.sql, b.args...)
		if err == nil {
			err = b.tx.Commit(t.Context())
		}
		appended <- err
	}()
	w.awaitBlocked(t, b)

	reader.readAll(t) // neither is visible
	if err := a.tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader.readAll(t) // A is
	if err := pgtest.Receive(t, appended); err != nil {
		t.Fatal(err)
	}
	reader.readAll(t) // and B, above it

	if head := w.head(t); reader.seen != head {
		t.Errorf("the reader saw everything up to %d of %d", reader.seen, head)
	}
	if a.position(t, w) >= b.position(t, w) {
		t.Error("positions do not follow commit order")
	}
}

func TestARolledBackAppendLeavesNoGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.head(t)
	a := begin(t, w)
	a.append(t, w)
	if err := a.tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	done := must(t)(w.store.Append(t.Context(), grant(w.tenant, someone(), 0)))
	if done.Position() != before+1 {
		t.Errorf("the next append is at %d, want %d", done.Position(), before+1)
	}
}

// tail reads on from where it was, as a projector does: the range up to the head that it
// sees, every position of it.
type tail struct {
	conn   *pgx.Conn
	reader *eventstore.Reader
	seen   int64
}

func newTail(t *testing.T, w *world) *tail {
	t.Helper()
	conn := w.db.Conn(t, pgtest.Projector)
	reader, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
	if err != nil {
		t.Fatal(err)
	}
	return &tail{conn: conn, reader: reader}
}

func (r *tail) readAll(t *testing.T) {
	t.Helper()
	head, err := eventstore.Head(t.Context(), r.conn)
	if err != nil {
		t.Fatal(err)
	}

	tx, err := r.conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())

	events, err := r.reader.Range(t.Context(), tx, r.seen, head)
	if err != nil {
		t.Fatal(err)
	}
	r.seen += int64(len(events))
}

// opened is an append in a transaction that the test holds open.
type opened struct {
	tx     pgx.Tx
	sql    string
	args   []any
	stream [16]byte
}

func begin(t *testing.T, w *world) *opened {
	t.Helper()
	tx, err := w.db.Conn(t, pgtest.Query).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	// As a program calls it that knows no codes.
	const sql = `select trust.append(
		array[$1]::uuid[], array[$2]::uuid[], array[1], array[1], array[$2]::uuid[], array['consent'],
		array[$3]::uuid[], array[0], array[1], array[1], array[1], array[$4]::uuid[], array['consent.granted.v1'],
		array[$3]::uuid[], array[$3]::uuid[], array[null]::uuid[], array['{}'], array[null]::bytea[], array['{}'],
		array[null]::timestamptz[], null)`
	w.beforeCodes(t)
	stream := newID()
	return &opened{tx: tx, stream: stream, sql: sql, args: []any{newID(), w.tenant.UUID, stream, newID()}}
}

func (o *opened) append(t *testing.T, _ *world) {
	t.Helper()
	if _, err := o.tx.Exec(t.Context(), o.sql, o.args...); err != nil {
		t.Fatal(err)
	}
}

func (o *opened) position(t *testing.T, w *world) (position int64) {
	t.Helper()
	err := w.db.Superuser(t).QueryRow(t.Context(), "select position from trust.events where stream_id = $1", o.stream).
		Scan(&position)
	if err != nil {
		t.Fatal(err)
	}
	return position
}

// awaitBlocked returns once an append waits for the log's lock.
func (w *world) awaitBlocked(t *testing.T, o *opened) {
	t.Helper()
	conn := w.db.Superuser(t)
	pid := o.tx.Conn().PgConn().PID()
	pgtest.Eventually(t, "it waits", func() (blocked bool) {
		err := conn.QueryRow(t.Context(), "select exists (select from pg_locks where pid = $1 and not granted)", pid).
			Scan(&blocked)
		if err != nil {
			t.Fatal(err)
		}
		return blocked
	})
}

func (w *world) head(t testing.TB) int64 {
	t.Helper()
	head, err := w.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}
