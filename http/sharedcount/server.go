package sharedcount

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// patience is how long a request waits for Redis. In one network it answers within a
// millisecond, and a new connection with TLS takes some ten.
const patience = 100 * time.Millisecond

// Server is where Redis is, and how to sign in there.
type Server struct{ options *redis.Options }

// Parse reads an address such as rediss://user:password@host:6379/0. No error repeats
// what was given, because it may hold a password.
func Parse(address string) (*Server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || u.Fragment != "" {
		return nil, errors.New("is not of the form redis://user:password@host:port/database or rediss://…")
	}
	if u.Scheme != "redis" && u.Scheme != "rediss" {
		return nil, errors.New("does not start with redis:// or rediss://")
	}
	if u.RawQuery != "" { // which could switch off what is set below, or the check of a certificate
		return nil, errors.New("has parameters after a question mark, which are not taken")
	}

	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, errors.New("is not of the form redis://user:password@host:port/database or rediss://…")
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = patience, patience, patience
	options.PoolTimeout, options.ContextTimeoutEnabled = patience, true
	options.MaxRetries, options.DialerRetries = -1, 1

	// What other servers of this protocol may not know.
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &Server{options}, nil
}

// Private reports whether nobody on a network can read or change what is said: by TLS, or
// because the server is on this machine.
func (s *Server) Private() bool {
	host, _, _ := net.SplitHostPort(s.options.Addr)
	ip, err := netip.ParseAddr(host)
	return s.options.TLSConfig != nil || host == "localhost" || err == nil && ip.IsLoopback()
}
