package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/relay"
)

// relayMetrics counts what this process publishes, and reports how far it is behind.
type relayMetrics struct {
	pool                *pgxpool.Pool
	published, failures prometheus.Counter
	events, seconds     *prometheus.Desc
}

func newRelayMetrics(pool *pgxpool.Pool) *relayMetrics {
	return &relayMetrics{
		pool: pool,
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trust_relay_published_total", Help: "Events that this process has published.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "trust_relay_failures_total", Help: "Attempts of this process that failed.",
		}),
		events:  prometheus.NewDesc("trust_relay_lag_events", "Events that are not published yet.", nil, nil),
		seconds: prometheus.NewDesc("trust_relay_lag_seconds", "Age of the oldest event that is not.", nil, nil),
	}
}

func (m *relayMetrics) committed(_ string, after, upTo int64, _ time.Duration) {
	m.published.Add(float64(upTo - after))
}

func (m *relayMetrics) failed(string) { m.failures.Inc() }

// Describe implements prometheus.Collector.
func (m *relayMetrics) Describe(out chan<- *prometheus.Desc) {
	m.published.Describe(out)
	m.failures.Describe(out)
	out <- m.events
	out <- m.seconds
}

// Collect implements prometheus.Collector. While the database does not answer, the lag is
// left out.
func (m *relayMetrics) Collect(out chan<- prometheus.Metric) {
	m.published.Collect(out)
	m.failures.Collect(out)

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	events, age, err := follow.Lag(ctx, m.pool, relay.Name)
	if err == nil {
		out <- prometheus.MustNewConstMetric(m.events, prometheus.GaugeValue, float64(events))
		out <- prometheus.MustNewConstMetric(m.seconds, prometheus.GaugeValue, age.Seconds())
	}
}

// serve serves the metrics, if the settings say where, until ctx ends.
func (m *relayMetrics) serve(ctx context.Context, c *settings.Config, log *slog.Logger) error {
	if c.Relay.Metrics == "" {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Relay.Metrics)
	if err != nil {
		return exit.Unreachable(err,
			"cannot listen on RELAY_METRICS_ADDR; end what listens there, or set another address")
	}

	registry := prometheus.NewRegistry()
	if err := registry.Register(m); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", onlyFor(c.Scrapers, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerPatience, ReadTimeout: bodyPatience, WriteTimeout: bodyPatience,
		IdleTimeout: idlePatience, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := serveUntil(ctx, server, listener); err != nil {
			log.WarnContext(ctx, "the metrics are not served any more", slog.String("why", exit.OneLine(err)))
		}
	}()
	return nil
}

// onlyFor refuses callers from other networks.
func onlyFor(networks []netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		among := func(network netip.Prefix) bool { return network.Contains(from.Addr().Unmap()) }
		if err != nil || !slices.ContainsFunc(networks, among) {
			http.Error(w, "not for this address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
