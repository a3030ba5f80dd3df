package projections_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
)

func TestByNameFindsEachProjection(t *testing.T) {
	t.Parallel()
	for _, p := range projections.All() {
		if byName, ok := projections.ByName(p.Name()); !ok || byName != p {
			t.Errorf("ByName(%q) finds %v", p.Name(), byName)
		}
	}
	if _, ok := projections.ByName("nobody"); ok {
		t.Error("ByName finds what is not there")
	}
}

// folder folds pages by hand, as a worker does.
type folder struct {
	w      *world
	conn   *pgx.Conn
	reader *eventstore.Reader
}

func newFolder(t *testing.T, w *world) *folder {
	t.Helper()
	conn := w.db.Conn(t, pgtest.Projector)
	reader, err := eventstore.NewReader(t.Context(), conn, []byte(masterKey))
	must(t, err)
	return &folder{w: w, conn: conn, reader: reader}
}

// fold folds the next n events of a projection, or up to the head, and reports whether
// there are more.
func (f *folder) fold(ctx context.Context, p projections.Projection, n int64) (more bool, err error) {
	err = pgx.BeginFunc(ctx, f.conn, func(tx pgx.Tx) error {
		from, err := follow.Hold(ctx, tx, p.Name())
		if err != nil {
			return err
		}
		head, err := eventstore.Head(ctx, tx)
		if err != nil {
			return err
		}

		upTo := min(from+n, head)
		more = upTo < head
		events, err := f.reader.RangeOf(ctx, tx, p.Kinds(), from, upTo)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			if err := p.Apply(ctx, follow.Tx{Tx: tx, Log: f.reader}, events, upTo); err != nil {
				return err
			}
		}
		return follow.Advance(ctx, tx, p.Name(), upTo)
	})
	return more, err
}

// Random histories of consents, legal or not, given when they were recorded or earlier,
// annulled, or moved to another record of the person and back, folded in pages of random
// sizes: after every page the table equals one fold of the whole log, which is what
// Verify compares with.
func TestConsentsInPagesEqualOneFold(t *testing.T) {
	t.Parallel()
	consents := projection(t, "consents")
	var w *world
	var f *folder
	var conn *pgx.Conn
	begin := everyTenth(func() {
		w = newWorld(t)
		f, conn = newFolder(t, w), w.db.Conn(t, pgtest.Projector)
	})

	rapid.Check(t, func(r *rapid.T) {
		begin()
		chronicle := w.chronicle()
		for _, d := range rapid.SliceOfN(randomDecision(), 1, 12).Draw(r, "history") {
			chronicle.record(t, d, time.Now())
		}

		for more := true; more; {
			var err error
			more, err = f.fold(t.Context(), consents, rapid.Int64Range(1, 6).Draw(r, "page"))
			if err != nil {
				r.Fatal(err)
			}
			if err := projections.Verify(t.Context(), conn, w.reader, nil); err != nil {
				r.Fatal(err)
			}
		}
	})
}

// everyTenth returns a function that does something at its first call and at every tenth
// after it. Random histories share a log, so that they begin anywhere in one; but what it
// costs to check them all grows with its length.
func everyTenth(do func()) func() {
	calls := 0
	return func() {
		if calls%10 == 0 {
			do()
		}
		calls++
	}
}

// drawn is what happens next to the consents of two records.
type drawn struct {
	subject int
	kind    string // grant, refuse, withdraw, annul, or merge, which undoes the merge before it; or an outcome: a claim
	purpose string
	ago     time.Duration // how long before now it was given; 0: not stated
	ends    time.Duration // of a grant: how long after now it ends; 0: no end was agreed
	days    int           // of a grant: for how many days its purpose lets it hold; 0: for ever
	entry   int           // of an annulment: which of the events so far
}

func randomDecision() *rapid.Generator[drawn] {
	kinds := []string{
		"grant", "grant", "grant", "refuse", "withdraw", "withdraw", "annul", "merge",
		"granted", "refused", "withdrawn",
	}
	return rapid.Custom(func(r *rapid.T) drawn {
		return drawn{
			subject: rapid.IntRange(0, 1).Draw(r, "subject"),
			kind:    rapid.SampledFrom(kinds).Draw(r, "kind"),
			purpose: rapid.SampledFrom([]string{"sms_alert", "newsletter"}).Draw(r, "purpose"),
			ago:     time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 5}).Draw(r, "hours ago")) * time.Hour,
			ends:    time.Duration(max(0, rapid.IntRange(-4, 2).Draw(r, "ends in hours"))) * time.Hour,
			days:    max(0, rapid.IntRange(-2, 1).Draw(r, "holds for days")),
			entry:   rapid.IntRange(0, 11).Draw(r, "entry"),
		}
	})
}

