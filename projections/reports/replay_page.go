package reports

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/projections"
)

// ReplayPage is part of what a replay passes on, and the moment that all pages are about.
type ReplayPage struct {
	projections.Listing[domain.Decided]
	Moment
}

// errPageFull ends a replay that has filled its page.
var errPageFull = errors.New("the page is full")

// ReplayPage returns part of what Replay passes on, in the same order: all pages together
// are the replay, whatever is recorded between them. The moment of the first page is that
// of the question, which Resolve returned; the cursor keeps it for the others. A cursor
// of another question is refused. A page costs about what it holds: the read table only
// tells whose events to read next, see projections.ConsentSearch. Errors:
// validation_failed, unknown_position, unavailable.
func (r *Reports) ReplayPage(
	ctx context.Context, tenant domain.TenantID, q ReplayQuery, page projections.Page,
) (ReplayPage, error) {
	var after replayCursor
	if page.After != "" {
		var err error
		if after, err = cursorOf(page.After, questionOf(tenant, q)); err != nil {
			return ReplayPage{}, err
		}
		q.Position, q.At, q.Now = after.Position, after.at(), after.now()
	}
	if q.Now.IsZero() {
		q.Now = time.Now() // for all pages, if At does not say when things are judged
	}

	var rows []domain.Decided
	err := r.asTenant(ctx, tenant, func(tx pgx.Tx) error {
		rows = nil
		take := func(d domain.Decided) error {
			if rows = append(rows, d); len(rows) == page.Fetch() {
				return errPageFull
			}
			return nil
		}

		err := r.replayBehind(ctx, tx, tenant, q, after, page.Fetch(), take)
		if errors.Is(err, errPageFull) {
			return nil
		}
		return err
	})

	list, err := projections.List(rows, err, page, func(d domain.Decided) (domain.Decided, string) {
		return d, cursorBehind(d, tenant, q)
	})
	return ReplayPage{list, Moment{q.Position, q.At}}, err
}

// replayBehind is replay from behind a cursor on; the zero cursor is before everything.
func (r *Reports) replayBehind(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, after replayCursor, most int,
	each func(domain.Decided) error,
) error {
	if _, err := resolve(ctx, tx, time.Time{}, q.Position); err != nil {
		return err
	}
	rules, err := r.rulesOf(ctx, tx, tenant, q)
	if err != nil {
		return err
	}

	if after.Subject != uuid.Nil {
		// The rest of the person with whom the page before ended.
		passed := false
		err := r.fold(ctx, tx, tenant, q, rules, []uuid.UUID{after.Subject}, func(d domain.Decided) error {
			if passed {
				return each(d)
			}
			passed = d.ID.UUID == after.Consent
			return nil
		})
		if err == nil && !passed {
			err = projections.MalformedCursor()
		}
		if err != nil || !q.Subject.IsZero() {
			return err
		}
	}
	if !q.Subject.IsZero() {
		return r.fold(ctx, tx, tenant, q, rules, []uuid.UUID{q.Subject.UUID}, each)
	}

	q.behind = after.Subject
	return r.replayPeople(ctx, tx, tenant, q, rules, most, each)
}

// replayPeople folds the people behind one, some at a time. It first asks for as many as
// can be needed; if few of them have anything to show, then for more at once.
func (r *Reports) replayPeople(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, q ReplayQuery, rules domain.Rules, most int,
	each func(domain.Decided) error,
) error {
	search, err := projections.SearchConsents(ctx, tx, tenant, q.Position)
	if err != nil {
		return err
	}
	if search == nil {
		return r.fold(ctx, tx, tenant, q, rules, nil, each)
	}

	for behind := q.behind; ; {
		people, err := search.Behind(ctx, q.ConsentFilter, rules, behind, most)
		if err != nil || len(people) == 0 {
			return err
		}

		q.behind = uuid.Nil
		if err := r.fold(ctx, tx, tenant, q, rules, people, each); err != nil {
			return err
		}
		if len(people) < most {
			return nil
		}
		behind, most = people[len(people)-1], min(2*most, replayPage)
	}
}

// replayCursor names a row of a replay: the moment and the question that the replay is
// about, and the decision, in its fixed binary form.
type replayCursor struct {
	Position int64
	// The replay is about this instant if it is Bounded. If not, it is about the end of
	// what was known, and what ends without an event is judged then.
	Bounded bool
	Seconds int64
	Nanos   uint32

	Question [8]byte
	Subject  uuid.UUID
	Consent  uuid.UUID
}

func (c replayCursor) instant() time.Time { return time.Unix(c.Seconds, int64(c.Nanos)).UTC() }

func (c replayCursor) at() time.Time {
	if !c.Bounded {
		return time.Time{}
	}
	return c.instant()
}

func (c replayCursor) now() time.Time {
	if c.Bounded {
		return time.Time{}
	}
	return c.instant()
}

func cursorBehind(d domain.Decided, tenant domain.TenantID, q ReplayQuery) string {
	instant := q.At
	if instant.IsZero() {
		instant = q.Now
	}
	raw, err := binary.Append(nil, binary.BigEndian, replayCursor{
		Position: q.Position, Bounded: !q.At.IsZero(), Seconds: instant.Unix(), Nanos: uint32(instant.Nanosecond()),
		Question: questionOf(tenant, q), Subject: d.Subject.UUID, Consent: d.ID.UUID,
	})
	if err != nil {
		panic(err) // every field has a fixed size
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// cursorOf reads a cursor, which must be one of a question.
func cursorOf(text string, question [8]byte) (c replayCursor, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != binary.Size(c) {
		return c, projections.MalformedCursor()
	}
	if _, err := binary.Decode(raw, binary.BigEndian, &c); err != nil {
		return c, projections.MalformedCursor()
	}

	year := c.instant().Year()
	if c.Position < 1 || c.Subject == uuid.Nil || c.Nanos >= uint32(time.Second) || year < 1 || year > 9999 {
		return c, projections.MalformedCursor()
	}
	if c.Question != question {
		var f domain.Faults
		f.Add("after", "invalid", "This is a page of another question: ask with the filters of the page before.")
		return c, f.Err()
	}
	return c, nil
}

// questionOf tells apart what can be asked of a replay, apart from its moment.
func questionOf(tenant domain.TenantID, q ReplayQuery) (digest [8]byte) {
	asked := q.Named()
	delete(asked, "position")
	delete(asked, "as_of")
	asked["tenant_id"], asked["subject_id"] = tenant.String(), q.Subject.String()

	sum := sha256.Sum256(fmt.Appendf(nil, "%q", asked)) // in order of the names
	copy(digest[:], sum[:])
	return digest
}
