package http_test

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	apphttp "github.com/salga-trust/engine/http"
)

func TestTheCallersAddress(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:aaaa::/48"),
		netip.MustParsePrefix("fe80::/10"),
	}

	// Each item of forwarded is one header line.
	for name, c := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"an address":                  {"10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"an address and a port":       {"10.0.0.1:5", []string{"198.51.100.7:49152"}, "198.51.100.7"},
		"IPv6":                        {"10.0.0.1:5", []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv6 that looks like a port": {"10.0.0.1:5", []string{"2001:db8::1:443"}, "2001:db8::1:443"},
		"IPv6 in brackets":            {"10.0.0.1:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"IPv6 and a port":             {"10.0.0.1:5", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		"IPv6 and a port, quoted":     {"10.0.0.1:5", []string{`"[2001:db8::1]:443"`}, "2001:db8::1"},
		"an address, quoted":          {"10.0.0.1:5", []string{`"198.51.100.7"`}, "198.51.100.7"},
		"blanks":                      {"10.0.0.1:5", []string{" \t198.51.100.7:80 , 10.0.0.2:80\t"}, "198.51.100.7"},
		"IPv4 in IPv6":                {"10.0.0.1:5", []string{"[::ffff:198.51.100.7]:443"}, "198.51.100.7"},
		"a zone":                      {"10.0.0.1:5", []string{"fe00::1%eth0"}, "fe00::1"},
		"a trusted hop in another form": {
			"10.0.0.1:5", []string{"198.51.100.7, ::ffff:10.0.0.2, fe80::2%eth0"}, "198.51.100.7",
		},
		"a trusted peer in another form":    {"[::ffff:10.0.0.1]:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"a trusted peer with a zone":        {"[fe80::1%eth0]:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"a trusted peer of IPv6":            {"[2001:db8:aaaa::1]:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"an untrusted peer's zone":          {"[fe00::1%eth0]:5", nil, "fe00::1"},
		"an untrusted peer is not believed": {"203.0.113.9:5", []string{"198.51.100.7"}, "203.0.113.9"},
		"a peer without an address":         {"pipe", []string{"198.51.100.7"}, ""},
		"no header":                         {"10.0.0.1:5", nil, "10.0.0.1"},

		"the nearest stranger, with ports": {
			"10.0.0.1:5", []string{"1.2.3.4:1, 198.51.100.7:2, 10.0.0.3:3, 10.0.0.2:4"}, "198.51.100.7",
		},
		"several header lines are one list": {
			"10.0.0.1:5", []string{"1.2.3.4", "198.51.100.7", "10.0.0.2"}, "198.51.100.7",
		},
		"a forged line before a proxy's own": {
			"10.0.0.1:5", []string{"1.2.3.4, 10.0.0.2", "198.51.100.7"}, "198.51.100.7",
		},
		"all of them proxies: the furthest": {"10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},

		// A hop that cannot be read is nobody's address. The one beyond it may be forged,
		// and all callers behind the proxy would share the proxy's.
		"an unreadable hop":                   {"10.0.0.1:5", []string{"1.2.3.4, rubbish"}, ""},
		"an unreadable hop behind a proxy":    {"10.0.0.1:5", []string{"1.2.3.4, unknown, 10.0.0.2"}, ""},
		"an empty hop":                        {"10.0.0.1:5", []string{"1.2.3.4, "}, ""},
		"a header without a hop":              {"10.0.0.1:5", []string{" "}, "10.0.0.1"},
		"an empty header line":                {"10.0.0.1:5", []string{"1.2.3.4", ""}, ""},
		"a socket":                            {"10.0.0.1:5", []string{"1.2.3.4, unix:"}, ""},
		"a port out of range":                 {"10.0.0.1:5", []string{"1.2.3.4, 198.51.100.7:65536"}, ""},
		"a port without a number":             {"10.0.0.1:5", []string{"1.2.3.4, 198.51.100.7:"}, ""},
		"a bracket that is not closed":        {"10.0.0.1:5", []string{"1.2.3.4, [2001:db8::1"}, ""},
		"brackets around IPv4":                {"10.0.0.1:5", []string{"1.2.3.4, [198.51.100.7]"}, ""},
		"a quote that is not closed":          {"10.0.0.1:5", []string{`1.2.3.4, "198.51.100.7`}, ""},
		"a lone quote":                        {"10.0.0.1:5", []string{`1.2.3.4, "`}, ""},
		"a comma in quotes":                   {"10.0.0.1:5", []string{`1.2.3.4, "198.51.100.7,"`}, ""},
		"a readable hop beside an unreadable": {"10.0.0.1:5", []string{"rubbish, 198.51.100.7"}, "198.51.100.7"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.RemoteAddr = c.peer
		r.Header["X-Forwarded-For"] = c.forwarded

		want := netip.Addr{}
		if c.want != "" {
			want = netip.MustParseAddr(c.want)
		}
		if got := apphttp.ClientAddress(r, trusted); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}

		alone := netip.Addr{}
		if peer, err := netip.ParseAddrPort(c.peer); err == nil {
			alone = peer.Addr().Unmap().WithZone("")
		}
		if got := apphttp.ClientAddress(r, nil); got != alone {
			t.Errorf("%s, without trusted proxies: %s, want the peer %s", name, got, alone)
		}
	}
}
