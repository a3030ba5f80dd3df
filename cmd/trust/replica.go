package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore/replica"
	"github.com/salga-trust/engine/internal/pg"
)

// openReplica opens the database that queries are read from, if one is set. One that does
// not answer is not waited for: until it does, the primary answers.
func (o *opened) openReplica(ctx context.Context) (err error) {
	if o.config.ReadURL == "" {
		return nil
	}
	o.closeReplica() // of an attempt that failed later

	if o.copied, err = openPool(ctx, o.config.ReadURL, o.config.PoolSize, o.config.RequestTimeout); err != nil {
		return err
	}
	if err := o.admitted(ctx); err != nil {
		return err
	}

	log := o.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	o.replica, err = replica.Open(ctx, o.pool, o.copied, log)
	if foreign, is := errors.AsType[*replica.ForeignError](err); is {
		return exit.WrongUsage("%s; set DATABASE_URL_READ to a standby of the database in DATABASE_URL_API", foreign)
	}
	if err == nil && o.replica.IsPrimary(ctx) {
		log.InfoContext(ctx, "DATABASE_URL_READ is the primary itself")
	}
	return err
}

// admitted refuses a login that can never read there.
func (o *opened) admitted(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()

	err := o.copied.Ping(within)
	if refused, is := errors.AsType[*exit.Error](err); is {
		return refused
	}
	if pg.Classify(err) == pg.Settings {
		return exit.WrongUsage("the server in DATABASE_URL_READ refuses its login or its database; correct it")
	}
	return nil
}

func (o *opened) closeReplica() {
	o.replica.Close()
	if o.copied != nil {
		o.copied.Close()
	}
	o.replica, o.copied = nil, nil
}

// replicaUnused is the warning that queries are read on the primary although there is a
// replica.
const replicaUnused = "replica_unused"

// replicaTrouble returns why the replica is not read from; empty: it is, or there is
// none.
func replicaTrouble(r *replica.Replica) string {
	if r == nil || r.Status().State == replica.Serving {
		return ""
	}
	return "queries are read on the primary, because the replica " + r.Status().Why
}

// replicaMetrics reports to Prometheus where queries are read. Without a replica it
// reports nothing.
type replicaMetrics struct{ of *replica.Replica }

func (replicaMetrics) state() *prometheus.Desc {
	return prometheus.NewDesc("trust_replica_state",
		"1 for what the replica is: serving, behind, away or foreign.", []string{"state"}, nil)
}

func (replicaMetrics) lag() *prometheus.Desc {
	return prometheus.NewDesc("trust_replica_lag_bytes",
		"Bytes of the write-ahead log that the replica lacked when it was found behind; 0: it is not.", nil, nil)
}

func (replicaMetrics) queries() *prometheus.Desc {
	return prometheus.NewDesc("trust_replica_queries_total", "Queries by where they were read.",
		[]string{"read_on"}, nil)
}

func (replicaMetrics) again() *prometheus.Desc {
	return prometheus.NewDesc("trust_replica_queries_again_total",
		"Queries that were read again on the primary because the replica failed or cancelled them.", nil, nil)
}

// Describe implements prometheus.Collector.
func (m replicaMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.state(), m.lag(), m.queries(), m.again()} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m replicaMetrics) Collect(out chan<- prometheus.Metric) {
	if m.of == nil {
		return
	}

	status, counts := m.of.Status(), m.of.Counts()
	for _, state := range replica.States() {
		is := 0.0
		if status.State == state {
			is = 1
		}
		out <- prometheus.MustNewConstMetric(m.state(), prometheus.GaugeValue, is, string(state))
	}
	out <- prometheus.MustNewConstMetric(m.lag(), prometheus.GaugeValue, float64(status.Lag))

	count := func(of *prometheus.Desc, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(of, prometheus.CounterValue, float64(n), labels...)
	}
	count(m.queries(), counts.Replica, "replica")
	count(m.queries(), counts.Primary, "primary")
	count(m.again(), counts.Again)
}
