package webhooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/salga-trust/engine/domain"
)

// Network knows which addresses may be called: over https those of the public internet
// and those that were allowed, over http those that were allowed. Whoever may register a
// webhook could otherwise have this system call whatever it reaches.
type Network struct {
	allowed []netip.Prefix
	public  *ssrf.Guardian
	lookup  func(ctx context.Context, host string) ([]netip.Addr, error)

	secure, plain *http.Client
}

// NewNetwork returns one that also allows some networks, which may be private. roots are
// the authorities that recipients' certificates are checked with; nil: the system's.
func NewNetwork(allowed []netip.Prefix, roots *x509.CertPool) *Network {
	n := &Network{allowed: allowed, lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}

	var v4, v6 []netip.Prefix
	for _, p := range allowed {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	n.public = ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))

	n.secure, n.plain = client("https", n.permits, roots), client("http", n.permits, roots)
	return n
}

// permits reports whether an address may be called over a scheme.
func (n *Network) permits(scheme string, address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	if scheme == "http" {
		return slices.ContainsFunc(n.allowed, func(p netip.Prefix) bool { return p.Contains(address) })
	}
	return n.public.SafeAddr(address) == nil
}

// errRefused says that an address may not be called.
var errRefused = errors.New("this address may not be called")

const (
	// lookupPatience bounds how long a name may take to look up.
	lookupPatience = 3 * time.Second
	// maxURL is the longest address in bytes.
	maxURL = 2048
)

// Check refuses an address that must not be called: one that is malformed, that has a
// part without a meaning here, or whose host has an address that is not permitted. Error:
// validation_failed.
func (n *Network) Check(ctx context.Context, raw string) error {
	var f domain.Faults
	target, why := parse(raw)
	if why != "" {
		f.Add("url", "invalid", why)
		return f.Err()
	}

	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
	defer cancel()
	found, err := n.lookup(ctx, target.Hostname())
	if err != nil || len(found) == 0 {
		f.Add("url", "unknown_host", "The host of this address is not found.")
		return f.Err()
	}

	for _, address := range found {
		if !n.permits(target.Scheme, address) {
			f.Add("url", "not_allowed", "Give an https address on the public internet. Others, and http, need "+
				"their network in WEBHOOK_ALLOW_PRIVATE, which the operator sets.")
			return f.Err()
		}
	}
	return nil
}

// parse returns a well-formed address, or why it is none.
func parse(raw string) (target *url.URL, why string) {
	if len(raw) > maxURL {
		return nil, "This address is longer than 2048 bytes."
	}
	target, err := url.Parse(raw)
	switch {
	case err != nil || target.Hostname() == "" || target.Opaque != "":
		return nil, "This is not an address such as https://example.org/consents."
	case target.Scheme != "https" && target.Scheme != "http":
		return nil, "The address must begin with https://."
	case target.User != nil:
		return nil, "The address must hold no user and password: deliveries are signed instead."
	case target.Fragment != "":
		return nil, "The address must not have a part after #."
	}

	if port := target.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return nil, "The port of the address is not a number from 1 to 65535."
		}
	}
	return target, ""
}

const (
	// patience bounds a try as a whole, from the look-up of the name to the last byte of
	// the answer.
	patience = 10 * time.Second
	// answerAtMost is how much of an answer is read, only so that its connection can be
	// used again.
	answerAtMost = 4 << 10
	// headersAtMost bounds the headers of an answer.
	headersAtMost = 16 << 10
)

// client calls recipients over one scheme. It judges the address that is really dialled,
// because a name may lead elsewhere than when it was checked; it asks no proxy, which
// would dial past that, and follows no redirect.
func client(scheme string, permits func(string, netip.Addr) bool, roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{
		Timeout: patience,
		Control: func(_, address string, _ syscall.RawConn) error {
			if to, err := netip.ParseAddrPort(address); err != nil || !permits(scheme, to.Addr()) {
				return errRefused
			}
			return nil
		},
	}

	return &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableCompression: true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			MaxResponseHeaderBytes: headersAtMost, MaxIdleConnsPerHost: perWebhook, MaxIdleConns: 4 * atOnce,
			IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// over returns the client for an address.
func (n *Network) over(target *url.URL) *http.Client {
	if target.Scheme == "http" {
		return n.plain
	}
	return n.secure
}
