package main

import (
	"context"
	"crypto/rand"
	"io"
	"os"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
)

// settled is what a start of trust up begins with: a whole configuration, and the private server if there is to be one.
type settled struct {
	config *config
	server *privateServer
	given  bool // the first admin's password came from outside, and is not ours to show
}

// settle completes the configuration: what is set nowhere is made, and kept in DATA_DIR/env before it is used for the first time,
// so that a start that is killed half-way can be repeated.
func settle(ctx context.Context, p *program, log io.Writer) (settled, error) {
	c, err := p.config()
	if err != nil {
		return settled{}, err
	}
	s := settled{given: c.settings.get("ADMIN_PASSWORD") != "" && c.settings.kept("ADMIN_PASSWORD") == ""}
	made := missing(c.settings)
	if ownServer(c.settings) {
		address, err := s.settleServer(ctx, c, log)
		if err != nil {
			return settled{}, err
		}
		if address != c.settings.kept("DATABASE_URL") {
			made = append(made, pair{"DATABASE_URL", address})
		}
	}
	if len(made) > 0 {
		if err := keepInEnvFile(c.envFile(), made...); err != nil {
			return settled{}, exit.Unreachable(err, "cannot keep what was made")
		}
	}
	if p.settings, err = readSettings(p.settings.given[fromFlag], os.Environ()); err != nil {
		return settled{}, err
	}
	if s.config, err = p.config(); err != nil {
		return settled{}, err
	}
	for _, address := range []func() (string, error){s.config.needOwner, s.config.needAPI, s.config.needProjector} {
		if _, err := address(); err != nil {
			return settled{}, err
		}
	}
	return s, s.config.need(secrets{secret: true, master: true})
}

// missing makes the secrets that are set nowhere, and keeps the first admin's address beside the password.
func missing(s settings) []pair {
	var made []pair
	for _, name := range []string{"SECRET_KEY", "MASTER_KEY"} {
		if s.get(name) == "" {
			made = append(made, pair{name, rand.Text() + rand.Text()}) // 260 random bits that need no quoting
		}
	}
	if s.kept("ADMIN_EMAIL") == "" {
		made = append(made, pair{"ADMIN_EMAIL", s.get("ADMIN_EMAIL")})
	}
	if s.get("ADMIN_PASSWORD") == "" {
		made = append(made, pair{"ADMIN_PASSWORD", rand.Text()})
	}
	return made
}

// ownServer tells whether the database is ours: no address is given, or only the one that we keep.
func ownServer(s settings) bool {
	address, from := s.find("DATABASE_URL")
	return from == fromDataDir || from == fromDefault || address == s.kept("DATABASE_URL")
}

// settleServer finds Postgres and gives the address of the private server, the one before as far as possible.
func (s *settled) settleServer(ctx context.Context, c *config, log io.Writer) (address string, err error) {
	if c.production && (c.apiURL == "" || c.projectorURL == "") {
		_, err := c.needAPI()
		if err == nil {
			_, err = c.needProjector()
		}
		return "", err
	}
	port, password := 0, rand.Text()
	kept := c.settings.kept("DATABASE_URL")
	if kept != "" {
		if port, password, err = accessOf(kept); err != nil {
			return "", err
		}
	}
	if port, err = freePort(ctx, port); err != nil {
		return "", err
	}
	//nolint:contextcheck // asking a binary for its version takes milliseconds and has a limit of its own
	if s.server, err = newPrivateServer(c.dataDir, password, port, log, c.debug); err != nil {
		return "", err
	}
	if s.server.cluster.Exists() {
		for _, name := range []string{"DATABASE_URL", "MASTER_KEY"} {
			if c.settings.get(name) == "" {
				return "", exit.WrongUsage("there is a database in %s but no %s; restore %s from a copy, or move the database away to begin anew",
					s.server.cluster.Dir, name, c.envFile())
			}
		}
	}
	return s.server.cluster.URL(databaseName), nil
}
