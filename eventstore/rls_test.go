package eventstore_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
)

const (
	denied  = "42501" // insufficient_privilege
	refusal = "23001" // restrict_violation, raised by the trigger
)

// sqlState returns the code of a database error; empty: there was no error.
func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// tenantRelations lists every table and view with a tenant_id, so that a new one is
// covered without being named.
func (w *world) tenantRelations(t testing.TB) []string {
	t.Helper()
	return query[[]string](t, w, `select array_agg(format('%I.%I', n.nspname, c.relname) order by c.relname)
		from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'trust' and a.attname = 'tenant_id' and not a.attisdropped
			and c.relkind in ('r', 'v', 'm', 'p')`)
}

// readable keeps the relations that the API's role may read at all.
func (w *world) readable(t testing.TB, relations []string) []string {
	t.Helper()
	return query[[]string](t, w, `select array_agg(r order by r) from unnest($1::text[]) r
		where has_table_privilege('trust_query', r, 'select')`, relations)
}

// fill adds a row of the tenant to a table that has none, with any value in each column.
func (w *world) fill(t testing.TB, table string, tenant domain.TenantID) {
	t.Helper()
	if query[int](t, w, "select count(*) from "+table+" where tenant_id = $1", tenant.UUID) > 0 {
		return
	}

	w.exec(t, query[string](t, w,
		`select format('insert into %s (%s) values (%s)', $1::text, string_agg(quote_ident(attname), ', '),
			string_agg(case when attname = 'tenant_id' then quote_literal($2::text)
				else case format_type(atttypid, null)
				when 'uuid' then 'gen_random_uuid()' when 'timestamp with time zone' then 'clock_timestamp()'
				when 'bytea' then 'uuid_send(gen_random_uuid())' when 'boolean' then 'false' when 'text' then '''x'''
				when 'json' then '''{}''' when 'jsonb' then '''{}''' when 'text[]' then '''{}'''
				else '1' end end, ', '))
		from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
		table, tenant.String()))
}

// statements are all ways to read from a relation.
func statements(relation string) map[string]string {
	return map[string]string{
		"select":    "select tenant_id::text from " + relation,
		"where":     "select tenant_id::text from " + relation + " where tenant_id = $1",
		"where not": "select tenant_id::text from " + relation + " where tenant_id <> $1 or tenant_id = $1",
		"cte":       "with x as materialized (select * from " + relation + ") select tenant_id::text from x",
		"subselect": "select (select string_agg(tenant_id::text, ' ') from " + relation + ")",
		"join":      "select b.tenant_id::text from " + relation + " a full join " + relation + " b on true",
		"join values": "select r.tenant_id::text from (values ($1::uuid)) v (id) left join " + relation +
			" r on r.tenant_id = v.id",
		"lateral": "select r.tenant_id::text from (values (1)) v, lateral (select * from " + relation + ") r",
		"union":   "select tenant_id::text from " + relation + " union select tenant_id::text from " + relation,
		"exists": "select $1::uuid::text from (values (1)) v where exists (select from " + relation +
			" where tenant_id = $1)",
		"count":        "select $1::uuid::text from " + relation + " where tenant_id = $1 having count(*) > 0",
		"window":       "select first_value(tenant_id) over (order by (tenant_id = $1) desc)::text from " + relation,
		"function":     "select public.count_of('" + relation + "', $1)",
		"whole row":    "select r::text from " + relation + " r",
		"for no key":   "select max(tenant_id::text) from " + relation,
		"leaky filter": "select tenant_id::text from " + relation + " where public.leak(tenant_id)",
	}
}

// tenants is a world with rows of two tenants in every relation.
func tenants(t testing.TB) (w *world, a, b domain.TenantID) {
	t.Helper()
	w = newWorld(t)
	a, b = w.tenant, w.municipality(t, "JHB")
	for _, tenant := range []domain.TenantID{a, b} {
		user := w.register(t, tenant, "one@example.org")
		must(t)(w.store.Append(t.Context(), side(tenant,
			domain.StartSession{Session: newID(), User: user, ExpiresAt: time.Now().Add(time.Hour)})))
	}

	for _, table := range w.tenantRelations(t) {
		if query[string](t, w, "select relkind::text from pg_class where oid = $1::regclass", table) == "r" {
			w.fill(t, table, a)
			w.fill(t, table, b)
		}
	}

	w.exec(t, `create function public.count_of(relation text, tenant uuid) returns text language plpgsql as $$
		declare n bigint; begin
			execute 'select count(*) from ' || relation || ' where tenant_id = $1' into n using tenant;
			return case when n > 0 then tenant::text end;
		end $$`)
	w.exec(t, `create function public.leak(tenant uuid) returns boolean language plpgsql cost 0.0000001 as $$
		begin raise warning 'saw %', tenant; return true; end $$`)
	return w, a, b
}

// asTenant makes the rest of a transaction see one tenant.
const asTenant = "select set_config('trust.tenant', $1, true)"

func TestNoStatementGivesARowOfAnotherTenant(t *testing.T) {
	t.Parallel()
	w, a, b := tenants(t)
	relations := w.readable(t, w.tenantRelations(t))
	if len(relations) < 8 {
		t.Fatalf("only %v", relations)
	}

	var mu sync.Mutex
	var notices []string
	config, err := pgxpool.ParseConfig(w.db.URL(pgtest.Query))
	if err != nil {
		t.Fatal(err)
	}
	// So that both tenants take turns on each connection, and on its prepared statements.
	config.MaxConns = 2
	config.ConnConfig.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		mu.Lock()
		defer mu.Unlock()
		notices = append(notices, n.Message)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	read := func(me, other domain.TenantID, name, sql string) {
		rows, err := readAs(t, pool, me, sql, other)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, row := range rows {
			if row != nil && strings.Contains(*row, other.String()) {
				t.Errorf("%s: tenant %s reads a row of %s: %s", name, me, other, *row)
			}
		}

		mu.Lock()
		defer mu.Unlock()
		for _, notice := range notices {
			if strings.Contains(notice, other.String()) {
				t.Errorf("%s: the statement was shown a row of another tenant before the policy: %s", name, notice)
			}
		}
		notices = nil
	}

	for _, relation := range relations {
		own := 0
		for name, sql := range statements(relation) {
			for range 6 { // beyond the fifth execution Postgres may keep a generic plan
				read(a, b, relation+", "+name, sql)
				read(b, a, relation+", "+name, sql)
			}

			rows, err := readAs(t, pool, a, sql, a)
			if err == nil && len(rows) > 0 && rows[0] != nil && strings.Contains(*rows[0], a.String()) {
				own++
			}
		}
		// Otherwise finding no row of others would prove nothing.
		if want := len(statements(relation)); own != want {
			t.Errorf("%s: %d of %d statements return the tenant's own rows", relation, own, want)
		}
	}
}

// readAs runs a statement for a tenant in a transaction of its own and returns its first
// column.
func readAs(
	t testing.TB, pool *pgxpool.Pool, tenant domain.TenantID, sql string, args ...domain.TenantID,
) (column []*string, err error) {
	t.Helper()
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), asTenant, tenant.String()); err != nil {
			return err
		}

		var values []any
		if strings.Contains(sql, "$1") {
			values = append(values, args[0].String())
		}
		rows, err := tx.Query(t.Context(), sql, values...)
		if err != nil {
			return err
		}
		column, err = pgx.CollectRows(rows, pgx.RowTo[*string])
		return err
	})
	return column, err
}

func TestAQueryWithoutATenantIsAnError(t *testing.T) {
	t.Parallel()
	w, a, _ := tenants(t)
	fresh := w.db.Conn(t, pgtest.Query)
	used := w.db.Conn(t, pgtest.Query)

	for _, relation := range w.readable(t, w.tenantRelations(t)) {
		for name, sql := range statements(relation) {
			var args []any
			if strings.Contains(sql, "$1") {
				args = []any{a.String()}
			}
			run := func(conn *pgx.Conn) error {
				rows, err := conn.Query(t.Context(), sql, args...)
				if err != nil {
					return err
				}
				_, err = pgx.CollectRows(rows, pgx.RowTo[*string])
				return err
			}

			if err := run(fresh); sqlState(err) != "42704" { // the setting does not exist
				t.Errorf("%s, %s, on a new connection: %v", relation, name, err)
			}
			err := pgx.BeginFunc(t.Context(), used, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), asTenant, a.String()); err != nil {
					return err
				}
				return run(used)
			})
			if err != nil {
				t.Errorf("%s, %s, with a tenant: %v", relation, name, err)
			}
			if err := run(used); sqlState(err) != "22P02" { // the setting is there, and empty
				t.Errorf("%s, %s, on a connection that had a tenant: %v", relation, name, err)
			}
		}
	}
}

func TestTheStoreNeedsATenantAndSeesNoOther(t *testing.T) {
	t.Parallel()
	w, a, b := tenants(t)
	user := w.register(t, a, "two@example.org")
	done := must(t)(w.store.Append(t.Context(), grant(a, user, 0)))
	streams := lifeStreams(user)

	if _, err := w.store.Load(t.Context(), domain.TenantID{}, streams...); err == nil {
		t.Error("Load answers without a tenant")
	}

	for name, events := range map[string]func() ([]domain.Recorded, error){
		"Load":         func() ([]domain.Recorded, error) { return w.store.Load(t.Context(), b, streams...) },
		"LoadPersonal": func() ([]domain.Recorded, error) { return w.store.LoadPersonal(t.Context(), b, streams...) },
		"LoadSession": func() ([]domain.Recorded, error) {
			events, _, err := w.store.LoadSession(t.Context(), b, user, newID(), streams...)
			return events, err
		},
		"FindAppend": func() ([]domain.Recorded, error) {
			return w.store.FindAppend(t.Context(), b, done.Events[0].AppendID)
		},
	} {
		if got, err := events(); err != nil || len(got) != 0 {
			t.Errorf("%s returns %d events of another tenant, %v", name, len(got), err)
		}
	}

	if stream, found, err := w.store.StreamOf(t.Context(), b, done.Events[0].Record); err != nil || found {
		t.Errorf("StreamOf finds %v of another tenant, %v", stream, err)
	}
	if stream, found, err := w.store.StreamOf(t.Context(), a, done.Events[0].Record); err != nil || !found ||
		stream != domain.ConsentsOf(user) {
		t.Errorf("StreamOf returns %v, %t, %v", stream, found, err)
	}

	if events, err := w.store.LoadAll(t.Context(), b, domain.ConsentStream); err != nil || len(events) != 0 {
		t.Errorf("LoadAll returns %d events of another tenant, %v", len(events), err)
	}
	if events, err := w.store.LoadAll(t.Context(), a, domain.ConsentStream); err != nil || len(events) != 1 {
		t.Errorf("LoadAll returns %d events, %v", len(events), err)
	}

	session := query[[16]byte](t, w, "select session_id from trust.sessions where tenant_id = $1", a.UUID)
	if _, open, err := w.store.LoadSession(t.Context(), b, user, session); err != nil || open {
		t.Errorf("a session of another tenant is open: %t, %v", open, err)
	}
}

// mayWrite tells what a role may write directly: only the projector may, its read tables,
// its checkpoints, what is on its way to webhooks and consumers, and what was sealed and
// signed, which it only adds to.
func mayWrite(role, table, verb string) bool {
	if role != pgtest.Projector {
		return false
	}

	readTable := regexp.MustCompile(`^trust\.(municipalities|users|consents)_v\d+$`).MatchString(table)
	readTable = readTable || strings.HasPrefix(table, "trust.webhook") || strings.HasPrefix(table, "trust.relay_")
	sealed := strings.HasPrefix(table, "trust.log_")
	return (readTable && verb != "truncate") || (sealed && verb == "insert") ||
		(table == "trust.checkpoints" && (verb == "update" || verb == "insert"))
}

func TestRolesWriteNothingButWhatIsTheirs(t *testing.T) {
	t.Parallel()
	w, a, _ := tenants(t)
	for _, role := range []string{pgtest.Query, pgtest.Projector} {
		conn := w.db.Conn(t, role)
		if _, err := conn.Exec(t.Context(), "select set_config('trust.tenant', $1, false)", a.String()); err != nil {
			t.Fatal(err)
		}

		for _, table := range w.tables(t) {
			column := query[string](t, w,
				"select quote_ident(attname) from pg_attribute where attrelid = $1::regclass and attnum = 1", table)

			for verb, sql := range map[string]string{
				"insert":   "insert into " + table + " default values",
				"copy":     "copy " + table + " from stdin",
				"update":   "update " + table + " set " + column + " = " + column,
				"delete":   "delete from " + table,
				"truncate": "truncate " + table,
			} {
				if mayWrite(role, table, verb) || (verb == "copy" && mayWrite(role, table, "insert")) {
					continue
				}
				if _, err := conn.Exec(t.Context(), sql); sqlState(err) != denied {
					t.Errorf("%s, as %s: %v", sql, role, err)
				}
			}
		}
	}
}

func TestNobodyChangesOrRemovesAnEvent(t *testing.T) {
	t.Parallel()
	w, a, _ := tenants(t)
	before := w.dump(t)["trust.events"]

	for _, role := range []string{pgtest.Superuser, pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query} {
		conn := w.db.Conn(t, role)
		if _, err := conn.Exec(t.Context(), "select set_config('trust.tenant', $1, false)", a.String()); err != nil {
			t.Fatal(err)
		}
		want := denied
		if role == pgtest.Superuser {
			want = refusal
		}

		for _, sql := range []string{
			"update trust.events set payload = payload", "update trust.events set version = 7 where false",
			"delete from trust.events", "delete from only trust.events where position = 1", "truncate trust.events",
			"truncate trust.events cascade",
			"merge into trust.events e using (values (1)) v (p) on e.position = v.p when matched then delete",
		} {
			if _, err := conn.Exec(t.Context(), sql); sqlState(err) != want {
				t.Errorf("%s, as %q: %v", sql, role, err)
			}
		}
	}

	// The trigger refuses even if the owner should ever get the privilege.
	w.exec(t, "grant insert, update, delete, truncate on trust.events to trust_owner")
	owner := w.db.Conn(t, pgtest.Owner)
	for _, sql := range []string{
		"update trust.events set payload = payload", "delete from trust.events", "truncate trust.events",
	} {
		if _, err := owner.Exec(t.Context(), sql); sqlState(err) != refusal {
			t.Errorf("%s, as an owner with the privilege: %v", sql, err)
		}
	}

	if after := w.dump(t)["trust.events"]; !slices.Equal(before, after) {
		t.Error("the log changed")
	}
}

func TestOnlyTheAppendFunctionInsertsEvents(t *testing.T) {
	t.Parallel()
	w, a, _ := tenants(t)
	before := w.dump(t)["trust.events"]

	for _, role := range []string{pgtest.Owner, pgtest.Projector, pgtest.Query} {
		conn := w.db.Conn(t, role)
		if _, err := conn.Exec(t.Context(), "select set_config('trust.tenant', $1, false)", a.String()); err != nil {
			t.Fatal(err)
		}

		for _, sql := range []string{
			`insert into trust.events
				select 1000, tenant_id, stream_type, gen_random_uuid(), 1, event_id, gen_random_uuid(), 1, event_type,
					subject_id, record_id, actor_id, payload, sealed, metadata, effective_at, recorded_at
				from trust.events limit 1`,
			"insert into trust.events default values",
			"copy trust.events from stdin",
		} {
			if _, err := conn.Exec(t.Context(), sql); sqlState(err) != denied {
				t.Errorf("%s, as %s: %v", sql, role, err)
			}
		}
	}

	if after := w.dump(t)["trust.events"]; !slices.Equal(before, after) {
		t.Error("the log changed")
	}
}

func TestEachRoleCallsOnlyItsFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	allowed := map[string][]string{
		"tenant": {pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query},
		// A trigger function, which nobody can call directly.
		"refuse_change":      {pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query},
		"append":             {pgtest.Append, pgtest.Query},
		"append_one":         {pgtest.Append, pgtest.Query},
		"side_outcomes":      {pgtest.Append},
		"side_writes":        {pgtest.Append},
		"demand_whole":       {pgtest.Append},
		"demand_codes":       {pgtest.Append},
		"sign_in":            {pgtest.Append, pgtest.Query},
		"verifier":           {pgtest.Append, pgtest.Query},
		"second_factor":      {pgtest.Append, pgtest.Query},
		"one_time_code":      {pgtest.Append, pgtest.Query},
		"client_secrets_of":  {pgtest.Append, pgtest.Query},
		"append_tenant":      {pgtest.Append, pgtest.Query},
		"webhook_backlog":    {pgtest.Owner, pgtest.Projector, pgtest.Query},
		"withdrawal_backlog": {pgtest.Owner, pgtest.Projector, pgtest.Query},
		"head":               {pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query},
		"event_at":           {pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query},
		"position_at":        {pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query},
		"code_from_start":    {pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query},
		"secret_once":        {pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query},
		"in_force":           {pgtest.Append},
		"under_master":       {pgtest.Owner, pgtest.Append},
		"rewrap":             {pgtest.Owner, pgtest.Append},
		"rekey":              {pgtest.Owner, pgtest.Append},
	}

	functions := query[[]string](t, w, `select array_agg(proname::text order by proname) from pg_proc
		where pronamespace = 'trust'::regnamespace and prosecdef
			or pronamespace = 'trust'::regnamespace and proowner = 'trust_append'::regrole`)
	for _, name := range functions {
		if _, ok := allowed[name]; !ok {
			t.Errorf("trust.%s runs with another role's rights: say here who may call it", name)
		}
	}
	for name, roles := range allowed {
		for _, role := range []string{pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query} {
			may := query[bool](t, w, `select bool_and(has_function_privilege($1, oid, 'execute')) from pg_proc
				where pronamespace = 'trust'::regnamespace and proname = $2`, role, name)
			if want := slices.Contains(roles, role); may != want {
				t.Errorf("%s may call trust.%s: %t, want %t", role, name, may, want)
			}
		}
	}

	caller := w.db.Conn(t, pgtest.Query)
	for _, sql := range []string{
		`select trust.side_writes('[]', '{}', now())`, `select trust.side_outcomes('[]', '{}')`,
	} {
		if _, err := caller.Exec(t.Context(), sql); sqlState(err) != denied {
			t.Errorf("%s: %v", sql, err)
		}
	}

	// A definer function that resolves names by its caller's search_path could be made to
	// run the caller's code.
	if n := query[int](t, w, `select count(*) from pg_proc where pronamespace = 'trust'::regnamespace and prosecdef
		and not 'search_path=pg_catalog, pg_temp' = any(coalesce(proconfig, '{}'))`); n != 0 {
		t.Errorf("%d definer functions have no search_path of their own", n)
	}
}

func TestNoRoleIsSuperuserOrBypassesPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	roles := query[[]string](t, w,
		`select array_agg(format('%s: super %s, bypasses %s, logs in %s, creates %s %s', rolname, rolsuper,
			rolbypassrls, rolcanlogin, rolcreaterole, rolcreatedb) order by rolname)
		from pg_roles where rolname like 'trust\_%'`)
	if len(roles) != 5 {
		t.Errorf("roles: %v", roles)
	}
	for _, role := range roles {
		if !strings.HasSuffix(role, "super f, bypasses f, logs in f, creates f f") {
			t.Error(role)
		}
	}

	for _, member := range []string{pgtest.Query, pgtest.Projector, pgtest.Append} {
		for _, of := range []string{pgtest.Owner, pgtest.Append, pgtest.Projector, pgtest.Query} {
			if member != of && query[bool](t, w, "select pg_has_role($1, $2, 'member')", member, of) {
				t.Errorf("%s is a member of %s", member, of)
			}
		}
	}

	if n := query[int](t, w,
		`select count(*) from pg_namespace n, unnest(array['trust_append', 'trust_projector', 'trust_query']) role
		where nspname = 'trust' and has_schema_privilege(role, n.oid, 'create')`); n != 0 {
		t.Errorf("%d roles may create in the schema", n)
	}
}

func TestRowLevelSecurityStandsWhereverATenantDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, relation := range w.tenantRelations(t) {
		got := query[string](t, w, `select case relkind
				when 'v' then case when 'security_invoker=true' = any(coalesce(reloptions, '{}')) then 'safe'
					else 'a view with its owner''s rights' end
				else case when relrowsecurity and relforcerowsecurity then 'safe'
					else format('enabled %s, forced %s', relrowsecurity, relforcerowsecurity) end
			end from pg_class where oid = $1::regclass`, relation)
		if got != "safe" {
			t.Errorf("%s: %s", relation, got)
		}
	}

	// The tenant's policy is the only one for the API's role.
	for _, policy := range query[[]string](t, w,
		`select array_agg(format('%s %s %s', tablename, cmd, qual)) from pg_policies
		where schemaname = 'trust' and ('trust_query' = any(roles) or 'public' = any(roles))`) {
		if !strings.HasSuffix(policy, " SELECT (tenant_id = trust.tenant())") {
			t.Errorf("a policy for trust_query: %s", policy)
		}
	}
}

func TestEveryColumnAndIndexSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	missing := query[[]string](t, w, `
		select coalesce(array_agg(what order by what), '{}') from (
			select format('column %s.%s', c.relname, a.attname)
				from pg_attribute a join pg_class c on c.oid = a.attrelid
				where c.relnamespace = 'trust'::regnamespace and c.relkind in ('r', 'p')
					and a.attnum > 0 and not a.attisdropped and col_description(c.oid, a.attnum) is null
			union all select format('%s %s', c.relkind, c.relname) from pg_class c
				where c.relnamespace = 'trust'::regnamespace and c.relkind in ('r', 'p', 'i')
					and obj_description(c.oid, 'pg_class') is null
		) x (what)`)

	if len(missing) != 0 {
		t.Errorf("without a comment: %s", fmt.Sprint(missing))
	}
}
