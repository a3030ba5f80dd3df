package http

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/propagation"
)

// Propagation is what the server needs to know of how long withdrawals take to other
// systems. Error: unavailable.
type Propagation func(ctx context.Context, tenant domain.TenantID, now time.Time) ([]propagation.Recipient, error)

type propagationOutput struct {
	Body propagationBody `nameHint:"Propagation"`
}

type propagationBody struct {
	Since   instant        `json:"since" doc:"Times are measured of what was acknowledged since: in the last 30 days."`
	Overdue int64          `json:"overdue_after_seconds" doc:"The age at which a withdrawal is overdue." example:"3600"`
	Items   []informedBody `json:"items" nullable:"false" doc:"Every webhook of your municipality that takes withdrawals, oldest first, and every durable consumer of the operator's stream that takes those of your municipality, by name."`
}

// informedBody is a system that must hear of withdrawals, and how long they took to it.
type informedBody struct {
	Kind   string     `json:"kind" enum:"webhook,consumer" example:"webhook"`
	ID     *uuid.UUID `json:"id" nullable:"true" format:"uuid" doc:"Of the webhook; null: it is a consumer."`
	Name   string     `json:"name" doc:"The webhook's host, or the consumer's name." example:"alerts.example.org"`
	Paused bool       `json:"paused" doc:"Nothing is sent to the webhook until an admin resumes it." example:"false"`

	Measured int64  `json:"measured" doc:"How many acknowledgements p50_ms and p99_ms rest on: those since then, the newest 10 000 at most." example:"412"`
	P50      *int64 `json:"p50_ms" nullable:"true" doc:"Half of the withdrawals were acknowledged within this time after they were recorded; null: none was." example:"85"`
	P99      *int64 `json:"p99_ms" nullable:"true" doc:"As p50_ms, of 99 in a hundred." example:"640"`

	Outstanding int64    `json:"outstanding" doc:"Withdrawals that are not acknowledged." example:"2"`
	Overdue     int64    `json:"overdue" doc:"Of these, those recorded longer ago than overdue_after_seconds." example:"1"`
	Oldest      *instant `json:"oldest_outstanding_at" nullable:"true" doc:"When the oldest of these was recorded; null: none is outstanding."`
}

func informedOf(r propagation.Recipient) informedBody {
	b := informedBody{
		Kind: string(r.Kind), ID: idOrNull(r.ID), Name: r.Name, Paused: r.Paused, Measured: r.Measured,
		Outstanding: r.Outstanding, Overdue: r.Overdue, Oldest: instantOrNull(r.Oldest),
	}
	if r.Measured > 0 {
		b.P50, b.P99 = new(r.P50.Milliseconds()), new(r.P99.Milliseconds())
	}
	return b
}

// propagation says how long withdrawals take. Counts are about no person, so this is not
// recorded as a read.
func (s *server) propagation(ctx context.Context, call commands.Call, _ *struct{}) (*propagationOutput, error) {
	now := s.config.Now()
	recipients, err := s.config.Propagation(ctx, call.Tenant, now)
	if err != nil {
		return nil, err
	}

	return &propagationOutput{propagationBody{
		Since: instant(now.Add(-propagation.Window)), Overdue: int64(propagation.OverdueAfter.Seconds()),
		Items: each(recipients, informedOf),
	}}, nil
}
