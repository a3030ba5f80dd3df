package reports_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/domain/domaintest"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pgtest"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// Random histories, whose clock jumps ahead and back, with entries annulled and records
// merged, asked about at random instants of both clocks or at random positions, while the
// read table has followed the log to somewhere: a search finds the rows of the whole
// export that have the features, a summary counts what a search finds, and so do its
// pages of any size together, although between them more is recorded and followed.
func TestSearchesCountsAndPagesAreThoseOfTheWholeExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn, super := w.db.Conn(t, pgtest.Projector), w.db.Superuser(t)
	w.exec(t, super, "set session_replication_role = replica")

	clock, version := time.Now(), 0
	publish := func(reconsent time.Time) {
		version++
		w.append(t, w.tenant, domain.PurposeOf(w.tenant, "sms_alert"), notice(version, reconsent))
	}
	w.append(t, w.tenant, domain.PurposeOf(w.tenant, "sms_alert"), &domain.PurposeDefined{
		Code: "sms_alert", Basis: domain.ConsentBasis, Retention: "a year",
	})
	publish(time.Time{})
	rapid.Check(t, func(rt *rapid.T) {
		clock = clock.Add(100 * time.Hour) // past everything stamped before
		people, other := pair(), newUser()
		for range rapid.IntRange(1, 9).Draw(rt, "events") {
			clock = clock.Add(time.Minute)
			ahead := rapid.SampledFrom([]int{0, 0, 0, 1, 4, 24}).Draw(rt, "hours ahead")
			shown := clock.Add(time.Duration(ahead) * time.Hour)
			if rapid.IntRange(0, 3).Draw(rt, "somebody else") == 0 {
				w.stamp(t, super, other, shown, drawnDecision(rt, clock))
				continue
			}

			for i, events := range drawnEvents(rt, people, func() domain.Event { return drawnDecision(rt, clock) }) {
				people.Add(i, w.stamp(t, super, people.IDs[i], shown, events...)...)
			}
		}
		if hours := rapid.IntRange(-4, 2).Draw(rt, "asked again"); hours > 0 {
			publish(clock.Add(time.Duration(hours-1) * time.Hour))
		}
		w.followTo(t, conn, rapid.Int64Range(1, w.head(t)).Draw(rt, "the read table's position"))

		log := w.wholeLog(t, conn)
		q := drawnQuestion(rt, log)
		about, err := w.reports.Resolve(t.Context(), w.tenant, q.At, q.KnownAt, q.Position)
		must(t, err)
		q.Position, q.At, q.Now = about.Position, about.At, clock

		whole := q.ReplayQuery
		whole.ConsentFilter = projections.ConsentFilter{}
		want := slices.DeleteFunc(w.rows(t, whole), func(r domain.Decided) bool { return !has(r, q.ConsentFilter) })
		if diff := gocmp.Diff(want, w.rows(t, q.ReplayQuery), none()); diff != "" {
			rt.Fatalf("search %+v (-the whole export, filtered +found):\n%s", q, diff)
		}

		by := rapid.SliceOfNDistinct(rapid.SampledFrom(dimensions()), 1, -1,
			func(d projections.Dimension) projections.Dimension { return d }).Draw(rt, "by")
		counted, err := w.reports.Summary(t.Context(), w.tenant, q.ReplayQuery, by)
		must(t, err)
		if diff := gocmp.Diff(counts(want, by), counted); diff != "" {
			rt.Fatalf("count %+v by %v (-the rows found +counted):\n%s", q, by, diff)
		}

		limit := rapid.SampledFrom([]int{1, 2, 3, 7, 100}).Draw(rt, "rows of a page")
		paged := w.paged(t, q.ReplayQuery, limit, func() {
			clock = clock.Add(time.Minute)
			w.stamp(t, super, people.IDs[0], clock, drawnDecision(rt, clock))
			w.stamp(t, super, newUser(), clock, drawnDecision(rt, clock))
			if rapid.Bool().Draw(rt, "followed between pages") {
				w.followTo(t, conn, w.head(t))
			}
		})
		if diff := gocmp.Diff(want, paged, none()); diff != "" {
			rt.Fatalf("pages of %d of %+v (-the rows found +paged):\n%s", limit, q, diff)
		}
	})
}

