package propagation

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	// Withdrawal is the type of event that the clock measures. A person's will to end a
	// consent is recorded as nothing else, whoever carries it out: see ADR 42.
	Withdrawal = "consent.withdrawn.v1"

	// Window is how far back acknowledgements are measured.
	Window = 30 * 24 * time.Hour

	// OverdueAfter is the age at which a withdrawal that is not acknowledged is overdue.
	// Until then a webhook was tried a dozen times, so waiting alone does not help.
	OverdueAfter = time.Hour
)

// Kind is a kind of recipient.
type Kind string

// The kinds.
const (
	Webhook  Kind = "webhook"
	Consumer Kind = "consumer" // of the relay's stream
)

// Recipient is another system that takes withdrawals, and how long they took to it.
type Recipient struct {
	Kind   Kind
	ID     uuid.UUID // of a webhook; zero: a consumer
	Name   string    // of a consumer, or the webhook's host
	Paused bool
	Figures
}

// Figures are those of one recipient and one municipality.
type Figures struct {
	// Measured is how many acknowledgements P50 and P99 rest on: those of the Window, the
	// newest if there are more than it takes to be exact. At 0 there are no times.
	Measured int64
	P50, P99 time.Duration

	Outstanding int64
	Overdue     int64     // of these
	Oldest      time.Time // when the oldest of these was recorded; zero: there is none
}

// Sample is SQL: of rows with recorded_at and acknowledged_at, newest first, those that
// are measured. So the figures of a recipient cost the same however much it was sent.
const Sample = ` limit 10000`

// Measures is SQL: the columns of Figures about acknowledgements, of rows of Sample.
// Clocks differ, so an acknowledgement may seem to come before its withdrawal.
const Measures = `count(*) as measured, ` + percentile50 + ` as p50, ` + percentile99 + ` as p99`

const (
	took         = `(order by greatest(acknowledged_at - recorded_at, interval '0'))`
	percentile50 = `percentile_disc(0.5) within group ` + took
	percentile99 = `percentile_disc(0.99) within group ` + took
)

// Scan reads some columns, and after them those of Figures.
func Scan(row pgx.CollectableRow, first ...any) (f Figures, err error) {
	var p50, p99 *time.Duration
	var oldest *time.Time
	err = row.Scan(append(first, &f.Measured, &p50, &p99, &f.Outstanding, &f.Overdue, &oldest)...)

	if p50 != nil && p99 != nil {
		f.P50, f.P99 = *p50, *p99
	}
	if oldest != nil {
		f.Oldest = oldest.UTC()
	}
	return f, err
}
