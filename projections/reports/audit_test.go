package reports_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// audit returns what a viewer sees, on one page.
func (w *world) audit(t testing.TB, viewer, asked domain.TenantID, filter reports.AuditFilter) []reports.AuditEntry {
	t.Helper()
	scope, err := reports.ScopeOf(viewer, asked)
	must(t, err)
	list, err := w.reports.Audit(t.Context(), scope, filter, projections.Page{Limit: 100})
	must(t, err)
	return list.Items
}

// example appends an event in the name of one person of the world's tenant, with an
// origin.
func (w *world) example(t testing.TB, user domain.UserID, e domain.Event) {
	t.Helper()
	stream := domain.Stream{Type: domain.StreamTypeOf(e.EventType()), ID: user.UUID}
	if stream.Subject().IsZero() {
		stream.ID = newID()
	}
	_, err := w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: w.tenant, Actor: user, Origin: domain.Origin{IP: "203.0.113.7", UserAgent: "marked-agent"},
		Metadata: domain.Metadata{ActorRole: string(domain.Citizen)},
		Writes:   []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: []domain.Event{e}}},
	})
	must(t, err)
}

func TestEveryEventTypeReadsInTheAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna")
	types := map[string]bool{}

	for _, e := range domaintest.Examples() {
		w.example(t, anna, e)
		types[e.EventType()] = true
	}

	for _, name := range domain.EventTypes() {
		if !types[name] {
			t.Errorf("there is no example of %s", name)
		}
	}

	byType := map[string]reports.AuditEntry{}
	for _, e := range w.audit(t, w.tenant, domain.TenantID{}, reports.AuditFilter{User: anna}) {
		if _, seen := byType[e.EventType]; !seen {
			byType[e.EventType] = e
		}
	}

	fieldless := []string{"user.erased.v1"}
	for name := range types {
		e, ok := byType[name]
		if !ok || e.Operation == "" || e.Table == "" || e.Record == uuid.Nil ||
			len(e.Changes) == 0 && !slices.Contains(fieldless, name) {
			t.Errorf("%s reads %+v", name, e)
		}
		if origin, ok := e.Origin.Get(); !ok || origin.IP != "203.0.113.7" {
			t.Errorf("%s came from %+v", name, e.Origin)
		}

		for _, c := range e.Changes {
			if c.Old != nil && e.Operation == domain.OpCreate || c.New == nil && c.Old == nil &&
				!strings.HasPrefix(c.Field, "password") {
				t.Errorf("%s, %s: %v to %v", name, c.Field, c.Old, c.New)
			}
			if c.Old == nil && e.Operation == domain.OpUpdate &&
				slices.Contains([]string{"full_name", "phone", "email", "name", "role", "is_active"}, c.Field) {
				t.Errorf("%s says nothing of what %s was", name, c.Field)
			}
		}
	}

	// The audit shows every value of a payload and a personal part.
	for _, e := range domaintest.Examples() {
		shown, err := json.Marshal(byType[e.EventType()].Changes)
		must(t, err)
		stored, personal, err := domain.Encode(e)
		must(t, err)

		for _, value := range slices.Concat(leaves(t, stored), leaves(t, personal)) {
			if !strings.Contains(string(shown), strings.Trim(value, `"`)) &&
				!slices.Contains([]string{`"newsletter"`, `"full_name"`, `"phone"`, `"preferred_language"`}, value) &&
				!strings.Contains(value, byType[e.EventType()].Record.String()) {
				t.Errorf("%s does not show %s", e.EventType(), value)
			}
		}
	}
}

// leaves returns every string in a JSON text, as it is encoded there.
func leaves(t *testing.T, text []byte) (found []string) {
	t.Helper()
	if text == nil {
		return nil
	}

	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			encoded, err := json.Marshal(v)
			must(t, err)
			found = append(found, string(encoded))
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, x := range v {
				walk(x)
			}
		}
	}

	var v any
	must(t, json.Unmarshal(text, &v))
	walk(v)
	return found
}

func TestTheAuditOpensPersonalValuesForTheOwnTenantOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")
	anna := w.register(t, w.tenant, "anna")
	w.register(t, other, "bheki")
	for _, e := range domaintest.Examples() {
		w.example(t, anna, e)
	}

	text := func(entries []reports.AuditEntry) string {
		var b strings.Builder
		for _, e := range entries {
			changes, err := json.Marshal(e.Changes)
			must(t, err)
			origin, _ := e.Origin.Get()
			b.WriteString(string(changes) + origin.IP + origin.UserAgent + "\n")
		}
		return b.String()
	}

	secrets := []string{
		"anna@Example.org", "Ṱhilidzi", "+27731234567", "thandi.nkosi+stad@example.co.za",
		"box 4, form 17", "Nomvula", "My neighbour", "203.0.113.7", "marked-agent",
	}

	own := text(w.audit(t, w.tenant, domain.TenantID{}, reports.AuditFilter{}))
	for _, s := range secrets {
		if !strings.Contains(own, s) {
			t.Errorf("the person's own tenant does not see %q", s)
		}
	}

	platform := domain.PlatformTenant()
	all := w.audit(t, platform, domain.TenantID{}, reports.AuditFilter{})
	one := w.audit(t, platform, other, reports.AuditFilter{})
	if len(one) != 2 || len(all) < 20 || !slices.ContainsFunc(all, func(e reports.AuditEntry) bool {
		return e.Tenant == other
	}) {
		t.Errorf("the platform sees %d events of one tenant, %d of all", len(one), len(all))
	}

	for _, s := range secrets {
		if strings.Contains(text(all)+text(one), s) {
			t.Errorf("the platform sees %q", s)
		}
	}

	sealed := []domain.FieldChange{}
	for _, c := range one[0].Changes {
		if c.Personal == domain.Withheld {
			sealed = append(sealed, c)
		}
	}
	want := []domain.FieldChange{
		{Field: "email", Personal: domain.Withheld},
		{Field: "full_name", Personal: domain.Withheld},
		{Field: "phone", Personal: domain.Withheld},
	}
	if diff := cmp.Diff(want, sealed); diff != "" {
		t.Errorf("sealed fields (-want +got):\n%s", diff)
	}

	w.erase(t, anna)
	erased := w.audit(t, w.tenant, w.tenant, reports.AuditFilter{})
	for _, s := range secrets {
		if strings.Contains(text(erased), s) {
			t.Errorf("after the erasure %q is still there", s)
		}
	}
	if len(erased) != strings.Count(own, "\n")+1 {
		t.Errorf("the erasure left %d entries of %d", len(erased)-1, strings.Count(own, "\n"))
	}

	marked := 0
	for _, e := range erased {
		for _, c := range e.Changes {
			if c.Personal == domain.Erased {
				marked++
			}
		}
	}
	if marked < 10 || erased[0].Operation != domain.OpDelete || erased[1].Origin.State() != domain.Erased {
		t.Errorf("%d fields are marked as erased, %+v", marked, erased[0])
	}
}

func TestAnAuditFiltersAndPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.register(t, w.tenant, "anna")
	id := w.grant(t, w.tenant, anna)
	w.append(t, w.tenant, domain.ConsentsOf(anna),
		&domain.ConsentWithdrawn{ConsentID: id, Purpose: "sms_alert", RecordedBy: domain.BySelf})
	w.append(t, w.tenant, domain.UserOf(anna), &domain.UserPasswordChanged{})
	all := w.audit(t, w.tenant, domain.TenantID{}, reports.AuditFilter{})

	types := func(entries []reports.AuditEntry) string {
		var names []string
		for _, e := range entries {
			names = append(names, strings.TrimSuffix(e.EventType, ".v1"))
		}
		return strings.Join(names, " ")
	}

	for want, filter := range map[string]reports.AuditFilter{
		"user.password_changed consent.withdrawn consent.granted user.registered municipality.registered": {},
		"consent.granted user.registered municipality.registered": {
			Operation: domain.OpCreate,
		},
		"consent.withdrawn consent.granted":  {Table: "consents"},
		"consent.withdrawn":                  {Table: "consents", Operation: domain.OpUpdate},
		"":                                   {Table: "consents", Operation: domain.OpRead},
		"consent.withdrawn consent.granted ": {Record: id.UUID},
		"user.password_changed consent.withdrawn consent.granted user.registered": {User: anna},
		"user.password_changed consent.withdrawn":                                 {From: all[1].Timestamp},
		"consent.granted user.registered municipality.registered ":                {To: all[1].Timestamp},
	} {
		if got := types(w.audit(t, w.tenant, domain.TenantID{}, filter)); got != strings.TrimSpace(want) {
			t.Errorf("%+v returns %q, want %q", filter, got, want)
		}
	}

	r := w.reports
	scope, err := reports.ScopeOf(w.tenant, w.tenant)
	must(t, err)

	ids := pages(t, 2, func(p projections.Page) (projections.Listing[reports.AuditEntry], error) {
		return r.Audit(t.Context(), scope, reports.AuditFilter{}, p)
	}, func(e reports.AuditEntry) string { return e.ID.String() })
	if len(ids) != 5 || ids[0] != all[0].ID.String() {
		t.Errorf("the pages hold %v", ids)
	}

	for _, filter := range []reports.AuditFilter{{Operation: "DROP"}, {Table: "passwords"}} {
		if _, err := r.Audit(t.Context(), scope, filter, projections.Page{}); !refused(err, domain.CodeInvalid) {
			t.Errorf("%+v returns %v", filter, err)
		}
	}

	_, err = r.Audit(t.Context(), scope, reports.AuditFilter{}, projections.Page{After: "!"})
	if !refused(err, domain.CodeInvalid) {
		t.Errorf("a malformed cursor: %v", err)
	}
	list, err := r.Audit(t.Context(), scope, reports.AuditFilter{}, projections.Page{After: "AAAAAAAAAAE"})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("after the first position: %d, %v", len(list.Items), err)
	}
}

func TestAnotherTenantsAuditIsForbidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, platform := domain.TenantID{UUID: newID()}, domain.PlatformTenant()

	for _, c := range []struct{ viewer, asked domain.TenantID }{
		{w.tenant, other}, {w.tenant, platform}, {domain.TenantID{}, other}, {},
	} {
		if _, err := reports.ScopeOf(c.viewer, c.asked); !refused(err, domain.CodeForbidden) {
			t.Errorf("%s asks for %s: %v", c.viewer, c.asked, err)
		}
	}

	for _, c := range []struct {
		viewer, asked domain.TenantID
		sealed        bool
	}{
		{w.tenant, w.tenant, false},
		{w.tenant, domain.TenantID{}, false},
		{platform, platform, false},
		{platform, other, true},
		{platform, domain.TenantID{}, true},
	} {
		scope, err := reports.ScopeOf(c.viewer, c.asked)
		if err != nil || scope.Sealed() != c.sealed {
			t.Errorf("%s asks for %s: sealed %t, %v", c.viewer, c.asked, scope.Sealed(), err)
		}
	}

	_, err := w.reports.Audit(t.Context(), reports.AuditScope{}, reports.AuditFilter{}, projections.Page{})
	if err == nil {
		t.Error("the zero scope reads")
	}
}
