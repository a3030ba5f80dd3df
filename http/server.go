package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/cors"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/http/console"
	"github.com/salga-trust/engine/http/sharedcount"
	"github.com/salga-trust/engine/projections"
	"github.com/salga-trust/engine/projections/reports"
)

// Config is what the server needs. The fields of the first group must be set.
type Config struct {
	Commands *commands.Handler
	Queries  Queries
	Reports  Reports
	Tree     Tree
	Webhooks Webhooks
	// Propagation returns the recipients of a tenant's withdrawals.
	Propagation Propagation
	Tokens      Tokens
	Ready       func(ctx context.Context) ReadyState
	// System looks up how far the log and its followers are, for operators. Error:
	// unavailable.
	System  func(ctx context.Context) (SystemState, error)
	Logger  *slog.Logger
	Metrics *prometheus.Registry
	Version string

	// AllowedOrigins are those of browsers' pages, never "*"; empty: none.
	AllowedOrigins []string
	// Environment "production" adds Strict-Transport-Security.
	Environment string
	// Debug logs every refusal, not only failures.
	Debug bool
	// RateLimit false sets no limits, for load tests.
	RateLimit bool
	// Limits are the rate limits; zero: DefaultLimits.
	Limits Limits
	// Counts counts requests for all processes together; nil: each counts its own.
	Counts *sharedcount.Redis
	// TrustedProxies are the networks whose X-Forwarded-For is believed; empty: none.
	TrustedProxies []netip.Prefix
	// ScrapeFrom are the networks that may read /metrics; empty: this machine.
	ScrapeFrom []netip.Prefix
	// RequireTOTP are the roles that need a second factor. Without one, its holders may
	// only set one up.
	RequireTOTP []domain.Role
	// RequestTimeout is that of each answer, and of each page of an export; zero: 10 s.
	RequestTimeout time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Queries is what the server needs of the read tables. Package projections implements it.
//
// Anything absent is a *domain.Error with CodeNotFound, and a database that cannot be
// reached is one with CodeUnavailable.
type Queries interface {
	// Municipality finds one by its id or its code.
	Municipality(ctx context.Context, idOrCode string) (domain.Municipality, error)
	Municipalities(ctx context.Context, f projections.MunicipalityFilter,
		page projections.Page) (projections.Listing[domain.Municipality], error)
	// User returns one user of a tenant, or not_found.
	User(ctx context.Context, tenant domain.TenantID, id domain.UserID) (domain.User, error)
	Users(ctx context.Context, tenant domain.TenantID, f projections.UserFilter,
		page projections.Page) (projections.Listing[domain.User], error)
	// Consent finds one decision of a tenant; not_found also if it is not the subject's,
	// unless the subject is zero.
	Consent(ctx context.Context, tenant domain.TenantID, subject domain.UserID,
		id domain.ConsentID) (domain.Consent, error)
	Consents(ctx context.Context, tenant domain.TenantID, subject domain.UserID,
		page projections.Page) (projections.Listing[domain.Consent], error)
	// Impact lists the grants that would lapse with a version of a notice.
	Impact(ctx context.Context, tenant domain.TenantID, f projections.ImpactFilter,
		page projections.Page) (projections.Impact, error)
	// WaitFor waits until a projection has reached a position; after 2 s it returns
	// read_model_behind.
	WaitFor(ctx context.Context, projection string, position int64) error
}

// Reports is what the server needs of the log itself, for officers. Package
// projections/reports implements it.
type Reports interface {
	History(ctx context.Context, tenant domain.TenantID, of reports.HistoryQuery,
		page projections.Page) (projections.Listing[reports.HistoryEntry], error)
	// Resolve returns the moment that a replay is about.
	Resolve(ctx context.Context, tenant domain.TenantID, at, knownAt time.Time, position int64) (reports.Moment, error)
	Replay(ctx context.Context, tenant domain.TenantID, q reports.ReplayQuery, each func(domain.Decided) error) error
	// ReplayPage returns part of what Replay would pass on.
	ReplayPage(ctx context.Context, tenant domain.TenantID, q reports.ReplayQuery,
		page projections.Page) (reports.ReplayPage, error)
	// Summary counts what Replay would pass on.
	Summary(ctx context.Context, tenant domain.TenantID, q reports.ReplayQuery,
		by []projections.Dimension) ([]reports.Counted, error)
	// Certificates lists the ids of the certificates of erasures, newest first.
	Certificates(ctx context.Context, scope reports.AuditScope,
		page projections.Page) (projections.Listing[uuid.UUID], error)
	Dossier(ctx context.Context, tenant domain.TenantID, person domain.UserID) (reports.Dossier, error)
	// Requests lists a tenant's requests with a status, earliest due date first.
	Requests(ctx context.Context, tenant domain.TenantID, status domain.RequestStatus,
		page projections.Page) (projections.Listing[domain.Request], error)
	// Holds lists a tenant's holds that are in force, or those that were lifted, newest
	// first.
	Holds(ctx context.Context, tenant domain.TenantID, lifted bool,
		page projections.Page) (projections.Listing[domain.Hold], error)
	Exposure(ctx context.Context, tenant domain.TenantID, f reports.ExposureFilter,
		page projections.Page) (projections.Listing[reports.ExposureEntry], error)
	// Reads lists the reads of a person's data by others, newest first.
	Reads(ctx context.Context, tenant domain.TenantID, person domain.UserID, period reports.Period,
		page projections.Page) (projections.Listing[reports.ExposureEntry], error)
	// Activity counts what was recorded in a tenant on the last days.
	Activity(ctx context.Context, tenant domain.TenantID, days int, now time.Time) (reports.Activity, error)
	Audit(ctx context.Context, scope reports.AuditScope, f reports.AuditFilter,
		page projections.Page) (projections.Listing[reports.AuditEntry], error)
}

type server struct {
	config   Config
	gates    map[rate]gates
	requests *requestMetrics
	exports  chan struct{}     // one for each running export
	counts   chan struct{}     // one for each running count
	waiting  chan struct{}     // one for each password check that is slowed
	routes   map[string]*route // by id
	router   *chi.Mux
	console  *console.Console
	// document returns the OpenAPI document, written when it is first asked for.
	document func() ([]byte, error)
}

// New makes the handler of the whole API. It refuses incomplete settings, and a route
// table with a gap.
func New(config Config) (http.Handler, error) {
	if err := config.complete(); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	s := &server{
		config: config, routes: map[string]*route{},
		gates:   newGates(config.Limits, config.RateLimit, config.Now, config.Counts),
		exports: make(chan struct{}, exportsAtOnce), counts: make(chan struct{}, countsAtOnce),
		waiting: make(chan struct{}, maxWaiting), router: chi.NewRouter(),
	}
	s.document = sync.OnceValues(s.describe)

	var err error
	if s.requests, err = newRequestMetrics(config.Metrics); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}

	s.console, err = console.New(console.Config{
		API: s.inside(false), Files: s.inside(true), Now: config.Now, Opens: s.opens,
	})
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}

	s.router.Use(middleware.GetHead)
	s.router.NotFound(s.notFound)
	s.router.MethodNotAllowed(s.methodNotAllowed)
	if err := s.mount(); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return s.wrap(s.router), nil
}

