package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/salga-trust/engine/internal/localpg"
)

// server is the Postgres of all contenders, each of which has databases of its own there.
type server struct {
	address *url.URL // of the superuser's database postgres
	stop    func()
}

// startServer runs a Postgres with the settings that trust up gives its own, and so with
// fsync on.
func startServer(ctx context.Context, scratch string) (*server, error) {
	binaries, err := localpg.FindOrFetch(ctx, os.Getenv("POSTGRES_ARCHIVE"), os.Stderr)
	if err != nil {
		return nil, err
	}
	port, err := localpg.FreePort()
	if err != nil {
		return nil, err
	}

	cluster, err := localpg.New(localpg.Config{
		Dir: filepath.Join(scratch, "pg"), Binaries: binaries, Port: port, Password: rand.Text(),
		Settings: map[string]string{"max_connections": "400"},
	})
	if err != nil {
		return nil, err
	}
	if err := cluster.Init(ctx); err != nil {
		return nil, err
	}

	cmd := cluster.Command(context.WithoutCancel(ctx))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := localpg.StartBound(cmd, syscall.SIGINT); err != nil {
		return nil, err
	}
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // fails only when it has ended already
		_ = cmd.Wait()
		// Both are inside the scratch folder, unless the server's user cannot use that.
		_ = os.RemoveAll(cluster.Dir)
		_ = os.RemoveAll(cluster.SocketDir)
	}

	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := cluster.WaitReady(starting); err != nil {
		stop()
		return nil, fmt.Errorf("%w: %s", err, said.Bytes())
	}
	address, err := url.Parse(cluster.URL("postgres"))
	return &server{address: address, stop: stop}, err
}

// url returns the superuser's address of a database, switched to a role, if one is named.
func (s *server) url(database, role string) string {
	u := *s.address
	u.Path = "/" + database
	if role != "" {
		query := u.Query()
		query.Set("options", "-c role="+role)
		u.RawQuery = query.Encode()
		// libpq does not read + as a space.
		u.RawQuery = string(bytes.ReplaceAll([]byte(u.RawQuery), []byte("+"), []byte("%20")))
	}
	return u.String()
}

// create makes a database, and replaces one that an earlier run left.
func (s *server) create(ctx context.Context, database, template string) error {
	name, from := pgx.Identifier{database}.Sanitize(), pgx.Identifier{template}.Sanitize()
	return s.exec(ctx, "postgres", "drop database if exists "+name+" with (force)",
		"create database "+name+" template "+from)
}

// exec runs statements one by one, because some refuse to be part of a transaction.
func (s *server) exec(ctx context.Context, database string, statements ...string) (err error) {
	conn, err := pgx.Connect(ctx, s.url(database, ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()

	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%.60s: %w", sql, err)
		}
	}
	return nil
}

// count returns the one number that a query returns.
func (s *server) count(ctx context.Context, database, sql string) (n int64, err error) {
	conn, err := pgx.Connect(ctx, s.url(database, ""))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()

	err = conn.QueryRow(ctx, sql).Scan(&n)
	return n, err
}

// setting returns one of the server's settings, as the server itself reports it.
func (s *server) setting(ctx context.Context, name string) (value string, err error) {
	conn, err := pgx.Connect(ctx, s.url("postgres", ""))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()

	err = conn.QueryRow(ctx, "select current_setting($1)", name).Scan(&value)
	return value, err
}

// pool opens all connections of a pool beforehand, so that no run pays for dialling.
func (s *server) pool(ctx context.Context, database, role string, connections int) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(s.url(database, role))
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = int32(connections), int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}

	held := make([]*pgxpool.Conn, connections)
	for i := range held {
		if held[i], err = pool.Acquire(ctx); err != nil {
			break
		}
	}
	for _, conn := range held {
		if conn != nil {
			conn.Release()
		}
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// child starts a program that ends with this one, and returns a function that stops it.
// Its output goes to log.
func child(cmd *exec.Cmd, log *os.File) (stop func(), err error) {
	cmd.Stdout, cmd.Stderr = log, log
	if err := localpg.StartBound(cmd, syscall.SIGTERM); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended already
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		_ = cmd.Wait()
	}, nil
}
