package pg

import (
	"net"
	"syscall"
	"time"
)

// unheardLimit is how long the kernel waits for the other side to confirm what was sent.
// Keep-alive does not probe while something is unconfirmed: without a limit, a statement
// sent into a dead network is resent for a quarter of an hour.
const unheardLimit = 30 * time.Second

const tcpUserTimeout = 18 // TCP_USER_TIMEOUT, which package syscall does not name

func limitUnheard(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unheardLimit.Milliseconds()))
	})
}