// decides returns the event of somebody who decides at an instant.
func (d drawn) decides(now time.Time) domain.Event {
	now = now.Truncate(time.Microsecond) // the log's unit
	var givenAt time.Time
	if d.ago > 0 {
		givenAt = now.Add(-d.ago)
	}

	switch made := decision(d.purpose, givenAt); d.kind {
	case "grant":
		e := &domain.ConsentGranted{Decision: made, ValidityDays: d.days}
		if d.ends > 0 {
			e.ValidUntil = now.Add(d.ends)
		}
		return e
	case "refuse":
		return &domain.ConsentRefused{Decision: made}
	case "granted", "refused", "withdrawn":
		made.GivenAt = now.Add(-max(d.ago, time.Hour))
		claim := claimed(made, domain.Outcome(d.kind))
		if d.kind == "granted" {
			claim.ValidityDays = d.days
		}
		return claim
	default:
		return &domain.ConsentWithdrawn{
			ConsentID: made.ConsentID, Purpose: d.purpose, GivenAt: givenAt,
			RecordedBy: domain.BySelf,
		}
	}
}

// claimed is what a source says.
func claimed(d domain.Decision, outcome domain.Outcome) *domain.ConsentClaimed {
	return &domain.ConsentClaimed{Decision: d, Claim: domain.ConsentClaim{
		Decided: outcome, Grade: domain.GradeClaimed, Source: "an old list", FileSHA256: domain.WordingHash("list"),
		Line: 2,
	}}
}

// chronicle records what is drawn of two records of one person.
type chronicle struct {
	domaintest.Pair

	write func(t testing.TB, subject domain.UserID, now time.Time, events ...domain.Event) []domain.Recorded
}

// chronicle makes one whose events are recorded when they happen.
func (w *world) chronicle() *chronicle {
	write := func(t testing.TB, subject domain.UserID, _ time.Time, events ...domain.Event) []domain.Recorded {
		t.Helper()
		return w.recorded(t, w.tenant, domain.ConsentsOf(subject), nil, events...)
	}
	return &chronicle{domaintest.Pair{IDs: [2]domain.UserID{newUser(), newUser()}}, write}
}

// record records what happens at an instant.
func (c *chronicle) record(t testing.TB, d drawn, now time.Time) {
	t.Helper()
	var events [2][]domain.Event
	switch d.kind {
	case "annul":
		events[d.subject] = c.Annul(d.subject, d.entry)
	case "merge":
		var err error
		events, err = c.Merge()
		must(t, err)
	default:
		events[d.subject] = []domain.Event{d.decides(now)}
	}

	for i, added := range events {
		if len(added) > 0 {
			c.Add(i, c.write(t, c.IDs[i], now, added...)...)
		}
	}
}

func TestAnErasedUsersRowStaysBlank(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFolder(t, w)
	users := projection(t, "users")

	all := func() {
		t.Helper()
		_, err := f.fold(t.Context(), users, 1000)
		must(t, err)
	}

	known, unknown := w.register(t, w.tenant, "known"), newUser()
	all()

	// This one is registered, changed and erased before the projector sees any of it.
	w.appendSide(t, w.tenant, domain.UserOf(unknown), []domain.SideWrite{domain.CreateSubjectKey{Subject: unknown}},
		&domain.UserRegistered{
			Role: domain.Citizen, Person: domain.Known(domain.PersonFacts{Email: "u@example.org", FullName: "U"}),
		})
	w.append(t, w.tenant, domain.UserOf(unknown),
		&domain.UserEmailChanged{Email: domain.Known(domain.Change[string]{New: "v@example.org"})})
	w.append(t, w.tenant, domain.UserOf(known), &domain.UserProfileChanged{
		Fields: []string{"full_name"}, Person: domain.Known(
			domain.ProfileChanges{FullName: &domain.Change[string]{New: "Changed"}}),
	})

	w.erase(t, known)
	w.erase(t, unknown)
	w.check(t) // the table is behind the erasure: the row still names the person, and Verify knows why
	all()
	w.check(t)

	for _, id := range []domain.UserID{known, unknown} {
		u, err := w.queries.User(t.Context(), w.tenant, id)
		must(t, err)
		if !u.Erased || u.Active || u.Email != "" || u.FullName != "" || u.Phone != "" {
			t.Errorf("an erased user reads %+v", u)
		}
	}
}

func (w *world) erase(t testing.TB, user domain.UserID) {
	t.Helper()
	w.appendSide(t, w.tenant, domain.UserOf(user), []domain.SideWrite{domain.DestroySubjectKey{Subject: user}},
		&domain.UserErased{})
}

func TestAFoldRefusesARowOfTheWrongVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := newFolder(t, w)
	users := projection(t, "users")
	user := w.register(t, w.tenant, "a")
	_, err := f.fold(t.Context(), users, 1000)
	must(t, err)
	w.append(t, w.tenant, domain.UserOf(user), &domain.UserDeactivated{Cause: domain.CauseAdmin})
	_, err = w.db.Superuser(t).Exec(t.Context(), "update trust.users_v1 set version = 7")
	must(t, err)

	_, err = f.fold(t.Context(), users, 1000)
	if order, ok := errors.AsType[*follow.PlainError](err); !ok || !strings.Contains(order.Text, "is version 2") ||
		!strings.Contains(order.Text, "holds version 7") {
		t.Errorf("fold returns %v", err)
	}
}
