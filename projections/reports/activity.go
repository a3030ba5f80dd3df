package reports

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// Activity is what was recorded in a tenant from one day to another, and what waits.
type Activity struct {
	Position int64 // the log's head that it rests on
	From, To domain.Date
	Days     []DayCount    // in order of day and purpose; only what occurred
	Readers  []ReaderCount // the most looks first, in the last readerDays days at most
	Requests RequestCount
}

// readersFrom is the first day of which looks are counted.
func (a Activity) readersFrom() domain.Date { return max(a.From, a.To.AddDays(1-readerDays)) }

// DayCount is how many decisions about one purpose were recorded on one day in South
// Africa.
type DayCount struct {
	Day     domain.Date
	Purpose string

	Granted, Refused, Withdrawn int
}

// ReaderCount is how often an account looked at other people's data.
type ReaderCount struct {
	Actor  domain.UserID // zero: operators
	Role   string        // at the newest look
	Looks  int
	People int // who were named in these looks, each time counted
}

// RequestCount is how many requests are open.
type RequestCount struct {
	Open    int
	Overdue int // of these, were due before today
	DueSoon int // of these, are due today or within soon days
}

const (
	// MostActivityDays is the longest period of an Activity.
	MostActivityDays = 366
	// readerDays is the longest period in which readers are counted.
	readerDays = 30
	// mostReaders is how many of them are listed.
	mostReaders = 50
	soon        = 7
)

// Activity counts what was recorded in a tenant on the last days, up to today. Counts are
// kept from one question to the next, and only newer events are folded into them; what is
// kept is never more than the log says. If there is much to fold, as when a tenant is
// counted for the first time, that goes on by itself, and questions are refused
// meanwhile. Errors: being_counted, unavailable.
func (r *Reports) Activity(
	ctx context.Context, tenant domain.TenantID, days int, now time.Time,
) (a Activity, err error) {
	days = min(max(days, 1), MostActivityDays)
	a.To = domain.DateOf(now)
	a.From = a.To.AddDays(1 - days)

	// Locked before the snapshot is taken, so that no snapshot is older than the counts.
	kept, unlock, err := r.activity.lock(ctx, tenant)
	if err != nil {
		return Activity{}, err
	}
	defer unlock()
	if err := kept.hinders(); err != nil {
		return Activity{}, err
	}

	whole, err := r.catchUp(ctx, tenant, &kept.counts, &a, r.activityPage)
	if err != nil {
		return Activity{}, err
	}
	if !whole {
		r.countOn(tenant, kept, a, now)
		return Activity{}, kept.hinders()
	}

	kept.forget(a.To)
	kept.report(&a)
	return a, nil
}

// hinders returns why kept counts cannot be used: the rest is being counted, or that
// failed. A failure is told once, so that the next question tries again.
func (k *keptCounts) hinders() error {
	if k.failed != nil {
		err := k.failed
		k.failed = nil
		return err
	}
	if k.begun.IsZero() {
		return nil
	}

	refusal := domain.Refuse(domain.CodeBeingCounted,
		"These figures are still being counted, since %s: ask again in a few seconds.",
		k.begun.UTC().Format(time.RFC3339))
	refusal.Since, refusal.Wait = k.begun, countingWait
	return refusal
}

// countingWait is after how long it makes sense to ask again.
const countingWait = 3 * time.Second

// countOn counts the rest while nobody waits. What was counted until it ends or fails is
// kept.
func (r *Reports) countOn(tenant domain.TenantID, kept *keptCounts, a Activity, now time.Time) {
	counted := kept.counts
	kept.counts, kept.begun = counts{}, now

	r.counting.Go(func() {
		err := r.counts.Acquire(r.life, 1)
		if err == nil {
			_, err = r.catchUp(r.life, tenant, &counted, &a, math.MaxInt)
			r.counts.Release(1)
		}

		kept, unlock, closed := r.activity.lock(r.life, tenant)
		if closed != nil {
			return
		}
		defer unlock()
		kept.counts, kept.begun, kept.failed = counted, time.Time{}, eventstore.Unavailable(err)
	})
}

