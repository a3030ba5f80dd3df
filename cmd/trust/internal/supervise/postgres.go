package supervise

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/retry"
	"github.com/salga-trust/engine/internal/localpg"
)

// PostgresPart names the private server's pid file, and its folder in DATA_DIR.
const PostgresPart = "postgres"

// giveUpAfter is how often the server may end before it was ever ready: with the pauses
// between, more than a minute. A predecessor that was just killed has released everything
// long before that.
const giveUpAfter = 20

// Postgres is the Postgres that trust up runs when it is given none.
type Postgres struct {
	Cluster  *localpg.Cluster
	Binaries localpg.Binaries

	log  *serverLog
	pipe *os.File // the server's standard error; log reads the other end

	ready atomic.Bool // never false again
	ends  atomic.Int32
}

// FindPostgres returns the programs of the Postgres that is installed here, or else of a
// fetched one. It may fetch it now, and says so on log. archive is the setting
// POSTGRES_ARCHIVE.
func FindPostgres(ctx context.Context, archive string, log io.Writer) (localpg.Binaries, error) {
	found, err := localpg.FindOrFetch(ctx, archive, log)
	if err != nil {
		return found, exit.Unreachable(nil, "%v", err)
	}
	return found, nil
}

// NewPostgres decides where the cluster is. On disk it makes at most empty folders.
func NewPostgres(
	dir, password string, port int, binaries localpg.Binaries, log io.Writer, all bool,
) (*Postgres, error) {
	config := localpg.Config{Dir: filepath.Join(dir, PostgresPart), Binaries: binaries, Port: port, Password: password}
	cluster, binaries, err := clusterIn(config)
	if err != nil {
		return nil, err
	}

	// The pipe is not one of package exec: after kill -9, orphaned backends hold it
	// open for a moment, and exec would wait for them before it says that the server
	// has ended.
	from, to, err := os.Pipe()
	if err != nil {
		return nil, exit.Unreachable(err, "cannot make a pipe")
	}
	s := &Postgres{Cluster: cluster, Binaries: binaries, log: &serverLog{to: log, all: all}, pipe: to}
	go func() { _, _ = io.Copy(s.log, from) }()
	return s, nil
}

// Where describes where the private server's database is, and why if that is not in
// DATA_DIR. It returns nothing for a database that it cannot find.
func Where(dataDir string) string {
	wanted := filepath.Join(dataDir, PostgresPart)
	dir, found, err := localpg.Locate(wanted)
	if err != nil || !found {
		return ""
	}
	if in, err := filepath.EvalSymlinks(wanted); err == nil {
		if in, err = filepath.Abs(in); err == nil && in == dir {
			return dir
		}
	}
	return dir + " (not in DATA_DIR, a parent of which is closed to the user that Postgres runs as)"
}

// clusterIn returns the cluster, and binaries that can serve it: those of the version
// that made it, whichever come first on PATH; for a cluster yet to be made, those of
// config.
func clusterIn(config localpg.Config) (*localpg.Cluster, localpg.Binaries, error) {
	cluster, err := localpg.New(config)
	if err != nil {
		return nil, config.Binaries, exit.Unreachable(err, "cannot prepare a Postgres in DATA_DIR")
	}

	made, err := cluster.Major()
	if err != nil {
		return nil, config.Binaries, exit.Unreachable(err, "cannot use the Postgres in DATA_DIR")
	}
	if made == 0 || made == config.Binaries.Major {
		return cluster, config.Binaries, nil
	}

	found := config.Binaries.Major
	if config.Binaries, err = localpg.FindMajor(made); err != nil {
		return nil, config.Binaries, exit.Unreachable(nil,
			"Postgres %d made the database in %s, and only that version can serve it, but only Postgres %d is "+
				"installed: install %[1]d too (Debian: apt-get install postgresql-%[1]d), then move with trust backup "+
				"and trust restore (docs/backup.md)", made, cluster.Dir, found)
	}
	if cluster, err = localpg.New(config); err != nil {
		return nil, config.Binaries, exit.Unreachable(err, "cannot prepare a Postgres in DATA_DIR")
	}
	return cluster, config.Binaries, nil
}

// Part returns the server as a part. SIGINT is Postgres's fast shutdown: it cuts sessions
// and loses nothing committed.
func (s *Postgres) Part(fail func(error)) Part {
	return Part{
		Name: PostgresPart, Stop: syscall.SIGINT, Grace: time.Minute,
		died: func() { s.ended(fail) },
		Command: func(ctx context.Context) *exec.Cmd {
			cmd := s.Cluster.Command(ctx)
			cmd.Stdout, cmd.Stderr = s.pipe, s.pipe
			return cmd
		},
	}
}

// ended counts that the server ended by itself. One that never worked will not work the
// next time either.
func (s *Postgres) ended(fail func(error)) {
	if n := s.ends.Add(1); n >= giveUpAfter && !s.ready.Load() {
		fail(exit.Unreachable(nil, "Postgres does not start; its last words: %s", s.log.lastLine()))
	}
}

// AwaitReady returns when the server lets clients in, or ctx ends.
func (s *Postgres) AwaitReady(ctx context.Context) error {
	if err := s.Cluster.WaitReady(ctx); err != nil {
		return err
	}
	s.ready.Store(true)
	return nil
}

// FreePort returns the wanted port if it is free, or becomes free within a moment (a
// predecessor may be ending), and another one otherwise.
func FreePort(ctx context.Context, wanted int) (int, error) {
	for deadline := time.Now().Add(5 * time.Second); wanted != 0 && time.Now().Before(deadline); {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(wanted)))
		if err == nil {
			return wanted, listener.Close()
		}
		if !retry.Wait(ctx, 100*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
	return localpg.FreePort()
}

// serverLog passes the server's log on with a mark before each line, and keeps the last
// line. It leaves routine lines out unless all are wanted: on a terminal they hide what
// matters.
type serverLog struct {
	to  io.Writer
	all bool

	mu   sync.Mutex
	rest []byte // of an incomplete line
	last string
}

// Write never fails: a supervisor whose standard error is gone must not stop the
// database.
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		l.rest = append([]byte{}, rest...)

		routine := isRoutine(line)
		if !routine || l.last == "" {
			l.last = string(line)
		}
		if l.all || !routine {
			_, _ = l.to.Write(append([]byte("postgres: "), append(line, '\n')...))
		}
	}
}

// isRoutine reports whether a line says nothing new: what the server does, and what it
// told its clients when it started or ended.
func isRoutine(line []byte) bool {
	for _, mark := range []string{" LOG:  ", " FATAL:  the database system is ", " FATAL:  terminating connection "} {
		if bytes.Contains(line, []byte(mark)) {
			return true
		}
	}
	return false
}

func (l *serverLog) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}
