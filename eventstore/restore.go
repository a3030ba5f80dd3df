package eventstore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
)

// Restore fills an empty database from a backup, in one transaction: until Finish nobody
// sees a change. Meanwhile, and for good if the restore does not finish, the database is
// closed to everybody but its owner. Call in this order: ReadKeys, Prove, ReadEvents,
// Settle, Forged, Erasures (and for each of them LoadLog and AppendAsOf), Finish; end it
// with Close. It is for one goroutine.
type Restore struct {
	tx     pgx.Tx
	vault  *vault // once it is proven
	events int64  // rows read
}

// ErrNotEmpty says that the database is already in use.
var ErrNotEmpty = errors.New("the database is not empty")

// ErrOtherKeys says that people or tenants of the log have neither a key nor a tombstone
// in the keys that were read.
var ErrOtherKeys = errors.New("these keys do not belong to these events")

// others are the roles of running processes.
const others = "trust_query, trust_projector, trust_audit"

// CheckEmpty returns ErrNotEmpty if the database holds events, keys or secrets. The
// database need not have been migrated.
func CheckEmpty(ctx context.Context, conn *pgx.Conn) error {
	const sql = `select exists (select from pg_catalog.pg_tables where schemaname = 'trust' and tablename = 'events')`

	var migrated bool
	if err := conn.QueryRow(ctx, sql).Scan(&migrated); err != nil || !migrated {
		return Unavailable(err)
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return checkEmpty(ctx, tx) })
}

// checkEmpty looks as the owner, and leaves that role set.
func checkEmpty(ctx context.Context, tx pgx.Tx) error {
	const sql = `select exists (select from trust.events) or exists (select from trust.keys)
		or exists (select from trust.secrets)`

	if _, err := tx.Exec(ctx, "set local role trust_owner"); err != nil {
		return Unavailable(err)
	}

	var used bool
	if err := tx.QueryRow(ctx, sql).Scan(&used); err != nil {
		return Unavailable(err)
	}
	if used {
		return ErrNotEmpty
	}
	return nil
}

// BeginRestore closes a migrated, empty database to others and begins. The connection's
// login is a member of trust_owner and trust_append. Error: ErrNotEmpty.
func BeginRestore(ctx context.Context, conn *pgx.Conn) (*Restore, error) {
	// Committed at once, and undone only by Finish: a restore that is killed leaves a
	// database that no process can open.
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := lockLog(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "revoke usage on schema trust from "+others)
		return Unavailable(err)
	})
	if err != nil {
		return nil, err
	}

	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, Unavailable(err)
	}
	r := &Restore{tx: tx}
	// Checked again, because another restore, or an API that was faster, may have come in
	// between.
	if err = lockLog(ctx, tx); err == nil {
		// Unheard, because there is nobody to wake.
		_, err = tx.Exec(ctx, beUnheard+"; set local role trust_append")
	}
	if err != nil {
		r.Close(ctx)
		return nil, Unavailable(err)
	}
	return r, nil
}

// lockLog takes the lock of trust.append, and checks that the database is empty.
func lockLog(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(7267411)"); err != nil {
		return Unavailable(err)
	}
	return checkEmpty(ctx, tx)
}

// Close undoes everything unless Finish succeeded.
func (r *Restore) Close(ctx context.Context) { _ = r.tx.Rollback(context.WithoutCancel(ctx)) }

// ReadKeys reads what WriteKeys wrote. Error: ErrNoBackup.
func (r *Restore) ReadKeys(ctx context.Context, from io.Reader) error {
	const certificates = `create temp table erasures (tenant_id uuid not null, stream_id uuid not null,
		append_id uuid not null, payload json not null, position bigint not null, recorded_at timestamptz not null)`

	if _, err := r.tx.Exec(ctx, certificates); err != nil {
		return Unavailable(err)
	}

	in := bufio.NewReader(from)
	for _, table := range keyTables() {
		if _, err := r.section(ctx, in, table, "trust."+table, nil); err != nil {
			return err
		}
	}
	if _, err := r.section(ctx, in, erasures, "pg_temp.erasures", nil); err != nil {
		return err
	}

	// Older backups end here.
	if _, err := in.Peek(1); err == nil {
		if _, err := r.section(ctx, in, secretsTable, "trust."+secretsTable, nil); err != nil {
			return err
		}
	}
	return atEnd(in)
}

