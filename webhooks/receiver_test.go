package webhooks_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/salga-trust/engine/domain"
)

// receiver is the example of docs/webhooks.md.
type receiver struct {
	webhook *standardwebhooks.Webhook
	mu      sync.Mutex
	known   map[string]bool // in your database, beside what you do
	stop    func(person, purpose string)
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, 1<<20))
	if err != nil || r.webhook.Verify(body, q.Header) != nil {
		http.Error(w, "not from the trust engine", http.StatusUnauthorized)
		return
	}

	var event struct {
		ID, Type, Subject string
		Data              struct{ Purpose string }
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not an event", http.StatusBadRequest)
		return
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known[event.ID] && event.Type == "consent.withdrawn.v1" {
		r.stop(event.Subject, event.Data.Purpose)
	}
	r.known[event.ID] = true
	w.WriteHeader(http.StatusNoContent)
}

func TestTheReceiverOfTheDocumentReceives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var stopped []string
	r := &receiver{known: map[string]bool{}, stop: func(person, purpose string) {
		stopped = append(stopped, person+" "+purpose)
	}}

	// The first answer to each event is lost on the way.
	var losing sync.Mutex // events come over several connections
	lost := map[string]bool{}
	loses := func(id string) bool {
		losing.Lock()
		defer losing.Unlock()
		first := !lost[id]
		lost[id] = true
		return first
	}
	server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, q *http.Request) {
		if loses(q.Header.Get("webhook-id")) {
			r.ServeHTTP(httptest.NewRecorder(), q)
			answer.WriteHeader(http.StatusBadGateway)
			return
		}
		r.ServeHTTP(answer, q)
	}))
	t.Cleanup(server.Close)

	id := w.register(server.URL)
	var err error
	r.webhook, err = standardwebhooks.NewWebhook(domain.WebhookSecret(w.store.Digest, id))
	must(t, err)
	w.follow()
	person := newID()
	w.grants(person)
	w.withdraws(person)
	for range 4 {
		w.drain()
		w.later(time.Second)
	}
	if want := []string{person.String() + " sms_alert"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped %v, want %v", stopped, want)
	}

	forged, err := http.Post(server.URL, "application/json", strings.NewReader("{}")) //nolint:noctx // a test
	must(t, err)
	must(t, forged.Body.Close())
	forged, err = http.Post(server.URL, "application/json", strings.NewReader("{}")) //nolint:noctx // a test
	must(t, err)
	must(t, forged.Body.Close())
	if forged.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request without a signature: %d", forged.StatusCode)
	}
}

func TestTheDocumentShowsTheReceiverThatIsTested(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../docs/webhooks.md")
	must(t, err)
	source, err := os.ReadFile("receiver_test.go")
	must(t, err)

	_, shown, _ := strings.Cut(string(document), "```go\n")
	shown, _, _ = strings.Cut(shown, "```")
	if len(shown) < 500 || !strings.Contains(string(source), shown) {
		t.Errorf("docs/webhooks.md shows another receiver:\n%s", shown)
	}
}
