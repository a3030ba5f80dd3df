package projections

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/internal/pg"
)

// municipalities is the read table of municipalities as they are now. It is public.
type municipalities struct{ table string }

type municipalityRow = row[domain.Municipality]

// Name implements Projection.
func (municipalities) Name() string { return "municipalities" }

// Kinds implements Projection.
func (p municipalities) Kinds() []domain.StreamType { return []domain.StreamType{p.source().kind} }

// Apply implements Projection.
func (m municipalities) Apply(ctx context.Context, tx follow.Tx, events []domain.Recorded, _ int64) error {
	rows, err := municipalitiesTable().ofStreams(ctx, tx, m.table, older(events))
	if err != nil {
		return err
	}
	if err := evolve(rows, events); err != nil {
		return err
	}
	return municipalitiesTable().upsert(ctx, tx, m.table, slices.Collect(maps.Values(rows)))
}

func scanMunicipality(r pgx.CollectableRow) (municipalityRow, error) {
	var m domain.Municipality
	var position int64
	err := r.Scan(&m.ID.UUID, &m.Code, &m.Name, &m.Province, &m.Category, &m.DistrictCode, &m.Population,
		&m.ContactEmail, &m.Active, &m.CreatedAt, &m.UpdatedAt, &m.Version, &position)

	m.CreatedAt, m.UpdatedAt = m.CreatedAt.UTC(), m.UpdatedAt.UTC()
	return municipalityRow{State: m, Version: m.Version, Position: position}, err
}

func municipalityKey(r municipalityRow) stream { return stream{r.State.ID.UUID, r.State.ID.UUID} }

func (municipalities) into(version string) Projection { return municipalities{version} }

func (municipalities) source() source {
	return sourceOf(domain.MunicipalityStream, municipalitiesTable(), evolveWhole[domain.Municipality], nil)
}

// forget does nothing: the table holds no people.
func (municipalities) forget(context.Context, pgx.Tx, int64, int64) error { return nil }

func municipalitiesTable() readTable[municipalityRow] {
	return readTable[municipalityRow]{
		name: "municipalities", key: []string{"id"}, stream: [2]string{"id", "id"}, scan: scanMunicipality,
		keyOf: municipalityKey,
		columns: []column[municipalityRow]{
			col("id", "uuid", func(r municipalityRow) [16]byte { return r.State.ID.UUID }),
			col("code", "text", func(r municipalityRow) string { return r.State.Code }),
			col("name", "text", func(r municipalityRow) string { return r.State.Name }),
			col("province", "text", func(r municipalityRow) string { return r.State.Province }),
			col("category", "text", func(r municipalityRow) string { return r.State.Category }),
			col("district_code", "text", func(r municipalityRow) string { return r.State.DistrictCode }),
			col("population", "integer", func(r municipalityRow) *int { return r.State.Population }),
			col("contact_email", "text", func(r municipalityRow) string { return r.State.ContactEmail }),
			col("is_active", "boolean", func(r municipalityRow) bool { return r.State.Active }),
			col("created_at", "timestamptz", func(r municipalityRow) time.Time { return r.State.CreatedAt }),
			col("updated_at", "timestamptz", func(r municipalityRow) time.Time { return r.State.UpdatedAt }),
			col("version", "integer", func(r municipalityRow) int32 { return int32(r.Version) }),
			col("position", "bigint", func(r municipalityRow) int64 { return r.Position }),
		},
	}
}

// MunicipalityFilter narrows a list of municipalities; zero fields do not. Q finds part
// of a name or the start of a code, in any letter case.
type MunicipalityFilter struct {
	Active                *bool
	Province, Category, Q string
}

// Municipality returns one municipality by its id or its code, or not_found.
func (q *Queries) Municipality(ctx context.Context, idOrCode string) (domain.Municipality, error) {
	byID := `select ` + municipalitiesTable().list() + ` from trust.municipalities m where m.id = $1`
	byCode := `select ` + municipalitiesTable().list() + ` from trust.municipalities m where m.code = $1`

	sql, arg := byCode, any(domain.CanonicalMunicipalityCode(idOrCode))
	if id, err := uuid.Parse(idOrCode); err == nil {
		sql, arg = byID, id
	}

	found, err := public(ctx, q, sql, []any{arg}, scanMunicipality)
	if err != nil {
		return domain.Municipality{}, err
	}

	r, err := only(found, "There is no such municipality.")
	return r.State, err
}

// Municipalities lists municipalities, newest first.
func (q *Queries) Municipalities(
	ctx context.Context, f MunicipalityFilter, page Page,
) (Listing[domain.Municipality], error) {
	var w pg.Where
	if f.Active != nil {
		w.And("m.is_active = %s", *f.Active)
	}
	if f.Province != "" {
		w.And("m.province = %s", f.Province)
	}
	if f.Category != "" {
		w.And("m.category = %s", f.Category)
	}
	if f.Q = domain.TidyName(f.Q); f.Q != "" {
		w.And("(strpos(lower(m.name), lower(%[1]s)) > 0 or starts_with(m.code, upper(%[1]s)))", f.Q)
	}
	if page.After != "" {
		after, err := page.AfterID()
		if err != nil {
			return Listing[domain.Municipality]{}, err
		}
		w.And("m.id < %s", after)
	}

	sql := `select ` + municipalitiesTable().list() + ` from trust.municipalities m where true` + w.SQL() +
		` order by m.id desc limit ` + w.Arg(page.Fetch())
	rows, err := public(ctx, q, sql, w.Args, scanMunicipality)
	return List(rows, err, page, func(r municipalityRow) (domain.Municipality, string) {
		return r.State, IDCursor(r.State.ID.UUID)
	})
}