// paged returns what a replay's pages hold together. Each page after the first is asked
// for as clients do: with the question, without its moment.
func (w *world) paged(t testing.TB, q reports.ReplayQuery, limit int, between func()) (rows []domain.Decided) {
	t.Helper()
	for page := (projections.Page{Limit: limit}); ; between() {
		got, err := w.reports.ReplayPage(t.Context(), w.tenant, q, page)
		must(t, err)
		if len(got.Items) > limit || got.Next != "" && len(got.Items) < limit {
			t.Fatalf("a page of %d rows of at most %d", len(got.Items), limit)
		}
		if page.After == "" {
			q.Position, q.At, q.Now = 0, time.Time{}, time.Time{}
		}

		rows = append(rows, got.Items...)
		if page.After = got.Next; page.After == "" {
			return rows
		}
	}
}

// none makes no difference between an empty list and nil.
func none() gocmp.Option {
	empty := func(a, b []domain.Decided) bool { return len(a)+len(b) == 0 }
	return gocmp.FilterValues(empty, gocmp.Ignore())
}

// rows returns what a replay passes on.
func (w *world) rows(t testing.TB, q reports.ReplayQuery) (rows []domain.Decided) {
	t.Helper()
	must(t, w.reports.Replay(t.Context(), w.tenant, q, func(r domain.Decided) error {
		rows = append(rows, r)
		return nil
	}))
	return rows
}

// has says in other words what a filter means.
func has(r domain.Decided, f projections.ConsentFilter) bool {
	for _, differs := range []bool{
		f.Purpose != "" && f.Purpose != r.Purpose,
		f.NoticeVersion > 0 && f.NoticeVersion != r.NoticeVersion,
		f.Language != "" && f.Language != r.Language,
		f.Channel != "" && f.Channel != r.Channel,
		f.Status != "" && f.Status != r.Status,
		!f.GivenFrom.IsZero() && f.GivenFrom.After(r.GivenAt),
		!f.GivenTo.IsZero() && !f.GivenTo.After(r.GivenAt),
	} {
		if differs {
			return false
		}
	}
	return true
}

// counts counts rows one by one.
func counts(rows []domain.Decided, by []projections.Dimension) []reports.Counted {
	counted := []reports.Counted{}
	for _, r := range rows {
		feature := map[projections.Dimension]func(*projections.ConsentGroup){
			projections.ByPurpose:       func(g *projections.ConsentGroup) { g.Purpose = r.Purpose },
			projections.ByNoticeVersion: func(g *projections.ConsentGroup) { g.NoticeVersion = r.NoticeVersion },
			projections.ByLanguage:      func(g *projections.ConsentGroup) { g.Language = r.Language },
			projections.ByChannel:       func(g *projections.ConsentGroup) { g.Channel = r.Channel },
			projections.ByStatus:        func(g *projections.ConsentGroup) { g.Status = r.Status },
		}
		var group projections.ConsentGroup
		for _, d := range by {
			feature[d](&group)
		}

		i := slices.IndexFunc(counted, func(c reports.Counted) bool { return c.ConsentGroup == group })
		if i < 0 {
			counted, i = append(counted, reports.Counted{ConsentGroup: group}), len(counted)
		}
		counted[i].Count++
	}

	slices.SortFunc(counted, func(a, b reports.Counted) int {
		for _, d := range by {
			text := func(g projections.ConsentGroup) string {
				return map[projections.Dimension]string{
					projections.ByPurpose: g.Purpose, projections.ByNoticeVersion: fmt.Sprintf("%9d", g.NoticeVersion),
					projections.ByLanguage: string(g.Language), projections.ByChannel: string(g.Channel),
					projections.ByStatus: string(g.Status),
				}[d]
			}
			if order := cmp.Compare(text(a.ConsentGroup), text(b.ConsentGroup)); order != 0 {
				return order
			}
		}
		return 0
	})
	return counted
}

