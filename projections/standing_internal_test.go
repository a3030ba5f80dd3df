package projections

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// The expressions of a query say of a row what the rules say of the decision, whatever
// the notices demand and whatever instant is asked about.
func TestAQuerySaysOfARowWhatTheRulesSay(t *testing.T) {
	t.Parallel()
	conn := pgtest.New(t).Conn(t, pgtest.Projector)
	rapid.Check(t, func(rt *rapid.T) {
		tx, err := conn.Begin(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = tx.Rollback(t.Context()) }()

		tenant := domain.TenantID{UUID: uuid.New()}
		rows := make([]consentRow, rapid.IntRange(1, 12).Draw(rt, "rows"))
		for i := range rows {
			rows[i] = anyRow(rt, tenant, int64(i+1))
		}
		if err := consentsTable().upsert(t.Context(), tx, "trust.consents", rows); err != nil {
			rt.Fatal(err)
		}

		clocks := domain.Clocks{Now: anyMinute(rt, "now")}
		if rapid.Bool().Draw(rt, "as of an instant") {
			clocks.At = anyMinute(rt, "at")
		}
		rules := domain.RulesOf([]domain.Purpose{anyPurpose(rt, tenant)},
			[]domain.Purpose{anyPurpose(rt, domain.PlatformTenant())}, clocks)

		w := pg.Where{Args: []any{tenant.UUID}}
		s := standingOf(&w, rules)
		sql := "select c.id, " + s.status + ", " + s.inForce() + ", " + s.until +
			" from trust.consents c where c.tenant_id = $1"
		found, err := tx.Query(t.Context(), sql, w.Args...)
		if err != nil {
			rt.Fatal(err)
		}
		type said struct {
			id      uuid.UUID
			status  domain.Status
			inForce bool
			until   *time.Time
		}
		says, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (x said, err error) {
			err = r.Scan(&x.id, &x.status, &x.inForce, &x.until)
			return x, err
		})
		if err != nil {
			rt.Fatal(err)
		}

		byID := map[uuid.UUID]consentRow{}
		for _, r := range rows {
			byID[r.ID.UUID] = r
		}
		for _, x := range says {
			c, began := asOf(byID[x.id].Consent, clocks.At)
			want := rules.Of(c)
			if !began {
				continue // the query must leave it out
			}
			if x.status != want.Status || x.inForce != want.InForce {
				rt.Fatalf("%+v\nat %+v is %s, in force %t in the query, and %+v by the rules", c, clocks, x.status,
					x.inForce, want.Standing)
			}
			until := want.Until()
			ended := []domain.Status{domain.StatusRefused, domain.StatusWithdrawn, domain.StatusAnnulled}
			if !slices.Contains(ended, want.Status) &&
				(x.until == nil) != until.IsZero() || x.until != nil && want.Status == domain.StatusGranted &&
				!x.until.Equal(until) {
				rt.Fatalf("%+v ends at %v in the query, and at %s by the rules", c, x.until, until)
			}
		}
	})
}

// asOf returns a row as a fold up to an instant has it.
func asOf(c domain.Consent, at time.Time) (domain.Consent, bool) {
	if at.IsZero() {
		return c, true
	}
	if c.WithdrawnAt.After(at) {
		c.WithdrawnAt = time.Time{}
	}
	if c.SupersededAt.After(at) {
		c.SupersededAt = time.Time{}
	}
	return c, !c.GivenAt.After(at)
}

func anyMinute(rt *rapid.T, name string) time.Time {
	return time.Date(2026, 3, 1, 8, rapid.IntRange(0, 30).Draw(rt, name), 0, 0, time.UTC)
}

// maybe draws an instant from another one on, or none.
func maybe(rt *rapid.T, name string, from time.Time) time.Time {
	if minutes := rapid.IntRange(-8, 12).Draw(rt, name); minutes >= 0 {
		return from.Add(time.Duration(minutes) * time.Minute)
	}
	return time.Time{}
}

func anyRow(rt *rapid.T, tenant domain.TenantID, position int64) consentRow {
	given := anyMinute(rt, "given")
	c := domain.Consent{
		ID: domain.ConsentID{UUID: uuid.New()}, Tenant: tenant, Subject: domain.UserID{UUID: uuid.New()},
		Purpose:       rapid.SampledFrom([]string{"library", "other"}).Draw(rt, "purpose"),
		NoticeVersion: rapid.IntRange(1, 3).Draw(rt, "version"),
		SHA256:        domain.WordingHash(rapid.SampledFrom(someWords()).Draw(rt, "words")), Language: domain.English,
		Consented: rapid.IntRange(0, 4).Draw(rt, "consented") > 0, Channel: domain.Web, GivenBy: domain.BySelf,
		GivenAt: given, RecordedAt: given, SupersededAt: maybe(rt, "superseded", given), Position: position,
	}
	if rapid.IntRange(0, 2).Draw(rt, "claimed") == 0 {
		c.Grade, c.NoticeVersion = domain.GradeClaimed, 0
		if !c.Consented && rapid.Bool().Draw(rt, "claimed withdrawal") {
			c.WithdrawnAt = given
		}
	}
	if c.Consented {
		c.WithdrawnAt, c.ValidUntil = maybe(rt, "withdrawn", given), maybe(rt, "until", given.Add(time.Minute))
	}
	if rapid.IntRange(0, 4).Draw(rt, "annulled") == 0 { // whenever that was: it counts for nothing at any instant
		c.AnnulledAt = anyMinute(rt, "annulled at")
	}
	return consentRow{Consent: c, Decided: position}
}

func someWords() []string { return []string{"one", "two", "three"} }

func anyPurpose(rt *rapid.T, tenant domain.TenantID) domain.Purpose {
	at := anyMinute(rt, "defined")
	p := domain.Purpose{Tenant: tenant, Code: "library", Basis: domain.ConsentBasis}
	if rapid.IntRange(0, 5).Draw(rt, "by law") == 0 {
		p.Basis = domain.PublicLawDuty
	}
	p.Definition = domain.EventRef{Position: 1, At: at, RecordedAt: at}

	for version := range rapid.IntRange(1, 3).Draw(rt, "notices") {
		n := domain.Notice{
			Version: version + 1, SHA256: map[domain.Language]string{}, PublishedAt: at, InUseSince: at,
			Event: domain.EventRef{Position: int64(version + 2), At: at, RecordedAt: at},
		}
		for i, l := range domain.Languages() {
			n.SHA256[l] = fmt.Sprint(version, i)
		}
		n.SHA256[domain.English] = domain.WordingHash(rapid.SampledFrom(someWords()).Draw(rt, "notice"))
		if version > 0 {
			n.Reconsent = maybe(rt, "reconsent", at)
		}
		p.Notices = append(p.Notices, n)
		at = at.Add(time.Duration(rapid.IntRange(0, 10).Draw(rt, "minutes on")) * time.Minute)
	}

	if p.Retired = rapid.IntRange(0, 5).Draw(rt, "retired") == 0; p.Retired {
		p.Retirement = domain.EventRef{Position: 9, At: at, RecordedAt: at}
	}
	return p
}
