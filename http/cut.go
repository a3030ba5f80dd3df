package http

import (
	"context"
	"net"
	"net/http"
)

// No hop may take half an answer for a whole one. Between HTTP/1.1 hops, the missing last
// chunk shows it. For an HTTP/1.0 client, such as nginx as a proxy by default, the end of
// the connection is the end of the answer. So such a connection is reset, never closed,
// and the client's read fails.

// cut ends an answer that was begun and cannot be finished. It does not return.
func cut(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		conn = socketOf(conn)
		setLinger(conn, 0)
		_ = conn.Close()
	}
	// This also covers a connection that serves several requests at once, and tests.
	panic(http.ErrAbortHandler)
}

type connectionKey struct{}

// OnConnection is for http.Server.ConnContext. With it, an answer is visibly cut off even
// if another part ends the connection: when a client stops reading, when the server
// stops, or when its process is killed.
func OnConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, socketOf(conn))
}

// socketOf returns the connection below TLS: a TLS connection says goodbye when it is
// closed.
func socketOf(conn net.Conn) net.Conn {
	if secured, is := conn.(interface{ NetConn() net.Conn }); is {
		return secured.NetConn()
	}
	return conn
}

// setLinger decides what happens to unsent data when a connection is closed: 0 discards
// it and resets the connection, -1 sends it.
func setLinger(conn net.Conn, seconds int) {
	if socket, is := conn.(interface{ SetLinger(seconds int) error }); is {
		_ = socket.SetLinger(seconds)
	}
}
