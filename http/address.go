package http

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/salga-trust/engine/domain"
)

// clientAddress returns the address that a request comes from: the peer or, if the peer
// is a trusted proxy, the address that the proxy forwards for. It returns the zero
// address if that cannot be read.
//
// chi's middleware.ClientIPFromXFF cannot read a hop with a port, skips empty hops, and
// returns nothing for a request that a trusted network makes itself.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := plain(peer.Addr())

	// Each proxy appends the address that spoke to it, so the list is true from its end
	// up to the first address that is not one of our proxies. If a hop cannot be read,
	// there is no address: the hops before it may be forged, and the proxy's own address
	// would be wrong, and shared by everybody behind it.
	forwarded := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	if strings.TrimSpace(forwarded) == "" {
		return address // the proxy's own request
	}

	for _, text := range slices.Backward(strings.Split(forwarded, ",")) {
		if !contains(trusted, address) {
			break
		}
		hop, readable := parseHop(text)
		if !readable {
			return netip.Addr{}
		}
		address = hop
	}
	return address
}

// parseHop reads one entry of X-Forwarded-For: an address with or without a port, IPv6
// with or without brackets, all of it in quotes or not (as RFC 7239 quotes an address
// with a port).
func parseHop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if inner, quoted := between(text, `"`, `"`); quoted {
		text = inner
	}

	if hop, err := netip.ParseAddrPort(text); err == nil {
		return plain(hop.Addr()), true
	}

	inner, bracketed := between(text, "[", "]")
	if bracketed {
		text = inner
	}
	hop, err := netip.ParseAddr(text)
	if err != nil || (bracketed && !hop.Is6()) {
		return netip.Addr{}, false
	}
	return plain(hop), true
}

// between returns the text without its opening and closing parts, if it has both.
func between(text, opening, closing string) (string, bool) {
	inner, opened := strings.CutPrefix(text, opening)
	inner, closed := strings.CutSuffix(inner, closing)
	return inner, opened && closed
}

// plain returns the canonical form of an address: IPv4 rather than IPv4 in IPv6, and no
// zone. Otherwise a trusted address might lie in no trusted prefix.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addressKey returns the key that rate limits count by: an IPv4 address, or an IPv6 /64,
// which every customer has at least (RFC 6177).
func addressKey(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown" // these share one limit
	}
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// origin returns what an append keeps about where a request came from.
func origin(r *http.Request, address netip.Addr) domain.Origin {
	o := domain.Origin{UserAgent: userAgent(r.UserAgent())}
	if address.IsValid() {
		o.IP = address.String()
	}
	return o
}

func userAgent(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return -1
		}
		return r
	}, text)
	if letters := []rune(text); len(letters) > domain.MaxUserAgent {
		return string(letters[:domain.MaxUserAgent])
	}
	return text
}

// loopback is where metrics may be read from by default.
func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
