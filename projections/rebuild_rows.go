package projections

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore"
)

// histories is a reader that reads on while its earlier pages are folded and copied.
type histories struct {
	events chan []domain.Recorded // whole streams; closed at the end
	err    error                  // why it ended early, if it did; read it only once events is closed
}

// readHistories starts to read every stream of one kind up to a position. It ends with
// ctx.
func readHistories(
	ctx context.Context, r *eventstore.Reader, tx pgx.Tx, kind domain.StreamType, upTo int64,
) *histories {
	h := &histories{events: make(chan []domain.Recorded)}

	go func() {
		defer close(h.events)

		h.err = r.Histories(ctx, tx, kind, upTo, pageSize, func(page []domain.Recorded) error {
			select {
			case h.events <- page:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()

	return h
}

// rowSource feeds COPY with the rows of all streams, folding one stream at a time.
type rowSource struct {
	source source
	pages  *histories
	folded func(events int64)

	count     int64
	histories [][]domain.Recorded // of the page: those still to fold
	rows      [][]any             // of the stream folded last: the current row and those after it
	err       error
}

// Next implements pgx.CopyFromSource.
func (s *rowSource) Next() bool {
	if len(s.rows) > 0 {
		s.rows = s.rows[1:]
	}

	for len(s.rows) == 0 && s.err == nil {
		if len(s.histories) > 0 {
			s.err = s.fold()
			continue
		}

		s.folded(s.count)
		page, more := <-s.pages.events
		if !more {
			s.err = s.pages.err
			return false
		}
		s.count += int64(len(page))
		s.histories, _ = byStream(page)
	}

	return s.err == nil
}

// fold folds the page's next stream.
func (s *rowSource) fold() (err error) {
	history := s.histories[0]
	s.histories = s.histories[1:]

	for i, e := range history {
		if e.Version != i+1 {
			return outOfOrder(e, i)
		}
	}

	s.rows, err = s.source.rows(history)
	return err
}

// Values implements pgx.CopyFromSource.
func (s *rowSource) Values() ([]any, error) { return s.rows[0], nil }

// Err implements pgx.CopyFromSource.
func (s *rowSource) Err() error { return s.err }
