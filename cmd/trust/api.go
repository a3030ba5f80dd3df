package main

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/salga-trust/engine/eventstore/follow"
	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/projections"
)

// Who makes the tokens and whom they are for; both are checked, so that a token of another system under the same key is refused.
const (
	tokenIssuer   = "salga-trust-engine"
	tokenAudience = "salga-trust-engine-api"
)

// newAPI gives the routes of the API on an open log.
func newAPI(c *config, e *commandSide, log *slog.Logger) (http.Handler, error) {
	queries, observer := projections.NewQueries(e.pool), follow.NewObserver(e.pool, followers()...)
	metrics := prometheus.NewRegistry()
	for _, collector := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newProgressMetrics(observer),
	} {
		if err := metrics.Register(collector); err != nil {
			return nil, err
		}
	}
	if c.redisURL != "" {
		log.Warn("REDIS_URL is set, but this version keeps rate limits in the memory of each process")
	}
	environment := "development"
	if c.production {
		environment = "production"
	}
	return apphttp.New(apphttp.Config{
		Commands: e.handler, Queries: queries, Reports: e.reports, Ready: newReadiness(c, e.pool, observer).look, Logger: log, Metrics: metrics,
		Tokens:  apphttp.Tokens{Secret: []byte(c.secretKey), Issuer: tokenIssuer, Audience: tokenAudience, Access: c.accessTTL},
		Version: version, AllowedOrigins: c.origins, Environment: environment, Debug: c.debug, RateLimit: c.rateLimit,
		TrustedProxies: c.proxies, ScrapeFrom: c.scrapers,
		Limits: apphttp.Limits{
			LoginAccount:    apphttp.Limit{Count: c.limits.loginAccount, Per: time.Minute},
			LoginAddress:    apphttp.Limit{Count: c.limits.loginAddress, Per: time.Minute},
			RegisterEmail:   apphttp.Limit{Count: c.limits.registerEmail, Per: time.Hour},
			RegisterAddress: apphttp.Limit{Count: c.limits.registerAddress, Per: time.Hour},
			Export:          apphttp.Limit{Count: c.limits.export, Per: time.Hour},
			Erasure:         apphttp.Limit{Count: c.limits.erasure, Per: 24 * time.Hour},
			Account:         apphttp.Limit{Count: c.limits.account, Per: time.Minute},
			Address:         apphttp.Limit{Count: c.limits.address, Per: time.Minute},
		},
	})
}
