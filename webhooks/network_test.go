package webhooks_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/domain"
	"github.com/salga-trust/engine/webhooks"
)

// at makes every name lead to one address.
func at(address string) func(string) []netip.Addr {
	return func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(address)} }
}

func TestOnlyAddressesOnThePublicInternetMayBeCalled(t *testing.T) {
	t.Parallel()
	network := webhooks.NewNetwork([]netip.Prefix{
		netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("fd00:20::/32"),
	}, nil)

	for address, want := range map[string]string{
		"93.184.215.14":          "https",
		"2606:2800:21f:cb07::1":  "https",
		"10.20.3.4":              "https http", // allowed
		"fd00:20::7":             "https http", // allowed
		"10.21.3.4":              "",           // private
		"172.16.0.1":             "",
		"192.168.1.1":            "",
		"127.0.0.1":              "", // loopback
		"127.8.8.8":              "",
		"::1":                    "",
		"169.254.169.254":        "", // link-local: metadata of clouds
		"fe80::1":                "",
		"100.64.0.1":             "", // shared address space
		"fd12:3456::1":           "", // unique local
		"fc00::1":                "",
		"224.0.0.1":              "", // multicast
		"ff02::1":                "",
		"0.0.0.0":                "", // this host
		"::":                     "",
		"255.255.255.255":        "", // broadcast
		"240.0.0.1":              "",
		"198.18.0.1":             "", // benchmarks
		"192.0.2.1":              "", // documentation
		"2001:db8::1":            "",
		"::ffff:127.0.0.1":       "", // IPv4-mapped
		"::ffff:10.21.3.4":       "",
		"::ffff:169.254.169.254": "",
		"::ffff:93.184.215.14":   "https",
		"::127.0.0.1":            "", // IPv4-compatible
		"64:ff9b::7f00:1":        "", // NAT64
		"2002:7f00:1::":          "", // 6to4
		"2001:0:7f00:1::":        "", // Teredo
	} {
		network.Resolve(at(address))
		for _, scheme := range []string{"https", "http"} {
			err := network.Check(t.Context(), scheme+"://recipient.example/hook")
			if allowed := err == nil; allowed != strings.Contains(" "+want+" ", " "+scheme+" ") {
				t.Errorf("%s to %s: %v", scheme, address, err)
			}
		}
	}
}

func TestANameWithOneAddressThatMayNotBeCalledIsRefused(t *testing.T) {
	t.Parallel()
	network := webhooks.NewNetwork(nil, nil)
	network.Resolve(func(string) []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("93.184.215.14"), netip.MustParseAddr("10.0.0.1")}
	})
	refused(t, network.Check(t.Context(), "https://recipient.example/"), "not_allowed")

	network.Resolve(func(string) []netip.Addr { return nil })
	refused(t, network.Check(t.Context(), "https://recipient.example/"), "unknown_host")
}

func refused(t *testing.T, err error, code string) {
	t.Helper()
	refusal, is := errors.AsType[*domain.Error](err)
	if !is || len(refusal.Fields) != 1 || refusal.Fields[0].Field != "url" || refusal.Fields[0].Code != code {
		t.Errorf("got %v, want url %s", err, code)
	}
}

func TestAnAddressThatIsMalformedOrHoldsAPasswordIsRefused(t *testing.T) {
	t.Parallel()
	network := webhooks.NewNetwork(nil, nil)
	network.Resolve(at("93.184.215.14"))

	must(t, network.Check(t.Context(), "https://recipient.example:8443/a/b?of=c"))
	for _, url := range []string{
		"", "recipient.example", "https://", "https:///x", "https:recipient.example", "ftp://recipient.example/",
		"file:///etc/passwd", "gopher://recipient.example/", "https://user:password@recipient.example/",
		"https://user@recipient.example/", "https://recipient.example/#part", "https://recipient.example:0/",
		"https://recipient.example:65536/", "https://recipient.example:x/", "https://a b/", "https://[::1",
		"https://recipient.example/" + strings.Repeat("a", 2048), "\x00", "https://recipient.example/\n",
	} {
		refused(t, network.Check(t.Context(), url), "invalid")
	}
}

// The name leads to a public address when it is checked, and to this machine when it is
// dialled.
func TestAnAddressIsJudgedAgainWhenItIsDialled(t *testing.T) {
	t.Parallel()
	called := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called = true }))
	t.Cleanup(server.Close)
	secure := httptest.NewTLSServer(server.Config.Handler)
	t.Cleanup(secure.Close)

	network := webhooks.NewNetwork(nil, nil)
	network.Resolve(at("93.184.215.14"))
	inside := strings.Replace(secure.URL, "127.0.0.1", "localhost", 1)
	must(t, network.Check(t.Context(), inside))
	for _, url := range []string{
		inside, secure.URL, server.URL, strings.Replace(secure.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1),
	} {
		if _, failure := network.Try(t.Context(), url); failure != webhooks.FailedRefused {
			t.Errorf("%s: %s", url, failure)
		}
	}
	if called {
		t.Error("it was called")
	}
}

func TestARecipientCannotSendTheSenderElsewhereOrHoldItUp(t *testing.T) {
	t.Parallel()
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect was followed")
	}))
	t.Cleanup(inside.Close)
	over := make(chan struct{})

	handlers := map[string]struct {
		handler http.HandlerFunc
		status  int
		failure webhooks.Failure
	}{
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
		}, 307, webhooks.FailedRedirect},
		"redirects what was posted": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside.URL, http.StatusPermanentRedirect)
		}, 308, webhooks.FailedRedirect},
		"never answers": {func(http.ResponseWriter, *http.Request) { <-over }, 0, webhooks.FailedTimeout},
		"hangs up": {
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0,
			webhooks.FailedConnection,
		},
		"has endless headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", 64<<10))
		}, 0, webhooks.FailedConnection},
		"streams for ever": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<10)); err != nil {
					return
				}
			}
		}, 200, ""},
		"drips": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_ = http.NewResponseController(w).Flush()
			<-over
		}, 202, ""},
		"is broken": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, 500, webhooks.FailedStatus},
		"is gone":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, 410, webhooks.FailedStatus},
	}
	// After those of the servers below, which wait for their handlers.
	t.Cleanup(func() { close(over) })

	for name, c := range handlers {
		server := httptest.NewServer(c.handler)
		t.Cleanup(server.CloseClientConnections)
		network := webhooks.NewNetwork(loopback(), nil)
		network.Hurry(300 * time.Millisecond)

		began := time.Now()
		status, failure := network.Try(t.Context(), server.URL)
		if status != c.status || failure != c.failure {
			t.Errorf("one that %s: %d %q, want %d %q", name, status, failure, c.status, c.failure)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("one that %s held the sender up for %s", name, took)
		}
	}
}

func TestARecipientMustProveWhoItIs(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)

	if _, failure := webhooks.NewNetwork(loopback(), nil).Try(t.Context(), server.URL); failure != webhooks.FailedTLS {
		t.Errorf("a certificate that nobody knows: %q", failure)
	}
	known := x509.NewCertPool()
	known.AddCert(server.Certificate())
	if status, failure := webhooks.NewNetwork(loopback(), known).Try(t.Context(), server.URL); status != 200 {
		t.Errorf("a known certificate: %d %q", status, failure)
	}
}

func TestATryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		cancel()
		<-over
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(over) })

	if _, failure := webhooks.NewNetwork(loopback(), nil).Try(ctx, server.URL); failure == "" {
		t.Error("it succeeded")
	}
}
