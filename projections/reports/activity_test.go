package reports_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections/reports"
)

// history appends random acts on a calendar of its own, which begins long ago.
type history struct {
	w       *world
	rand    *rand.Rand
	now     time.Time
	tenants []domain.TenantID
	staff   []domain.UserID
	open    map[domain.RequestID]domain.UserID
	pool    *pgxpool.Pool
	conn    *pgx.Conn
}

func newHistory(t *testing.T, w *world, seed uint64) *history {
	t.Helper()
	h := &history{
		w: w, rand: rand.New(rand.NewPCG(seed, 0)), now: time.Now().AddDate(-3, 0, 0),
		tenants: []domain.TenantID{w.tenant, w.municipality(t, "KZN225")}, open: map[domain.RequestID]domain.UserID{},
		pool: w.db.Pool(t, pgtest.Query), conn: w.db.Conn(t, pgtest.Projector),
	}
	for range 70 {
		h.staff = append(h.staff, newUser())
	}
	return h
}

// acts appends some acts of one moment.
func (h *history) acts(t *testing.T, n int) {
	t.Helper()
	before := h.w.head(t)
	for range n {
		h.act(t)
	}
	h.force(t, "update trust.events set recorded_at = $1, effective_at = $1 where position > $2", h.now, before)
}

func (h *history) act(t *testing.T) {
	t.Helper()
	tenant, person := h.tenants[h.rand.IntN(2)], newUser()
	d := decision([]string{"sms_alert", "newsletter", "library"}[h.rand.IntN(3)], time.Time{})
	copied := &domain.CopyOf{}

	switch h.rand.IntN(8) {
	case 0:
		h.w.append(t, tenant, domain.ConsentsOf(person), &domain.ConsentGranted{Decision: d})
	case 1:
		h.w.append(t, tenant, domain.ConsentsOf(person), &domain.ConsentRefused{Decision: d})
	case 2:
		h.w.append(t, tenant, domain.ConsentsOf(person), &domain.ConsentGranted{Decision: d},
			&domain.ConsentWithdrawn{ConsentID: d.ConsentID, Purpose: d.Purpose, RecordedBy: domain.BySelf})
	case 3:
		d.Copy = copied
		h.w.append(t, tenant, domain.ConsentsOf(person), &domain.ConsentRefused{Decision: d})
	case 4, 5:
		h.w.read(t, tenant, h.staff[h.rand.IntN(len(h.staff))], nil, slices.Repeat(
			[]domain.UserID{person}, h.rand.IntN(3))...)
	case 6:
		id := domain.RequestID{UUID: newID()}
		h.w.append(t, h.w.tenant, domain.RightsOf(person), &domain.RequestLodged{
			RequestID: id, Kind: domain.AccessRequest, LodgedBy: domain.BySelf, DueOn: domain.DueDate(h.now),
		})
		h.open[id] = person
	default:
		for id, subject := range h.open { // any
			h.w.append(t, h.w.tenant, domain.RightsOf(subject),
				&domain.RequestFulfilled{RequestID: id, Kind: domain.AccessRequest})
			delete(h.open, id)
			break
		}
	}
}

// force changes the database past what forbids it.
func (h *history) force(t *testing.T, sql string, args ...any) {
	t.Helper()
	must(t, pgx.BeginFunc(t.Context(), h.w.db.Superuser(t), func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "set local session_replication_role = replica"); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), sql, args...)
		return err
	}))
}

