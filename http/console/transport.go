package console

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/salga-trust/engine/http/client"
)

// transport sends the requests of a visit to the API in the same process.
type transport struct{ visit *Visit }

// RoundTrip implements http.RoundTripper. A query waits for the visitor's newest change;
// if its table does not reach that in time, it shows what there is, and the page says so.
// The queries after it wait no more, for a page asks many and must come in time.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	v := t.visit
	if v.onlyShows && v.entered && r.Method != http.MethodGet {
		return notSent(r), nil
	}
	r.RemoteAddr = v.r.RemoteAddr
	r.Header.Set("User-Agent", v.r.UserAgent())
	query := r.Method == http.MethodGet
	least := int64(0)
	if query {
		least = v.least()
	}
	if least > 0 {
		r.Header.Set("Min-Event-Position", strconv.FormatInt(least, 10))
	}

	answer := t.ask(r)
	if least > 0 && isBehind(answer) {
		v.noteBehind(answer.StatusCode == http.StatusServiceUnavailable)
		r.Header.Del("Min-Event-Position")
		answer = t.ask(r)
	}

	position, _ := strconv.ParseInt(answer.Header.Get("Event-Position"), 10, 64) // 0: it names none
	v.notePosition(position, query)
	return answer, nil
}

// least returns the position that a query waits for; 0: none.
func (v *Visit) least() int64 {
	v.asking.Lock()
	defer v.asking.Unlock()

	if v.Behind {
		return 0
	}
	return v.session.position
}

func (v *Visit) noteBehind(behind bool) {
	v.asking.Lock()
	defer v.asking.Unlock()
	v.Behind = v.Behind || behind
}

// notePosition keeps the position of an answer, if it names one.
func (v *Visit) notePosition(position int64, query bool) {
	v.asking.Lock()
	defer v.asking.Unlock()

	switch {
	case position == 0:
	case query:
		v.Position = position
	default:
		v.changed(position)
	}
}

func (t *transport) ask(r *http.Request) *http.Response {
	a := &memory{header: http.Header{}, status: http.StatusOK}
	t.visit.console.config.API.ServeHTTP(a, r)
	return &http.Response{
		StatusCode: a.status, Header: a.header, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()),
	}
}

// codeNotSent says of a form that nobody has decided about it, because it was only to be
// shown in another language.
const codeNotSent = "not_sent"

// notSent answers in place of the API.
func notSent(r *http.Request) *http.Response {
	const body = `{"code":"` + codeNotSent + `","status":409}`
	return &http.Response{
		StatusCode: http.StatusConflict, Header: http.Header{"Content-Type": {"application/problem+json"}}, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// isBehind reports whether an answer only says that a table, or after a restore the log,
// has not reached a position.
func isBehind(answer *http.Response) bool {
	if answer.StatusCode != http.StatusServiceUnavailable && answer.StatusCode != http.StatusUnprocessableEntity {
		return false
	}

	body, _ := io.ReadAll(answer.Body) // it is in memory
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return bytes.Contains(body, []byte(`"`+client.ProblemCodeReadModelBehind+`"`)) ||
		bytes.Contains(body, []byte(`"`+client.ProblemCodeUnknownPosition+`"`))
}

// memory is an answer of the API.
type memory struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (m *memory) Header() http.Header { return m.header }

// WriteHeader implements http.ResponseWriter.
func (m *memory) WriteHeader(status int) {
	if !m.wrote {
		m.status, m.wrote = status, true
	}
}

// Write implements http.ResponseWriter.
func (m *memory) Write(b []byte) (int, error) {
	m.wrote = true
	return m.body.Write(b)
}
