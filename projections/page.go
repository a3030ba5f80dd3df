package projections

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// Page asks for part of a list: at most Limit items after the cursor After (empty: from
// the start). Limit is 1 to 100, or to Most if that is set; 0 means 50.
type Page struct {
	Limit int
	After string
	Most  int // 0: 100
}

// Listing is part of a list. Next is the cursor of the next page; empty: there is none.
type Listing[T any] struct {
	Items []T
	Next  string
}

const (
	defaultLimit = 50
	maxLimit     = 100
)

func (p Page) limit() int {
	if p.Limit <= 0 {
		return defaultLimit
	}
	return min(p.Limit, cmp.Or(p.Most, maxLimit))
}

// Fetch returns how many rows to read for List: one more than the page holds, which shows
// whether there is a next page.
func (p Page) Fetch() int { return p.limit() + 1 }

// AfterID decodes a cursor made by IDCursor.
func (p Page) AfterID() (uuid.UUID, error) {
	raw, err := base64.RawURLEncoding.DecodeString(p.After)
	if err != nil || len(raw) != len(uuid.UUID{}) {
		return uuid.UUID{}, MalformedCursor()
	}
	return uuid.UUID(raw), nil
}

// AfterPosition decodes a cursor made by PositionCursor.
func (p Page) AfterPosition() (int64, error) {
	raw, err := base64.RawURLEncoding.DecodeString(p.After)
	if err != nil || len(raw) != 8 {
		return 0, MalformedCursor()
	}
	return int64(binary.BigEndian.Uint64(raw)), nil
}

// IDCursor returns a cursor of a list in order of ids.
func IDCursor(id uuid.UUID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// PositionCursor returns a cursor of a list in order of positions.
func PositionCursor(position int64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(position)))
}

// MalformedCursor refuses a cursor that no page named.
func MalformedCursor() error {
	var f domain.Faults
	f.Add("after", "invalid", "Give the value of next from the previous page, or leave it out.")
	return f.Err()
}

// List makes a page from rows, which are as many as Fetch if there is a next page. item
// returns the item that a row holds, and its cursor. An error is returned as it is.
func List[R, T any](rows []R, err error, page Page, item func(R) (T, string)) (Listing[T], error) {
	if err != nil {
		return Listing[T]{}, err
	}

	l := Listing[T]{Items: make([]T, 0, len(rows))}
	for i, r := range rows {
		if i == page.limit() {
			break
		}

		value, cursor := item(r)
		l.Items = append(l.Items, value)
		l.Next = cursor
	}

	if len(rows) <= page.limit() {
		l.Next = ""
	}
	return l, nil
}
