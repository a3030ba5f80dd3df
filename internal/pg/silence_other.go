//go:build !linux

package pg

import "net"

// limitUnheard does nothing: only Linux can limit how long sent data may stay
// unconfirmed.
func limitUnheard(*net.TCPConn) {}
