package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"net/url"
	"os"
	"strconv"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/cmd/trust/internal/supervise"
	"github.com/salga-trust/engine/proof"
)

// databaseName is the database in the private server.
const databaseName = "trust"

// settled is what a start of trust up begins with: a whole configuration, and the private
// server if there is to be one.
type settled struct {
	config *settings.Config
	server *supervise.Postgres
	given  bool // the first admin's password came from outside, so it is not shown
}

// settle completes the configuration: settings found nowhere are made, and kept in
// DATA_DIR/env before their first use, so that a start that is killed half-way can be
// repeated.
func settle(ctx context.Context, p *program, log io.Writer) (settled, error) {
	c, err := settings.Check(p.settings)
	if err != nil {
		return settled{}, err
	}

	s := settled{given: c.Settings.Get("ADMIN_PASSWORD") != "" && c.Settings.Kept("ADMIN_PASSWORD") == ""}

	made := missing(c.Settings)
	if c.Settings.OwnServer() {
		address, err := s.settleServer(ctx, c, log)
		if err != nil {
			return settled{}, err
		}
		if address != c.Settings.Kept("DATABASE_URL") {
			made = append(made, settings.Pair{Name: "DATABASE_URL", Value: address})
		}
	}

	if len(made) > 0 {
		if err := settings.Keep(c.EnvFile(), made...); err != nil {
			return settled{}, exit.Unreachable(err, "cannot keep the settings that were made")
		}
	}

	if p.settings, err = p.settings.Again(os.Environ()); err != nil {
		return settled{}, err
	}
	if s.config, err = settings.Check(p.settings); err != nil {
		return settled{}, err
	}

	for _, address := range []func() (string, error){s.config.NeedOwner, s.config.NeedAPI, s.config.NeedProjector} {
		if _, err := address(); err != nil {
			return settled{}, err
		}
	}
	return s, s.config.Need(settings.Secrets{Secret: true, Master: true})
}

// missing makes the secrets that are set nowhere, and keeps the first admin's e-mail
// address beside them.
func missing(s settings.Settings) []settings.Pair {
	var made []settings.Pair
	for _, name := range []string{"SECRET_KEY", "MASTER_KEY"} {
		if s.Get(name) == "" && (name != "MASTER_KEY" || !s.HasMasterKey()) {
			// 260 random bits that need no quoting
			made = append(made, settings.Pair{Name: name, Value: rand.Text() + rand.Text()})
		}
	}
	if s.Get("LOG_SIGNING_KEY") == "" {
		made = append(made, settings.Pair{Name: "LOG_SIGNING_KEY", Value: settings.FormatSigningKey(newSeeds())})
	}
	if s.Kept("ADMIN_EMAIL") == "" {
		made = append(made, settings.Pair{Name: "ADMIN_EMAIL", Value: s.Get("ADMIN_EMAIL")})
	}
	return made
}

// newSeeds makes the seeds of the keys that sign checkpoints.
func newSeeds() (seeds proof.Seeds) {
	_, _ = rand.Read(seeds.Ed25519[:]) // never fails: crypto/rand
	_, _ = rand.Read(seeds.MLDSA44[:])
	return seeds
}

// settleServer finds Postgres and returns the address of the private server, the same as
// last time if possible.
func (s *settled) settleServer(ctx context.Context, c *settings.Config, log io.Writer) (address string, err error) {
	if c.Production { // in which no address is derived from the owner's
		_, api := c.NeedAPI()
		_, projector := c.NeedProjector()
		if err := cmp.Or(api, projector); err != nil {
			return "", err
		}
	}

	port, password := 0, rand.Text()
	kept := c.Settings.Kept("DATABASE_URL")
	if kept != "" {
		if port, password, err = accessOf(kept); err != nil {
			return "", err
		}
	}
	if port, err = supervise.FreePort(ctx, port); err != nil {
		return "", err
	}

	binaries, err := supervise.FindPostgres(ctx, c.Settings.Get("POSTGRES_ARCHIVE"), log)
	if err != nil {
		return "", err
	}
	//nolint:contextcheck // asking a binary for its version takes milliseconds and has a limit of its own
	if s.server, err = supervise.NewPostgres(c.DataDir, password, port, binaries, log, c.Debug); err != nil {
		return "", err
	}

	if s.server.Cluster.Exists() {
		for _, name := range []string{"DATABASE_URL", "MASTER_KEY"} {
			if c.Settings.Get(name) == "" && (name != "MASTER_KEY" || !c.Settings.HasMasterKey()) {
				return "", exit.WrongUsage("there is a database in %s but no %s; restore %s from a copy, or move "+
					"the database away to begin anew", s.server.Cluster.Dir, name, c.EnvFile())
			}
		}
	}
	return s.server.Cluster.URL(databaseName), nil
}

// accessOf reads port and password out of the address that trust up keeps.
func accessOf(address string) (port int, password string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return 0, "", exit.WrongUsage("DATABASE_URL in the file env in DATA_DIR is not the one that trust up " +
			"made; restore that file from a copy")
	}

	port, err = strconv.Atoi(u.Port())
	if err != nil {
		return 0, "", exit.WrongUsage("DATABASE_URL in the file env in DATA_DIR has no port; " +
			"restore that file from a copy")
	}
	password, _ = u.User.Password()
	return port, password, nil
}
