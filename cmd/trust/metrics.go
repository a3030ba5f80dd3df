package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/http/sharedcount"
)

// newCountsMetric reports where this process counts rate limits.
func newCountsMetric(shared *sharedcount.Redis) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "trust_rate_limits_shared",
		Help: "1 while rate limits are counted in Redis, 0 while it is away and each process counts its own.",
	}, func() float64 {
		if shared.Up() {
			return 1
		}
		return 0
	})
}

// progress reports to Prometheus how far the log and each follower are, as trust status
// does. It asks the database when it is scraped, and reports nothing when that does not
// answer.
type progress struct {
	observer                              *follow.Observer
	log, notifications, projection, state *prometheus.Desc
}

func newProgressMetrics(observer *follow.Observer) *progress {
	return &progress{
		observer: observer,
		log:      prometheus.NewDesc("trust_log_position", "Newest position of the log.", nil, nil),
		notifications: prometheus.NewDesc("trust_notification_queue_usage",
			"How full Postgres's queue of notifications is, from 0 to 1.", nil, nil),
		projection: prometheus.NewDesc("trust_projection_position", "Position that a read table has reached.",
			[]string{"projection"}, nil),
		state: prometheus.NewDesc("trust_projection_state",
			"1 for the state that a projector is in: running, halted or stopped.",
			[]string{"projection", "state"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *progress) Describe(out chan<- *prometheus.Desc) {
	out <- m.log
	out <- m.notifications
	out <- m.projection
	out <- m.state
}

// Collect implements prometheus.Collector.
func (m *progress) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	status, err := m.observer.Status(ctx)
	if err != nil {
		return
	}

	gauge := func(what *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(what, prometheus.GaugeValue, value, labels...)
	}

	gauge(m.log, float64(status.Head))
	gauge(m.notifications, status.Notifications)
	for _, p := range status.Followers {
		gauge(m.projection, float64(p.Position), p.Name)
		for _, state := range []follow.State{follow.Running, follow.Halted, follow.Stopped} {
			is := 0.0
			if p.State == state {
				is = 1
			}
			gauge(m.state, is, p.Name, string(state))
		}
	}
}