// catchUp brings counts to the log's head, or counts anew if they are not of this log,
// lack days that are asked for, or have counted what was disowned since. It returns false
// if there is more to do after so many events.
func (r *Reports) catchUp(
	ctx context.Context, tenant domain.TenantID, c *counts, a *Activity, most int,
) (whole bool, err error) {
	err = r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		if a.Position, err = eventstore.Head(ctx, tx); err != nil {
			return err
		}
		log, err := eventstore.LogID(ctx, tx)
		if err != nil {
			return err
		}

		holds := c.log == log && c.last <= a.Position && c.since <= a.From && c.readersSince <= a.readersFrom()
		if holds {
			if holds, err = r.stillHas(ctx, tx, tenant, c.last, c.lastID); err != nil {
				return err
			}
		}
		for {
			if !holds {
				if *c, err = anew(ctx, tx, log, a); err != nil {
					return err
				}
			}
			if whole, err = r.foldNewer(ctx, tx, tenant, c, a.Position, most); err != nil || !c.disowned {
				return err
			}
			holds = false
		}
	})
	return whole, err
}

// anew begins to count at the first day that may be asked for. Of what came before, only
// the requests that are open matter.
func anew(ctx context.Context, tx pgx.Tx, log uuid.UUID, a *Activity) (counts, error) {
	since := a.To.AddDays(1 - MostActivityDays)
	before, err := eventstore.PositionAt(ctx, tx, since.Begins().Add(-time.Microsecond))
	return counts{
		log: log, since: since, readersSince: since, before: before, head: a.Position,
		decisions: map[dayOfPurpose]*decisions{}, looks: map[dayOfReader]*looks{},
		open: map[domain.RequestID]domain.Date{},
	}, err
}

// foldNewer folds the events after the last one that was counted. It returns false if
// there are more than so many, or one that was counted has been disowned since.
func (r *Reports) foldNewer(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, c *counts, head int64, most int,
) (whole bool, err error) {
	for folded := 0; ; {
		types, upTo := activityTypes(), head
		if c.last < c.before {
			types, upTo = requestTypes(), c.before
		}
		more := upTo > c.last
		if more {
			if more, err = r.foldPage(ctx, tx, tenant, c, types, upTo); err != nil || c.disowned {
				return false, err
			}
			folded += r.activityPage
		}

		switch {
		case more && folded >= most:
			return false, nil
		case !more && upTo == head:
			return true, nil
		case !more:
			c.last, c.lastID = c.before, uuid.Nil
		}
	}
}

// activityPage is how many events are folded at once, and how many while somebody waits.
const activityPage = 1000

// foldPage folds a page of events, and reports whether there may be more.
func (r *Reports) foldPage(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, c *counts, types []string, upTo int64,
) (more bool, err error) {
	events, err := r.reader.Find(ctx, tx, eventstore.Query{
		Tenant: tenant, Types: types, After: c.last, UpTo: upTo, Limit: r.activityPage, Sealed: true,
	})
	if err != nil {
		return false, err
	}

	for _, e := range events {
		c.add(e)
	}
	return len(events) == r.activityPage, nil
}

// requestTypes lists the types of the events that open and close requests.
func requestTypes() []string {
	return []string{
		(*domain.RequestLodged)(nil).EventType(), (*domain.RequestFulfilled)(nil).EventType(),
		(*domain.RequestRefused)(nil).EventType(),
	}
}

// activityTypes lists the types of the events that are counted.
func activityTypes() []string {
	return append(requestTypes(),
		(*domain.ConsentGranted)(nil).EventType(), (*domain.ConsentRefused)(nil).EventType(),
		(*domain.ConsentWithdrawn)(nil).EventType(), (*domain.PersonalDataRead)(nil).EventType(),
		(*domain.EventDisowned)(nil).EventType())
}

// counts are what events up to one position say, by day.
type counts struct {
	log    uuid.UUID
	since  domain.Date // the first day that decisions are counted of
	before int64       // up to this position, only requests are counted
	head   int64       // the log's head when the count began
	last   int64       // position of the newest event that was counted
	lastID uuid.UUID   // zero: none was
	// readersSince is the first day that looks are counted of.
	readersSince domain.Date
	// disowned says that an event was disowned after the count began, which may have been
	// counted.
	disowned bool

	decisions map[dayOfPurpose]*decisions
	looks     map[dayOfReader]*looks
	open      map[domain.RequestID]domain.Date // when each is due
}

type dayOfPurpose struct {
	day     domain.Date
	purpose string
}

type decisions struct{ granted, refused, withdrawn int }