// recount counts as plainly as can be, from all events of a tenant.
func (h *history) recount(t *testing.T, tenant domain.TenantID, days int) reports.Activity {
	t.Helper()
	today := domain.DateOf(h.now)
	a := reports.Activity{Position: h.w.head(t), From: today.AddDays(1 - days), To: today}
	perDay, readers, due := map[[2]string]*reports.DayCount{}, map[domain.UserID]*reports.ReaderCount{},
		map[domain.RequestID]domain.Date{}

	for _, e := range h.events(t, tenant) {
		day := domain.DateOf(e.RecordedAt)
		count := func(purpose string, copied *domain.CopyOf) *reports.DayCount {
			key := [2]string{string(day), purpose}
			if copied != nil || day < a.From || day > a.To {
				return &reports.DayCount{}
			}
			if perDay[key] == nil {
				perDay[key] = &reports.DayCount{Day: day, Purpose: purpose}
			}
			return perDay[key]
		}

		switch event := e.Event.(type) {
		case *domain.ConsentGranted:
			count(event.Purpose, event.Copy).Granted++
		case *domain.ConsentRefused:
			count(event.Purpose, event.Copy).Refused++
		case *domain.ConsentWithdrawn:
			count(event.Purpose, event.Copy).Withdrawn++
		case *domain.PersonalDataRead:
			if day < today.AddDays(1-min(days, 30)) || day > today {
				continue
			}
			if readers[e.Actor] == nil {
				readers[e.Actor] = &reports.ReaderCount{Actor: e.Actor}
			}
			readers[e.Actor].Role = e.Metadata.ActorRole
			readers[e.Actor].Looks++
			readers[e.Actor].People += len(event.Subjects)
		case *domain.RequestLodged:
			due[event.RequestID] = event.DueOn
		case *domain.RequestFulfilled:
			delete(due, event.RequestID)
		}
	}

	for _, n := range perDay {
		a.Days = append(a.Days, *n)
	}
	slices.SortFunc(a.Days, func(x, y reports.DayCount) int {
		return cmp.Or(cmp.Compare(x.Day, y.Day), cmp.Compare(x.Purpose, y.Purpose))
	})
	for _, n := range readers {
		a.Readers = append(a.Readers, *n)
	}
	slices.SortFunc(a.Readers, func(x, y reports.ReaderCount) int {
		return cmp.Or(y.Looks-x.Looks, y.People-x.People, cmp.Compare(x.Actor.String(), y.Actor.String()))
	})
	a.Readers = a.Readers[:min(50, len(a.Readers))]
	for _, on := range due {
		a.Requests.Open++
		if on < today {
			a.Requests.Overdue++
		} else if on <= today.AddDays(7) {
			a.Requests.DueSoon++
		}
	}
	return a
}

func (h *history) events(t *testing.T, tenant domain.TenantID) (events []domain.Recorded) {
	t.Helper()
	must(t, pgx.BeginFunc(t.Context(), h.conn, func(tx pgx.Tx) (err error) {
		events, err = h.w.reader.Find(t.Context(), tx, eventstore.Query{Tenant: tenant, Sealed: true})
		return err
	}))
	return events
}

// same checks that kept counts, a fresh count and a plain count agree.
func (h *history) same(t *testing.T, what string) {
	t.Helper()
	for i, tenant := range h.tenants {
		// A question that runs out of time leaves whole counts behind.
		short, cancel := context.WithTimeout(t.Context(), time.Duration(h.rand.IntN(10_000))*time.Microsecond)
		_, _ = h.w.reports.Activity(short, tenant, 30, h.now)
		cancel()

		for _, days := range []int{7, 30, 366} {
			want := h.recount(t, tenant, days)
			fresh := reports.New(h.pool, nil, h.w.reader)
			for how, r := range map[string]*reports.Reports{"kept": h.w.reports, "fresh": fresh} {
				got := counted(t, r, tenant, days, h.now)
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Fatalf("%s, municipality %d, %d days, %s counts:\n%s", what, i, days, how, diff)
				}
			}
		}
	}
}

// counted asks again while it is being counted.
func counted(t *testing.T, r *reports.Reports, tenant domain.TenantID, days int, now time.Time) reports.Activity {
	t.Helper()
	for {
		a, err := r.Activity(t.Context(), tenant, days, now)
		if !refused(err, domain.CodeBeingCounted) {
			must(t, err)
			return a
		}
		r.Counted()
	}
}

// What is kept between questions equals a fresh count, whatever happened: days that pass,
// lost events, and another log in place of this one.
func TestKeptCountsOfActivityEqualAFreshCount(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t)
	h := newHistory(t, w, seed)
	w.reports.FoldActivityBy(5)
	h.same(t, "before anything happened")

	for range 12 {
		h.now = h.now.Add(time.Duration(h.rand.IntN(40*24)) * time.Hour)
		h.acts(t, h.rand.IntN(40))
		h.same(t, "after acts")
	}

	lose := func() {
		h.force(t, "delete from trust.events where position > $1", w.head(t)-int64(1+h.rand.IntN(30)))
		clear(h.open)
	}
	for range 3 {
		lose()
		h.acts(t, 50)
		h.same(t, "after a failover that lost events")
		lose()
		h.force(t, "update trust.log set id = gen_random_uuid()")
		h.same(t, "after a restore")
		h.now = h.now.AddDate(0, 0, h.rand.IntN(300))
		h.acts(t, 10)
	}

	h.acts(t, 60)
	h.now = h.now.AddDate(0, 0, 400)
	h.same(t, "when all of it was long ago")
	h.now = h.now.AddDate(0, 0, -400)
	h.same(t, "after the clock was set back")
}

