package reports_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// After random requests and holds, which are closed and lifted, among other events, and
// after a log that went backwards or was replaced: what is kept lists the same as reports
// that never saw anything before.
func TestKeptRequestsAndHoldsEqualAFreshFold(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t)
	h := newHistory(t, w, seed)
	acts := &rightsActs{history: h, holds: map[domain.HoldID]domain.UserID{}}
	for range 4 {
		acts.people = append(acts.people, w.register(t, w.tenant, "somebody"))
	}

	for round := range 40 {
		for range h.rand.IntN(6) {
			acts.act(t)
		}
		w.reports.KeepRights([]int{100, 100, 100, 5}[h.rand.IntN(4)])
		switch round {
		case 15, 25:
			h.force(t, "delete from trust.events where position > $1", w.head(t)-int64(1+h.rand.IntN(9)))
			clear(h.open)
			clear(acts.holds)
			if round == 25 {
				acts.act(t)
				acts.act(t)
			}
		case 20:
			h.force(t, "update trust.log set id = gen_random_uuid()")
		}

		fresh := reports.New(h.pool, nil, w.reader)
		for _, status := range []domain.RequestStatus{domain.RequestOpen, domain.RequestDone, domain.RequestDeclined} {
			want, err := fresh.Requests(t.Context(), w.tenant, status, projections.Page{})
			must(t, err)
			got, err := w.reports.Requests(t.Context(), w.tenant, status, projections.Page{})
			must(t, err)
			if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(domain.Personal[domain.FreeText]{})); diff != "" {
				t.Fatalf("round %d, %s requests (-fresh +kept):\n%s", round, status, diff)
			}
		}
		for _, lifted := range []bool{false, true} {
			want, err := fresh.Holds(t.Context(), w.tenant, lifted, projections.Page{})
			must(t, err)
			got, err := w.reports.Holds(t.Context(), w.tenant, lifted, projections.Page{})
			must(t, err)
			if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(domain.Personal[domain.FreeText]{})); diff != "" {
				t.Fatalf("round %d, holds lifted %v (-fresh +kept):\n%s", round, lifted, diff)
			}
		}
	}
}

// rightsActs are acts about requests and holds.
type rightsActs struct {
	*history

	people []domain.UserID
	holds  map[domain.HoldID]domain.UserID
}

func (r *rightsActs) act(t *testing.T) {
	t.Helper()
	person, text := r.people[r.rand.IntN(len(r.people))], domain.Known(domain.FreeText{Text: "why"})
	add := func(subject domain.UserID, e domain.Event) {
		t.Helper()
		r.w.append(t, r.w.tenant, domain.RightsOf(subject), e)
	}

	switch r.rand.IntN(7) {
	case 0, 1:
		id := domain.RequestID{UUID: newID()}
		add(person, &domain.RequestLodged{
			RequestID: id, Kind: domain.AccessRequest, LodgedBy: domain.BySelf, Private: text,
			DueOn: domain.DateOf(r.now).AddDays(r.rand.IntN(5)),
		})
		r.open[id] = person
	case 2:
		id := domain.HoldID{UUID: newID()}
		add(person, &domain.HoldPlaced{HoldID: id, Private: text})
		r.holds[id] = person
	case 3:
		r.w.read(t, r.w.tenant, newUser(), nil, person)
	case 4:
		for id, subject := range r.holds { // any
			add(subject, &domain.HoldLifted{HoldID: id, Private: text})
			delete(r.holds, id)
			return
		}
	default:
		for id, subject := range r.open { // any
			if r.rand.IntN(2) == 0 {
				add(subject, &domain.RequestFulfilled{RequestID: id, Kind: domain.AccessRequest, Private: text})
			} else {
				add(subject, &domain.RequestRefused{RequestID: id, Ground: domain.GroundLaw, Private: text})
			}
			delete(r.open, id)
			return
		}
	}
}

// What was kept and is disowned later is listed no more.
func TestADisownedRequestIsTakenOutOfWhatIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	person := w.register(t, w.tenant, "thandi")
	var forged int64
	for range 2 {
		lodged := w.append(t, w.tenant, domain.RightsOf(person), &domain.RequestLodged{
			RequestID: domain.RequestID{UUID: newID()}, Kind: domain.AccessRequest, LodgedBy: domain.BySelf,
		})
		forged = lodged[0].Position
	}
	open := func() int {
		t.Helper()
		list, err := w.reports.Requests(t.Context(), w.tenant, domain.RequestOpen, projections.Page{})
		must(t, err)
		return len(list.Items)
	}
	if n := open(); n != 2 {
		t.Fatalf("%d open, want 2", n)
	}

	newHistory(t, w, 1).force(t, `update trust.events set payload = (payload::jsonb || '{"kind":"erasure"}')::json
		where position = $1`, forged)
	w.disown(t, forged)
	if n := open(); n != 1 {
		t.Errorf("%d open after one was disowned, want 1", n)
	}
}

// After one more request, the streams of those that were known are not read again, but
// for the people of the page.
func TestKeptRequestsAreNotFoldedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &pgtest.Plans{}
	w.reports = reports.New(p.Pool(t, w.db, pgtest.Query), nil, w.reader)
	lodge := func() {
		w.append(t, w.tenant, domain.RightsOf(w.register(t, w.tenant, "somebody")), &domain.RequestLodged{
			RequestID: domain.RequestID{UUID: newID()}, Kind: domain.AccessRequest, LodgedBy: domain.BySelf,
		})
	}
	list := func() (items []domain.Request, folds int) {
		t.Helper()
		p.Forget()
		got, err := w.reports.Requests(t.Context(), w.tenant, domain.RequestOpen, projections.Page{Limit: 1})
		must(t, err)
		for _, plan := range p.Of("(stream_id, version) > ") {
			if strings.Contains(plan, "'rights'") {
				folds++
			}
		}
		return got.Items, folds
	}

	lodge()
	if items, folds := list(); len(items) != 1 || folds != 1 {
		t.Fatalf("at first: %d found by %d folds", len(items), folds)
	}
	lodge()
	if items, folds := list(); len(items) != 1 || folds != 0 {
		t.Errorf("again: %d found by %d folds", len(items), folds)
	}
}

// disown disowns the event at a position, which must be forged.
func (w *world) disown(t testing.TB, position int64) {
	t.Helper()
	conn := w.db.Conn(t, pgtest.Append)
	r, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
	must(t, err)
	tx, err := conn.Begin(t.Context())
	must(t, err)
	_, err = r.Disown(t.Context(), tx, position, "found by a test")
	must(t, err)
	must(t, tx.Commit(t.Context()))
}
