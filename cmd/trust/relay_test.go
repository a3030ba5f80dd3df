package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/eventstore/relay"
	"github.com/salga-trust/engine/internal/pgtest"
)

// natsServer runs a server of NATS for one user until the test ends, and returns its
// address with the password, and a subscriber's view.
func natsServer(t *testing.T) (address string, js jetstream.JetStream) {
	t.Helper()
	started, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		Username: "relay", Password: "hunter2",
	})
	must(t, err)
	go started.Start()
	if !started.ReadyForConnections(pgtest.Patience) {
		t.Fatal("the NATS server does not start")
	}
	t.Cleanup(func() {
		started.Shutdown()
		started.WaitForShutdown()
	})

	address = fmt.Sprintf("nats://relay:hunter2@127.0.0.1:%d", started.Addr().(*net.TCPAddr).Port)
	conn, err := nats.Connect(address)
	must(t, err)
	t.Cleanup(conn.Close)
	js, err = jetstream.New(conn)
	must(t, err)
	return address, js
}

func TestRelayPublishesTheLogAndPublishesAgain(t *testing.T) {
	t.Parallel()
	address, js := natsServer(t)
	plain, _ := onDatabase(t)
	s := plain.with("RELAY_URL="+address, "RELAY_STREAM=EVENTS")
	s.run("import", "municipalities", s.file("m.csv", "code,name,province\nA1,Alpha,Gauteng\nA2,Beta,Gauteng\n")).
		expect(t, exit.CodeDone, "2 registered")
	s.run("relay", "--from", "1").expect(t, exit.CodeDone, "published again")

	metrics := freeAddress()
	s = s.with("RELAY_METRICS_ADDR=" + metrics)
	running := s.start("relay")
	published := func() uint64 {
		stream, err := js.Stream(t.Context(), "EVENTS")
		if err != nil {
			return 0
		}
		return stream.CachedInfo().State.LastSeq
	}
	pgtest.Eventually(t, "both are published", func() bool { return published() == 2 })
	pgtest.Eventually(t, "status says so", func() bool {
		for _, f := range s.status().Followers {
			if f.Name == relay.Name {
				return f.Position == 2 && f.Lag == 0
			}
		}
		return false
	})

	scraped := scrape(t, "http://"+metrics+"/metrics")
	for _, line := range []string{
		"trust_relay_published_total 2", "trust_relay_failures_total 0", "trust_relay_lag_events 0",
		"trust_relay_lag_seconds 0",
	} {
		if !strings.Contains(scraped, "\n"+line+"\n") {
			t.Errorf("the metrics do not say %q:\n%s", line, scraped)
		}
	}

	s.run("relay", "--from", "2").expect(t, exit.CodeDone, "from 2 on are published again, after event 2")
	if n := published(); n != 3 {
		t.Errorf("%d messages", n)
	}
	o := s.run("relay", "--from", "3")
	o.expect(t, exit.CodeNotSo, "the log ends at event 2")
	plain.run("status").expect(t, exit.CodeNotSo, "stopped: consents, municipalities, seal, users")

	if code := running.stop(t, syscall.SIGTERM); code != exit.CodeDone {
		t.Errorf("exit code %d: %s", code, running.said)
	}
	if said := running.said.String() + o.stderr; strings.Contains(said, "hunter2") {
		t.Errorf("it shows the password: %s", said)
	}
}

// scrape reads metrics as Prometheus does.
func scrape(t *testing.T, address string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	must(t, err)
	answer, err := http.DefaultClient.Do(request)
	must(t, err)
	defer func() { must(t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	return string(text)
}

func TestMetricsOfTheRelayAreForScrapersAlone(t *testing.T) {
	t.Parallel()
	handler := onlyFor([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, http.NotFoundHandler())
	for from, status := range map[string]int{
		"10.1.2.3:4": http.StatusNotFound, "[::ffff:10.1.2.3]:4": http.StatusNotFound,
		"192.0.2.1:4": http.StatusForbidden, "nowhere": http.StatusForbidden,
	} {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
		request.RemoteAddr = from
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != status {
			t.Errorf("from %s: %d, want %d", from, answer.Code, status)
		}
	}
}
