//go:build far

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/internal/pgtest"
)

// fault is one thing that goes wrong. It is over when do returns, and everything recovers
// by itself.
type fault struct {
	name string
	do   func(chance *rand.Rand)
}

func (s *soak) kinds() []fault {
	return []fault{
		{"connections cut between commit and answer", s.loseAnswers},
		{"connections cut while the server works", s.leave},
		{"answers lost for longer than an append waits", s.loseAllAnswers},
		{"Postgres stopped immediately", s.stopServer},
		{"appenders killed", s.on("appender", s.kill)},
		{"appenders suspended", s.on("appender", s.suspend)},
		{"APIs killed", s.on("api", s.kill)},
		{"APIs suspended", s.on("api", s.suspend)},
		{"workers killed", s.on("worker", s.kill)},
		{"workers suspended", s.on("worker", s.suspend)},
		{"foreign write transactions held open", s.holdTransaction},
		{"foreign snapshots held open", s.holdSnapshot},
		{"all connections taken", s.takeConnections},
		{"disks full", s.fillDisk},
	}
}

// trouble causes one kind of fault after another, in an order that the seed decides,
// until enough is acknowledged and each kind has happened, or the test has failed. The
// load goes on between two faults, so that each meets a working system.
func (s *soak) trouble() {
	chance := rand.New(rand.NewPCG(s.seed, 1<<40))
	apart := max(100, s.count/500)

	for s.acknowledged.Load() < int64(s.count) && !s.t.Failed() {
		kinds := s.kinds()
		chance.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for _, f := range kinds {
			target := s.acknowledged.Load() + int64(apart/2+chance.IntN(apart))
			pgtest.Eventually(s.t, "appends get on before: "+f.name, func() bool {
				return s.acknowledged.Load() >= target
			})
			f.do(rand.New(rand.NewPCG(s.seed, chance.Uint64())))
			s.faults[f.name]++
		}
	}
}

// awhile waits for half to three halves of a duration.
func awhile(chance *rand.Rand, d time.Duration) {
	pause(d/2 + time.Duration(chance.Int64N(int64(d))))
}

// loseAnswers loses a few answers at a time, whoever waits for them, until one of them
// was about a commit: then the store sends the append again, and finds it in the log.
func (s *soak) loseAnswers(chance *rand.Rand) {
	before := s.foundByStore.Load()
	pgtest.Eventually(s.t, "the answer to a commit is lost", func() bool {
		s.unheard.Store(int64(5 + chance.IntN(20)))
		pgtest.Eventually(s.t, "the answers are lost", func() bool { return s.unheard.Load() <= 0 })

		// Until then the append has been sent again.
		pause(300 * time.Millisecond)
		return s.foundByStore.Load() > before
	})
}

// leave breaks connections while the server may still be carrying out their last
// statement.
func (s *soak) leave(chance *rand.Rand) {
	s.left.Store(int64(5 + chance.IntN(20)))
	pgtest.Eventually(s.t, "the connections are cut", func() bool { return s.left.Load() <= 0 })
}

// loseAllAnswers makes appends that are in the log end with an unknown outcome.
func (s *soak) loseAllAnswers(chance *rand.Rand) {
	s.silent.Store(true)
	pause(5*time.Second + time.Duration(chance.Int64N(int64(3*time.Second)))) // see eventstore.Patience
	s.silent.Store(false)
}

// stopServer stops the server as a crash would, without a checkpoint.
func (s *soak) stopServer(chance *rand.Rand) {
	must(s.t, syscall.Kill(s.server.process.PID(), syscall.SIGQUIT))
	pgtest.Receive(s.t, s.server.process.Ended())
	awhile(chance, time.Second)
	s.startServer()
}

// startServer starts the server if it has ended, and tries again while some of its old
// processes still run.
func (s *soak) startServer() {
	s.t.Helper()
	pgtest.Eventually(s.t, "the server starts", func() bool {
		select {
		case <-s.server.process.Ended():
		default:
			conn, err := pgx.Connect(s.t.Context(), s.admin)
			if err != nil {
				return false
			}
			_ = conn.Close(s.t.Context())
			return true
		}

		ctx, cancel := context.WithTimeout(s.t.Context(), pgtest.Patience)
		defer cancel()
		started, err := pgtest.Start(ctx, s.server.cluster, nil)
		if err == nil {
			s.server.process = started
		}
		return err == nil
	})
}

