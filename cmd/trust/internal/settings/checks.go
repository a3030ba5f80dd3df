package settings

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/joho/godotenv"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
)

// The database roles that processes switch to; see ARCHITECTURE.md, database roles.
const (
	roleOwner     = "trust_owner" // for commands that work on the owner's tables
	roleQuery     = "trust_query"
	roleProjector = "trust_projector"
)

// Secrets names the keys that a command cannot do without.
type Secrets struct{ Secret, Master, NewMaster, Signing bool }

// Need refuses keys that are missing.
func (c *Config) Need(s Secrets) error {
	for _, key := range []struct {
		name, value string
		needed      bool
	}{{"SECRET_KEY", c.SecretKey, s.Secret}, {"MASTER_KEY", c.MasterKey, s.Master}} {
		wrapped := key.name == "MASTER_KEY" && c.Wrapped.File != ""
		if key.needed && key.value == "" && !wrapped {
			return exit.WrongUsage("%s is not set; set it to at least %d random characters, or run trust up, "+
				"which makes one", key.name, minKey)
		}
	}

	if s.Signing && c.LogSeeds == nil {
		return exit.WrongUsage("LOG_SIGNING_KEY is not set; set it to two times 64 random hexadecimal digits with a " +
			"point between, or run trust up, which makes one")
	}
	if s.NewMaster && c.NewMasterKey == "" {
		return exit.WrongUsage(
			"NEW_MASTER_KEY is not set; set it to the key to change to, of at least %d random characters", minKey)
	}
	return nil
}

// NeedOwner returns the owner's address.
func (c *Config) NeedOwner() (string, error) {
	if c.DatabaseURL == "" {
		return "", exit.WrongUsage("DATABASE_URL is not set; set it, or run trust up, which runs its own Postgres")
	}
	return withRole(c.DatabaseURL, "")
}

// NeedSchemaOwner returns the address for work as the owner of the tables, with no other
// rights.
func (c *Config) NeedSchemaOwner() (string, error) {
	if _, err := c.NeedOwner(); err != nil {
		return "", err
	}
	return withRole(c.DatabaseURL, roleOwner)
}

// KeepsMasterKey reports whether the master key comes from the file env in DATA_DIR.
func (c *Config) KeepsMasterKey() bool {
	_, from := c.Settings.find("MASTER_KEY")
	return from == fromDataDir
}

// NeedRotation refuses master keys that cannot be changed from or to, and returns the
// address for the change.
func (c *Config) NeedRotation() (string, error) {
	if err := c.Need(Secrets{Master: true, NewMaster: true}); err != nil {
		return "", err
	}
	if c.KeepsMasterKey() {
		if kept := c.Settings.Kept("NEW_MASTER_KEY"); kept != "" && kept != c.NewMasterKey {
			return "", exit.WrongUsage("a change to another NEW_MASTER_KEY was begun, which %s keeps; unset this "+
				"one and finish that change first", c.EnvFile())
		}

		if read, err := godotenv.Unmarshal("K=" + c.NewMasterKey); err != nil || len(read) != 1 ||
			read["K"] != c.NewMasterKey {
			return "", exit.WrongUsage("NEW_MASTER_KEY has characters that %s cannot hold; use only letters and digits",
				c.EnvFile())
		}
	} else if c.NewMasterKey == c.MasterKey {
		return "", exit.WrongUsage("MASTER_KEY and NEW_MASTER_KEY are the same; give the key to change to as " +
			"NEW_MASTER_KEY")
	}
	return c.NeedSchemaOwner()
}

// KeepsSigningKey reports whether LOG_SIGNING_KEY comes from the file env in DATA_DIR.
func (c *Config) KeepsSigningKey() bool {
	_, from := c.Settings.find("LOG_SIGNING_KEY")
	return from == fromDataDir
}

// NeedAPI returns the address for the API, imports and administration.
func (c *Config) NeedAPI() (string, error) { return c.roleURL("DATABASE_URL_API", c.apiURL, roleQuery) }

// NeedProjector returns the address for projectors and checks.
func (c *Config) NeedProjector() (string, error) {
	return c.roleURL("DATABASE_URL_PROJECTOR", c.projectorURL, roleProjector)
}

func (c *Config) roleURL(name, given, role string) (string, error) {
	switch {
	case given != "":
		return withRole(given, "")
	case c.Production:
		return "", exit.WrongUsage("%s is not set, and is not derived from the owner's DATABASE_URL in production; "+
			"set it to a login that is in %s only", name, role)
	case c.DatabaseURL == "":
		return "", exit.WrongUsage("neither %s nor DATABASE_URL is set; set one, or run trust up, which runs its "+
			"own Postgres", name)
	default:
		return withRole(c.DatabaseURL, role)
	}
}

// parseDatabaseURL checks the form of an address, which may be empty. No error repeats
// the address, because it may hold a password.
func parseDatabaseURL(name, address string) (*url.URL, error) {
	if address == "" {
		return nil, nil
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, exit.WrongUsage("%s is not of the form postgres://user:password@host:port/database; correct it",
			name)
	}
	return u, nil
}

// isPrivate reports whether nobody on a network can read the connection: it uses TLS, a
// socket or a loopback address, for each server that the address names and each way to
// connect that it leaves open. It asks pgx, which also reads PGSSLMODE and the like. An
// empty address is private.
func isPrivate(address string) bool {
	if address == "" {
		return true
	}
	config, err := pgconn.ParseConfig(address)
	if err != nil {
		return false
	}

	ways := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}},
		config.Fallbacks...)
	return !slices.ContainsFunc(ways, func(way *pgconn.FallbackConfig) bool {
		network, _ := pgconn.NetworkAddress(way.Host, way.Port)
		ip := net.ParseIP(way.Host)
		return way.TLSConfig == nil && network != "unix" && way.Host != "localhost" && !ip.IsLoopback()
	})
}

// withRole makes the sessions of an address switch to a role, unless it is empty. It is
// a setting of its own, because poolers refuse options.
func withRole(address, role string) (string, error) {
	u, err := parseDatabaseURL("DATABASE_URL", address)
	if err != nil {
		return "", err
	}

	query := u.Query()
	if role != "" {
		query.Set("role", role)
	}
	// libpq does not read + as a space.
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String(), nil
}

// HostAndName names a database without user and password.
func HostAndName(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the database"
	}
	host := u.Host
	if host == "" {
		host = u.Query().Get("host")
	}
	return host + u.Path
}

// checkOrigin accepts https://host[:port], and http for this machine except in
// production.
func checkOrigin(origin string, production bool) error {
	if strings.Contains(origin, "*") {
		return exit.WrongUsage("ALLOWED_ORIGINS holds *; name every origin instead")
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.Path != "" ||
		u.RawQuery != "" || u.Fragment != "" {
		return exit.WrongUsage(
			"an entry of ALLOWED_ORIGINS is not of the form https://host or https://host:port; correct it")
	}

	local := slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
	switch {
	case u.Scheme == "https" || local && !production:
		return nil
	case production:
		return exit.WrongUsage("an entry of ALLOWED_ORIGINS is not https; production accepts nothing else " +
			"(the default is http://localhost:3000)")
	default:
		return exit.WrongUsage("an entry of ALLOWED_ORIGINS is not https; plain http is for localhost only")
	}
}
