package pg

import (
	"context"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A server that hangs, or a network that goes silent, ends nothing by itself. So
// everything that this package says to a server on its own account has a limit; what is
// asked of it for somebody has theirs.
const (
	connectLimit = 5 * time.Second // dialling, signing in and pinning; connect_timeout in an address overrides it
	pingLimit    = 2 * time.Second // for a sign of life of a connection that was idle
	goodbyeLimit = time.Second     // for what is still said to a server that may not listen
	pingAfter    = time.Second     // how long a connection may be idle and be used unasked
)

// limitConnect bounds how long a connection takes to be made, and to be ended.
func limitConnect(config *pgconn.Config) {
	if config.ConnectTimeout <= 0 {
		config.ConnectTimeout = connectLimit
	}
	limit, dial := config.ConnectTimeout, config.DialFunc

	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		within, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		conn, err := dial(within, network, address)
		if err != nil {
			return nil, err
		}

		noticeSilence(conn)
		_ = conn.SetDeadline(time.Now().Add(limit)) // until endLimit; a request to cancel has no longer life
		return brief{conn}, nil
	}
}

// endLimit lets a connection that is made and pinned last.
func endLimit(conn *pgconn.PgConn) error { return conn.Conn().SetDeadline(time.Time{}) }

// noticeSilence makes the kernel end a connection whose other side is gone for about half
// a minute. It is the only limit of operators' commands, whose statements may take hours.
func noticeSilence(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second,
			Count: 3})
		limitUnheard(tcp)
	}
}

// brief is a connection that takes its leave quickly. pgx sets a deadline in the future
// only to end a connection, 15 seconds ahead, and a pool's place stays taken until then.
type brief struct{ net.Conn }

// SetDeadline implements net.Conn.
func (c brief) SetDeadline(at time.Time) error {
	if latest := time.Now().Add(goodbyeLimit); at.After(latest) {
		at = latest
	}
	return c.Conn.SetDeadline(at)
}

// limitPool bounds what a pool does by itself: the hook after connecting, and asking idle
// connections for a sign of life. When one of them is silent, so probably are all, and
// lose is called to dial anew.
func limitPool(config *pgxpool.Config, lose func()) {
	if config.ConnConfig.ConnectTimeout <= 0 {
		config.ConnConfig.ConnectTimeout = connectLimit // pgxpool has two minutes
	}
	config.ShouldPing = func(ctx context.Context, of pgxpool.ShouldPingParams) bool {
		if of.IdleDuration < pingAfter {
			return false
		}

		within, cancel := context.WithTimeout(ctx, pingLimit)
		defer cancel()
		err := of.Conn.Ping(within)
		if silent := within.Err() != nil && ctx.Err() == nil; err != nil && silent {
			lose()
		}
		return err != nil // then the pool finds a connection that is closed
	}

	then := config.AfterConnect
	if then == nil {
		return
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		within, cancel := context.WithTimeout(ctx, connectLimit)
		defer cancel()
		return then(within, conn)
	}
}
