package http_test

import (
	"net/url"
	"slices"
	"testing"

	"github.com/salga-trust/engine/domain"
)

// audit returns the entries of the audit log that a person sees.
func (p *person) audit(query string) []map[string]any {
	p.w.t.Helper()
	return p.send("GET", "/api/v1/audit-logs?"+query, "").want(200).items()
}

// changed returns the old value, the new one and the state of a field of an entry.
func changed(entry map[string]any, field string) [3]any {
	c, _ := entry["changes"].(map[string]any)[field].(map[string]any)
	return [3]any{c["old"], c["new"], c["personal"]}
}

func TestTheAuditTellsWhatChangedFromWhatToWhat(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	thandi := w.citizen("thandi@example.org")
	manager, admin := w.staff(domain.Manager, "KZN225"), w.staff(domain.Admin, "KZN225")
	platform, clerk := w.staff(domain.Admin, "SALGA"), w.staff(domain.Manager, "SALGA")

	thandi.send("PATCH", "/api/v1/users/me", `{"full_name":"Thandi Ṱhavhani","preferred_language":"af"}`,
		"User-Agent", "portal/1").want(200)
	admin.send("PUT", "/api/v1/users/"+thandi.id+"/role", `{"role":"saps_liaison"}`).want(200)
	thandi.send("PUT", "/api/v1/users/me/password",
		`{"current_password":"`+password+`","new_password":"another good password"}`).want(204)

	of := "record_id=" + thandi.id
	opened := manager.audit(of + "&operation=UPDATE")
	if len(opened) != 3 {
		t.Fatalf("%d updates, want 3: %v", len(opened), opened)
	}
	key, role, profile := opened[0], opened[1], opened[2]
	if key["event_type"] != "user.password_changed.v1" || changed(key, "password") != [3]any{nil, nil, "none"} {
		t.Errorf("password: %v", key)
	}

	if changed(role, "role") != [3]any{"citizen", "saps_liaison", "none"} || role["user_id"] != admin.id ||
		role["user_role"] != "admin" {
		t.Errorf("role: %v", role)
	}
	if changed(profile, "full_name") != [3]any{"Thandi Ṱhaba", "Thandi Ṱhavhani", "open"} ||
		changed(profile, "preferred_language") != [3]any{"zu", "af", "none"} {
		t.Errorf("profile: %v", profile)
	}
	if profile["ip_address"] != "127.0.0.1" || profile["user_agent"] != "portal/1" ||
		profile["table_name"] != "users" || profile["tenant_id"] != thandi.tenant {
		t.Errorf("profile: %v", profile)
	}

	made := manager.audit(of + "&operation=CREATE")
	if len(made) != 1 || changed(made[0], "email") != [3]any{nil, "thandi@example.org", "open"} {
		t.Errorf("made: %v", made)
	}

	for name, entries := range map[string][]map[string]any{
		"the tenant":  platform.audit(of + "&operation=UPDATE&tenant_id=" + thandi.tenant),
		"all tenants": platform.audit(of + "&operation=UPDATE"),
	} {
		if len(entries) != 3 {
			t.Errorf("%s: SALGA sees %d updates", name, len(entries))
			continue
		}
		sealed := entries[2]
		if changed(sealed, "full_name") != [3]any{"sealed", "sealed", "sealed"} || sealed["ip_address"] != "sealed" ||
			sealed["user_agent"] != "sealed" {
			t.Errorf("%s: SALGA sees %v", name, sealed)
		}
		if changed(entries[1], "role") != [3]any{"citizen", "saps_liaison", "none"} {
			t.Errorf("%s: SALGA sees %v", name, entries[1])
		}
	}

	if made := platform.audit(of + "&operation=CREATE"); changed(made[0], "email") != [3]any{nil, "sealed", "sealed"} {
		t.Errorf("SALGA sees %v", made[0])
	}

	// Without being an administrator there, one sees only SALGA's own events.
	for _, e := range clerk.audit("") {
		if e["tenant_id"] != clerk.tenant {
			t.Errorf("another tenant's event: %v", e)
		}
	}
	clerk.send("GET", "/api/v1/audit-logs?tenant_id="+thandi.tenant, "").wantProblem(403, domain.CodeForbidden)

	reads := manager.audit("operation=READ")
	if len(reads) != 2 || reads[0]["table_name"] != "personal_data" ||
		changed(reads[0], "route") != [3]any{nil, "GET /api/v1/audit-logs", "none"} {
		t.Errorf("the two audits that showed personal data: %v", reads)
	}
	// Sealed values show nobody's data, but reading them is an act in office all the
	// same.
	for _, own := range platform.audit("operation=READ&tenant_id=" + platform.tenant + "&user_id=" + platform.id) {
		if own["subject_id"] != nil || changed(own, "subjects") != [3]any{} {
			t.Errorf("sealed values were recorded as a read of somebody: %v", own)
		}
	}

	manager.send("GET", "/api/v1/audit-logs?table_name=passwords", "").wantProblem(422, domain.CodeInvalid)
	manager.send("GET", "/api/v1/audit-logs?operation=read", "").wantProblem(422, domain.CodeInvalid)
	manager.send("GET", "/api/v1/audit-logs?user_id=me", "").wantProblem(422, domain.CodeInvalid)

	if failed := w.log.failures(); failed != "" {
		t.Errorf("something failed: %s", failed)
	}
}

