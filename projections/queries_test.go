package projections_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

// filled is a world with two municipalities, three users and some consents in each,
// projected.
func filled(t *testing.T) (w *world, tenants []domain.TenantID, users [][]domain.UserID) {
	t.Helper()
	w = newWorld(t)
	f := newFolder(t, w)
	tenants = []domain.TenantID{w.tenant, w.municipality(t, "JHB")}

	for _, tenant := range tenants {
		var of []domain.UserID
		for _, name := range []string{"anna", "bheki", "chris"} {
			user := w.register(t, tenant, name)
			w.grant(t, tenant, user)
			of = append(of, user)
		}
		users = append(users, of)
	}

	for _, p := range projections.All() {
		_, err := f.fold(t.Context(), p, 1000)
		must(t, err)
	}

	return w, tenants, users
}

func refused(err error, code domain.Code) bool { return errors.Is(err, domain.Refuse(code, "")) }

func TestATenantSeesItsOwnRowsOnly(t *testing.T) {
	t.Parallel()
	w, tenants, users := filled(t)
	config, err := pgxpool.ParseConfig(w.db.URL(pgtest.Query))
	must(t, err)
	config.MaxConns = 1 // so that every query reuses the connection of the last one
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(pool.Close)
	q := projections.NewQueries(pool, nil)

	for range 3 {
		for i, tenant := range tenants {
			list, err := q.Users(t.Context(), tenant, projections.UserFilter{}, projections.Page{})
			must(t, err)
			if len(list.Items) != 3 || slices.ContainsFunc(list.Items, func(u domain.User) bool {
				return u.Tenant != tenant
			}) {
				t.Fatalf("tenant %d sees %d users", i, len(list.Items))
			}

			other := users[1-i][0]
			if _, err := q.User(t.Context(), tenant, other); !refused(err, domain.CodeNotFound) {
				t.Errorf("another tenant's user: %v", err)
			}

			consents, err := q.Consents(t.Context(), tenant, other, projections.Page{})
			must(t, err)
			if len(consents.Items) != 0 {
				t.Error("another tenant's consents are visible")
			}
		}
	}

	// Without the helper the tables answer nothing, not even on a connection that had a
	// tenant before.
	for _, table := range []string{"users", "consents"} {
		if _, err := pool.Exec(t.Context(), "select * from trust."+table); err == nil {
			t.Errorf("a query without a tenant reads %s", table)
		}
	}
	if _, err := q.Users(t.Context(), domain.TenantID{}, projections.UserFilter{}, projections.Page{}); err == nil {
		t.Error("the zero tenant is taken")
	}
}

func TestPagesAreCompleteAndWithoutDuplicates(t *testing.T) {
	t.Parallel()
	w, _, users := filled(t)
	f := newFolder(t, w)
	subject := users[0][0]
	for range 7 {
		w.grant(t, w.tenant, subject)
	}
	_, err := f.fold(t.Context(), projection(t, "consents"), 1000)
	must(t, err)
	ctx := t.Context()

	ids := pages(t, 2, func(p projections.Page) (projections.Listing[domain.User], error) {
		return w.queries.Users(ctx, w.tenant, projections.UserFilter{}, p)
	}, func(u domain.User) string { return u.ID.String() })
	if len(ids) != 3 || !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("users %v", ids)
	}

	ids = pages(t, 1, func(p projections.Page) (projections.Listing[domain.Municipality], error) {
		return w.queries.Municipalities(ctx, projections.MunicipalityFilter{}, p)
	}, func(m domain.Municipality) string { return m.Code })
	if !slices.Equal(ids, []string{"JHB", "CPT"}) {
		t.Errorf("municipalities %v", ids)
	}

	ids = pages(t, 4, func(p projections.Page) (projections.Listing[domain.Consent], error) {
		return w.queries.Consents(ctx, w.tenant, subject, p)
	}, func(c domain.Consent) string { return c.ID.String() })
	if len(ids) != 8 || !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("consents %v", ids)
	}
}

