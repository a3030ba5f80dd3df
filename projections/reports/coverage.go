package reports

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/projections"
)

// coverage finds the reads of personal data that can have covered one person. A read that
// names its people is exact. A read that names nobody has its filter, and the log that it
// was answered from, which is folded again as far as the read saw it. If that does not
// settle it, the read counts: one too many is a nuisance to the person, one too few is a
// false answer.
type coverage struct {
	reports *Reports
	reader  *eventstore.Reader
	tx      pgx.Tx
	tenant  domain.TenantID
	person  domain.UserID

	streams map[domain.StreamType][]domain.Recorded // the person's streams read so far, sealed
	first   map[domain.StreamType]domain.Recorded   // the events with which they begin; zero: none
}

func (r *Reports) coverage(tx pgx.Tx, tenant domain.TenantID, person domain.UserID) *coverage {
	return &coverage{
		reports: r, reader: r.reader, tx: tx, tenant: tenant, person: person,
		streams: map[domain.StreamType][]domain.Recorded{}, first: map[domain.StreamType]domain.Recorded{},
	}
}

// began returns the position from which the tenant had this person; 0 if it never did.
func (c *coverage) began(ctx context.Context) (int64, error) {
	first, err := c.begins(ctx, domain.UserStream)
	return first.Position, err
}

