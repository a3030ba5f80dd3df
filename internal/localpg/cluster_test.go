package localpg_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// safeBuffer collects a server's log, which another goroutine writes.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func start(t *testing.T, cluster *localpg.Cluster, log io.Writer) *pgtest.Postmaster {
	t.Helper()
	server, err := pgtest.Start(testContext(t), cluster, log)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, server)
	return server
}

// stopAtEnd stops rather than kills, which would leave shared memory behind on the
// machine.
func stopAtEnd(t *testing.T, server *pgtest.Postmaster) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), pgtest.Patience)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

func TestClusterServesOverTCPAndSocketWithItsPasswordOnly(t *testing.T) {
	t.Parallel()
	config := config(t)
	delete(config.Settings, "listen_addresses")
	var err error
	if config.Port, err = localpg.FreePort(); err != nil {
		t.Fatal(err)
	}
	cluster := newCluster(t, config)
	server := start(t, cluster, nil)

	const facts = `select
		current_setting('server_encoding'), current_setting('data_checksums'), current_setting('TimeZone'),
		current_setting('log_error_verbosity'), current_setting('log_min_error_statement'),
		current_setting('log_parameter_max_length'), current_setting('log_parameter_max_length_on_error'), lower('É')`
	for name, url := range map[string]string{
		"TCP": cluster.URL("postgres"), "socket": pgtest.SocketURL(cluster, "postgres"),
	} {
		got, err := ask(t, url, facts)
		if want := "UTF8|on|UTC|terse|panic|0|0|é\n"; err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}

		wrong := strings.ReplaceAll(url, config.Password, "wrong")
		if got, err := ask(t, wrong, facts); err == nil {
			t.Errorf("%s: a wrong password was accepted: %q", name, got)
		}
	}

	if err := server.Stop(testContext(t)); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := server.Stop(testContext(t)); err != nil {
		t.Errorf("stop again: %v", err)
	}
}

func TestServerLogHoldsNothingAClientSent(t *testing.T) {
	t.Parallel()
	config := config(t)
	cluster := newCluster(t, config)
	log := &safeBuffer{}
	start(t, cluster, log)

	const secret = "thandi@example.org"
	_, err := ask(t, pgtest.SocketURL(cluster, "postgres"),
		`create temp table person (email text primary key); insert into person values ('`+secret+`'), ('`+secret+`')`)
	if err == nil {
		t.Fatal("the duplicate was accepted")
	}

	pgtest.Eventually(t, "the error is logged", func() bool {
		return strings.Contains(log.String(), "duplicate key value")
	})
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log holds what the client sent:\n%s", log)
	}
}

func TestClusterRestartsAfterKillOfPostmaster(t *testing.T) {
	t.Parallel()
	config := config(t)
	cluster := newCluster(t, config)
	server := start(t, cluster, nil)
	if _, err := ask(t, pgtest.SocketURL(cluster, "postgres"), "create table kept as select 7 as seven"); err != nil {
		t.Fatal(err)
	}

	server.Kill()
	if _, err := os.Stat(filepath.Join(cluster.Dir, "data", "postmaster.pid")); err != nil {
		t.Fatalf("the kill left no stale lock file, so this test would prove nothing: %v", err)
	}

	// Orphaned backends may hold the shared memory for a moment, so the start is retried,
	// as the supervisor does.
	var again *pgtest.Postmaster
	pgtest.Eventually(t, "the cluster starts again", func() bool {
		var err error
		again, err = pgtest.Start(testContext(t), cluster, nil)
		return err == nil
	})
	stopAtEnd(t, again)

	got, err := ask(t, pgtest.SocketURL(cluster, "postgres"), "select seven from kept")
	if err != nil || got != "7\n" {
		t.Errorf("after the restart: %q, %v", got, err)
	}
}

func TestInitKeepsAnExistingClusterAndFinishesAKilledOne(t *testing.T) {
	t.Parallel()
	config := config(t)
	cluster, err := localpg.New(config)
	if err != nil {
		t.Fatal(err)
	}

	// What a kill leaves.
	for _, dir := range []string{cluster.Dir, filepath.Join(cluster.Dir, "data.new", "base")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}

	for range 2 {
		if err := cluster.Init(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}

	entries, err := os.ReadDir(cluster.Dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "data" {
		t.Errorf("the folder holds %v, %v; want data alone: no password file, no half-made cluster", entries, err)
	}
	start(t, cluster, nil)
}

func TestInitRefusesAFolderWithOtherThings(t *testing.T) {
	t.Parallel()
	config := config(t)
	if err := os.MkdirAll(filepath.Join(config.Dir, "thesis"), 0o755); err != nil {
		t.Fatal(err)
	}
	cluster, err := localpg.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Init(testContext(t)); err == nil || !strings.Contains(err.Error(), "not empty (thesis)") {
		t.Errorf("got %v", err)
	}
}

func TestStartSaysWhyTheServerEnded(t *testing.T) {
	t.Parallel()
	config := config(t)
	taken, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })

	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if config.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}

	delete(config.Settings, "listen_addresses")
	_, err = pgtest.Start(testContext(t), newCluster(t, config), nil)
	if err == nil || !strings.Contains(err.Error(), "could not bind") {
		t.Errorf("got %v", err)
	}
}

func TestWaitReadyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	cluster, err := localpg.New(config(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cluster.WaitReady(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestClusterWithALongNameKeepsAShortSocket(t *testing.T) {
	t.Parallel()
	config := config(t)
	config.Dir = filepath.Join(config.Dir, strings.Repeat("long", 30))
	cluster := newCluster(t, config)
	t.Cleanup(func() { _ = os.RemoveAll(cluster.SocketDir) })

	start(t, cluster, nil)
	if got, err := ask(t, pgtest.SocketURL(cluster, "postgres"), "select 1"); err != nil || got != "1\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNewRefusesAHalfConfig(t *testing.T) {
	t.Parallel()
	whole := config(t)
	for name, spoil := range map[string]func(*localpg.Config){
		"no folder":   func(c *localpg.Config) { c.Dir = "" },
		"no binaries": func(c *localpg.Config) { c.Binaries = localpg.Binaries{} },
		"no port":     func(c *localpg.Config) { c.Port = 0 },
		"no password": func(c *localpg.Config) { c.Password = "" },
	} {
		half := whole
		spoil(&half)
		if _, err := localpg.New(half); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
