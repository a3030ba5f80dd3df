package http

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/salga-trust/engine/domain"
)

// clientAddress returns where a request comes from: the peer, or, if the peer is a
// trusted proxy, the address that the proxy forwards for; the zero address when that
// cannot be read.
//
// chi has this too (middleware.ClientIPFromXFF), but it cannot read a hop with a port,
// skips empty hops, and returns nothing for a request that a trusted network makes
// itself.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := plain(peer.Addr())

	// Each proxy appends the address that spoke to it, so the list is true from its end
	// up to the first address that is no proxy of ours. A hop that cannot be read is
	// nobody's address: what stands before it may be forged, and the proxy's own would be
	// believed where it is not, and be shared by all behind it.
	forwarded := strings.Join(r.Header.Values("X-Forwarded-For"), ",")
	if strings.TrimSpace(forwarded) == "" {
		return address // the proxy asks for itself
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

// between returns the text without what opens and closes it, if both do.
func between(text, opening, closing string) (string, bool) {
	inner, opened := strings.CutPrefix(text, opening)
	inner, closed := strings.CutSuffix(inner, closing)
	return inner, opened && closed
}

// plain returns the one form of an address: IPv4 in IPv6 is IPv4, and no zone. Another
// form of a trusted address would lie in no prefix.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addressKey is what rate limits count by: an IPv4 address, or the /64 that an IPv6
// customer has at least (RFC 6177).
func addressKey(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown" // nobody's, which has a limit of its own
	}
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// origin is what an append keeps about where a request came from.
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

// loopback is where metrics may be read from unless it is said otherwise.
func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
