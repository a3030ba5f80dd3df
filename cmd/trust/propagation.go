package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/eventstore/propagation"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/webhooks"
)

// recipientsOf returns the recipients of withdrawals: webhooks, and the consumers of the
// relay's stream if the settings name one. Without, nobody looks at its consumers.
func recipientsOf(c *settings.Config, pool *pgxpool.Pool) apphttp.Propagation {
	hooks, consumers := webhooks.NewView(pool), propagation.NewView(pool)

	return func(ctx context.Context, tenant domain.TenantID, now time.Time) ([]propagation.Recipient, error) {
		all, err := hooks.Propagation(ctx, tenant, now)
		if err != nil || c.Relay.URL == "" {
			return all, err
		}
		more, err := consumers.Consumers(ctx, tenant, now)
		return append(all, more...), err
	}
}

// propagationMetrics reports to Prometheus which withdrawals have not arrived. It asks
// the database when it is scraped, and reports nothing when that does not answer.
type propagationMetrics struct {
	view                         *propagation.View
	relays                       bool
	outstanding, overdue, oldest *prometheus.Desc
}

func newPropagationMetrics(c *settings.Config, pool *pgxpool.Pool) *propagationMetrics {
	labels := []string{"recipients"}
	return &propagationMetrics{
		view: propagation.NewView(pool), relays: c.Relay.URL != "",
		outstanding: prometheus.NewDesc("trust_withdrawals_outstanding",
			"Withdrawals that a recipient has not acknowledged, each counted for each recipient.", labels, nil),
		overdue: prometheus.NewDesc("trust_withdrawals_overdue",
			"Of these, those that were recorded more than an hour ago.", labels, nil),
		oldest: prometheus.NewDesc("trust_withdrawal_oldest_outstanding_seconds",
			"How long ago the oldest of these was recorded; 0: there is none.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *propagationMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.outstanding
	out <- m.overdue
	out <- m.oldest
}

// Collect implements prometheus.Collector.
func (m *propagationMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	now := time.Now()
	backlogs, err := m.view.Backlogs(ctx, now)
	if err != nil {
		return
	}

	for _, b := range backlogs {
		if b.Recipients == "consumers" && !m.relays {
			continue
		}
		age := 0.0
		if !b.Oldest.IsZero() {
			age = now.Sub(b.Oldest).Seconds()
		}
		report := func(what *prometheus.Desc, value float64) {
			out <- prometheus.MustNewConstMetric(what, prometheus.GaugeValue, value, b.Recipients)
		}
		report(m.outstanding, float64(b.Outstanding))
		report(m.overdue, float64(b.Overdue))
		report(m.oldest, age)
	}
}
