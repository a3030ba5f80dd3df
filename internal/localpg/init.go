package localpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/salga-trust/engine/internal/owned"
)

// Init makes the cluster unless it exists. An existing one keeps its password, whatever
// the configuration says. The data directory appears under its name only once it is
// complete, so a killed Init is simply run again.
func (c *Cluster) Init(ctx context.Context) error {
	if c.Exists() {
		return nil
	}
	if err := c.prepareDir(); err != nil {
		return fmt.Errorf("local postgres: %w", err)
	}

	fresh := c.freshDir()
	var failed error

	// With C.UTF-8, lower() knows more letters than those of ASCII; not every system has
	// it. Either way, order is by bytes: it is fast, and an update of the C library
	// cannot change it and silently break indexes.
	for _, ctype := range []string{"C.UTF-8", "C"} {
		if failed = c.initdb(ctx, fresh, ctype); failed == nil {
			break
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("local postgres: initdb: %w", err)
		}
	}

	if failed != nil {
		return fmt.Errorf("local postgres: %w", failed)
	}
	if err := os.Rename(fresh, c.dataDir()); err != nil {
		return fmt.Errorf("local postgres: %w", err)
	}
	return nil
}

// freshDir is where the data directory is built.
func (c *Cluster) freshDir() string { return c.dataDir() + ".new" }

func (c *Cluster) passwordFile() string { return filepath.Join(c.Dir, "password.new") }

// prepareDir makes the cluster's folder and gives it to the server's user. It never takes
// over a folder with other things in it, or one that another user could have put there.
func (c *Cluster) prepareDir() (err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}

	folder, err := owned.OpenFolder(c.Dir, c.RunsAs.UID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()

	entries, err := folder.ReadDir(-1)
	if err != nil {
		return err
	}

	// A killed Init leaves these.
	ours := []string{filepath.Base(c.freshDir()), filepath.Base(c.passwordFile())}
	for _, entry := range entries {
		if !slices.Contains(ours, entry.Name()) {
			return fmt.Errorf("%s is not empty (%s) and holds no cluster", c.Dir, entry.Name())
		}
	}

	if err := folder.Chmod(0o700); err != nil {
		return err
	}
	return c.RunsAs.give(folder)
}

// initdb makes a cluster in dir, which it clears first.
func (c *Cluster) initdb(ctx context.Context, dir, ctype string) (err error) {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := c.writePassword(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(c.passwordFile())) }()

	args := []string{
		"--pgdata", dir, "--username", c.User, "--pwfile", c.passwordFile(), "--auth", "scram-sha-256",
		"--encoding", "UTF8", "--locale", "C", "--lc-ctype", ctype, "--data-checksums",
	}
	if c.config.NoSync {
		args = append(args, "--no-sync")
	}

	cmd := c.command(ctx, "initdb", args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said

	// Bound, because an initdb that outlived a killed supervisor would clean up what the
	// next one makes.
	err = StartBound(cmd, syscall.SIGKILL)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// writePassword passes the password to initdb in a file that only the server's user can
// read: others can see arguments and environments.
func (c *Cluster) writePassword() error {
	if err := os.RemoveAll(c.passwordFile()); err != nil {
		return err
	}

	file, err := os.OpenFile(c.passwordFile(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(c.config.Password + "\n")
	return errors.Join(err, c.RunsAs.give(file), file.Close())
}

// command prepares one of Postgres's programs to run as the server's user. It gets none
// of our environment, which holds master keys and database passwords, and no PG* variable
// that would change what it does.
func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.config.Binaries.path(name), args...)
	cmd.Env = []string{"PATH=" + c.config.Binaries.Dir + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.Dir = c.Dir // our own working directory may be closed to that user
	cmd.WaitDelay = time.Minute
	c.RunsAs.apply(cmd)
	return cmd
}
