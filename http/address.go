package http

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/salga-trust/engine/domain"
)

// clientAddress is where a request comes from: the peer, or, if the peer is a proxy that is trusted, what it says it comes from.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	address := peer.Addr().Unmap()
	// Each proxy appends who spoke to it, so the list is true from its end up to the first address that is no proxy of ours.
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !contains(trusted, address) {
			break
		}
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		address = before.Unmap()
	}
	return address
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// addressKey is what rate limits count by: an IPv4 address, or the /64 that an IPv6 customer has at least (RFC 6177).
func addressKey(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
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
