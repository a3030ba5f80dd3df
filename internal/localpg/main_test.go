package localpg_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/internal/localpg"
	"github.com/salga-trust/engine/internal/pgtest"
)

// roleVariable turns this test binary, started again, into one of the processes that the
// tests need as parents.
const roleVariable = "LOCALPG_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		m.Run()
	case "parent of a cluster":
		playClusterParent()
	case "parent of a sleeper":
		playSleeperParent()
	case "fetcher":
		playFetcher()
	default:
		panic("unknown role " + role)
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pgtest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// newFolder makes a folder with a short name that every user can pass through, unlike
// t.TempDir.
func newFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "localpg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustFind(t *testing.T) localpg.Binaries {
	t.Helper()
	found, err := localpg.FindOrFetch(t.Context(), os.Getenv("POSTGRES_ARCHIVE"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// config returns a configuration for a cluster that starts fast. It listens only on its
// socket: a free port may be taken before the server has it.
func config(t *testing.T) localpg.Config {
	t.Helper()
	return localpg.Config{
		Dir: filepath.Join(newFolder(t), "pg"), Binaries: mustFind(t), Port: 5432, Password: rand.Text(), NoSync: true,
		Settings: map[string]string{"fsync": "off", "shared_buffers": "16MB", "listen_addresses": ""},
	}
}

// newCluster makes a cluster that is not running.
func newCluster(t *testing.T, config localpg.Config) *localpg.Cluster {
	t.Helper()
	cluster, err := localpg.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Init(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return cluster
}

// ask runs statements over TCP or the socket, as a client would, and returns the rows as
// psql -At prints them.
func ask(t *testing.T, url, sql string) (string, error) {
	t.Helper()
	ctx := testContext(t)
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()

	var out strings.Builder
	results, err := conn.Exec(ctx, sql).ReadAll()
	for _, result := range results {
		for _, row := range result.Rows {
			out.Write(bytes.Join(row, []byte("|")))
			out.WriteByte('\n')
		}
	}
	return out.String(), err
}
