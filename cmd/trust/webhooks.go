package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/webhooks"
)

type webhooksCmd struct{}

// senderPool is how many connections the sender has, besides those that it records pauses
// with.
const senderPool = 8

// Run sends events to webhooks until a signal comes. Any number of processes may.
func (webhooksCmd) Run(ctx context.Context, p *program) error {
	outliveReaders()
	o, err := p.open(ctx, needs{commands: true})
	if err != nil {
		return err
	}
	defer o.close(ctx)

	c := o.config
	address, err := c.NeedProjector()
	if err != nil {
		return err
	}
	pool, err := openPool(ctx, address, senderPool)
	if err != nil {
		return err
	}
	defer pool.Close()

	log := newLogger(p.stderr, c, "webhooks")
	sender := webhooks.NewSender(webhooks.Config{
		Pool: pool, Digest: o.store.Digest, Network: webhooks.NewNetwork(c.Recipients, nil), Logger: log,
		Pause: func(
			ctx context.Context, tenant domain.TenantID, webhook domain.WebhookID, reason domain.PauseReason,
		) error {
			_, err := o.handler.PauseWebhook(ctx, commands.System(tenant),
				commands.PauseWebhook{Webhook: webhook, Reason: reason})
			return err
		},
	})

	told := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { stop(watchMasterKey(ctx, o.pool, c, true)) }()

	log.InfoContext(ctx, "sending to webhooks")
	sender.Run(ctx)
	return whyEnded(told, ctx)
}

// webhookTroubles says whether deliveries wait although their time has come.
func webhookTroubles(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	backlog, err := webhooks.NewView(pool).Backlog(ctx)
	if err != nil || backlog.OverdueSince.IsZero() {
		return nil, err
	}
	return []string{fmt.Sprintf("deliveries to webhooks wait since %s; start trust webhooks, or look at its log",
		backlog.OverdueSince.Format(time.RFC3339))}, nil
}

// webhookMetrics reports to Prometheus how much is to be sent to webhooks. It asks the
// database when it is scraped, and reports nothing when that does not answer.
type webhookMetrics struct {
	view                        *webhooks.View
	outstanding, oldest, paused *prometheus.Desc
}

func newWebhookMetrics(view *webhooks.View) *webhookMetrics {
	return &webhookMetrics{
		view: view,
		outstanding: prometheus.NewDesc("trust_webhook_deliveries_outstanding",
			"Deliveries to webhooks that are not acknowledged.", nil, nil),
		oldest: prometheus.NewDesc("trust_webhook_oldest_outstanding_seconds",
			"How long ago the oldest event was recorded that a webhook has not acknowledged; 0: there is none.",
			nil, nil),
		paused: prometheus.NewDesc("trust_webhooks_paused", "Webhooks that an admin must resume or delete.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *webhookMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.outstanding
	out <- m.oldest
	out <- m.paused
}

// Collect implements prometheus.Collector.
func (m *webhookMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	backlog, err := m.view.Backlog(ctx)
	if err != nil {
		return
	}

	age := 0.0
	if !backlog.Oldest.IsZero() {
		age = time.Since(backlog.Oldest).Seconds()
	}
	out <- prometheus.MustNewConstMetric(m.outstanding, prometheus.GaugeValue, float64(backlog.Outstanding))
	out <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, age)
	out <- prometheus.MustNewConstMetric(m.paused, prometheus.GaugeValue, float64(backlog.Paused))
}
