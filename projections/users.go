package projections

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
)

// users is the read table of users as they are now. An erased user's row stays, blanked.
type users struct{ table string }

type userRow = row[domain.User]

// Name implements Projection.
func (users) Name() string { return "users" }

// Kinds implements Projection.
func (p users) Kinds() []domain.StreamType { return []domain.StreamType{p.source().kind} }

// Apply implements Projection.
func (u users) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, upTo int64) error {
	rows, err := usersTable().ofStreams(ctx, tx, u.table, older(events))
	if err != nil {
		return err
	}
	if err := evolve(rows, events); err != nil {
		return err
	}

	if err := usersTable().upsert(ctx, tx, u.table, slices.Collect(maps.Values(rows))); err != nil {
		return err
	}

	if u.table != view("users") || !slices.ContainsFunc(events, erases) {
		return nil
	}
	return u.forget(ctx, tx, events[0].Position-1, upTo)
}

func erases(e domain.Recorded) bool {
	_, ok := e.Event.(*domain.UserErased)
	return ok
}

// forget blanks only people whom the rows folded from the log show as erased, so that a
// forged event erases nobody.
func (u users) forget(ctx context.Context, tx pgx.Tx, after, upTo int64) error {
	const sql = `update %s u set email = '', full_name = '', phone = '', email_verified_at = null,
			is_erased = true
		from trust.events e join %s f on f.tenant_id = e.tenant_id and f.id = e.stream_id and f.is_erased
		where e.position > $1 and e.position <= $2 and e.event_type = $3
			and u.tenant_id = e.tenant_id and u.id = e.stream_id and not u.is_erased`

	all, err := versions(ctx, tx, "users")
	if err != nil {
		return err
	}

	erased := (*domain.UserErased)(nil).EventType()
	for _, version := range all { // in the live one they are blank already
		if _, err := tx.Exec(ctx, fmt.Sprintf(sql, version, u.table), after, upTo, erased); err != nil {
			return fmt.Errorf("blank erased users in %s: %w", version, err)
		}
	}
	return nil
}

func scanUser(r pgx.CollectableRow) (userRow, error) {
	var u domain.User
	var position int64
	err := r.Scan(&u.ID.UUID, &u.Tenant.UUID, &u.MunicipalityCode, &u.Email, &u.FullName, &u.Phone,
		&u.PreferredLanguage, &u.Role, &u.Active, &u.Erased, &u.CreatedAt, &u.UpdatedAt, &u.Version, &position,
		(*orZeroTime)(&u.EmailVerifiedAt), &u.Account, (*orZeroID)(&u.MergedInto.UUID), (*orZeroID)(&u.CreatedBy.UUID),
		(*orZeroID)(&u.UpdatedBy.UUID), (*orZeroTime)(&u.ErasedAt))

	u.CreatedAt, u.UpdatedAt = u.CreatedAt.UTC(), u.UpdatedAt.UTC()
	return userRow{State: u, Version: u.Version, Position: position}, err
}

func userKey(r userRow) stream { return stream{r.State.Tenant.UUID, r.State.ID.UUID} }

func (users) into(version string) Projection { return users{version} }

func (users) source() source {
	return sourceOf(domain.UserStream, usersTable(), evolveWhole[domain.User], stillNamed)
}

// stillNamed returns the row to expect for somebody who is erased in the log but not yet
// in the table: its personal columns may hold what they hold.
func stillNamed(want, have userRow) userRow {
	s := &want.State
	s.Email, s.FullName, s.Phone, s.Erased = have.State.Email, have.State.FullName, have.State.Phone, have.State.Erased
	s.EmailVerifiedAt, s.ErasedAt = have.State.EmailVerifiedAt, have.State.ErasedAt
	return want
}

func usersTable() readTable[userRow] {
	return readTable[userRow]{
		name: "users", key: []string{"tenant_id", "id"}, stream: [2]string{"tenant_id", "id"}, scan: scanUser,
		keyOf: userKey,

		columns: []column[userRow]{
			col("id", "uuid", func(r userRow) [16]byte { return r.State.ID.UUID }),
			col("tenant_id", "uuid", func(r userRow) [16]byte { return r.State.Tenant.UUID }),
			col("municipality_code", "text", func(r userRow) string { return r.State.MunicipalityCode }),
			col("email", "text", func(r userRow) string { return r.State.Email }),
			col("full_name", "text", func(r userRow) string { return r.State.FullName }),
			col("phone", "text", func(r userRow) string { return r.State.Phone }),
			col("preferred_language", "text", func(r userRow) string { return string(r.State.PreferredLanguage) }),
			col("role", "text", func(r userRow) string { return string(r.State.Role) }),
			col("is_active", "boolean", func(r userRow) bool { return r.State.Active }),
			col("is_erased", "boolean", func(r userRow) bool { return r.State.Erased }),
			col("created_at", "timestamptz", func(r userRow) time.Time { return r.State.CreatedAt }),
			col("updated_at", "timestamptz", func(r userRow) time.Time { return r.State.UpdatedAt }),
			col("version", "integer", func(r userRow) int32 { return int32(r.Version) }),
			col("position", "bigint", func(r userRow) int64 { return r.Position }),
			col("email_verified_at", "timestamptz", func(r userRow) *time.Time {
				return unlessZero(r.State.EmailVerifiedAt)
			}),
			col("has_account", "boolean", func(r userRow) bool { return r.State.Account }),
			col("merged_into", "uuid", func(r userRow) *[16]byte {
				return unlessZero([16]byte(r.State.MergedInto.UUID))
			}),
			col("created_by", "uuid", func(r userRow) *[16]byte {
				return unlessZero([16]byte(r.State.CreatedBy.UUID))
			}),
			col("updated_by", "uuid", func(r userRow) *[16]byte {
				return unlessZero([16]byte(r.State.UpdatedBy.UUID))
			}),
			col("deleted_at", "timestamptz", func(r userRow) *time.Time { return unlessZero(r.State.ErasedAt) }),
		},
	}
}