// An entry about a consent has no sealed values, but shows a decision: the person, the
// purpose, and yes or no.
func TestAnAuditThatShowsAPersonsDecisionIsARead(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	nomsa, other := w.citizen("nomsa@example.org"), w.citizen("other@example.org")
	clerk, manager := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")
	platform := w.staff(domain.Admin, "SALGA")

	grant := clerk.send("POST", "/api/v1/consents",
		`{"subject_id":"`+nomsa.id+`","purpose":"newsletter","language":"zu","consented":true,"channel":"counter"}`).
		want(201)

	told := func(p *person, want int) {
		t.Helper()
		mine := p.send("GET", "/api/v1/data-rights/my-data", "").want(200).json["reads"].([]any)
		if exposed := manager.reads("subject_id=" + p.id); len(exposed) != want || len(mine) != want {
			t.Errorf("the exposure tells of %d reads, the person is told of %d, want %d: %v",
				len(exposed), len(mine), want, exposed)
		}
	}
	told(nomsa, 0)

	if entries := manager.audit("record_id=" + grant.text("id")); len(entries) != 1 ||
		entries[0]["subject_id"] != nomsa.id {
		t.Fatalf("the grant: %v", entries)
	}
	told(nomsa, 1)
	told(other, 0)

	if looks := manager.audit("operation=READ&user_id=" + manager.id); len(looks) != 1 {
		t.Errorf("the reads: %v", looks)
	}

	platform.audit("record_id=" + grant.text("id"))
	// SALGA saw only sealed values, so this was no read of her data.
	told(nomsa, 1)
}

func TestAMunicipalitySeesWhatSALGADidToIt(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	manager, platform := w.staff(domain.Manager, "KZN225"), w.staff(domain.Admin, "SALGA")

	platform.send("PATCH", "/api/v1/municipalities/"+manager.tenant, `{"population":679766}`).want(200)
	platform.send("PATCH", "/api/v1/municipalities/"+w.tenants["CPT"].String(), `{"population":4772846}`).want(200)

	entries := manager.audit("table_name=municipalities&operation=UPDATE")
	if len(entries) != 1 || changed(entries[0], "population") != [3]any{nil, 679766.0, "none"} ||
		entries[0]["user_id"] != platform.id {
		t.Fatalf("the municipality sees %v", entries)
	}
	// Where SALGA's administrator sat is no business of the municipality.
	if e := entries[0]; e["ip_address"] != "sealed" || e["user_role"] != "admin" {
		t.Errorf("the municipality sees %v", e)
	}
}

func TestTheAuditIsReadPageByPage(t *testing.T) {
	t.Parallel()
	w, _ := newRealWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")

	admin := w.staff(domain.Admin, "KZN225")
	for _, email := range []string{"a@example.org", "b@example.org", "c@example.org"} {
		w.citizen(email).send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"zu","consented":true}`).
			want(201)
	}

	var paged []float64
	query := "limit=2&table_name=consents&operation=CREATE"
	for after := ""; ; {
		a := admin.send("GET", "/api/v1/audit-logs?"+query+"&after="+url.QueryEscape(after), "").want(200)
		for _, e := range a.items() {
			paged = append(paged, e["position"].(float64))
		}
		if after = a.text("next"); after == "" {
			break
		}
	}

	if len(paged) != 6 || !slices.IsSortedFunc(paged, func(a, b float64) int { return int(b - a) }) {
		t.Errorf("pages: %v", paged)
	}

	all := admin.audit("table_name=consents&operation=CREATE")
	middle := all[3]
	since := admin.audit("table_name=consents&from=" + middle["timestamp"].(string))
	before := admin.audit("table_name=consents&to=" + middle["timestamp"].(string))
	if len(since) != 4 || len(before) != 2 {
		t.Errorf("%d from it on, %d before it, of %d", len(since), len(before), len(all))
	}

	if mine := admin.audit("user_id=" + admin.id + "&table_name=sessions"); len(mine) != 1 {
		t.Errorf("an administrator's own: %v", mine)
	}
	admin.send("GET", "/api/v1/audit-logs?after=rubbish", "").wantProblem(422, domain.CodeInvalid)
}