// drawnDecision draws an event of a consent stream that is recorded when the clock shows
// an instant.
func drawnDecision(rt *rapid.T, clock time.Time) domain.Event {
	var givenAt time.Time // not stated
	if ago := rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 5}).Draw(rt, "hours ago"); ago > 0 {
		givenAt = clock.Add(-time.Duration(ago) * time.Hour)
	}

	made := decision(rapid.SampledFrom([]string{"sms_alert", "newsletter"}).Draw(rt, "purpose"), givenAt)
	made.NoticeVersion = rapid.SampledFrom([]int{1, 2, 10}).Draw(rt, "version")
	made.Language = rapid.SampledFrom(domain.Languages()).Draw(rt, "language")
	made.Channel = rapid.SampledFrom(domain.Channels()[:3]).Draw(rt, "channel")

	switch rapid.SampledFrom([]string{"grant", "grant", "refuse", "withdraw", "claim"}).Draw(rt, "kind") {
	case "grant":
		grant := &domain.ConsentGranted{Decision: made}
		if hours := rapid.IntRange(-4, 4).Draw(rt, "holds for"); hours > 0 {
			grant.ValidUntil = clock.Add(time.Duration(hours-2) * time.Hour)
		}
		return grant
	case "refuse":
		return &domain.ConsentRefused{Decision: made}
	case "claim":
		return drawnClaim(rt, made, clock)
	default:
		return &domain.ConsentWithdrawn{
			ConsentID: made.ConsentID, Purpose: made.Purpose, GivenAt: givenAt, RecordedBy: domain.BySelf,
		}
	}
}

// drawnClaim is what a source says, which may not know the words.
func drawnClaim(rt *rapid.T, d domain.Decision, clock time.Time) domain.Event {
	if d.GivenAt.IsZero() {
		d.GivenAt = clock.Add(-time.Minute)
	}
	if rapid.Bool().Draw(rt, "words not known") {
		d.NoticeVersion, d.Language, d.Channel = 0, "", ""
	}

	claim := &domain.ConsentClaimed{Decision: d, Claim: domain.ConsentClaim{
		Decided: rapid.SampledFrom(domain.Outcomes()).Draw(rt, "decided"), Grade: domain.GradeClaimed,
		Source: "an old list", FileSHA256: domain.WordingHash("list"), Line: 2,
	}}
	if claim.Claim.Decided == domain.OutcomeGranted {
		claim.ValidityDays = max(0, rapid.IntRange(-2, 1).Draw(rt, "days"))
	}
	return claim
}

// notice returns the publication of a version of a wording.
func notice(version int, reconsent time.Time) *domain.PurposeNoticePublished {
	texts, hashes := map[domain.Language]string{}, map[domain.Language]string{}
	for _, l := range domain.Languages() {
		texts[l], hashes[l] = "words", domain.WordingHash("words")
	}
	return &domain.PurposeNoticePublished{
		Code: "sms_alert", Notice: version, Texts: texts, SHA256: hashes, Reconsent: reconsent,
	}
}

// drawnQuestion draws a search about what is in a log.
func drawnQuestion(rt *rapid.T, log []domain.Recorded) (q question) {
	newest := log[max(0, len(log)-12):]
	instant := func(name string) time.Time {
		e := rapid.SampledFrom(newest).Draw(rt, name)
		switch rapid.IntRange(0, 3).Draw(rt, name+", which") {
		case 0:
			return time.Time{}
		case 1:
			return e.EffectiveAt
		case 2:
			return e.RecordedAt.Add(-time.Microsecond)
		default:
			return e.RecordedAt
		}
	}

	q.At = instant("at")
	if rapid.Bool().Draw(rt, "by position") {
		q.Position = rapid.SampledFrom(newest).Draw(rt, "position").Position
	} else {
		q.KnownAt = instant("known at")
	}

	f := &q.ConsentFilter
	f.Purpose = rapid.SampledFrom([]string{"", "", "sms_alert"}).Draw(rt, "only purpose")
	f.NoticeVersion = rapid.SampledFrom([]int{0, 0, 2}).Draw(rt, "only version")
	f.Language = rapid.SampledFrom([]domain.Language{"", "", domain.Zulu}).Draw(rt, "only language")
	f.Channel = rapid.SampledFrom([]domain.Channel{"", "", domain.Counter}).Draw(rt, "only channel")
	f.Status = rapid.SampledFrom(append(domain.Statuses(), "", "", "")).Draw(rt, "only status")
	f.GivenFrom, f.GivenTo = instant("given from"), instant("given to")
	if f.GivenFrom.After(f.GivenTo) {
		f.GivenTo = time.Time{}
	}
	if !f.GivenTo.IsZero() { // finer than the log's unit
		f.GivenTo = f.GivenTo.Add(time.Duration(rapid.IntRange(0, 1).Draw(rt, "nanoseconds")))
	}
	return q
}

