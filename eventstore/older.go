package eventstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// codePage is how many positions are read at once.
const codePage = 2000

// Coded tells whether every genuine event has a code, so that an event without one is
// forged.
func Coded(ctx context.Context, db Querier) (coded bool, err error) {
	err = db.QueryRow(ctx, "select exists (select from trust.coded)").Scan(&coded)
	return coded, Unavailable(err)
}

// CodeOlder makes codes for the events that older programs appended, page by page, each
// in its own transaction. It can be stopped and run again at any point, even while others
// append. At the end it marks the log; from then on such programs are refused. It returns
// how many events it coded. It trusts what it finds: what was forged before stays
// unnoticed.
//
// The pool connects as trust_owner. Errors: a gap in the log, CodeUnavailable.
func (r *Reader) CodeOlder(
	ctx context.Context, pool *pgxpool.Pool, report func(done, total int64),
) (given int64, err error) {
	coded, err := Coded(ctx, pool)
	if err != nil || coded {
		return 0, err
	}

	var position int64
	if err := pool.QueryRow(ctx, "select coalesce(max(position), 0) from trust.codes").Scan(&position); err != nil {
		return 0, Unavailable(err)
	}

	for {
		head, err := Head(ctx, pool)
		if err != nil {
			return given, err
		}
		last := head-position <= codePage
		upTo := min(position+codePage, head)

		var n int64
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
			n, upTo, err = r.codePage(ctx, tx, position, upTo, last)
			return err
		})
		if err != nil {
			return given, Unavailable(err)
		}

		given, position = given+n, upTo
		if report(position, max(head, position)); last {
			return given, nil
		}
	}
}

// codePage makes codes for the events of a page. The last page is all that is left,
// whatever came meanwhile: nothing is appended while the log is being marked.
func (r *Reader) codePage(ctx context.Context, tx pgx.Tx, after, upTo int64, last bool) (given, end int64, err error) {
	if last {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(7267411)"); err != nil {
			return 0, 0, err
		}
		if upTo, err = Head(ctx, tx); err != nil {
			return 0, 0, err
		}
	}

	found, err := tx.Query(ctx, "select "+columns+inRange, after, upTo)
	rows, err := everyRow(after, upTo, found, err)
	if err != nil {
		return 0, 0, err
	}

	var positions []int64
	var codes [][]byte
	for i := range rows {
		if row := &rows[i]; row.code == nil {
			covered := coded{&row.Recorded, row.eventType, row.payload, row.sealed, row.metadata}
			positions, codes = append(positions, row.Position), append(codes, r.vault.codes.of(covered, allFlags))
		}
	}

	const give = "insert into trust.codes (position, code) select * from unnest($1::bigint[], $2::bytea[])"
	_, err = tx.Exec(ctx, give, positions, codes)
	if err == nil && last {
		_, err = tx.Exec(ctx, "insert into trust.coded (position, code) values ($1, $2)", upTo,
			r.vault.codes.boundary(upTo))
	}
	return int64(len(positions)), upTo, err
}

// ErrMark says that the mark of a fully coded log was not set by a program with the
// master key.
var ErrMark = errors.New("trust.coded is not what trust codes wrote")

// Mark returns the position above which every event has its code in its own row. Error:
// ErrMark.
func (r *Reader) Mark(ctx context.Context, db Querier) (position int64, marked bool, err error) {
	var code []byte
	err = db.QueryRow(ctx, "select position, code from trust.coded").Scan(&position, &code)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err == nil && !r.vault.codes.isBoundary(position, code) {
		err = ErrMark
	}
	return position, err == nil, Unavailable(err)
}
