package pg

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// The test asks the kernel what it was told, because a network that swallows what is sent
// takes half a minute to show.
func TestAConnectionWhoseOtherSideIsGoneEndsWithinHalfAMinute(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()

	config := &pgconn.Config{DialFunc: func(ctx context.Context, network, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	limitConnect(config)

	conn, err := config.DialFunc(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	raw, err := conn.(brief).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}

	option := func(level, name int) (value int) {
		t.Helper()
		var err error
		if controlled := raw.Control(func(fd uintptr) {
			value, err = syscall.GetsockoptInt(int(fd), level, name)
		}); controlled != nil || err != nil {
			t.Fatal(controlled, err)
		}
		return value
	}

	if option(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE) != 1 {
		t.Error("an idle connection is not probed")
	}
	idle, interval := option(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE),
		option(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL)
	if count := option(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT); idle+interval*count > 30 {
		t.Errorf("an idle connection ends after %d s and %d times %d s", idle, count, interval)
	}
	if unheard := option(syscall.IPPROTO_TCP, tcpUserTimeout); unheard != 30_000 {
		t.Errorf("unconfirmed data is resent for %d ms", unheard)
	}
}