// wrap puts the middleware of every request around all routes.
func (s *server) wrap(next http.Handler) http.Handler {
	next = s.wellFormed(next)
	if len(s.config.AllowedOrigins) > 0 { // the library takes an empty list to mean "all"
		next = cors.Handler(s.corsOptions())(next)
	}
	return s.pace(s.trace(s.observe(s.secure(s.recover(next)))))
}

func (s *server) corsOptions() cors.Options {
	return cors.Options{
		AllowedOrigins: s.config.AllowedOrigins,
		AllowedMethods: []string{
			http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		},
		AllowedHeaders: []string{
			"Authorization", "Content-Type", headerTenant, headerKey, headerIfMatch, headerMinPosition, headerLog,
			headerRequestID,
		},
		ExposedHeaders: []string{
			"ETag", "Content-Disposition", headerPosition, headerLog, headerRequestID, "Retry-After",
		},
		AllowCredentials: true,
		MaxAge:           600,
	}
}

// mount makes the routes of the table.
func (s *server) mount() error {
	table := slices.Concat(routes(), pages())
	for i := range table {
		r := &table[i]
		if err := r.validate(); err != nil {
			return err
		}
		if s.routes[r.id] != nil {
			return fmt.Errorf("two routes with the id %s", r.id)
		}
		r.reaches = r.reached()
		s.routes[r.id] = r
	}

	api := huma.NewAPI(apiConfig(s.config.Version), adapter{s})
	for i := range table {
		r := &table[i]
		if r.page != nil {
			s.router.Method(r.method, r.path, s.pageOf(r))
			continue
		}

		op := operation(r)
		if r.raw != nil {
			s.router.Method(r.method, r.path, s.guard(r, op, r.raw(s)))
			continue
		}
		r.serve(s, api, r, *op)
	}
	return nil
}

// adapter lets huma make its routes behind our guard.
type adapter struct{ s *server }

// Handle implements huma.Adapter.
func (a adapter) Handle(op *huma.Operation, handle func(huma.Context)) {
	for _, p := range op.Parameters {
		p.AllowEmptyValue = p.Name == cursorParameter
	}

	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(humachi.NewContext(op, r, w)) })
	a.s.router.Method(op.Method, op.Path, a.s.guard(a.s.routes[op.OperationID], op, next))
}

// ServeHTTP implements huma.Adapter.
func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.s.router.ServeHTTP(w, r) }

// on makes a route of a handler.
func on[I, O any](handle func(*server, context.Context, commands.Call, *I) (*O, error)) serve {
	return func(s *server, api huma.API, r *route, op huma.Operation) {
		huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
			out, err := handle(s, ctx, callOf(ctx), in)
			if err != nil {
				return nil, s.problemOf(ctx, err, r.statuses)
			}
			return out, nil
		})
	}
}

// complete checks the settings and fills in the defaults.
func (c *Config) complete() error {
	switch {
	case c.Commands == nil || c.Queries == nil || c.Reports == nil || c.Ready == nil || c.System == nil ||
		c.Logger == nil || c.Metrics == nil || c.Version == "":
		return errors.New("commands, queries, reports, readiness, system, logger, metrics and version must be given")
	}

	for _, origin := range c.AllowedOrigins {
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" ||
			u.Scheme+"://"+u.Host != origin || u.Hostname() == "*" {
			return errors.New("an allowed origin must be like https://portal.example.org, not a pattern")
		}
		for _, letter := range origin {
			if letter == '*' {
				return errors.New("an allowed origin must not be a pattern")
			}
		}
	}

	if c.Limits == (Limits{}) {
		c.Limits = DefaultLimits()
	}
	if c.RateLimit && !c.Limits.whole() {
		return errors.New("every limit must let something through")
	}

	if len(c.ScrapeFrom) == 0 {
		c.ScrapeFrom = loopback()
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = defaultTimeout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Tokens.Now == nil {
		c.Tokens.Now = c.Now
	}
	return c.Tokens.validate()
}