// only returns the reads that can have covered the person.
func (c *coverage) only(ctx context.Context, reads []domain.Recorded) ([]domain.Recorded, error) {
	kept := make([]domain.Recorded, 0, len(reads))
	for _, r := range reads {
		covered, err := c.covers(ctx, r)
		if err != nil {
			return nil, err
		}
		if covered {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// covers reports whether a read can have covered the person.
func (c *coverage) covers(ctx context.Context, r domain.Recorded) (bool, error) {
	read, is := r.Event.(*domain.PersonalDataRead)
	if !is {
		return false, nil
	}

	// The data was read before the head was looked up, and the head before the read was
	// recorded.
	head := r.Position - 1
	if read.Head > 0 {
		head = min(head, read.Head)
	}
	if began, err := c.began(ctx); err != nil || began == 0 || began > head {
		return false, err
	}

	replayed := strings.Contains(read.Fields, "consents") && read.Filter["position"] != ""
	switch {
	case replayed && (len(read.Subjects) == 0 || slices.Contains(read.Subjects, c.person)):
		return c.inReplay(ctx, read, r.RecordedAt, head)
	case len(read.Subjects) > 0:
		return slices.Contains(read.Subjects, c.person), nil
	case read.Filter["subject_id"] != "" && read.Filter["subject_id"] != c.person.String():
		return false, nil
	case read.Filter["tenant_id"] != "": // an audit that showed only other municipalities
		return false, nil
	}

	switch read.Fields {
	case "profile":
		return c.inList(ctx, read, head)
	case "audit":
		return c.inAudit(ctx, read, head)
	case "requests":
		return c.decided(ctx, domain.RightsStream, head)
	case "consents":
		return c.decided(ctx, domain.ConsentStream, head)
	default:
		return true, nil
	}
}

// inReplay reports whether a replay of consents has a row of the person. It is exact: a
// replay of a position is the same for ever.
func (c *coverage) inReplay(
	ctx context.Context, read *domain.PersonalDataRead, when time.Time, head int64,
) (bool, error) {
	upTo, at, known := replayed(read.Filter)
	if !known {
		return c.decided(ctx, domain.ConsentStream, head)
	}

	first, err := c.begins(ctx, domain.ConsentStream)
	if err != nil || first.Position == 0 || first.Position > min(upTo, head) {
		return false, err
	}
	filter, understood := consentFilterOf(read.Filter)
	if !understood {
		return true, nil // from a release with other filters
	}
	if filter == (projections.ConsentFilter{}) && isDecision(first) && (at.IsZero() || !first.EffectiveAt.After(at)) {
		return true, nil // nearly always, and the stream may be long
	}

	events, err := c.stream(ctx, domain.ConsentStream)
	if err != nil {
		return false, err
	}
	events = until(events, min(upTo, head))
	clocks := domain.Clocks{At: at, Now: when}
	rules := domain.RulesOf(nil, nil, clocks)
	if filter.Status != "" { // nothing else depends on them
		if rules, err = c.reports.rules(ctx, c.tx, c.tenant, upTo, clocks); err != nil {
			return false, err
		}
	}

	covered := false
	rowsOf(events, rules, filter)(func(domain.Decided) bool {
		covered = true
		return false
	})
	return covered, nil
}

// replayed reads the position and the instant of a replay from the filter of its read.
func replayed(filter map[string]string) (upTo int64, at time.Time, known bool) {
	upTo, err := strconv.ParseInt(filter["position"], 10, 64)
	if err != nil {
		return 0, time.Time{}, false
	}
	if filter["as_of"] == "" {
		return upTo, time.Time{}, true
	}

	at, err = time.Parse(time.RFC3339Nano, filter["as_of"])
	if err == nil && at.IsZero() {
		upTo = 0 // nothing was in force then
	}
	return upTo, at, err == nil
}

// inList reports whether the person can have been in a list of accounts: whether they
// matched its filter at any time up to the head, as a read table may lag behind. Search
// texts are not kept, so they rule nobody out.
func (c *coverage) inList(ctx context.Context, read *domain.PersonalDataRead, head int64) (bool, error) {
	events, err := c.stream(ctx, domain.UserStream)
	if err != nil {
		return false, err
	}

	role, active, registered := read.Filter["role"], read.Filter["is_active"], read.Filter["has_account"]
	var account domain.User
	for _, e := range until(events, head) {
		account = account.Evolve(e)
		if (role == "" || string(account.Role) == role) && (active == "" || account.Active == (active == "true")) &&
			(registered == "" || account.Account == (registered == "true")) {
			return true, nil
		}
	}
	return false, nil
}

// inAudit reports whether the audit that was read has an entry about the person or by
// them.
func (c *coverage) inAudit(ctx context.Context, read *domain.PersonalDataRead, head int64) (bool, error) {
	q, possible := auditedIn(read.Filter)
	if !possible {
		return true, nil
	}

	q.Tenant, q.UpTo, q.Limit, q.Sealed = c.tenant, head, 1, true
	about, by := q, q
	about.Subject, by.Actor = c.person, c.person
	questions := []eventstore.Query{about}
	if q.Actor.IsZero() || q.Actor == c.person {
		questions = append(questions, by)
	}

	for _, question := range questions {
		found, err := c.reader.Find(ctx, c.tx, question)
		if err != nil || len(found) > 0 {
			return len(found) > 0, err
		}
	}
	return false, nil
}

// auditedIn reads from the filter of an audit's read which events the audit asked for.
func auditedIn(filter map[string]string) (q eventstore.Query, understood bool) {
	asked := AuditFilter{Operation: domain.Operation(filter["operation"]), Table: filter["table_name"]}
	types, err := asked.types()
	if err != nil {
		return q, false // from a release with other operations or tables
	}
	q.Types = types

	for name, into := range map[string]*uuid.UUID{"record_id": &q.Record, "user_id": &q.Actor.UUID} {
		if text := filter[name]; text != "" {
			if *into, err = uuid.Parse(text); err != nil {
				return q, false
			}
		}
	}
	for name, into := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := filter[name]; text != "" {
			if *into, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, false
			}
		}
	}
	return q, true
}

// decided reports whether one of the person's streams had an event by a position.
func (c *coverage) decided(ctx context.Context, kind domain.StreamType, head int64) (bool, error) {
	first, err := c.begins(ctx, kind)
	return first.Position > 0 && first.Position <= head, err
}

// isDecision reports whether an event makes a row of a replay.
func isDecision(e domain.Recorded) bool {
	switch e.Event.(type) {
	case *domain.ConsentGranted, *domain.ConsentRefused, *domain.ConsentClaimed:
		return true
	default:
		return false
	}
}

// begins returns the first event of one of the person's streams; zero: it has none. A
// stream may be long, so only its first event is read.
func (c *coverage) begins(ctx context.Context, kind domain.StreamType) (domain.Recorded, error) {
	if first, read := c.first[kind]; read {
		return first, nil
	}

	events, err := c.reader.InStreams(ctx, c.tx, c.tenant, kind, []uuid.UUID{c.person.UUID}, eventstore.Place{},
		math.MaxInt64, 1)
	if err != nil {
		return domain.Recorded{}, err
	}
	c.first[kind] = domain.Recorded{}
	for _, e := range events {
		c.first[kind] = e
	}
	return c.first[kind], nil
}

// stream returns one of the person's streams, and reads it only once.
func (c *coverage) stream(ctx context.Context, kind domain.StreamType) ([]domain.Recorded, error) {
	if events, read := c.streams[kind]; read {
		return events, nil
	}

	events, err := c.reader.InStreams(ctx, c.tx, c.tenant, kind, []uuid.UUID{c.person.UUID}, eventstore.Place{},
		math.MaxInt64, math.MaxInt32)
	if err == nil {
		c.streams[kind] = events
	}
	return events, err
}

// until returns the events of one stream up to a position.
func until(events []domain.Recorded, position int64) []domain.Recorded {
	i := slices.IndexFunc(events, func(e domain.Recorded) bool { return e.Position > position })
	if i < 0 {
		return events
	}
	return events[:i]
}