// UserFilter narrows a list of users; zero fields do not. Q finds part of a name or of an
// address as shown; Email and Phone must match in full. Each is brought into its stored
// form first.
type UserFilter struct {
	ID              domain.UserID
	Role            domain.Role
	Active          *bool
	Account         *bool
	Q, Email, Phone string
}

// ShowsALabels reports whether the table still holds an address whose domain is written
// in A-labels although it is now shown in Unicode: such rows are from before that. db
// must be in the role trust_owner.
func ShowsALabels(ctx context.Context, db eventstore.Querier) (bool, error) {
	rows, err := db.Query(ctx, "select u.email from trust.users u where strpos(u.email_folded, 'xn--') > 0")
	if err != nil {
		return false, eventstore.Unavailable(err)
	}

	emails, err := pgx.CollectRows(rows, pgx.RowTo[string])
	outdated := slices.ContainsFunc(emails, func(email string) bool { return domain.ShownEmail(email) != email })
	return outdated, eventstore.Unavailable(err)
}

// User returns one user of a tenant, or not_found.
func (q *Queries) User(ctx context.Context, tenant domain.TenantID, id domain.UserID) (domain.User, error) {
	sql := `select ` + usersTable().list() + ` from trust.users u where u.tenant_id = $1 and u.id = $2`
	found, err := inTenant(ctx, q, tenant, sql, []any{tenant.UUID, id.UUID}, scanUser)
	if err != nil {
		return domain.User{}, err
	}

	r, err := only(found, "There is no such user.")
	return r.State, err
}

// Users lists a tenant's users, newest first. What an exact filter finds of a record that
// was merged into another leads to that one.
func (q *Queries) Users(
	ctx context.Context, tenant domain.TenantID, f UserFilter, page Page,
) (Listing[domain.User], error) {
	exact := pg.Where{Args: []any{tenant.UUID}}
	if !f.ID.IsZero() {
		exact.And("u.id = %s", f.ID.UUID)
	}
	if f.Email != "" { // the table holds the address as shown or, from before addresses had one form, as given
		spellings := "array(select lower(spelling) from unnest(%s::text[]) spelling)"
		exact.And("u.email_folded = any ("+spellings+") and u.email_folded <> ''", domain.EmailSpellings(f.Email))
	}
	if f.Phone != "" {
		exact.And("u.phone = %s and u.phone <> ''", domain.CanonicalPhone(f.Phone))
	}

	w := pg.Where{Args: exact.Args}
	if exact.SQL() != "" {
		w.And("u.id in (select id from found)")
	}
	if f.Account != nil {
		w.And("u.has_account = %s", *f.Account)
	}
	if f.Role != "" {
		w.And("u.role = %s", string(f.Role))
	}
	if f.Active != nil {
		w.And("u.is_active = %s", *f.Active)
	}
	if page.After != "" {
		after, err := page.AfterID()
		if err != nil {
			return Listing[domain.User]{}, err
		}
		w.And("u.id < %s", after)
	}
	f.Q = domain.TidyName(f.Q)
	if f.Q != "" {
		whole := w.Arg(domain.ShownEmail(domain.CanonicalEmail(f.Q))) // if it is an address
		w.And("(strpos(u.search_folded, lower(%s)) > 0 or strpos(u.email_folded, lower("+whole+")) > 0)", f.Q)
	}

	of := ` from trust.users u where u.tenant_id = $1`
	sql, last := `select `+usersTable().list()+of+w.SQL(), ` order by u.id desc limit `+w.Arg(page.Fetch())
	switch {
	case exact.SQL() != "":
		// Find first and sort then, or the planner walks all users in the order asked
		// for.
		sql = `with found as materialized (select coalesce(u.merged_into, u.id) id` + of + exact.SQL() +
			`), u as materialized (` + sql + `) select * from u`
	case f.Q != "":
		// The ids alone come from an index that holds what is compared.
		sql = `with found as materialized (select u.id` + of + w.SQL() + last +
			`) select ` + usersTable().list() + of + ` and u.id in (select id from found)`
	}

	sql += last
	rows, err := inTenant(ctx, q, tenant, sql, w.Args, scanUser)
	return List(rows, err, page, func(r userRow) (domain.User, string) { return r.State, IDCursor(r.State.ID.UUID) })
}
