package projections_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// People are found by address, number or role through an index, however many people a
// municipality has. Row-level security keeps a comparison that may leak from using an
// index, and a planner that knows nothing of the values prefers to scan everybody.
func TestAPersonIsFoundByAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plans := &pgtest.Plans{}
	queries := projections.NewQueries(plans.Pool(t, w.db, pgtest.Query), nil)
	_, err := w.db.Superuser(t).Exec(t.Context(),
		`insert into trust.users (id, tenant_id, municipality_code, email, full_name, phone,
			preferred_language, role, is_active, is_erased, created_at, updated_at, version, position)
		select gen_random_uuid(), $1, 'CPT',
			case when n % 10 = 0 then '' else 'Person' || n || '@example.org' end, 'Person ' || n,
			case when n % 10 = 0 then '' else '+2782' || lpad(n::text, 7, '0') end, 'en',
			case n when 777 then 'admin' else 'citizen' end, true, n % 10 = 0, now(), now(), 1, n + 1
		from generate_series(1, 30000) n`, w.tenant.UUID)
	must(t, err)

	for _, when := range []string{"before the table was analysed", "afterwards"} {
		for index, filter := range map[string]projections.UserFilter{
			"users_v1_email_idx": {Email: "PERSON777@example.org"}, "users_v1_phone_idx": {Phone: "+27820000777"},
			"users_v1_role_idx": {Role: domain.Admin},
		} {
			for range 8 { // from the sixth call on Postgres may reuse a generic plan
				plans.Forget()
				list, err := queries.Users(t.Context(), w.tenant, filter, projections.Page{Limit: 1})
				must(t, err)
				if len(list.Items) != 1 || list.Items[0].FullName != "Person 777" {
					t.Fatalf("found %+v", list)
				}
				if plan := plans.Of("trust.users"); len(plan) != 1 || !strings.Contains(plan[0], index) {
					t.Fatalf("%s, without %s: %s", when, index, plan)
				}
			}
		}

		_, err := w.db.Superuser(t).Exec(t.Context(), "analyze trust.users_v1")
		must(t, err)
	}
}

// A name that few have is found among many people by reading nothing but an index that
// holds what is compared.
func TestAPartOfANameIsFoundInAnIndexAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plans := &pgtest.Plans{}
	queries := projections.NewQueries(plans.Pool(t, w.db, pgtest.Query), nil)
	super := w.db.Superuser(t)
	_, err := super.Exec(t.Context(),
		`insert into trust.users (id, tenant_id, municipality_code, email, full_name, phone,
			preferred_language, role, is_active, is_erased, created_at, updated_at, version, position)
		select gen_random_uuid(), $1, 'CPT', 'Person' || n || '@example.org', 'Person ' || n, '', 'en',
			'citizen', n % 2 = 0, false, now(), now(), 1, n + 1
		from generate_series(1, 30000) n`, w.tenant.UUID)
	must(t, err)
	_, err = super.Exec(t.Context(), "vacuum (analyze) trust.users_v1")
	must(t, err)

	active := true
	for what, filter := range map[string]projections.UserFilter{
		"a name": {Q: "pERSON 777"}, "an address": {Q: "N777@EXAMPLE"}, "a word that nobody has": {Q: "zzzqqq"},
		"a name and more": {Q: "on 77", Active: &active, Account: &active},
	} {
		for range 8 { // from the sixth call on Postgres may reuse a generic plan
			plans.Forget()
			_, err := queries.Users(t.Context(), w.tenant, filter, projections.Page{})
			must(t, err)
			plan := plans.Of("trust.users")
			if len(plan) != 1 || !strings.Contains(plan[0], "Index Only Scan Backward using users_v1_search_idx") ||
				strings.Contains(plan[0], "Seq Scan") {
				t.Fatalf("%s: %s", what, plan)
			}
		}
	}
}

// Personal values must be in the rows alone, which an erasure reaches: not in statistics,
// and not in what a B-tree compares, which it keeps where its pages divide. Columns that
// are only included go with their rows.
func TestNoIndexOrStatisticKeepsWhatAnErasureBlanks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := newRebuilder(t, w)
	r.rebuild(t, "users")
	personal := []string{"email", "email_folded", "full_name", "phone", "search_folded"}

	for _, version := range w.versions(t, "users") {
		var analyzed, btrees []string
		must(t, w.db.Superuser(t).QueryRow(t.Context(), `select
			(select array_agg(attname::text order by attname) from pg_attribute
				where attrelid = ('trust.' || $1)::regclass and attnum > 0 and attstattarget is distinct from 0),
			(select array_agg(pg_get_indexdef(indexrelid))
				from pg_index join pg_class x on x.oid = indexrelid join pg_am m on m.oid = relam
				where indrelid = ('trust.' || $1)::regclass and amname <> 'hash')`, version).Scan(&analyzed, &btrees))
		if len(analyzed) < 5 || len(btrees) < 1 {
			t.Fatalf("%s: columns %v and indexes %v: this test looks in the wrong place", version, analyzed, btrees)
		}

		for _, column := range personal {
			if slices.Contains(analyzed, column) {
				t.Errorf("%s: statistics are kept of %s", version, column)
			}
			for _, index := range btrees {
				if compared, _, _ := strings.Cut(index, " INCLUDE "); strings.Contains(compared, column) {
					t.Errorf("%s keeps values of %s: %s", version, column, index)
				}
			}
		}
	}
}