// pages reads a whole list in pages and fails on a duplicate or an empty page.
func pages[T any](
	t *testing.T, limit int, read func(projections.Page) (projections.Listing[T], error), key func(T) string,
) (all []string) {
	t.Helper()
	for page := (projections.Page{Limit: limit}); ; {
		list, err := read(page)
		must(t, err)
		if len(list.Items) == 0 || len(list.Items) > limit {
			t.Fatalf("a page of %d", len(list.Items))
		}

		for _, item := range list.Items {
			if slices.Contains(all, key(item)) {
				t.Fatalf("%s comes twice", key(item))
			}
			all = append(all, key(item))
		}

		if page.After = list.Next; page.After == "" {
			return all
		}
	}
}

func TestAMalformedCursorIsAFaultOfTheInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, after := range []string{"!", "AAAA", strings.Repeat("A", 23)} {
		_, users := w.queries.Users(t.Context(), w.tenant, projections.UserFilter{}, projections.Page{After: after})
		_, municipalities := w.queries.Municipalities(t.Context(), projections.MunicipalityFilter{},
			projections.Page{After: after})
		_, consents := w.queries.Consents(t.Context(), w.tenant, newUser(), projections.Page{After: after})

		for _, err := range []error{users, municipalities, consents} {
			var e *domain.Error
			if !errors.As(err, &e) || e.Code != domain.CodeInvalid || len(e.Fields) != 1 ||
				e.Fields[0].Field != "after" {
				t.Errorf("after=%q returns %v", after, err)
			}
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	w, _, users := filled(t)
	f := newFolder(t, w)
	w.append(t, w.tenant, domain.UserOf(users[0][1]), &domain.UserDeactivated{Cause: domain.CauseAdmin},
		&domain.UserRoleChanged{Role: domain.Change[domain.Role]{Old: domain.Citizen, New: domain.Manager}})
	w.append(t, w.tenant, domain.MunicipalityOf(w.tenant), &domain.MunicipalityDeactivated{})

	for _, p := range projections.All() {
		_, err := f.fold(t.Context(), p, 1000)
		must(t, err)
	}

	yes, no := true, false
	for want, filter := range map[string]projections.UserFilter{
		"bheki":            {Role: domain.Manager},
		"bheki ":           {Active: &no},
		"chris,anna":       {Active: &yes},
		"anna":             {Email: "ANNA@example.ORG"},
		"":                 {Email: "anna"},
		"chris,bheki,anna": {Phone: "+27821234567"},
		" ":                {Phone: "+2782123456"},
		"chris":            {Q: "ṰHILIVHALI chr"},
		"bheki  ":          {Q: "EKI@ex"},
		"  ":               {Q: "100%"},
	} {
		list, err := w.queries.Users(t.Context(), w.tenant, filter, projections.Page{})
		must(t, err)
		var names []string
		for _, u := range list.Items {
			names = append(names, strings.ToLower(strings.TrimPrefix(u.FullName, "Ṱhilivhali ")))
		}
		if got := strings.Join(names, ","); got != strings.TrimSpace(want) {
			t.Errorf("%+v returns %q, want %q", filter, got, want)
		}
	}

	for want, filter := range map[string]projections.MunicipalityFilter{
		"CPT":     {Active: &no},
		"JHB":     {Active: &yes, Province: "Gauteng", Category: "B"},
		"":        {Province: "Limpopo"},
		" ":       {Category: "A"},
		"JHB ":    {Q: "jh"},
		"JHB,CPT": {Q: "MUNICIPALITY"},
	} {
		list, err := w.queries.Municipalities(t.Context(), filter, projections.Page{})
		must(t, err)
		var codes []string
		for _, m := range list.Items {
			codes = append(codes, m.Code)
		}
		if got := strings.Join(codes, ","); got != strings.TrimSpace(want) {
			t.Errorf("%+v returns %q, want %q", filter, got, want)
		}
	}
}

func TestSingleRowsAreFoundByTheirKeys(t *testing.T) {
	t.Parallel()
	w, tenants, users := filled(t)
	ctx := t.Context()

	for _, key := range []string{"JHB", "jhb", tenants[1].String()} {
		if m, err := w.queries.Municipality(ctx, key); err != nil || m.ID != tenants[1] || m.Population != nil {
			t.Errorf("Municipality(%q) returns %+v, %v", key, m, err)
		}
	}
	if _, err := w.queries.Municipality(ctx, "NOPE"); !refused(err, domain.CodeNotFound) {
		t.Errorf("an absent municipality: %v", err)
	}

	id := w.grant(t, w.tenant, users[0][0])
	if _, err := w.queries.Consent(ctx, w.tenant, domain.UserID{}, id); !refused(err, domain.CodeNotFound) {
		t.Errorf("a consent that is not projected yet: %v", err)
	}
	_, err := newFolder(t, w).fold(ctx, projection(t, "consents"), 1000)
	must(t, err)

	for _, subject := range []domain.UserID{{}, users[0][0]} {
		c, err := w.queries.Consent(ctx, w.tenant, subject, id)
		if err != nil || c.ID != id || c.Subject != users[0][0] || c.Withdrawn() || c.Wording != "words" {
			t.Errorf("Consent returns %+v, %v", c, err)
		}
	}
	if _, err := w.queries.Consent(ctx, w.tenant, users[0][1], id); !refused(err, domain.CodeNotFound) {
		t.Errorf("a consent of another subject: %v", err)
	}
}

func TestWaitFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.work(t, projection(t, "users"))

	var waiting sync.WaitGroup
	for range 20 {
		w.register(t, w.tenant, "a")
		position := w.head(t)

		for range 3 {
			waiting.Go(func() {
				if err := w.queries.WaitFor(t.Context(), "users", position); err != nil &&
					!refused(err, domain.CodeReadModelBehind) {
					t.Errorf("WaitFor returns %v", err)
				}
			})
		}
	}

	waiting.Wait()

	must(t, w.queries.WaitFor(t.Context(), "consents", 0))
	if err := w.queries.WaitFor(t.Context(), "consents", 1); !refused(err, domain.CodeReadModelBehind) {
		t.Errorf("a projection that nobody runs: %v", err)
	}

	began := time.Now()
	if err := w.queries.WaitFor(t.Context(), "users", w.head(t)+1); !refused(err, domain.CodeUnknownPosition) ||
		time.Since(began) >= time.Second {
		t.Errorf("a position beyond the head, after %s: %v", time.Since(began), err)
	}
	if err := w.queries.WaitFor(t.Context(), "nobody", 1); err == nil {
		t.Error("a projection that does not exist is waited for")
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := w.queries.WaitFor(ctx, "consents", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's own deadline: %v", err)
	}
}

func TestStatusBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	status, err := w.observer.Status(t.Context())
	must(t, err)
	if status.Head != 1 || len(status.Followers) != len(projections.All()) {
		t.Fatalf("status %+v", status)
	}

	for _, p := range status.Followers {
		if p.State != follow.Stopped || p.Lag != 1 || p.SeenAt != nil {
			t.Errorf("status %+v", p)
		}
	}
}

func TestASilentProjectorCountsAsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.db.Superuser(t).Exec(t.Context(), `update trust.checkpoints
		set state = 'running', seen_at = clock_timestamp() - interval '6 seconds' where follower = 'users'`)
	must(t, err)
	if s := w.status(t, "users"); s.State != follow.Stopped {
		t.Errorf("status %+v", s)
	}
}

// After the database's clock was set back, the last sign of life of a process that is
// gone lies in the future.
func TestAProjectorWhoseLastSignLiesInTheFutureCountsAsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.db.Superuser(t).Exec(t.Context(), `update trust.checkpoints
		set state = 'running', seen_at = clock_timestamp() + interval '1 hour' where follower = 'users'`)
	must(t, err)
	if s := w.status(t, "users"); s.State != follow.Stopped {
		t.Errorf("status %+v", s)
	}

	w.work(t, projection(t, "users"))
	w.becomes(t, "users", follow.Running)
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/nothing?connect_timeout=1")
	must(t, err)
	t.Cleanup(pool.Close)
	q := projections.NewQueries(pool, nil)
	_, one := q.Municipality(t.Context(), "CPT")
	_, many := q.Users(t.Context(), domain.PlatformTenant(), projections.UserFilter{}, projections.Page{})
	_, status := follow.NewObserver(pool, projections.Followers()...).Status(t.Context())

	for _, err := range []error{one, many, status, q.WaitFor(t.Context(), "users", 1)} {
		if !refused(err, domain.CodeUnavailable) {
			t.Errorf("without a database: %v", err)
		}
	}
}
