package eventstore_test

import (
	"cmp"
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
)

// histories reads every history of one kind in pages of so many events.
func (w *world) histories(
	t *testing.T, kind domain.StreamType, page int,
) (pages [][]domain.Recorded, head, count int64) {
	t.Helper()
	conn := w.db.Conn(t, pgtest.Projector)
	reader, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
	if err != nil {
		t.Fatal(err)
	}

	err = pgx.BeginTxFunc(t.Context(), conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly},
		func(tx pgx.Tx) (err error) {
			if head, count, err = reader.Count(t.Context(), tx, kind); err != nil {
				return err
			}
			return reader.Histories(t.Context(), tx, kind, head, page, func(events []domain.Recorded) error {
				pages = append(pages, events)
				return nil
			})
		})
	if err != nil {
		t.Fatal(err)
	}
	return pages, head, count
}

// Whatever the size of the pages, each history comes whole, in one page, in order, with
// personal parts opened.
func TestHistoriesComeWholeInPagesOfAnySize(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.municipality(t, "JHB")

	var lengths []int // of the streams, in order
	for i := range 7 {
		tenant := []domain.TenantID{w.tenant, other}[i%2]
		subject := w.register(t, tenant, string(rune('a'+i))+"@example.org")
		for version := range i {
			must(t)(w.store.Append(t.Context(), grant(tenant, subject, version)))
		}
		if i > 0 {
			lengths = append(lengths, i)
		}
	}

	for page := 1; page <= 23; page++ {
		pages, head, count := w.histories(t, domain.ConsentStream, page)
		if count != 21 || head != 2+7+21 {
			t.Fatalf("%d events of the kind in a log of %d", count, head)
		}

		var found []int
		for _, events := range pages {
			if len(events) == 0 {
				t.Errorf("pages of %d: one is empty", page)
			}
			for len(events) > 0 {
				n := 1
				for n < len(events) && events[n].Stream == events[0].Stream {
					n++
				}
				for i, e := range events[:n] {
					if e.Version != i+1 || e.Stream.Type != domain.ConsentStream {
						t.Errorf("pages of %d: version %d of %s comes as number %d",
							page, e.Version, e.Stream.Type, i+1)
					}
				}
				found = append(found, n)
				events = events[n:]
			}
		}

		slices.Sort(found)
		if !slices.Equal(found, lengths) {
			t.Errorf("pages of %d: histories of %v events, want %v", page, found, lengths)
		}
	}

	pages, _, _ := w.histories(t, domain.UserStream, 3)
	all := slices.Concat(pages...)
	if !slices.IsSortedFunc(all, func(a, b domain.Recorded) int {
		return cmp.Or(slices.Compare(a.Tenant.UUID[:], b.Tenant.UUID[:]),
			slices.Compare(a.Stream.ID[:], b.Stream.ID[:]))
	}) {
		t.Error("the histories are not in order of tenant and stream")
	}
	for _, e := range all {
		if person, open := e.Event.(*domain.UserRegistered).Person.Get(); !open ||
			person.FullName != "Ṱhilivhali Marked" {
			t.Errorf("the personal part reads %+v, %t", person, open)
		}
	}

	if none, _, count := w.histories(t, domain.RightsStream, 5); len(none) != 0 || count != 0 {
		t.Errorf("of a kind that is not there: %d pages, %d events", len(none), count)
	}
}

func TestCountNamesThePositionThatIsMissing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t) // not newWorld: the log is broken at the end
	w := &world{db: db, store: open(t, db)}
	w.tenant = w.municipality(t, "CPT")
	for range 3 {
		must(t)(w.store.Append(t.Context(), grant(w.tenant, someone(), 0)))
	}

	count := func(conn *pgx.Conn) error {
		reader, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
		if err != nil {
			t.Fatal(err)
		}
		return pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
			_, _, err := reader.Count(t.Context(), tx, domain.ConsentStream)
			return err
		})
	}
	missing := func(err error, want int64) {
		t.Helper()
		gap, is := errors.AsType[*eventstore.GapError](err)
		if !is || gap.Want != want {
			t.Errorf("got %v, want position %d", err, want)
		}
	}

	w.municipality(t, "JHB") // at position 5, which Cape Town does not see
	tenant := db.Conn(t, pgtest.Query)
	if _, err := tenant.Exec(t.Context(), "select set_config('trust.tenant', $1, false)",
		w.tenant.String()); err != nil {
		t.Fatal(err)
	}
	missing(count(tenant), 5)

	super := db.Superuser(t)
	if _, err := super.Exec(t.Context(),
		"set session_replication_role = replica; delete from trust.events where position = 3"); err != nil {
		t.Fatal(err)
	}
	missing(count(super), 3)
}
