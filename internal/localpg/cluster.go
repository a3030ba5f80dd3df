// Package localpg makes and runs a private Postgres cluster from the binaries installed
// on this machine, or from binaries that it fetches if there are none.
//
// Owns: one folder with a cluster (its data, and normally its socket), the server's
// settings, and the user it runs as; the folder of a fetched Postgres.
//
// Guarantees: the cluster is made completely or not at all. The superuser's password is
// never on a command line or in an environment. The server's own log holds no statement,
// parameter or row (personal data), whatever a client does. The server listens on
// 127.0.0.1 and on a socket that only its own user (and root) can open. Started with
// StartBound, it ends when the process that started it ends, for whatever reason. An
// installed Postgres wins over a fetched one. A fetched one is the archive whose checksum
// is in this program, is never fetched silently, and is there completely or not at all.
//
// Fails how: without Postgres >= 15, installed or fetched, one sentence says what to
// install. After kill -9 of the server, Postgres itself clears its stale lock file and
// recovers, but a restart can fail ("pre-existing shared memory block is still in use")
// until the last orphaned backend has noticed, normally within a second: callers that
// restart must retry.
//
// Not here: restarts and backoff (the supervisor), schemas (package migrations), where
// passwords are kept (the caller).
package localpg

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Config describes a cluster. Dir, Binaries, Port and Password are required.
type Config struct {
	// Dir is the cluster's folder. Another is used if the server's user cannot reach it;
	// see ChooseDir.
	Dir      string
	Binaries Binaries // from Find
	Port     int      // TCP port, and part of the socket's name; see FreePort
	Password string   // the superuser's; used to make the cluster, and in URLs
	User     string   // the superuser's name; empty: postgres

	// Settings of the server replace or extend the defaults of this package.
	Settings map[string]string
	// NoSync makes the cluster without fsync: for clusters that a crash may destroy.
	NoSync bool
}

// Cluster is a cluster on disk; it may not exist yet, and may or may not be running. Its
// methods are safe for concurrent use, but only one process may use one Dir.
type Cluster struct {
	Dir       string  // where it really is; holds data/, the data directory
	SocketDir string  // holds the socket .s.PGSQL.<port>; short enough for every system
	Port      int     // as configured
	User      string  // the superuser
	RunsAs    Account // the operating-system user of the server

	config Config
}

// New decides where the cluster lives and which user runs it. It may make empty parent
// folders, and nothing else.
func New(config Config) (*Cluster, error) {
	switch {
	case config.Dir == "":
		return nil, errors.New("local postgres: no folder given")
	case config.Binaries.Dir == "":
		return nil, errors.New("local postgres: no binaries given")
	case config.Port < 1 || config.Port > 65535:
		return nil, fmt.Errorf("local postgres: port %d is not between 1 and 65535", config.Port)
	case config.Password == "":
		return nil, errors.New("local postgres: no password given")
	}

	if config.User == "" {
		config.User = "postgres"
	}

	account, err := ServerAccount()
	if err != nil {
		return nil, fmt.Errorf("local postgres: %w", err)
	}
	dir, account, err := ChooseDir(config.Dir, account, fallbackBases()...)
	if err != nil {
		return nil, fmt.Errorf("local postgres: %w", err)
	}
	socketDir, err := chooseSocketDir(dir, account)
	if err != nil {
		return nil, fmt.Errorf("local postgres: %w", err)
	}

	return &Cluster{
		Dir: dir, SocketDir: socketDir, Port: config.Port, User: config.User, RunsAs: account, config: config,
	}, nil
}

// Exists reports whether the cluster has been made.
func (c *Cluster) Exists() bool { return holdsCluster(c.Dir) }

// Major returns the major version of Postgres that made the cluster, or 0 if it does not
// exist yet.
func (c *Cluster) Major() (int, error) {
	text, err := os.ReadFile(filepath.Join(c.dataDir(), "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("local postgres: %w", err)
	}

	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("local postgres: cannot read the version of the cluster in %s: %w", c.Dir, err)
	}
	return major, nil
}

// URL returns the superuser's connection string for a database over TCP. It contains the
// password.
func (c *Cluster) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(c.User, c.config.Password),
		Host: "127.0.0.1:" + strconv.Itoa(c.Port), Path: "/" + database,
		RawQuery: "sslmode=disable", // loopback; the private server has no certificate
	}
	return u.String()
}

func (c *Cluster) dataDir() string { return dataDir(c.Dir) }

func dataDir(dir string) string { return filepath.Join(dir, "data") }
