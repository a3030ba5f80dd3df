package eventstore

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
)

// selectOf reads events of a person's consents as known at a position.
const selectOf = `select ` + columns + ` from trust.events
	where tenant_id = $1 and stream_type = 'consent' and stream_id = $2 and position <= $3`

// selectNewest reads at most so many of them, selectOthers those about other purposes
// than some. The purpose is cut out of the text, where it is the first thing of that
// name: to parse the JSON of each event takes four times as long.
const (
	selectNewest = selectOf + ` order by version desc limit $4`
	selectOthers = selectOf + ` and split_part(split_part(payload::text, '"purpose":"', 2), '"', 1) <> all($4)
		order by version`
)

// Settling reads of a person's consents as known at a position what says how things
// stand: of each purpose the newest events if they settle that, otherwise all. They come
// in no order, and nothing is opened. One person may have very many events, and usually
// the last few decide; see domain.Settles.
func (r *Reader) Settling(
	ctx context.Context, tx pgx.Tx, tenant domain.TenantID, subject domain.UserID, upTo int64,
	settles func(newest []domain.Recorded) bool,
) ([]domain.Recorded, error) {
	ask := func(sql string, which any) ([]row, error) {
		var rows []row
		found, err := tx.Query(ctx, sql, [16]byte(tenant.UUID), [16]byte(subject.UUID), upTo, which)
		if err == nil {
			err = rowsInto(&rows)(found)
		}
		if err != nil {
			return nil, Unavailable(err)
		}
		return rows, r.vault.check(ctx, rows, askingOf(tx))
	}

	newest, err := ask(selectNewest, firstPage)
	if err != nil {
		return nil, err
	}
	if len(newest) < firstPage {
		return withheld(newest)
	}

	var settled []domain.Recorded
	names := []string{}
	for purpose, of := range byPurpose(newest) {
		events, err := withheld(of)
		if err != nil {
			return nil, err
		}
		if settles(events) {
			settled, names = append(settled, events...), append(names, purpose)
		}
	}

	rest, err := ask(selectOthers, names)
	if err != nil {
		return nil, err
	}
	others, err := withheld(rest)
	return append(settled, others...), err
}

// byPurpose groups rows by the purpose that they name.
func byPurpose(rows []row) map[string][]row {
	groups := map[string][]row{}
	for _, row := range rows {
		var named struct {
			Purpose string `json:"purpose"`
		}
		_ = json.Unmarshal(row.payload, &named) // a disowned event may say anything
		groups[named.Purpose] = append(groups[named.Purpose], row)
	}
	return groups
}
