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
// everything that this package asks a server on its own account has a limit; what it asks
// on behalf of a caller has the caller's.
const (
	// connectLimit bounds dialling, signing in and pinning; connect_timeout in an address
	// overrides it.
	connectLimit = 5 * time.Second
	// pingLimit bounds a ping on a connection that was idle.
	pingLimit = 2 * time.Second
	// goodbyeLimit bounds the farewell to a server that may not listen any more.
	goodbyeLimit = time.Second
	// pingAfter is how long a connection may be idle before it is pinged.
	pingAfter = time.Second
)

// limitConnect bounds how long opening and closing a connection may take.
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
		// Until endLimit. A connection that only carries a request to cancel keeps it.
		_ = conn.SetDeadline(time.Now().Add(limit))
		return brief{conn}, nil
	}
}

// endLimit lifts the limit from a connection that is open and pinned.
func endLimit(conn *pgconn.PgConn) error { return conn.Conn().SetDeadline(time.Time{}) }

// noticeSilence makes the kernel end a connection whose other side has been gone for
// about half a minute. It is the only limit of operators' commands, whose statements may
// take hours.
func noticeSilence(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
		})
		limitUnheard(tcp)
	}
}

// brief is a connection that closes quickly. pgx sets a future deadline only to close a
// connection, 15 seconds ahead, and the connection occupies its place in the pool until
// then.
type brief struct{ net.Conn }

// SetDeadline implements net.Conn.
func (c brief) SetDeadline(at time.Time) error {
	if latest := time.Now().Add(goodbyeLimit); at.After(latest) {
		at = latest
	}
	return c.Conn.SetDeadline(at)
}

// limitPool bounds what a pool does by itself: the hook after connecting, and pings on
// idle connections. If one of them is silent, probably all are, and lose is called to
// replace them.
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
		return err != nil // the pool then finds the connection closed
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
