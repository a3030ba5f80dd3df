package projections

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
)

// ImpactFilter asks which grants for a purpose would lapse with a notice that demands
// that people are asked again.
type ImpactFilter struct {
	Purpose string
	Rules   domain.Rules
	// Newer are the versions that would not be older than the notice; none if it would be
	// the next version.
	Newer []domain.Notice
	// CountOnly leaves the list empty.
	CountOnly bool
}

// Impact is a page of the grants that would lapse, in order of the people's ids.
type Impact struct {
	Listing[Affected]

	Count    int64 // of all of them
	Position int64 // of the log: it rests on everything up to it and on nothing after it
}

// Affected is a person who would have to be asked again, and the grant that would lapse.
type Affected struct {
	Subject       domain.UserID
	Consent       domain.ConsentID
	NoticeVersion int
	Language      domain.Language
	Channel       domain.Channel
	Grade         domain.Grade // if it is only claimed
	GivenAt       time.Time
	ValidUntil    time.Time // from when it no longer holds anyway; zero: no end is known
}

// impactRow is a row of the page; if there is none, its columns are null, and only the
// count and the position count.
type impactRow struct {
	count, position   int64
	subject, consent  *uuid.UUID
	version           *int
	language, channel *string
	grade             *string
	given, until      *time.Time
}

// Impact lists the grants that would lapse, with their number and position in one
// snapshot.
func (q *Queries) Impact(ctx context.Context, tenant domain.TenantID, f ImpactFilter, page Page) (Impact, error) {
	w := pg.Where{Args: []any{tenant.UUID, f.Purpose}}
	s := standingOf(&w, f.Rules)
	w.And("c.consented and c.withdrawn_at is null and c.superseded_at is null and " + s.inForce())
	if len(f.Newer) > 0 {
		versions, hashes := wordings(f.Newer)
		w.And("(c.notice_version, c.sha256) not in (select * from unnest(%s::integer[], %s::text[]))", versions, hashes)
	}

	behind := pg.Where{Args: w.Args}
	if page.After != "" {
		after, err := page.AfterID()
		if err != nil {
			return Impact{}, err
		}
		behind.And("c.subject_id > %s", after)
	}
	rowsOfPage := page.Fetch()
	if f.CountOnly {
		rowsOfPage = 0
	}
	limit := behind.Arg(rowsOfPage)

	// Everybody is counted in an index, and only the people of the page are read.
	affected := ` from trust.consents c where c.tenant_id = $1 and c.purpose = $2` + w.SQL()
	sql := `select (select count(*)` + affected + `), ` + follow.Reached(behind.Arg(consents{}.Name())) + `, p.*
		from (select 1) one left join (
			select c.subject_id, c.id, c.notice_version, c.language, c.channel, c.evidence_grade, c.given_at,
				` + s.until + ` as until` + affected + behind.SQL() + `
			order by c.subject_id limit ` + limit + `) p on true
		order by p.subject_id`

	rows, err := inTenant(ctx, q, tenant, sql, behind.Args, func(r pgx.CollectableRow) (i impactRow, err error) {
		err = r.Scan(&i.count, &i.position, &i.subject, &i.consent, &i.version, &i.language, &i.channel, &i.grade,
			&i.given, &i.until)
		return i, err
	})
	if err != nil {
		return Impact{}, err
	}
	return impactOf(rows, page)
}

func impactOf(rows []impactRow, page Page) (Impact, error) {
	i := Impact{Count: rows[0].count, Position: rows[0].position}
	if rows[0].subject == nil {
		rows = nil
	}

	var err error
	i.Listing, err = List(rows, nil, page, func(r impactRow) (Affected, string) {
		a := Affected{
			Subject: domain.UserID{UUID: *r.subject}, Consent: domain.ConsentID{UUID: *r.consent},
			NoticeVersion: *r.version, Language: domain.Language(*r.language), Channel: domain.Channel(*r.channel),
			Grade: domain.Grade(*r.grade), GivenAt: r.given.UTC(),
		}
		if r.until != nil {
			a.ValidUntil = r.until.UTC()
		}
		return a, IDCursor(*r.subject)
	})
	return i, err
}

// wordings lists the versions of some notices and the hashes of their texts, pair by
// pair.
func wordings(notices []domain.Notice) (versions []int32, hashes []string) {
	for _, n := range notices {
		for _, l := range domain.Languages() {
			versions, hashes = append(versions, int32(n.Version)), append(hashes, n.SHA256[l])
		}
	}
	return versions, hashes
}
