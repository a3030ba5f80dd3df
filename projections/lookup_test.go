package projections_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/migrations/pgtest"
	"github.com/salga-trust/engine/projections"
)

// Who is asked for by address or number is found by an index, however many people a municipality has: row-level security keeps an
// index from being used by a comparison that may leak, and a planner that knows nothing of the values likes to walk everybody.
func TestAPersonIsFoundByAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seen := &plans{}
	queries := projections.NewQueries(seen.connect(t, w.db))
	_, err := w.db.Superuser(t).Exec(t.Context(), `insert into trust.users (id, tenant_id, municipality_code, email, full_name, phone,
			preferred_language, role, is_active, is_erased, created_at, updated_at, version, position)
		select gen_random_uuid(), $1, 'CPT', case when n % 10 = 0 then '' else 'Person' || n || '@example.org' end, 'Person ' || n,
			case when n % 10 = 0 then '' else '+2782' || lpad(n::text, 7, '0') end, 'en', 'citizen', true, n % 10 = 0, now(), now(), 1, n + 1
		from generate_series(1, 30000) n`, w.tenant.UUID)
	must(t, err)
	for _, when := range []string{"before the table was analysed", "afterwards"} {
		for index, filter := range map[string]projections.UserFilter{
			"users_v1_email_idx": {Email: "PERSON777@example.org"}, "users_v1_phone_idx": {Phone: "+27820000777"},
		} {
			for range 8 { // from the sixth call on Postgres may keep a plan
				seen.forget()
				list, err := queries.Users(t.Context(), w.tenant, filter, projections.Page{Limit: 1})
				must(t, err)
				if len(list.Items) != 1 || list.Items[0].FullName != "Person 777" {
					t.Fatalf("found %+v", list)
				}
				if plan := seen.one(t, "trust.users"); !strings.Contains(plan, index) {
					t.Fatalf("%s, without %s: %s", when, index, plan)
				}
			}
		}
		_, err := w.db.Superuser(t).Exec(t.Context(), "analyze trust.users_v1")
		must(t, err)
	}
}

// Values of a person must stand in the rows alone, which an erasure reaches: not in statistics, and not in a btree, which keeps values
// where its pages divide.
func TestNoIndexOrStatisticKeepsWhatAnErasureBlanks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRebuilder(t, w)
	r.rebuild(t, "users")
	personal := []string{"email", "email_folded", "full_name", "phone"}
	for _, version := range w.versions(t, "users") {
		var analyzed, btrees []string
		must(t, w.db.Superuser(t).QueryRow(t.Context(), `select
			(select array_agg(attname::text order by attname) from pg_attribute
				where attrelid = ('trust.' || $1)::regclass and attnum > 0 and attstattarget <> 0),
			(select array_agg(pg_get_indexdef(indexrelid)) from pg_index join pg_class x on x.oid = indexrelid join pg_am m on m.oid = relam
				where indrelid = ('trust.' || $1)::regclass and amname <> 'hash')`, version).Scan(&analyzed, &btrees))
		if len(analyzed) < 5 || len(btrees) < 1 {
			t.Fatalf("%s: columns %v and indexes %v: this test looks in the wrong place", version, analyzed, btrees)
		}
		for _, column := range personal {
			if slices.Contains(analyzed, column) {
				t.Errorf("%s: statistics are kept of %s", version, column)
			}
			for _, index := range btrees {
				if strings.Contains(index, column) {
					t.Errorf("%s keeps values of %s: %s", version, column, index)
				}
			}
		}
	}
}

// plans collects what auto_explain says of the statements on its connections.
type plans struct {
	mu    sync.Mutex
	found []string
}

func (p *plans) connect(t *testing.T, db *pgtest.DB) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(db.URL(pgtest.Query))
	must(t, err)
	config.MaxConns = 1
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.found = append(p.found, n.Message)
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `set role none; load 'auto_explain'; set auto_explain.log_min_duration = 0;
			set client_min_messages = log; set role `+pgtest.Query)
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func (p *plans) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = nil
}

// one gives the plan of the one statement that has a text in it.
func (p *plans) one(t *testing.T, text string) (plan string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, found := range p.found {
		if strings.Contains(found, text) {
			plan += found
		}
	}
	if strings.Count(plan, "Query Text:") != 1 {
		t.Fatalf("not one statement about %s: %s", text, plan)
	}
	return plan
}
