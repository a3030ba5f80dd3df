package projections

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The database holds a read table in versions: trust.users_v1, trust.users_v2 and so on.
// The view trust.users names the live version, the one that is read and followed; a
// rebuild makes the next version and keeps the one before. Pointing the view at another
// version, or dropping one, takes the view's lock, so that nobody reads or writes
// meanwhile.

// liveVersion returns the version that a projection's view names.
func liveVersion(ctx context.Context, tx pgx.Tx, projection string) (name string, err error) {
	if err := tx.QueryRow(ctx, "select trust.live_version($1)::text", projection).Scan(&name); err != nil {
		return "", fmt.Errorf("which version is %s: %w", view(projection), err)
	}
	return name, nil
}

// versions lists all versions of a read table.
func versions(ctx context.Context, tx pgx.Tx, projection string) ([]string, error) {
	const sql = `select 'trust.' || c.relname from pg_catalog.pg_class c
		where c.relnamespace = 'trust'::regnamespace and c.relkind = 'r' and c.relname ~ $1 order by c.oid`

	found, err := tx.Query(ctx, sql, "^"+projection+"_v[0-9]+$")
	if err != nil {
		return nil, fmt.Errorf("versions of %s: %w", view(projection), err)
	}
	names, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("versions of %s: %w", view(projection), err)
	}
	return names, nil
}

// nextVersion makes the name of the next version.
func nextVersion(projection string, all []string) string {
	newest := 0
	for _, name := range all {
		if n, err := strconv.Atoi(regexp.MustCompile(`[0-9]+$`).FindString(name)); err == nil {
			newest = max(newest, n)
		}
	}
	return fmt.Sprintf("%s_v%d", view(projection), newest+1)
}

// keepVersions keeps rebuilds from switching until the transaction ends. It must be the
// transaction's first statement: a snapshot of before a switch does not see the rows that
// the view names after it.
func keepVersions(ctx context.Context, tx pgx.Tx) error {
	for _, p := range All() {
		if _, err := tx.Exec(ctx, "lock table "+view(p.Name())+" in access share mode"); err != nil {
			return err
		}
	}
	return nil
}

// lockView keeps everybody else from a read table until the transaction ends. It waits
// for the lock a second at a time, because others queue up behind it, and calls between
// after each attempt that fails.
func lockView(ctx context.Context, tx pgx.Tx, projection string, between func(context.Context) error) error {
	const sql = "set local lock_timeout = '1s'; lock table %s in access exclusive mode; set local lock_timeout = 0"
	const notAvailable = "55P03"

	for {
		err := pgx.BeginFunc(ctx, tx, func(try pgx.Tx) error {
			_, err := try.Exec(ctx, fmt.Sprintf(sql, view(projection)))
			return err
		})
		if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || refused.Code != notAvailable {
			return err
		}

		select {
		case <-time.After(time.Second / 2):
		case <-ctx.Done():
		}

		if err := between(ctx); err != nil {
			return err
		}
	}
}

// dropAllBut drops all versions except those to keep, and returns the names of those it
// dropped. The view must be locked.
func dropAllBut(ctx context.Context, tx pgx.Tx, projection string, keep ...string) (dropped []string, err error) {
	all, err := versions(ctx, tx, projection)
	if err != nil {
		return nil, err
	}

	for _, name := range all {
		if slices.Contains(keep, name) {
			continue
		}
		if _, err := tx.Exec(ctx, "drop table "+name); err != nil {
			return nil, fmt.Errorf("drop %s: %w", name, err)
		}
		dropped = append(dropped, name)
	}
	return dropped, nil
}

// DropKept drops the versions of a read table that rebuilds have kept, and returns their
// names.
func DropKept(ctx context.Context, db Beginner, p Projection) (dropped []string, err error) {
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		nothing := func(ctx context.Context) error { return ctx.Err() }
		if err := lockView(ctx, tx, p.Name(), nothing); err != nil {
			return err
		}

		live, err := liveVersion(ctx, tx, p.Name())
		if err != nil {
			return err
		}
		dropped, err = dropAllBut(ctx, tx, p.Name(), live)
		return err
	})
	return dropped, err
}
