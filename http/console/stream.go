package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"

	"github.com/salga-trust/engine/http/client"
)

// stream lets the API answer the browser itself, as it does a client of its own: a file
// may be larger than memory. It is kept under this name; empty: the API gives it one. A
// refusal is returned, to become a page.
func (v *Visit) stream(path, name string) error {
	refused, err := v.streamAt(path, name, v.session.position)
	//nolint:bodyclose // it is in memory
	if err == nil && refused != nil && v.session.position > 0 && isBehind(refused.response()) {
		refused, err = v.streamAt(path, name, 0)
	}
	if err != nil || refused == nil {
		return err
	}

	return refusedWith(refused.status, refused.header, refused.body.Bytes())
}

// refusedWith returns a refusal of the API that its client did not read.
func refusedWith(status int, header http.Header, body []byte) error {
	e := &client.Error{Header: header}
	if json.Unmarshal(body, &e.Problem) != nil {
		return errors.New("console: the API refused without a problem")
	}
	e.Status = int64(status)
	return e
}

// streamAt asks once. It returns an answer that was not passed on, because it is a
// refusal.
func (v *Visit) streamAt(path, name string, position int64) (*through, error) {
	r, err := http.NewRequestWithContext(v.r.Context(), http.MethodGet, "http://console"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.RemoteAddr = v.r.RemoteAddr
	r.Header.Set("User-Agent", v.r.UserAgent())
	r.Header.Set("Authorization", "Bearer "+v.session.access)
	if position > 0 {
		r.Header.Set("Min-Event-Position", strconv.FormatInt(position, 10))
	}

	w := &through{visit: v, name: name, header: http.Header{}}
	v.console.config.Files.ServeHTTP(w, r)
	if w.status >= http.StatusBadRequest {
		return w, nil
	}
	w.WriteHeader(http.StatusOK) // of an empty answer
	return nil, nil
}

// through passes a success on as it is written, and keeps a refusal.
type through struct {
	visit  *Visit
	name   string // of the file; empty: the API's answer has it
	header http.Header
	status int // 0: not yet known
	body   bytes.Buffer
}

// response returns a refusal as a client gets it.
func (t *through) response() *http.Response {
	return &http.Response{StatusCode: t.status, Body: io.NopCloser(bytes.NewReader(t.body.Bytes()))}
}

// Header implements http.ResponseWriter.
func (t *through) Header() http.Header { return t.header }

// Unwrap is for http.ResponseController: deadlines are those of the browser's connection.
func (t *through) Unwrap() http.ResponseWriter { return t.visit.w }

// WriteHeader implements http.ResponseWriter.
func (t *through) WriteHeader(status int) {
	if t.status != 0 {
		return
	}
	t.status = status
	if status >= http.StatusBadRequest {
		return
	}

	t.visit.keepSession()
	maps.Copy(t.visit.w.Header(), t.header)
	if t.name != "" {
		t.visit.w.Header().Set("Content-Disposition", `attachment; filename="`+t.name+`"`)
	}
	t.visit.w.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (t *through) Write(b []byte) (int, error) {
	t.WriteHeader(http.StatusOK)
	if t.status >= http.StatusBadRequest {
		return t.body.Write(b)
	}
	return t.visit.w.Write(b)
}

// FlushError is for http.ResponseController: what has been written goes to the browser,
// unless it is a refusal.
func (t *through) FlushError() error {
	t.WriteHeader(http.StatusOK)
	if t.status >= http.StatusBadRequest {
		return nil
	}
	return http.NewResponseController(t.visit.w).Flush()
}
