//go:build !linux

package pg

import "net"

// limitUnheard does nothing: only Linux has a limit of its own for what was sent and is
// not confirmed.
func limitUnheard(*net.TCPConn) {}
