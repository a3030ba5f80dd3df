package http

import (
	"context"
	"net"
	"net/http"
)

// Half an answer must not be taken for a whole one by any hop. Between HTTP/1.1 hops the
// missing last chunk tells; to a client of HTTP/1.0, such as nginx as a proxy by default,
// the end of the connection is the end of the answer. So such a connection is never
// closed but reset, and the client's read fails.

// cut ends an answer that was begun and cannot be finished. It does not return.
func cut(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn = socketOf(conn)
		setLinger(conn, 0)
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler) // also where a connection serves several requests at once, or a test looks on
}

type connectionKey struct{}

// OnConnection is for http.Server.ConnContext. With it an answer is cut visibly also
// where it is not this package that ends the connection: when a client takes no more,
// when the server stops, or when its process is killed.
func OnConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, socketOf(conn))
}

// socketOf is what is below TLS: a TLS connection says goodbye before it is closed.
func socketOf(conn net.Conn) net.Conn {
	if secured, is := conn.(interface{ NetConn() net.Conn }); is {
		return secured.NetConn()
	}
	return conn
}

// setLinger says what becomes of what was not sent when a connection is closed: 0 resets
// it, -1 sends it.
func setLinger(conn net.Conn, seconds int) {
	if socket, is := conn.(interface{ SetLinger(seconds int) error }); is {
		_ = socket.SetLinger(seconds)
	}
}
