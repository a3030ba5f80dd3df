package reports_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const masterKey = "a master key of at least thirty-two characters"

// world is a database of one test with a municipality in it.
type world struct {
	db      *pgtest.DB
	store   *eventstore.Store
	reader  *eventstore.Reader
	reports *reports.Reports
	tenant  domain.TenantID
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db := pgtest.New(t)
	pool := db.Pool(t, pgtest.Query)

	store, err := eventstore.Open(t.Context(), pool, []byte(masterKey), eventstore.Patience(pgtest.Patience))
	must(t, err)
	t.Cleanup(store.Close)

	reader, err := eventstore.NewReader(t.Context(), db.Conn(t, pgtest.Projector), []byte(masterKey))
	must(t, err)

	w := &world{db: db, store: store, reader: reader, reports: reports.New(pool, nil, reader)}
	t.Cleanup(w.reports.Close)
	w.tenant = w.municipality(t, "CPT")
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(err error, code domain.Code) bool { return errors.Is(err, domain.Refuse(code, "")) }

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func newUser() domain.UserID { return domain.UserID{UUID: newID()} }

// append adds events to one stream, whatever its version, and returns them as the log has
// them.
func (w *world) append(
	t testing.TB, tenant domain.TenantID, stream domain.Stream, events ...domain.Event,
) []domain.Recorded {
	t.Helper()
	return w.appendSide(t, tenant, stream, nil, events...)
}

func (w *world) appendSide(
	t testing.TB, tenant domain.TenantID, stream domain.Stream, side []domain.SideWrite, events ...domain.Event,
) []domain.Recorded {
	t.Helper()
	appended, err := w.store.Append(t.Context(), domain.Append{
		ID: newID(), Tenant: tenant, Actor: stream.Subject(), Side: side,
		Writes: []domain.Write{{Stream: stream, Expected: domain.AnyVersion, Events: events}},
	})
	must(t, err)
	return appended.Events
}

func (w *world) municipality(t testing.TB, code string) domain.TenantID {
	t.Helper()
	id := domain.TenantID{UUID: newID()}
	w.appendSide(t, id, domain.MunicipalityOf(id), []domain.SideWrite{domain.CreateTenantKey{Tenant: id}},
		&domain.MunicipalityRegistered{Code: code, Name: "Municipality " + code, Province: "Gauteng", Category: "B"})
	return id
}

func (w *world) register(t testing.TB, tenant domain.TenantID, name string) domain.UserID {
	t.Helper()
	user := newUser()
	w.appendSide(t, tenant, domain.UserOf(user), []domain.SideWrite{domain.CreateSubjectKey{Subject: user}},
		&domain.UserRegistered{
			MunicipalityCode: "CPT", Role: domain.Citizen, PreferredLanguage: domain.Zulu,
			Person: domain.Known(domain.PersonFacts{
				Email: name + "@Example.org", FullName: "Ṱhilivhali " + name, Phone: "+27821234567",
			}),
		})
	return user
}

// erase destroys the key of a person of the world's tenant.
func (w *world) erase(t testing.TB, user domain.UserID) {
	t.Helper()
	w.appendSide(t, w.tenant, domain.UserOf(user), []domain.SideWrite{domain.DestroySubjectKey{Subject: user}},
		&domain.UserErased{})
}

func decision(purpose string, givenAt time.Time) domain.Decision {
	return domain.Decision{
		ConsentID: domain.ConsentID{UUID: newID()}, Purpose: purpose, NoticeVersion: 1, Wording: "words",
		Language: domain.English,
		SHA256:   domain.WordingHash("words"), Channel: domain.Paper, GivenAt: givenAt, RecordedBy: domain.BySelf,
		GivenBy: domain.BySelf, Basis: domain.ConsentBasis,
	}
}

// grant records a consent for "sms_alert" and returns its id.
func (w *world) grant(t testing.TB, tenant domain.TenantID, subject domain.UserID) domain.ConsentID {
	t.Helper()
	e := &domain.ConsentGranted{Decision: decision("sms_alert", time.Time{})}
	w.append(t, tenant, domain.ConsentsOf(subject), e)
	return e.ConsentID
}

func (w *world) head(t testing.TB) int64 {
	t.Helper()
	head, err := w.store.Head(t.Context())
	must(t, err)
	return head
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
