package main

import (
	"net/url"
	"slices"
	"strings"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
)

// The database roles that processes switch to; see ARCHITECTURE.md, database roles.
const (
	roleOwner     = "trust_owner" // for one command: trust keys rotate
	roleQuery     = "trust_query"
	roleProjector = "trust_projector"
)

// secrets are the keys a command cannot do without.
type secrets struct{ secret, master, newMaster bool }

// need refuses keys that are missing.
func (c *config) need(s secrets) error {
	for _, key := range []struct {
		name, value string
		needed      bool
	}{{"SECRET_KEY", c.secretKey, s.secret}, {"MASTER_KEY", c.masterKey, s.master}} {
		if key.needed && key.value == "" {
			return exit.WrongUsage("%s is not set; set it to at least %d random characters, or run trust up, which makes one", key.name, minKey)
		}
	}
	if s.newMaster && c.newMasterKey == "" {
		return exit.WrongUsage("NEW_MASTER_KEY is not set; set it to the key to change to, of at least %d random characters", minKey)
	}
	return nil
}

// needOwner gives the owner's address.
func (c *config) needOwner() (string, error) {
	if c.databaseURL == "" {
		return "", exit.WrongUsage("DATABASE_URL is not set; set it, or run trust up, which runs its own Postgres")
	}
	return withRole(c.databaseURL, "")
}

// needSchemaOwner gives the address under which one works as the owner of the tables, and as nothing more.
func (c *config) needSchemaOwner() (string, error) {
	if _, err := c.needOwner(); err != nil {
		return "", err
	}
	return withRole(c.databaseURL, roleOwner)
}

// needAPI gives the address under which the API, import and administration work.
func (c *config) needAPI() (string, error) { return c.roleURL("DATABASE_URL_API", c.apiURL, roleQuery) }

// needProjector gives the address under which projectors and checks work.
func (c *config) needProjector() (string, error) {
	return c.roleURL("DATABASE_URL_PROJECTOR", c.projectorURL, roleProjector)
}

func (c *config) roleURL(name, given, role string) (string, error) {
	switch {
	case given != "":
		return withRole(given, "")
	case c.production:
		return "", exit.WrongUsage("%s is not set; production does not derive it from the owner's DATABASE_URL: set it to a login that is in %s only", name, role)
	case c.databaseURL == "":
		return "", exit.WrongUsage("neither %s nor DATABASE_URL is set; set one, or run trust up, which runs its own Postgres", name)
	default:
		return withRole(c.databaseURL, role)
	}
}

// parseDatabaseURL checks the form; an empty address is fine. The address is never repeated, because it may hold a password.
func parseDatabaseURL(name, address string) (*url.URL, error) {
	if address == "" {
		return nil, nil
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, exit.WrongUsage("%s is not of the form postgres://user:password@host:port/database; correct it", name)
	}
	return u, nil
}

// withRole makes sessions start with an empty search path and, unless role is empty, switched to a role. Both are start-up options,
// so that they also survive "reset all".
func withRole(address, role string) (string, error) {
	u, err := parseDatabaseURL("DATABASE_URL", address)
	if err != nil {
		return "", err
	}
	query := u.Query()
	options := strings.TrimSpace(query.Get("options") + " -c search_path=")
	if role != "" {
		options += " -c role=" + role
	}
	query.Set("options", options)
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // libpq does not read + as a blank
	return u.String(), nil
}

// place names a database without user and password.
func place(address string) string {
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

// checkOrigin accepts https://host[:port], and http for the own machine except in production.
func checkOrigin(origin string, production bool) error {
	if strings.Contains(origin, "*") {
		return exit.WrongUsage("ALLOWED_ORIGINS holds *; name every origin instead")
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.Path != "" ||
		u.RawQuery != "" || u.Fragment != "" {
		return exit.WrongUsage("an entry of ALLOWED_ORIGINS is not of the form https://host or https://host:port; correct it")
	}
	local := slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
	switch {
	case u.Scheme == "https" || local && !production:
		return nil
	case production:
		return exit.WrongUsage("an entry of ALLOWED_ORIGINS is not https; production takes no other (the default is http://localhost:3000)")
	default:
		return exit.WrongUsage("an entry of ALLOWED_ORIGINS is not https; plain http is for localhost only")
	}
}
