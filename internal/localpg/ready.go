package localpg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// errStarting means that the server is there, but is recovering, starting or stopping.
var errStarting = errors.New("the database system is starting up")

// WaitReady returns once the server lets clients in, or with an error when ctx ends. It
// knows nothing of the process: the caller that started it ends ctx when the process
// ends.
func (c *Cluster) WaitReady(ctx context.Context) error {
	// The first probes are quick, because a start takes a tenth of a second; after that
	// recovery may take minutes.
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := c.probe(ctx)
		if err == nil {
			return nil
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("local postgres is not ready: %w (last answer: %w)", ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

// probe opens a session over the socket and reads the first answer. A request for a
// password means that clients are let in; the probe then leaves without a trace in the
// server's log.
func (c *Cluster) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()

	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", filepath.Join(c.SocketDir, ".s.PGSQL."+strconv.Itoa(c.Port)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()

	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := conn.Write(startupMessage(c.User)); err != nil {
		return err
	}
	return readAnswer(conn)
}

// startupMessage is the first message of protocol 3.0: length, version, then pairs of
// names and values.
func startupMessage(user string) []byte {
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	body = append(body, "user\x00"+user+"\x00database\x00postgres\x00\x00"...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(4+len(body))), body...)
}

// readAnswer takes a request to authenticate as yes. Of the errors, only
// cannot_connect_now (57P03) means "not yet"; any other, such as too many connections,
// comes from a server that works.
func readAnswer(conn io.Reader) error {
	var head [5]byte // type, length including itself
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}

	length := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] == 'R':
		return nil
	case head[0] != 'E' || length < 4 || length > 64<<10:
		return fmt.Errorf("not Postgres: answered with a message of type %q", head[0])
	}

	body := make([]byte, length-4)
	if _, err := io.ReadFull(conn, body); err != nil {
		return err
	}
	for field := range strings.SplitSeq(string(body), "\x00") {
		if field == "C57P03" {
			return errStarting
		}
	}
	return nil
}