// stamp appends events about somebody's consents, stamps them as a database would whose
// clock shows that instant, and returns them so; super is a superuser whom the log's
// triggers do not stop.
func (w *world) stamp(
	t testing.TB, super *pgx.Conn, subject domain.UserID, clock time.Time, events ...domain.Event,
) []domain.Recorded {
	t.Helper()
	const sql = `update trust.events
		set effective_at = least($2::timestamptz, $3), recorded_at = greatest($3::timestamptz,
			(select recorded_at from trust.events where position = $1 - 1)) where position = $1
		returning effective_at, recorded_at`
	if len(events) == 0 {
		return nil
	}

	stamped := w.append(t, w.tenant, domain.ConsentsOf(subject), events...)
	for i, r := range stamped {
		effective := domain.EffectiveOf(r.Event)
		if effective.IsZero() {
			effective = clock
		}

		var at, recorded time.Time
		must(t, super.QueryRow(t.Context(), sql, r.Position, effective, clock).Scan(&at, &recorded))
		stamped[i].EffectiveAt, stamped[i].RecordedAt = at.UTC(), recorded.UTC()
	}
	return stamped
}

func (w *world) exec(t testing.TB, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// followTo brings the read table of consents to a position, as its projector does.
func (w *world) followTo(t testing.TB, conn *pgx.Conn, upTo int64) {
	t.Helper()
	consents, _ := projections.ByName("consents")
	must(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		at, err := follow.Hold(t.Context(), tx, consents.Name())
		if err != nil || upTo <= at {
			return err
		}
		events, err := w.reader.RangeOf(t.Context(), tx, consents.Kinds(), at, upTo)
		if err != nil {
			return err
		}
		if len(events) > 0 {
			err = consents.Apply(t.Context(), follow.Tx{Tx: tx, Log: w.reader}, events, upTo)
			if err != nil {
				return err
			}
		}
		return follow.Advance(t.Context(), tx, consents.Name(), upTo)
	}))
}

// A read table that has followed another log says nothing about this one.
func TestSearchesAndCountsDoNotBelieveAReadTableOfAnotherLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna, head := newUser(), int64(0)
	w.grant(t, w.tenant, anna)
	head = w.head(t)
	w.followTo(t, w.db.Conn(t, pgtest.Projector), head)

	super := w.db.Superuser(t)
	w.exec(t, super, "delete from trust.consents")
	w.exec(t, super, "update trust.checkpoints set event_id = gen_random_uuid() where follower = 'consents'")

	q := reports.ReplayQuery{Position: head}
	q.Purpose = "sms_alert"
	if rows := w.rows(t, q); len(rows) != 1 || rows[0].Subject != anna || !rows[0].InForce {
		t.Errorf("found %+v", rows)
	}
	counted, err := w.reports.Summary(t.Context(), w.tenant, q, []projections.Dimension{projections.ByPurpose})
	must(t, err)
	if len(counted) != 1 || counted[0].Count != 1 {
		t.Errorf("counted %+v", counted)
	}
}

// Searches, counts and pages among 200 000 consents of one tenant, beside some of others.
func TestSearchesCountsAndPagesUseTheirIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &pgtest.Plans{}
	pool := p.Pool(t, w.db, pgtest.Query)
	w.reports = reports.New(pool, nil, w.reader)
	w.fill(t, 200_000, 150_000)
	head := w.head(t)

	q := func(set func(*reports.ReplayQuery)) reports.ReplayQuery {
		q := reports.ReplayQuery{Position: head}
		set(&q)
		return q
	}
	day := domaintest.Clock("2026-03-01")
	for name, c := range map[string]struct {
		q     reports.ReplayQuery
		text  string // of the statement
		index string
	}{
		"of a purpose": {
			q(func(q *reports.ReplayQuery) { q.Purpose = "purpose_7" }),
			"from trust.consents c", "consents_v1_search_idx",
		},
		"of a purpose and a version": {
			q(func(q *reports.ReplayQuery) { q.Purpose, q.NoticeVersion = "purpose_7", 2 }),
			"from trust.consents c", "consents_v1_search_idx",
		},
		"by channel": {
			q(func(q *reports.ReplayQuery) { q.Channel = domain.USSD }),
			"from trust.consents c", "consents_v1_search_idx",
		},
		"by language": {
			q(func(q *reports.ReplayQuery) { q.Language = domain.Zulu }),
			"from trust.consents c", "consents_v1_search_idx",
		},
		"of a day": {
			q(func(q *reports.ReplayQuery) { q.GivenFrom, q.GivenTo = day, day.Add(24*time.Hour) }),
			"from trust.consents c", "consents_v1_given_idx",
		},
		"of people found": {
			q(func(q *reports.ReplayQuery) { q.Purpose = "purpose_7" }), "unnest($7::uuid[])", "events_stream_key",
		},
		"of one person": {
			q(func(q *reports.ReplayQuery) { q.Subject = w.someone(t) }), "unnest($7::uuid[])", "events_stream_key",
		},
		"as known before the read table": {
			q(func(q *reports.ReplayQuery) { q.Purpose, q.Position = "purpose_7", head-100 }),
			"from trust.consents c", "consents_v1_search_idx",
		},
	} {
		p.Forget()
		if rows := w.rows(t, c.q); len(rows) == 0 {
			t.Errorf("a search %s finds nothing", name)
		}
		demandIndex(t, p, "a search "+name, c.text, c.index)
	}

	for name, c := range map[string]struct {
		q       reports.ReplayQuery
		indexes []string
	}{
		"now": {
			q(func(*reports.ReplayQuery) {}), []string{"Index Only Scan using consents_v1_search_idx"},
		},
		"of a purpose": {
			q(func(q *reports.ReplayQuery) { q.Purpose = "purpose_7" }), []string{"consents_v1_search_idx"},
		},
		"as of a day": {q(func(q *reports.ReplayQuery) { q.At = day }), []string{"events_ahead_idx"}},
		"as known before the read table": {
			q(func(q *reports.ReplayQuery) { q.Position = head - 100 }),
			[]string{"events_tenant_idx", "events_pkey"},
		},
	} {
		p.Forget()
		counted, err := w.reports.Summary(t.Context(), w.tenant, c.q, dimensions())
		must(t, err)
		if len(counted) == 0 {
			t.Errorf("a summary %s counts nothing", name)
		}
		demandIndex(t, p, "a summary "+name, "count(*) from trust.consents c", c.indexes...)
	}
	w.demandPagesByIndex(t, p, head, day)
	w.demandKept(t, p, q(func(q *reports.ReplayQuery) { q.At = day }))
}

