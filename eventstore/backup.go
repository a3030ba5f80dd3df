package eventstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// Backup reads everything that cannot be rebuilt, as of one instant. Create it with
// BeginBackup and end it with Close; it is for one goroutine.
//
// It writes tables in the format of pg_dump: a line that names table and columns, the
// rows in COPY format, and a line with only \. on it. So a backup can be read without
// this program, and json keeps its exact bytes.
type Backup struct {
	tx   pgx.Tx
	head int64
}

// erasures is not a table: it holds the certificates of all erasures, which travel with
// the tombstones.
const erasures = "erasures"

// keyTables lists the tables that belong to people's keys: their content is secret, and
// goes when the person is erased. Sessions are not kept.
func keyTables() []string { return []string{"keys", "secrets", "credentials", "claims"} }

// BeginBackup takes the snapshot. The connection's login is a member of trust_owner.
func BeginBackup(ctx context.Context, conn *pgx.Conn) (*Backup, error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, Unavailable(err)
	}

	b := &Backup{tx: tx}
	_, err = tx.Exec(ctx, `set local role trust_owner; set local datestyle = 'ISO, YMD'; set local timezone = 'UTC';
		set local bytea_output = 'hex'`)
	if err == nil {
		b.head, err = Head(ctx, tx)
	}
	if err != nil {
		b.Close(ctx)
		return nil, Unavailable(err)
	}
	return b, nil
}

// Close ends the backup.
func (b *Backup) Close(ctx context.Context) { _ = b.tx.Rollback(context.WithoutCancel(ctx)) }

// Head returns the newest position in the snapshot.
func (b *Backup) Head() int64 { return b.head }

// WriteEvents writes the log, and returns the number of rows by section. Nothing that it
// writes identifies a person in readable form.
func (b *Backup) WriteEvents(ctx context.Context, w io.Writer) (map[string]int64, error) {
	columns, err := b.columns(ctx, "events")
	if err != nil {
		return nil, err
	}

	// An event goes with its code, whichever table holds it; the column of that name is
	// the last in the list.
	query := "select " + strings.TrimSuffix(columns, ", code") + theCode + " from trust.events order by position"
	n, err := b.section(ctx, w, "events", columns, query)
	if err != nil {
		return nil, err
	}

	rows := map[string]int64{"events": n}
	if _, err = b.table(ctx, w, codedTable, ""); err != nil {
		return nil, err
	}
	for _, table := range signedTables() {
		if rows[table], err = b.table(ctx, w, table, " order by number"); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// signedTables hold what was signed of the events, which cannot be made again. They come
// last, because older backups lack them. The hashes of the tree are made again.
func signedTables() []string { return []string{"log_signers", "log_checkpoints", "log_cosignatures"} }

// codedTable says whether an event without a code is forged. It goes with the events,
// because these may be older than the keys.
const codedTable = "coded"

// WriteKeys writes keys with their tombstones, secrets, credentials, claims, and the
// certificates of erasures. It returns the number of rows by section.
func (b *Backup) WriteKeys(ctx context.Context, w io.Writer) (map[string]int64, error) {
	rows := map[string]int64{}
	for _, table := range keyTables() {
		n, err := b.table(ctx, w, table, "")
		if err != nil {
			return nil, err
		}
		rows[table] = n
	}

	// By way of the tombstones: an index leads from a person to their events, and none to
	// a type of event.
	n, err := b.section(ctx, w, erasures, erasureColumns, `select x.* from trust.keys k, lateral (
		select `+erasureColumns+` from trust.events e
		where e.subject_id = k.key_id and e.event_type = '`+erasedType()+`' order by position limit 1) x
		where k.kind = 'subject' and k.destroyed_at is not null`)
	rows[erasures] = n
	if err != nil {
		return nil, err
	}

	rows[secretsTable], err = b.table(ctx, w, secretsTable, "")
	return rows, err
}

// secretsTable holds what proves the secrets of programs. It comes last, because older
// backups lack it.
const secretsTable = "client_secrets"

const erasureColumns = "tenant_id, stream_id, append_id, payload, position, recorded_at"

func erasedType() string { return (*domain.UserErased)(nil).EventType() }

// table writes a whole table, with the columns it has in the database.
func (b *Backup) table(ctx context.Context, w io.Writer, table, order string) (int64, error) {
	columns, err := b.columns(ctx, table)
	if err != nil {
		return 0, err
	}
	return b.section(ctx, w, table, columns, "select "+columns+" from trust."+table+order)
}

func (b *Backup) columns(ctx context.Context, table string) (columns string, err error) {
	const sql = `select string_agg(attname, ', ' order by attnum) from pg_catalog.pg_attribute
		where attrelid = $1::text::regclass and attnum > 0 and not attisdropped`
	if err := b.tx.QueryRow(ctx, sql, "trust."+table).Scan(&columns); err != nil {
		return "", fmt.Errorf("columns of %s: %w", table, Unavailable(err))
	}
	return columns, nil
}

// section writes the result of a query. It copies a query because COPY of a table does
// not work under row-level security.
func (b *Backup) section(ctx context.Context, w io.Writer, name, columns, query string) (int64, error) {
	if _, err := io.WriteString(w, headerOf(name, columns)); err != nil {
		return 0, err
	}

	tag, err := b.tx.Conn().PgConn().CopyTo(ctx, w, "copy ("+query+") to stdout")
	if err != nil {
		return 0, fmt.Errorf("copy %s: %w", name, Unavailable(err))
	}
	_, err = io.WriteString(w, endOfRows)
	return tag.RowsAffected(), err
}

const endOfRows = "\\.\n"

func headerOf(name, columns string) string {
	return "COPY trust." + name + " (" + columns + ") FROM stdin;\n"
}

// columnsOf parses a header. The names become part of statements, so anything else is
// refused.
func columnsOf(header, name string) (string, error) {
	match := regexp.MustCompile(`^COPY trust\.` + name + ` \(([a-z_0-9]+(?:, [a-z_0-9]+)*)\) FROM stdin;\n$`).
		FindStringSubmatch(header)
	if match == nil {
		return "", fmt.Errorf("%w: the section %s does not begin with its header", ErrNoBackup, name)
	}
	return match[1], nil
}

// ErrNoBackup says that the input is not what a Backup wrote, or not all of it.
var ErrNoBackup = errors.New("this is not a whole backup")
