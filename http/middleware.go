package http

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/salga-trust/engine/domain"
)

// trace begins the trace of a request. Its correlation id is the client's X-Request-ID if
// that is a UUID, otherwise a new one.
func (s *server) trace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, ok := parseID(r.Header.Get(headerRequestID))
		if !ok || id == uuid.Nil {
			id = uuid.Must(uuid.NewV7())
		}
		w.Header().Set(headerRequestID, id.String())

		t := &requestTrace{
			correlation: id, address: clientAddress(r, s.config.TrustedProxies), route: unmatched,
			began: s.config.Now(),
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), traceKey{}, t)))
	})
}

// unmatched is the route of requests that match none.
const unmatched = "unmatched"

// observe counts and logs each finished request: no query string, no body, nothing that
// identifies a person.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer s.note(r, seen)
		next.ServeHTTP(seen, r)
	})
}

func (s *server) note(r *http.Request, seen middleware.WrapResponseWriter) {
	t := traceOf(r.Context())
	status, took := seen.Status(), s.config.Now().Sub(t.began)
	if status == 0 { // nothing was written: net/http sends 200, or the connection was cut
		status = http.StatusOK
	}

	method := knownMethod(r.Method)
	s.requests.count.WithLabelValues(method, t.route, strconv.Itoa(status)).Inc()
	s.requests.seconds.WithLabelValues(method, t.route).Observe(took.Seconds())

	level := slog.LevelInfo
	if route, known := s.routes[t.id]; known && route.rate == unlimited { // probes come every few seconds
		level = slog.LevelDebug
	}
	s.config.Logger.LogAttrs(r.Context(), level, "request",
		slog.String("method", method), slog.String("route", t.route), slog.Int("status", status),
		slog.Duration("took", took), slog.String("correlation", t.correlation.String()),
		slog.String("user", short(t.user)))
}

// short returns enough of a user's id to follow them through the log: its end, since a
// UUIDv7 begins with the time.
func short(u domain.UserID) string {
	if u.IsZero() {
		return ""
	}
	text := u.String()
	return text[len(text)-8:]
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions:
		return method
	default:
		return "other"
	}
}

// recover answers a panic with 500.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.rescue(w, r)
		next.ServeHTTP(w, r)
	})
}

// rescue must itself be deferred: otherwise recover does not see the panic.
func (s *server) rescue(w http.ResponseWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		panic(cause)
	}

	t := traceOf(r.Context())
	s.config.Logger.LogAttrs(r.Context(), slog.LevelError, "panic",
		slog.String("correlation", t.correlation.String()), slog.String("route", t.route), slog.Any("cause", cause),
		slog.String("stack", string(debug.Stack())))

	if seen, ok := w.(middleware.WrapResponseWriter); ok && seen.Status() != 0 {
		cut(w) // nobody may take half an answer for a whole one
	}
	//nolint:contextcheck // the request that it serves has the context
	if isPagePath(r.URL.Path) && s.console.Broken(w, r) {
		return
	}
	internalProblem().write(w)
}

// secure sets the security headers.
func (s *server) secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-XSS-Protection", "0")
		h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Content-Security-Policy", contentPolicy)

		if s.config.Environment == production {
			h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		}
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-store") // personal data stays out of caches
		}

		next.ServeHTTP(w, r)
	})
}

const (
	production    = "production"
	contentPolicy = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// wellFormed refuses paths and queries that are not text, or that the database cannot
// hold.
func (s *server) wellFormed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isTextual(r.URL):
			next.ServeHTTP(w, r)
		case isPagePath(r.URL.Path):
			s.noPage(w, r, http.StatusBadRequest)
		default:
			newProblem(malformedQuery(), nil).write(w)
		}
	})
}

func isTextual(u *url.URL) bool {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || !isText(u.Path) {
		return false
	}

	for name, values := range query {
		if !isText(name) || !isText(strings.Join(values, "")) {
			return false
		}
	}
	return true
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	if page := s.pageWithoutSlash(r); page != "" {
		w.Header().Set("Location", page)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	if isPagePath(r.URL.Path) {
		s.noPage(w, r, http.StatusNotFound)
		return
	}
	newProblem(domain.Refuse(domain.CodeNotFound, "There is nothing at this path."), nil).write(w)
}

func (s *server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		asked := method
		if asked == http.MethodHead {
			asked = http.MethodGet // see middleware.GetHead
		}
		if s.router.Match(chi.NewRouteContext(), asked, r.URL.Path) {
			w.Header().Add("Allow", method)
		}
	}

	if isPagePath(r.URL.Path) {
		s.noPage(w, r, http.StatusMethodNotAllowed)
		return
	}
	newProblem(domain.Refuse(codeMethodNotAllowed, "This path does not support this method; see Allow."), nil).write(w)
}

type requestMetrics struct {
	count   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newRequestMetrics(registry *prometheus.Registry) (*requestMetrics, error) {
	m := &requestMetrics{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "trust_http_requests_total", Help: "Requests answered, by method, route and status.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "trust_http_request_duration_seconds", Help: "Time to answer, by method and route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"method", "route"}),
	}

	for _, c := range []prometheus.Collector{m.count, m.seconds} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (s *server) metrics() http.Handler {
	return promhttp.HandlerFor(s.config.Metrics, promhttp.HandlerOpts{})
}
