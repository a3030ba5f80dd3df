package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/salga-trust/engine/eventstore/follow"
	"github.com/salga-trust/engine/eventstore/seal"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/http/sharedcount"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/webhooks"
)

// Issuer and audience of the tokens. Both are checked, so that a token of another system
// under the same key is refused.
const (
	tokenIssuer   = "salga-trust-engine"
	tokenAudience = "salga-trust-engine-api"
)

// newAPI returns the routes of the API on an open log.
func newAPI(ctx context.Context, o *opened, log *slog.Logger) (http.Handler, error) {
	c := o.config
	queries, observer := projections.NewQueries(o.pool, o.replica), follow.NewObserver(o.pool, observed(o.config)...)

	metrics := prometheus.NewRegistry()
	for _, collector := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newProgressMetrics(observer), newSealMetrics(o), newWebhookMetrics(webhooks.NewView(o.pool)),
		newPropagationMetrics(c, o.pool),
		replicaMetrics{o.replica},
	} {
		if err := metrics.Register(collector); err != nil {
			return nil, err
		}
	}

	if c.Redis != nil && c.RateLimit {
		o.counts = sharedcount.Open(ctx, c.Redis, log)
		if err := metrics.Register(newCountsMetric(o.counts)); err != nil {
			return nil, err
		}
	}
	environment := "development"
	if c.Production {
		environment = "production"
	}

	return apphttp.New(apphttp.Config{
		Commands: o.handler, Queries: queries, Reports: o.reports, Tree: seal.NewView(o.pool),
		Webhooks: webhooks.NewView(o.pool), Propagation: recipientsOf(c, o.pool),
		// Queries wait for read tables, and for no other follower.
		Ready:  newReadiness(o, follow.NewObserver(o.pool, projections.Followers()...)).shared,
		System: systemView{o.pool, o.store, o.replica, observer}.look,
		Logger: log, Metrics: metrics,

		Version: version, Environment: environment, Debug: c.Debug,
		AllowedOrigins: c.Origins, TrustedProxies: c.Proxies, ScrapeFrom: c.Scrapers,
		RequestTimeout: c.RequestTimeout, RequireTOTP: c.RequireTOTP, RateLimit: c.RateLimit,
		Counts: o.counts,

		Tokens: apphttp.Tokens{
			Secret: []byte(c.SecretKey), Issuer: tokenIssuer, Audience: tokenAudience, Access: c.AccessTTL,
		},
		Limits: apphttp.Limits{
			LoginAccount:    apphttp.Limit{Count: c.Limits.LoginAccount, Per: time.Minute},
			LoginSlow:       apphttp.Limit{Count: c.Limits.LoginSlow, Per: time.Minute},
			LoginAddress:    apphttp.Limit{Count: c.Limits.LoginAddress, Per: time.Minute},
			RegisterEmail:   apphttp.Limit{Count: c.Limits.RegisterEmail, Per: time.Hour},
			RegisterAddress: apphttp.Limit{Count: c.Limits.RegisterAddress, Per: time.Hour},
			ResetEmail:      apphttp.Limit{Count: c.Limits.ResetEmail, Per: time.Hour},
			ResetAddress:    apphttp.Limit{Count: c.Limits.ResetAddress, Per: time.Hour},
			RedeemAddress:   apphttp.Limit{Count: c.Limits.RedeemAddress, Per: time.Minute},
			Export:          apphttp.Limit{Count: c.Limits.Export, Per: time.Hour},
			Erasure:         apphttp.Limit{Count: c.Limits.Erasure, Per: 24 * time.Hour},
			Account:         apphttp.Limit{Count: c.Limits.Account, Per: time.Minute},
			Service:         apphttp.Limit{Count: c.Limits.Service, Per: time.Minute},
			SignedInAddress: apphttp.Limit{Count: c.Limits.SignedInAddress, Per: time.Minute},
			Address:         apphttp.Limit{Count: c.Limits.Address, Per: time.Minute},
			Assets:          apphttp.Limit{Count: c.Limits.Assets, Per: time.Minute},
		},
	})
}
