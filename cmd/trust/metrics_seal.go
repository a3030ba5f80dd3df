package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/eventstore/seal"
)

// sealMetrics reports to Prometheus how far the log is signed and cosigned, as trust
// status does. It reads the policy and asks the database when it is scraped, and reports
// nothing when that does not answer.
type sealMetrics struct {
	opened           *opened
	policy           *prometheus.Desc
	signed, cosigned coverage
	size, waiting    *prometheus.Desc // of each witness
}

// coverage describes what is reported of a checkpoint.
type coverage struct{ size, behind, age *prometheus.Desc }

func describeCoverage(name, which string) coverage {
	return coverage{
		size: prometheus.NewDesc("trust_log_"+name+"_size",
			"Events that the newest checkpoint covers"+which+"; 0: there is none.", nil, nil),
		behind: prometheus.NewDesc("trust_log_"+name+"_behind", "Events that it does not cover yet.", nil, nil),
		age:    prometheus.NewDesc("trust_log_"+name+"_age_seconds", "How long ago it was signed.", nil, nil),
	}
}

func newSealMetrics(o *opened) *sealMetrics {
	return &sealMetrics{
		opened: o,
		policy: prometheus.NewDesc("trust_log_policy_readable",
			"0 if the policy that names the witnesses cannot be read, else 1.", nil, nil),
		signed:   describeCoverage("checkpoint", ""),
		cosigned: describeCoverage("cosigned", " that enough witnesses have cosigned"),
		size: prometheus.NewDesc("trust_log_witness_size",
			"Events that the newest checkpoint covers that a witness has cosigned.", []string{"witness"}, nil),
		waiting: prometheus.NewDesc("trust_log_witness_waiting_seconds",
			"How long ago the oldest checkpoint was signed that a witness has not cosigned; 0: it has cosigned all.",
			[]string{"witness"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *sealMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range []coverage{m.signed, m.cosigned} {
		out <- c.size
		out <- c.behind
		out <- c.age
	}
	out <- m.policy
	out <- m.size
	out <- m.waiting
}

// Collect implements prometheus.Collector.
func (m *sealMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	gauge := func(what *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(what, prometheus.GaugeValue, value, labels...)
	}

	policy, _, unread := logPolicy(m.opened.config)
	readable := 1.0
	if unread != nil {
		readable = 0
	}
	gauge(m.policy, readable)

	p, err := seal.ReadProgress(ctx, m.opened.pool, policy)
	if err != nil {
		return
	}
	report := func(c coverage, covered seal.Covered) {
		gauge(c.size, float64(covered.Size))
		gauge(c.behind, float64(p.Behind(covered)))
		if covered.Age > 0 {
			gauge(c.age, covered.Age.Seconds())
		}
	}

	report(m.signed, p.Signed)
	if len(p.Witnesses) > 0 {
		report(m.cosigned, p.Cosigned)
	}
	for _, w := range p.Witnesses {
		gauge(m.size, float64(w.Cosigned.Size), w.Witness.Name)
		gauge(m.waiting, w.Waiting.Seconds(), w.Witness.Name)
	}
}