// on does something to one process of a kind.
func (s *soak) on(kind string, do func(*part, *rand.Rand)) func(*rand.Rand) {
	return func(chance *rand.Rand) {
		of := slices.DeleteFunc(slices.Clone(s.parts), func(p *part) bool { return p.kind != kind })
		do(of[chance.IntN(len(of))], chance)
	}
}

// hit sends a signal to a process as soon as it runs.
func (s *soak) hit(p *part, sig syscall.Signal) {
	s.t.Helper()
	pgtest.Eventually(s.t, "there is a process to signal", func() bool { return p.signal(sig) })
}

func (s *soak) kill(p *part, _ *rand.Rand) { s.hit(p, syscall.SIGKILL) }

func (s *soak) suspend(p *part, chance *rand.Rand) {
	s.hit(p, syscall.SIGSTOP)
	awhile(chance, 3*time.Second) // a worker loses its lead in half of that
	p.signal(syscall.SIGCONT)
}

// holdTransaction keeps a writing transaction open: a tail by transaction ids would hide
// everything after it.
func (s *soak) holdTransaction(chance *rand.Rand) {
	s.hold(chance, pgx.TxOptions{}, "insert into public.foreign_rows values (1)")
}

// holdSnapshot keeps a transaction open that continues to see the past.
func (s *soak) holdSnapshot(chance *rand.Rand) {
	s.hold(chance, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, "select count(*) from trust.checkpoints")
}

func (s *soak) hold(chance *rand.Rand, options pgx.TxOptions, sql string) {
	ctx := s.t.Context()
	conn := s.connect(ctx)
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.BeginTx(ctx, options)
	if err == nil {
		_, err = tx.Exec(ctx, sql)
	}
	must(s.t, err)

	before := s.acknowledged.Load()
	awhile(chance, 2*time.Second)
	pgtest.Eventually(s.t, "appends get on beside a foreign transaction", func() bool {
		return s.acknowledged.Load() > before
	})
	must(s.t, tx.Rollback(ctx))
}

// takeConnections takes every free connection, and those of others when they break.
func (s *soak) takeConnections(chance *rand.Rand) {
	ctx := s.t.Context()
	var taken []*pgx.Conn
	until := time.Now().Add(time.Second + time.Duration(chance.Int64N(int64(2*time.Second))))
	for broken := false; !broken || time.Now().Before(until); {
		conn, err := pgx.Connect(ctx, s.admin)
		if err == nil {
			taken = append(taken, conn)
			continue
		}
		if !broken { // otherwise nobody would notice
			broken = true
			s.unheard.Store(10)
		}
		pause(5 * time.Millisecond)
	}

	for _, conn := range taken {
		_ = conn.Close(ctx)
	}
	s.unheard.Store(0)
}

// fillDisk shrinks the server's disk to its contents.
func (s *soak) fillDisk(chance *rand.Rand) {
	pgtest.Eventually(s.t, "the disk is as small as what is on it", func() bool { // which grows meanwhile
		return resizeDisk(s.disk, usedOf(s.t, s.disk)+256<<10) == nil
	})
	ballast := filepath.Join(s.disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		s.t.Errorf("a full disk says %v", err)
	}
	pgtest.Eventually(s.t, "appends stand still on a full disk", func() bool {
		before := s.acknowledged.Load()
		pause(500 * time.Millisecond)
		return s.acknowledged.Load() == before
	})

	awhile(chance, 3*time.Second)
	must(s.t, resizeDisk(s.disk, diskSize))
	must(s.t, os.Remove(ballast))
	s.startServer() // it may have ended, if its journal did not fit
}

// diskSize is the size of the server's disk: enough for a million appends and everything
// beside them.
const diskSize = 12 << 30

// mountDisk mounts a disk of the test's own, because others would feel a full disk of the
// machine. It needs root.
func mountDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755)) //nolint:gosec // the server's user passes through it
	size := fmt.Sprintf("size=%d,mode=755", diskSize)
	if said, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", size, "tmpfs", dir).
		CombinedOutput(); err != nil {
		t.Fatalf("this test mounts a disk of its own, to fill it, which needs root: %v: %s", err, said)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func usedOf(t *testing.T, dir string) int64 {
	t.Helper()
	var of syscall.Statfs_t
	must(t, syscall.Statfs(dir, &of))
	return int64(of.Blocks-of.Bfree) * of.Bsize
}

func resizeDisk(dir string, size int64) error {
	return syscall.Mount("", dir, "", syscall.MS_REMOUNT, fmt.Sprintf("size=%d,mode=755", size))
}
