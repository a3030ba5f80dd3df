package projections_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// What Verify says of a log changed by somebody who can bypass triggers and constraints.
const (
	byCode     = "its code does not hold"
	byNoCode   = "it carries no code"
	byGap      = "is missing from the log"
	byVersions = "of its stream"
	byClock    = "recorded before the preceding event"
	bySince    = "nobody stated that"
	byAppend   = "of its append"
	// later is for changes that nothing notices yet. The proof of a later issue, a tree
	// over the whole log, covers position, version, time and order.
	later = ""
)

// tampering is a change of the log. In its SQL, :p is an event whose code covers its
// version; :q and :r are events of one stream, of two consecutive appends, whose codes do
// not cover their versions; :s is an event of another tenant that differs from :p in
// every column; :end is the last event.
type tampering struct{ what, sql, noticed string }

// changes maps each column of trust.events to what is written into it in place of its
// value.
func changes() map[string]string {
	return map[string]string{
		"position":     "(select max(position) + 1 from trust.events)",
		"tenant_id":    "gen_random_uuid()",
		"stream_type":  "'access'",
		"stream_id":    "gen_random_uuid()",
		"version":      "version + 7",
		"event_id":     "gen_random_uuid()",
		"append_id":    "gen_random_uuid()",
		"ordinal":      "ordinal + 7",
		"event_type":   "'consent.refused.v1'",
		"subject_id":   "gen_random_uuid()",
		"record_id":    "gen_random_uuid()",
		"actor_id":     "gen_random_uuid()",
		"payload":      `regexp_replace(payload::text, '}$', ' }')::json`,
		"sealed":       "set_bit(sealed, 300, 1 - get_bit(sealed, 300))",
		"metadata":     `'{"actor_role":"admin"}'`,
		"effective_at": "effective_at - interval '1 year'",
		"recorded_at":  "recorded_at - interval '1 year'",
		"code":         "set_bit(code, 100, 1 - get_bit(code, 100))",
	}
}

// noticed maps changes, drops and swaps of a column's value to what notices them, if that
// is not the code.
func noticed() map[string]string {
	return map[string]string{
		"position changed": byGap, "position swapped": byAppend, "code dropped": byNoCode,
		"effective_at changed": bySince, "effective_at swapped": "takes effect",
		"recorded_at changed": byClock, "recorded_at swapped": "recorded",
	}
}

// tamperings lists a change, a drop and a swap of every column, rows deleted and
// inserted, and changes that nothing notices yet.
func tamperings(columns, nullable []string) (all []tampering) {
	expected := noticed()
	add := func(column, verb, sql string) {
		by, special := expected[column+" "+verb]
		if !special {
			by = byCode
		}
		all = append(all, tampering{column + " " + verb, sql, by})
	}

	for _, c := range columns {
		add(c, "changed", fmt.Sprintf("update trust.events set %s = %s where position = :p", c, changes()[c]))
		if slices.Contains(nullable, c) {
			add(c, "dropped", fmt.Sprintf("update trust.events set %s = null where position = :p", c))
		}
		add(c, "swapped", fmt.Sprintf(`create temp table other as select * from trust.events where position in (:p, :s);
			delete from trust.events where position in (:p, :s);
			update other set %[1]s = case position when :p then (select %[1]s from trust_kept where position = :s)
				else (select %[1]s from trust_kept where position = :p) end;
			insert into trust.events select * from other`, c))
	}

	return append(
		all,
		tampering{
			"version changed where none was expected",
			"update trust.events set version = version + 7 where position = :q", byVersions,
		},
		tampering{
			"versions swapped where none was expected",
			`update trust.events set version = version + 100 where position in (:q, :r);
			update trust.events set version = case position
				when :q then (select version from trust_kept where position = :r)
				else (select version from trust_kept where position = :q) end where position in (:q, :r)`, byVersions,
		},
		tampering{"a row deleted", "delete from trust.events where position = :p", byGap},
		tampering{"a row deleted, and those above moved down", `delete from trust.events where position = :p;
			update trust.events set position = -position where position > :p;
			update trust.events set position = -position - 1 where position < 0`, "event"},
		tampering{
			"a row put in without a code",
			`insert into trust.events select :end + 1, tenant_id, stream_type, gen_random_uuid(), 1,
			gen_random_uuid(), gen_random_uuid(), 1, event_type, subject_id, record_id, actor_id, payload, sealed,
			metadata, recorded_at, recorded_at from trust.events where position = :end`, byNoCode,
		},
		tampering{
			"a row put in with the code of another",
			`insert into trust.events select :end + 1, tenant_id, stream_type, gen_random_uuid(), 1,
			gen_random_uuid(), gen_random_uuid(), 1, event_type, subject_id, record_id, actor_id, payload, sealed,
			metadata, recorded_at, recorded_at, code from trust.events where position = :end`, byCode,
		},
		tampering{
			"a row written a second time",
			`insert into trust.events select :end + 1, tenant_id, stream_type, stream_id, version + 1,
			event_id, append_id, ordinal + 1, event_type, subject_id, record_id, actor_id, payload, sealed, metadata,
			effective_at, recorded_at, code from trust.events where position = :end`, byCode,
		},
		tampering{"a mark that was moved", "update trust.coded set position = 1000", "trust.coded is not what"},

		tampering{
			"a time moved between its neighbours",
			`update trust.events set recorded_at = recorded_at + interval '1 microsecond',
			effective_at = effective_at + interval '1 microsecond' where position = :end`, later,
		},
		tampering{
			"two appends in the other order, versions and times too",
			`create temp table other as select * from trust.events where position in (:q, :r);
			delete from trust.events where position in (:q, :r);
			insert into trust.events select k.position, o.tenant_id, o.stream_type, o.stream_id, k.version, o.event_id,
				o.append_id, o.ordinal, o.event_type, o.subject_id, o.record_id, o.actor_id, o.payload, o.sealed,
				o.metadata, k.effective_at, k.recorded_at, o.code
			from other o, trust_kept k where k.position in (:q, :r) and k.position <> o.position`, later,
		},
		tampering{
			"the end cut off, before a read table came so far", "delete from trust.events where position = :end",
			later,
		},
	)
}

