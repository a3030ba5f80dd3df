package projections_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// userColumns are those of trust.users that are filled for everybody.
const userColumns = "id, tenant_id, municipality_code, email, full_name, phone, preferred_language, role, " +
	"is_active, is_erased, created_at, updated_at, version, position, has_account, created_by, updated_by"

func TestVerifyFindsWhatIsNotAsTheLogSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFolder(t, w)
	user := w.register(t, w.tenant, "marked")
	w.grant(t, w.tenant, user)
	w.append(t, w.tenant, domain.UserOf(user), &domain.UserDeactivated{Cause: domain.CauseAdmin})

	for _, p := range projections.All() {
		_, err := f.fold(t.Context(), p, 1000)
		must(t, err)
	}

	w.check(t)

	for _, c := range damages(w.tenant) {
		w.force(t, c.do)
		err := w.verify(t)

		var d *projections.Difference
		if !errors.As(err, &d) || d.Position != c.position || d.Projection != c.projection ||
			!strings.Contains(d.What, c.what) {
			t.Errorf("%s: Verify returns %v", c.name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "marked") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: the difference shows a value: %v", c.name, err)
		}

		if c.mend != "" {
			w.force(t, c.mend)
			w.check(t)
		}
	}
}

// damage is a change that must not happen to a database of four events, how to undo it,
// and what Verify says of it.
type damage struct {
	name, do, mend string
	position       int64
	projection     string
	what           string
}

func damages(tenant domain.TenantID) []damage {
	const stranger = "00000000-0000-0000-0000-000000000007"

	return []damage{
		{
			"another value", "update trust.users_v1 set full_name = full_name || 'x'",
			"update trust.users_v1 set full_name = left(full_name, -1)", 0, "users", "FullName differs",
		},
		{
			"another time", "update trust.consents_v1 set recorded_at = recorded_at + interval '1 microsecond'",
			"update trust.consents_v1 set recorded_at = recorded_at - interval '1 microsecond'", 0, "consents",
			"RecordedAt differs",
		},
		{
			"another recorder", "update trust.consents_v1 set recorded_by = tenant_id",
			"update trust.consents_v1 set recorded_by = subject_id", 0, "consents", "RecordedBy differs",
		},
		{
			"another creator", "update trust.users_v1 set created_by = tenant_id",
			"update trust.users_v1 set created_by = id", 0, "users", "CreatedBy differs",
		},
		{
			"nobody who changed it", "update trust.consents_v1 set updated_by = null",
			"update trust.consents_v1 set updated_by = subject_id", 0, "consents", "UpdatedBy differs",
		},
		{
			"a row too many", "insert into trust.municipalities_v1 select '" + stranger +
				"', code, name, province, category, district_code, population, contact_email, is_active, " +
				"created_at, updated_at, version, position from trust.municipalities_v1",
			"delete from trust.municipalities_v1 where id = '" + stranger + "'", 0, "municipalities",
			"is not in the log",
		},
		{
			"a row too few", "create table trust.kept as select * from trust.users_v1; delete from trust.users_v1",
			"insert into trust.users_v1 (" + userColumns + ") select " + userColumns + " from trust.kept", 0, "users",
			"is missing",
		},
		{
			"another decision of a person who decided", "insert into trust.consents_v1 select '" + stranger +
				`', tenant_id, subject_id, purpose, notice_version, wording, sha256, language, consented, channel,
				given_by, recorded_by, evidence_sha256, given_at, recorded_at, withdrawn_at, decided, position
				from trust.consents_v1`,
			"delete from trust.consents_v1 where id = '" + stranger + "'", 0, "consents", "is not in the log",
		},
		{
			"a row before its time", "update trust.checkpoints set position = 1 where follower = 'users'",
			"update trust.checkpoints set position = 4 where follower = 'users'", 0, "users", "is not in the log",
		},
		{
			"versions in another order",
			`update trust.events set version = 9 where position = 2;
				update trust.events set version = 1 where position = 4;
				update trust.events set version = 2 where position = 2`,
			`update trust.events set version = 9 where position = 2;
				update trust.events set version = 2 where position = 4;
				update trust.events set version = 1 where position = 2`, 2, "",
			"version 2 of its stream comes before version 1",
		},
		{
			"a version left out", "update trust.events set version = 3 where position = 4",
			"update trust.events set version = 2 where position = 4", 4, "",
			"version 3 of its stream follows version 1",
		},
		{
			"time running backwards",
			"update trust.events set recorded_at = recorded_at - interval '1 day' where position = 3",
			"update trust.events set recorded_at = recorded_at + interval '1 day' where position = 3", 3, "",
			"recorded before",
		},
		{
			"a position left out", "update trust.events set position = 5 where position = 4",
			"update trust.events set position = 4 where position = 5", 4, "", "position 4 is missing",
		},
		{
			"no tenant",
			"update trust.events set tenant_id = '00000000-0000-0000-0000-000000000000' where position = 3",
			"update trust.events set tenant_id = '" + tenant.String() + "' where position = 3", 3, "",
			"its code does not hold",
		},
		{
			"an unknown type", "update trust.events set event_type = 'future.thing.v1' where position = 3",
			"update trust.events set event_type = 'consent.granted.v1' where position = 3", 3, "",
			"its code does not hold",
		},
		{
			"a payload of another kind",
			`update trust.events set payload = '{"cause":"secret","cause":7}' where position = 4`,
			`update trust.events set payload = '{"cause":"admin"}' where position = 4`, 4, "", "its code does not hold",
		},
		{
			"a broken seal", "update trust.events set sealed = overlay(sealed placing '\\x00'::bytea from " +
				"octet_length(sealed)) where position = 2",
			"", 2, "", "its code does not hold",
		},
	}
}

func TestVerifyReportsProgress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(t, w.tenant, "a")
	f := newFolder(t, w)

	for _, p := range projections.All() {
		_, err := f.fold(t.Context(), p, 1000)
		must(t, err)
	}

	want, last := map[string][2]int64{"the log": {2, 2}}, map[string][2]int64{}
	for _, p := range projections.All() {
		if kinds := p.Kinds(); slices.Contains(kinds, domain.UserStream) ||
			slices.Contains(kinds, domain.MunicipalityStream) {
			want[p.Name()] = [2]int64{1, 1} // the log has one event for it
		}
	}

	must(t, projections.Verify(t.Context(), w.db.Pool(t, pgtest.Projector), w.reader,
		func(what string, done, total int64) {
			last[what] = [2]int64{done, total}
		}))
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("progress ended at (-want +got):\n%s", diff)
	}
}