// What was counted and is disowned later counts no more.
func TestADisownedEventIsTakenOutOfKeptCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, w.tenant, newUser())
	forged := w.head(t)
	w.grant(t, w.tenant, newUser())

	granted := func() int {
		t.Helper()
		a, err := w.reports.Activity(t.Context(), w.tenant, 7, time.Now())
		must(t, err)
		n := 0
		for _, day := range a.Days {
			n += day.Granted
		}
		return n
	}
	if n := granted(); n != 2 {
		t.Fatalf("%d granted, want 2", n)
	}

	h := newHistory(t, w, 1)
	h.force(t, `update trust.events set payload = (payload::jsonb || '{"purpose":"library"}')::json
		where position = $1`, forged)
	conn := w.db.Conn(t, pgtest.Append)
	r, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
	must(t, err)
	must(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		_, err := r.Disown(t.Context(), tx, forged, "found by a test")
		return err
	}))

	for range 2 {
		if n := granted(); n != 1 {
			t.Errorf("%d granted after one was disowned, want 1", n)
		}
	}
	w.grant(t, w.tenant, newUser())
	if n := granted(); n != 2 {
		t.Errorf("%d granted with a new one, want 2", n)
	}
}

// Many questions at once are answered from one count, whole each.
func TestActivityAskedForAtOnceIsWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 20 {
		w.grant(t, w.tenant, newUser())
	}

	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			a, err := w.reports.Activity(t.Context(), w.tenant, 7, time.Now())
			if err != nil || len(a.Days) != 1 || a.Days[0].Granted != 20 {
				t.Errorf("%+v %v", a, err)
			}
		})
	}
	asking.Wait()
}

// What takes long to count is counted between questions, which say so at once, and since
// when. No figure is told before it is whole.
func TestALongCountGoesOnWhileNobodyWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reports.FoldActivityBy(10)
	for range 35 {
		w.grant(t, w.tenant, newUser())
	}

	release, err := w.reports.StopCounting(t.Context())
	must(t, err)
	began := time.Now()
	for i := range 3 {
		a, err := w.reports.Activity(t.Context(), w.tenant, 7, began.Add(time.Duration(i)*time.Minute))
		refusal, is := errors.AsType[*domain.Error](err)
		if !is || refusal.Code != domain.CodeBeingCounted || !refusal.Since.Equal(began) || len(a.Days) > 0 {
			t.Errorf("question %d: %+v %v", i, a, err)
		}
	}
	elsewhere, err := w.reports.Activity(t.Context(), w.municipality(t, "KZN225"), 7, began)
	if err != nil || len(elsewhere.Days) > 0 {
		t.Errorf("another municipality: %+v %v", elsewhere, err)
	}

	w.grant(t, w.tenant, newUser())
	release()
	w.reports.Counted()
	a, err := w.reports.Activity(t.Context(), w.tenant, 7, began)
	if err != nil || len(a.Days) != 1 || a.Days[0].Granted != 36 {
		t.Errorf("afterwards: %+v %v", a, err)
	}
}

// Why a count failed is told instead of figures; once that is mended, it goes on.
func TestACountThatFailsSaysSoAndGoesOnOnceThatIsMended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reports.FoldActivityBy(10)
	for range 35 {
		w.grant(t, w.tenant, newUser())
	}
	forged := w.head(t)
	newHistory(t, w, 1).force(t, `update trust.events set payload = (payload::jsonb || '{"purpose":"library"}')::json
		where position = $1`, forged)

	if _, err := w.reports.Activity(t.Context(), w.tenant, 7, time.Now()); !refused(err, domain.CodeBeingCounted) {
		t.Errorf("at first: %v", err)
	}
	w.reports.Counted()
	for range 2 {
		if _, err := w.reports.Activity(t.Context(), w.tenant, 7, time.Now()); !refused(err, domain.CodeLogDamaged) {
			t.Errorf("with a forged event: %v", err)
		}
	}

	w.disown(t, forged)
	a := counted(t, w.reports, w.tenant, 7, time.Now())
	if len(a.Days) != 1 || a.Days[0].Granted != 34 {
		t.Errorf("without it: %+v", a)
	}
}

// Reports that are closed count no more, and hold no connection.
func TestClosedReportsEndTheirCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.reports.FoldActivityBy(1)
	for range 3 {
		w.grant(t, w.tenant, newUser())
	}

	_, err := w.reports.StopCounting(t.Context()) // for good
	must(t, err)
	if _, err := w.reports.Activity(t.Context(), w.tenant, 7, time.Now()); !refused(err, domain.CodeBeingCounted) {
		t.Error(err)
	}
	w.reports.Close()
	w.reports.Counted()
}