type dayOfReader struct {
	day   domain.Date
	actor domain.UserID
}

type looks struct {
	role          string
	looks, people int
}

// add counts an event. What was copied from another record of the same person was counted
// there.
func (c *counts) add(r domain.Recorded) {
	c.last, c.lastID = r.Position, r.EventID

	switch e := r.Event.(type) {
	case *domain.ConsentGranted:
		if e.Copy == nil {
			c.of(r, e.Purpose).granted++
		}
	case *domain.ConsentRefused:
		if e.Copy == nil {
			c.of(r, e.Purpose).refused++
		}
	case *domain.ConsentWithdrawn:
		if e.Copy == nil {
			c.of(r, e.Purpose).withdrawn++
		}
	case *domain.PersonalDataRead:
		c.look(r, len(e.Subjects))
	case *domain.RequestLodged:
		c.open[e.RequestID] = e.DueOn
	case *domain.RequestFulfilled:
		delete(c.open, e.RequestID)
	case *domain.RequestRefused:
		delete(c.open, e.RequestID)
	case *domain.EventDisowned:
		// What was disowned before the count began is not read.
		c.disowned = c.disowned || r.Position > c.head
	}
}

func (c *counts) of(r domain.Recorded, purpose string) *decisions {
	at := dayOfPurpose{domain.DateOf(r.RecordedAt), purpose}
	d, known := c.decisions[at]
	if !known {
		d = &decisions{}
		c.decisions[at] = d
	}
	return d
}

func (c *counts) look(r domain.Recorded, people int) {
	at := dayOfReader{domain.DateOf(r.RecordedAt), r.Actor}
	l, known := c.looks[at]
	if !known {
		l = &looks{}
		c.looks[at] = l
	}
	l.role, l.looks, l.people = r.Metadata.ActorRole, l.looks+1, l.people+people
}

// keptCounts are the counts of one tenant.
type keptCounts struct {
	counts

	// begun is when the rest began to be counted; zero: it is not being counted.
	begun  time.Time
	failed error // why that ended early, until somebody was told
}

// forget drops the days that nobody can ask for on a day or later.
func (k *keptCounts) forget(today domain.Date) {
	if since := today.AddDays(1 - MostActivityDays); since > k.since {
		k.since = since
		maps.DeleteFunc(k.decisions, func(at dayOfPurpose, _ *decisions) bool { return at.day < since })
	}
	if since := today.AddDays(1 - readerDays); since > k.readersSince {
		k.readersSince = since
		maps.DeleteFunc(k.looks, func(at dayOfReader, _ *looks) bool { return at.day < since })
	}
}

// report fills in what was counted in a period.
func (k *keptCounts) report(a *Activity) {
	for at, n := range k.decisions {
		if a.From <= at.day && at.day <= a.To {
			a.Days = append(a.Days, DayCount{at.day, at.purpose, n.granted, n.refused, n.withdrawn})
		}
	}
	slices.SortFunc(a.Days, func(x, y DayCount) int {
		return cmp.Or(cmp.Compare(x.Day, y.Day), cmp.Compare(x.Purpose, y.Purpose))
	})

	a.Readers = k.readers(a.readersFrom(), a.To)
	a.Requests.Open = len(k.open)
	for _, due := range k.open {
		switch {
		case due < a.To:
			a.Requests.Overdue++
		case due <= a.To.AddDays(soon):
			a.Requests.DueSoon++
		}
	}
}

// readers returns the accounts with the most looks in a period.
func (k *keptCounts) readers(from, to domain.Date) []ReaderCount {
	sums, newest := map[domain.UserID]ReaderCount{}, map[domain.UserID]domain.Date{}
	for at, n := range k.looks {
		if at.day < from || at.day > to {
			continue
		}
		sum := sums[at.actor]
		sum.Actor, sum.Looks, sum.People = at.actor, sum.Looks+n.looks, sum.People+n.people
		if at.day > newest[at.actor] {
			sum.Role, newest[at.actor] = n.role, at.day
		}
		sums[at.actor] = sum
	}

	most := slices.SortedFunc(maps.Values(sums), func(x, y ReaderCount) int {
		return cmp.Or(cmp.Compare(y.Looks, x.Looks), cmp.Compare(y.People, x.People),
			cmp.Compare(x.Actor.String(), y.Actor.String()))
	})
	return most[:min(len(most), mostReaders)]
}
