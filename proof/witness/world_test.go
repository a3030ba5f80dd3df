package witness

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/salga-trust/engine/proof/logtest"
)

// dying has, in a child of these tests, the folder of a witness that is to die before it
// answers.
const dying = "WITNESS_DIES_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dying); dir != "" {
		serveAndDie(dir)
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// since is the request that an honest log sends.
func since(t testing.TB, l logtest.Tree, older int) []byte {
	t.Helper()
	return request{old: uint64(older), path: l.From(t, older), checkpoint: l.Signed(t)}.encode()
}

// open opens a witness of the log.
func open(t testing.TB, dir, name string) *Witness {
	t.Helper()
	w, err := Open(Config{
		Folder: dir, Name: name, Logs: logtest.Signer(t, logtest.Origin).LogKeys(), Now: logtest.Noon,
		Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	t.Cleanup(func() {
		if err := w.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return w
}

// post sends a request without a network.
func post(w http.Handler, body []byte) *httptest.ResponseRecorder {
	const path = "/add-checkpoint"
	asked := httptest.NewRequestWithContext(context.Background(), http.MethodPost, path, bytes.NewReader(body))
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, asked)
	return answer
}

func expect(t testing.TB, answer *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	if answer.Code != status || !strings.Contains(answer.Body.String(), text) {
		t.Fatalf("%d %q, not %d %q", answer.Code, answer.Body, status, text)
	}
}

// serving serves a witness on a port, and returns it as a log knows it.
func serving(t testing.TB, w *Witness) Endpoint {
	t.Helper()
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	return Endpoint{Name: w.Name(), URL: server.URL, Keys: w.Keys()}
}

// answering is a witness that answers each request like that.
func answering(t testing.TB, answer func(rw http.ResponseWriter, r *http.Request, body string)) Endpoint {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer(rw, r, string(body))
	}))
	t.Cleanup(server.Close)
	return Endpoint{Name: "W", URL: server.URL, Keys: logtest.Signer(t, "witness.example/w").WitnessKeys()}
}
