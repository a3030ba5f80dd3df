package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/salga-trust/engine/internal/localpg"
)

// folderPrefix begins the names of the clusters' folders in the temporary folder; sweep
// removes folders with it.
const folderPrefix = "trust-pgtest-"

// private is a cluster of this test binary alone.
type private struct {
	home    string   // our folder: the lock, and the cluster's folder
	lock    *os.File // held while we live: so sweep knows which folders are in use
	cluster *localpg.Cluster
	server  *Postmaster
}

// Server starts a server of the test's own, and returns the superuser's URL of its
// database postgres. It is for what the shared server cannot show, such as a cluster in
// which no migration has created its roles. It stops when the test ends.
func Server(t testing.TB, binaries localpg.Binaries) string {
	t.Helper()
	p, err := startPrivate(binaries)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(p.stop)
	return SocketURL(p.cluster, "postgres")
}

// startPrivate makes and starts a cluster in a new folder.
func startPrivate(binaries localpg.Binaries) (_ *private, err error) {
	sweep(os.TempDir())

	p := &private{}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()

	if err := p.makeHome(); err != nil {
		return nil, err
	}

	p.cluster, err = localpg.New(localpg.Config{
		Dir:      filepath.Join(p.home, "pg"),
		Binaries: binaries,
		Port:     5432, // names the socket in its own folder; nothing listens on TCP
		Password: rand.Text(),
		Settings: settings(benchmarking()),
		NoSync:   true,
	})
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := p.cluster.Init(ctx); err != nil {
		return nil, err
	}
	p.server, err = Start(ctx, p.cluster, nil)
	return p, err
}

// makeHome makes the folder of this process. The server's user must be able to pass
// through it.
func (p *private) makeHome() (err error) {
	if p.home, err = os.MkdirTemp("", folderPrefix); err != nil {
		return err
	}
	if p.lock, err = localpg.LockFolder(p.home); err != nil {
		return fmt.Errorf("lock %s: %w", p.home, err)
	}
	return os.Chmod(p.home, 0o755)
}

// stop ends the server and removes everything. What cannot be removed is left to the
// sweep of a later run.
func (p *private) stop() {
	if p.server != nil {
		// Not a kill, which would leave shared memory behind. Without fsync this is
		// nearly as fast.
		ctx, cancel := cleanupContext()
		defer cancel()
		_ = p.server.Stop(ctx) // it kills if asking does not help
	}

	_ = os.RemoveAll(p.home)
	if p.cluster != nil {
		// Both are inside the home folder, unless the temporary folder is one that the
		// server's user cannot use.
		_ = os.RemoveAll(p.cluster.Dir)
		_ = os.RemoveAll(p.cluster.SocketDir)
	}
	if p.lock != nil {
		_ = p.lock.Close()
	}
}

// sweep removes the folders of test binaries that were killed: those whose lock nobody
// holds.
func sweep(dir string) {
	homes, err := filepath.Glob(filepath.Join(dir, folderPrefix+"*"))
	if err != nil {
		return // only for a malformed pattern
	}

	for _, home := range homes {
		info, err := os.Stat(home)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue // its owner may be about to lock it
		}
		lock, err := localpg.LockFolder(home)
		if err != nil {
			continue
		}

		_ = os.RemoveAll(home)
		_ = lock.Close()
	}
}
