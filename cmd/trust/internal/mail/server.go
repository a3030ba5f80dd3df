package mail

import (
	"errors"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"strings"
)

// Server is where letters are handed over, and under which name.
type Server struct {
	host, port     string
	tlsFirst       bool // smtps: TLS from the first byte
	user, password string
	from           mail.Address
}

// Parse reads an address such as smtps://user:password@mail.example.org, and the sender
// that letters name. The ports default to 465 for smtps and 587 for smtp. No error repeats
// what was given, because it may hold a password.
func Parse(address, from string) (*Server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.Opaque != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" ||
		u.Fragment != "" {
		return nil, errors.New("is not of the form smtp://user:password@host:port or smtps://…")
	}

	s := &Server{host: u.Hostname(), port: u.Port()}
	switch u.Scheme {
	case "smtp":
		s.port = orDefault(s.port, "587")
	case "smtps":
		s.tlsFirst, s.port = true, orDefault(s.port, "465")
	default:
		return nil, errors.New("does not start with smtp:// or smtps://")
	}

	s.user = u.User.Username()
	s.password, _ = u.User.Password()
	if (s.user == "") != (s.password == "") {
		return nil, errors.New("has a user or a password, but not both")
	}

	sender, err := mail.ParseAddress(from)
	if err != nil || hasControl(sender.Name) || hasControl(sender.Address) {
		return nil, errSender
	}
	s.from = *sender
	return s, nil
}

// errSender says that the sender is wrong, not the address of the server.
var errSender = errors.New("the sender is not an e-mail address")

// IsAboutSender reports whether an error of Parse is about the sender.
func IsAboutSender(err error) bool { return errors.Is(err, errSender) }

func orDefault(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

func (s *Server) address() string { return net.JoinHostPort(s.host, s.port) }

// local reports whether the server is on this machine, so that nobody can listen in
// between.
func (s *Server) local() bool {
	ip, err := netip.ParseAddr(s.host)
	return s.host == "localhost" || err == nil && ip.IsLoopback()
}