// demandPagesByIndex checks by which indexes the second of several pages of 50 is found.
func (w *world) demandPagesByIndex(t *testing.T, p *pgtest.Plans, head int64, day time.Time) {
	t.Helper()
	const oneByOne, search, given = "consents_v1_subject_idx", "consents_v1_search_idx", "consents_v1_given_idx"
	for name, c := range map[string]struct {
		set     func(*reports.ReplayQuery)
		indexes []string
	}{
		"now":          {func(*reports.ReplayQuery) {}, []string{oneByOne}},
		"as of a day":  {func(q *reports.ReplayQuery) { q.At = day }, []string{oneByOne}},
		"of a purpose": {func(q *reports.ReplayQuery) { q.Purpose = "purpose_7" }, []string{search, oneByOne}},
		"of a day": {
			func(q *reports.ReplayQuery) { q.GivenFrom, q.GivenTo = day, day.Add(24*time.Hour) }, []string{given},
		},
		"of a status": {func(q *reports.ReplayQuery) { q.Status = domain.StatusWithdrawn }, []string{oneByOne}},
		"as known before the read table": {
			func(q *reports.ReplayQuery) { q.Status, q.Position = domain.StatusRefused, head-100 }, []string{oneByOne},
		},
	} {
		q := reports.ReplayQuery{Position: head, At: day.AddDate(2, 0, 0)}
		c.set(&q)
		first, err := w.reports.ReplayPage(t.Context(), w.tenant, q, projections.Page{})
		must(t, err)

		p.Forget()
		second, err := w.reports.ReplayPage(t.Context(), w.tenant, q, projections.Page{After: first.Next})
		must(t, err)
		if len(first.Items) != 50 || len(second.Items) != 50 {
			t.Errorf("the pages %s have %d and %d rows", name, len(first.Items), len(second.Items))
		}
		demandIndex(t, p, "a page "+name, ") m order by 1", c.indexes...)
		demandIndex(t, p, "a page "+name, "unnest($7::uuid[])", "events_stream_key")
	}
}

// demandIndex checks that the statements with a text ran, by one of some indexes, and
// that none read a whole table.
func demandIndex(t *testing.T, p *pgtest.Plans, what, text string, indexes ...string) {
	t.Helper()
	for _, plan := range p.Of("Seq Scan on") {
		if strings.Contains(plan, "Seq Scan on events") || strings.Contains(plan, "Seq Scan on consents") {
			t.Errorf("%s reads a whole table: %s", what, plan)
		}
	}

	found := p.Of(text)
	for _, plan := range found {
		if !slices.ContainsFunc(indexes, func(index string) bool { return strings.Contains(plan, index) }) {
			t.Errorf("%s: without %s: %s", what, indexes, plan)
		}
	}
	if len(found) == 0 {
		t.Errorf("%s: no such statement ran", what)
	}
}