// Prove checks the master key against the secrets that were read. Errors:
// ErrWrongMasterKey, ErrNoBackup.
func (r *Restore) Prove(ctx context.Context, masterKey []byte) error {
	// Not counting the key of codes, which older backups lack.
	count := func() (n int, err error) {
		err = r.tx.QueryRow(ctx, "select count(*) from trust.secrets where name <> $1", codesSecret).Scan(&n)
		return n, Unavailable(err)
	}

	before, err := count()
	if err != nil {
		return err
	}
	if r.vault, err = proveVault(ctx, r.tx, masterKey); err != nil {
		return err
	}

	// Proving the key creates a missing secret, and a new one opens nothing of the
	// backup.
	after, err := count()
	if err == nil && after != before {
		err = fmt.Errorf("%w: it lacks a secret", ErrNoBackup)
	}
	return err
}

// ReadEvents reads what WriteEvents wrote, and calls progress with each number of rows
// taken in. Error: ErrNoBackup.
func (r *Restore) ReadEvents(ctx context.Context, from io.Reader, progress func(rows int64)) (err error) {
	in := bufio.NewReader(from)
	if r.events, err = r.section(ctx, in, "events", "trust.events", progress); err != nil {
		return err
	}

	for _, table := range append([]string{codedTable}, signedTables()...) {
		// Older backups end here.
		if _, err := in.Peek(1); err != nil {
			break
		}
		if _, err := r.section(ctx, in, table, "trust."+table, nil); err != nil {
			return err
		}
	}
	return atEnd(in)
}

// section reads one section into a table by way of a temporary one, because COPY does not
// work into a table under row-level security. It takes the columns that both have, so
// that a newer schema accepts an older backup.
func (r *Restore) section(
	ctx context.Context, in *bufio.Reader, name, table string, progress func(int64),
) (total int64, err error) {
	header, err := in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	columns, err := columnsOf(header, name)
	if err != nil {
		return 0, err
	}

	_, err = r.tx.Exec(ctx, "create temp table incoming as select "+columns+" from "+table+" with no data")
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, Unavailable(err))
	}

	var chunk bytes.Buffer
	for end := false; !end; {
		var rows int64
		if rows, end, err = nextRows(in, &chunk); err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		if err := r.store(ctx, &chunk, table, columns); err != nil {
			return 0, fmt.Errorf("read %s: %w", name, Unavailable(err))
		}
		if total += rows; progress != nil {
			progress(rows)
		}
	}

	_, err = r.tx.Exec(ctx, "drop table pg_temp.incoming")
	return total, Unavailable(err)
}

// store takes in a chunk of rows.
func (r *Restore) store(ctx context.Context, rows io.Reader, table, columns string) error {
	if _, err := r.tx.Conn().PgConn().CopyFrom(ctx, rows, "copy pg_temp.incoming from stdin"); err != nil {
		return err
	}
	_, err := r.tx.Exec(ctx,
		"insert into "+table+" ("+columns+") select "+columns+" from pg_temp.incoming; truncate pg_temp.incoming")
	return err
}

// chunkSize is about how many bytes are taken in at once.
const chunkSize = 4 << 20

// nextRows reads whole rows until a chunk is full or the section ends.
func nextRows(in *bufio.Reader, chunk *bytes.Buffer) (rows int64, end bool, err error) {
	chunk.Reset()
	for chunk.Len() < chunkSize {
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF):
			return 0, false, fmt.Errorf("%w: it ends too early", ErrNoBackup)
		case err != nil:
			return 0, false, err
		case string(line) == endOfRows:
			return rows, true, nil
		}

		chunk.Write(line)
		rows++
	}
	return rows, false, nil
}

func atEnd(in *bufio.Reader) error {
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: there is more after its end", ErrNoBackup)
	}
	return nil
}