// Somebody changes a copy of the log on disk, or owns it: a change, a drop and a swap of
// every column, and of whole rows, each with what notices it now, if anything does yet.
func TestVerifyNoticesEveryChangeOfAnEventButWhereItStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna, bheki := w.register(t, w.tenant, "anna"), w.register(t, w.tenant, "bheki")
	elsewhere := w.municipality(t, "JHB")
	cara := w.register(t, elsewhere, "cara")
	act := func(tenant domain.TenantID, actor domain.UserID, expected int, stream domain.Stream,
		events ...domain.Event,
	) int64 {
		done, err := w.store.Append(t.Context(), domain.Append{
			ID: newID(), Tenant: tenant, Actor: actor, Metadata: domain.Metadata{Command: tenant.String()},
			Origin: domain.Origin{IP: "203.0.113.7"},
			Writes: []domain.Write{{Stream: stream, Expected: expected, Events: events}},
		})
		must(t, err)
		return done.Events[0].Position
	}

	p := act(w.tenant, anna, 0, domain.ConsentsOf(anna), &domain.ConsentWithdrawn{Purpose: "newsletter"},
		&domain.ConsentWithdrawn{Purpose: "sms_alert"})
	q := act(w.tenant, bheki, domain.AnyVersion, domain.SessionsOf(bheki),
		&domain.SessionEnded{SessionID: newID(), Scope: domain.ScopeOne})
	r := act(w.tenant, bheki, domain.AnyVersion, domain.SessionsOf(bheki),
		&domain.SessionEnded{SessionID: newID(), Scope: domain.ScopeAll})
	s := act(elsewhere, cara, 1, domain.UserOf(cara), &domain.UserDeactivated{Cause: domain.CauseAdmin},
		&domain.UserReactivated{}) + 1
	act(w.tenant, anna, domain.AnyVersion, domain.SessionsOf(anna),
		&domain.SessionEnded{SessionID: newID(), Scope: domain.ScopeAll})
	places := strings.NewReplacer(":p", fmt.Sprint(p), ":q", fmt.Sprint(q), ":r", fmt.Sprint(r), ":s", fmt.Sprint(s),
		":end", fmt.Sprint(w.head(t)))

	super := w.db.Superuser(t)
	for _, sql := range []string{
		"set session_replication_role = replica", "create table public.trust_kept as select * from trust.events",
		"create table public.mark_kept as select * from trust.coded",
		"alter table trust.events drop constraint events_append_key, drop constraint events_stream_key",
		"grant usage on schema public to public", "set search_path = public",
	} {
		_, err := super.Exec(t.Context(), sql)
		must(t, err)
	}

	columnsThat := func(which string) []string {
		found, err := super.Query(t.Context(),
			`select attname::text from pg_attribute where attrelid = 'trust.events'::regclass and attnum > 0
			and not attisdropped and `+which+" order by attnum")
		must(t, err)
		names, err := pgx.CollectRows(found, pgx.RowTo[string])
		must(t, err)
		return names
	}

	judge := w.db.Conn(t, pgtest.Projector)
	unfolded := func() error { // without the read tables, which notice some of it too
		err := projections.Verify(t.Context(), judge, w.reader, nil)
		if difference, is := errors.AsType[*projections.Difference](err); is && difference.Projection != "" {
			return nil
		}
		return err
	}
	must(t, unfolded())

	for _, c := range tamperings(columnsThat("true"), columnsThat("not attnotnull")) {
		_, err := super.Exec(t.Context(), places.Replace(c.sql))
		must(t, err)
		err = unfolded()

		switch {
		case c.noticed == later && err != nil:
			t.Errorf("%s: it is noticed now, so say so: %v", c.what, err)
		case c.noticed != later && (err == nil || !strings.Contains(err.Error(), c.noticed)):
			t.Errorf("%s: Verify says %v; want %q", c.what, err, c.noticed)
		}

		_, err = super.Exec(t.Context(), `drop table if exists pg_temp.other; delete from trust.events;
			insert into trust.events select * from public.trust_kept; delete from trust.coded;
			insert into trust.coded select * from public.mark_kept`)
		must(t, err)
	}
	must(t, unfolded())
}