// dimensions lists everything that consents can be counted by.
func dimensions() []projections.Dimension {
	return []projections.Dimension{
		projections.ByPurpose, projections.ByNoticeVersion, projections.ByLanguage, projections.ByChannel,
		projections.ByStatus,
	}
}

// someone returns one of the people of fill.
func (w *world) someone(t testing.TB) (person domain.UserID) {
	t.Helper()
	must(t, w.db.Superuser(t).QueryRow(t.Context(), "select md5('person7')::uuid").Scan(&person.UUID))
	return person
}

// fill adds consents of so many people of the world's tenant, of 40 purposes, and a few
// of another, to the log and to the read table. One in five is a refusal, and one
// in ten was withdrawn.
func (w *world) fill(t testing.TB, consents, people int) {
	t.Helper()
	super := w.db.Superuser(t)
	w.exec(t, super, "delete from trust.coded") // as in a log from before codes, an event without one is believed
	w.exec(t, super, "set session_replication_role = replica")

	w.exec(t, super, `create temp table made as
		select g, s.tenant, md5(s.name || 'person' || g % $2)::uuid as subject,
			md5(s.name || 'consent' || g)::uuid as id,
			'purpose_' || g * 7919 % 40 as purpose, g % 3 + 1 as version,
			(array['en', 'zu', 'af'])[g % 7 % 3 + 1] as language,
			(array['web', 'web', 'web', 'counter', 'paper', 'ussd'])[g % 11 % 6 + 1] as channel, g % 5 > 0 as consented,
			g % 10 = 3 as withdrawn, timestamptz '2025-06-01' + g * interval '3 min' as given, 2 * g + s.n as n
		from generate_series(1, $1::bigint) g,
			(values ($3::uuid, '', 0), (gen_random_uuid(), 'other', 1)) s (tenant, name, n)
		where s.n = 0 or g % 50 = 0`,
		consents, people, w.tenant.UUID)
	w.exec(t, super, `insert into trust.events (position, tenant_id, stream_type, stream_id, version, event_id,
			append_id, ordinal, event_type, subject_id, record_id, actor_id, payload, metadata, effective_at,
			recorded_at)
		select h.position + row_number() over (order by m.n, e.kind), m.tenant, 'consent', m.subject,
			row_number() over (partition by m.subject order by m.n, e.kind), gen_random_uuid(), gen_random_uuid(), 1,
			e.type, m.subject, m.id, m.subject, e.payload, '{"actor_role":"citizen"}',
			least(m.given + e.kind * interval '1 hour', h.recorded_at), h.recorded_at
		from trust.head() h, made m, lateral (
			select 0 as kind, case when consented then 'consent.granted.v1' else 'consent.refused.v1' end as type,
				json_build_object('consent_id', id, 'purpose', purpose, 'notice_version', version, 'wording', 'words',
					'sha256', '', 'language', language, 'channel', channel, 'given_at', given, 'recorded_by', 'self',
					'given_by', 'self', 'basis', 'consent') as payload
			union all
			select 1, 'consent.withdrawn.v1',
				json_build_object('consent_id', id, 'purpose', purpose, 'given_at', given + interval '1 hour',
					'recorded_by', 'self')
			where withdrawn and consented) e`)
	w.exec(t, super, `insert into trust.consents (id, tenant_id, subject_id, purpose, notice_version, wording, sha256,
			language, consented, channel, given_by, recorded_by, evidence_sha256, given_at, recorded_at, withdrawn_at,
			decided, position, updated_at, updated_by)
		select m.id, m.tenant, m.subject, m.purpose, m.version, 'words', '', m.language, m.consented, m.channel,
			'self', m.subject, '', m.given, d.recorded_at,
			case when withdrawn and consented then m.given + interval '1 hour' end,
			d.position, d.position, d.recorded_at, m.subject
		from made m join trust.events d on d.record_id = m.id and d.event_type <> 'consent.withdrawn.v1'`)
	w.exec(t, super, `update trust.checkpoints c
		set position = e.position, event_position = e.position, event_id = e.event_id
		from (select position, event_id from trust.events order by position desc limit 1) e
		where follower = 'consents'`)
	w.exec(t, super, "vacuum (analyze) trust.consents_v1")
	w.exec(t, super, "analyze trust.events")
}
