package pg_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/salga-trust/engine/internal/pg"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestWhatTheServerSaysIsClassified(t *testing.T) {
	t.Parallel()
	const none, away, again, ours, settings = pg.None, pg.Away, pg.Again, pg.Ours, pg.Settings
	for _, c := range []struct {
		state                 string
		serving, whileDialing pg.Trouble
	}{
		{pgerrcode.ConnectionException, away, away},
		{pgerrcode.ConnectionDoesNotExist, away, away},
		{pgerrcode.ConnectionFailure, away, away},
		{pgerrcode.SQLServerRejectedEstablishmentOfSQLConnection, away, away},
		{pgerrcode.ProtocolViolation, away, settings},
		{pgerrcode.ReadOnlySQLTransaction, away, away},
		{pgerrcode.InsufficientResources, away, away},
		{pgerrcode.DiskFull, away, away},
		{pgerrcode.OutOfMemory, away, away},
		{pgerrcode.TooManyConnections, away, away},
		{pgerrcode.AdminShutdown, away, away},
		{pgerrcode.CrashShutdown, away, away},
		{pgerrcode.CannotConnectNow, away, away},
		{pgerrcode.IdleSessionTimeout, away, away},
		{pgerrcode.SystemError, away, away},
		{pgerrcode.IOError, away, away},

		{pgerrcode.SerializationFailure, again, again},
		{pgerrcode.DeadlockDetected, again, again},
		{pgerrcode.LockNotAvailable, again, again},

		{pgerrcode.QueryCanceled, ours, ours},
		{pgerrcode.IdleInTransactionSessionTimeout, ours, ours},
		{"25P04", ours, ours}, // transaction_timeout, from Postgres 17 on

		{pgerrcode.InvalidAuthorizationSpecification, settings, settings},
		{pgerrcode.InvalidPassword, settings, settings},
		{pgerrcode.InvalidCatalogName, settings, settings},
		{pgerrcode.DatabaseDropped, settings, settings},

		// About a row, a statement or a right. While connecting it is none of these: the
		// session is not there yet.
		{pgerrcode.UniqueViolation, none, away},
		{pgerrcode.InvalidTextRepresentation, none, away},
		{pgerrcode.InsufficientPrivilege, none, away},
		{pgerrcode.UndefinedTable, none, away},
		{pgerrcode.ReadOnlySQLTransaction[:4] + "1", none, away}, // 25001: same class as a read-only server

		// What our own functions raise: that events never change, and faults of this
		// program.
		{pgerrcode.RestrictViolation, none, away},
		{pgerrcode.RaiseException, none, away},
	} {
		said := &pgconn.PgError{Code: c.state}
		name := pgerrcode.Name(c.state)
		if got := pg.Classify(said); got != c.serving {
			t.Errorf("%s %s is %v, want %v", c.state, name, got, c.serving)
		}
		if got := pg.Classify(wrapped(said)); got != c.serving {
			t.Errorf("%s %s, wrapped, is %v, want %v", c.state, name, got, c.serving)
		}
		if got := pg.Classify(wrapped(refusedWith(t, c.state))); got != c.whileDialing {
			t.Errorf("%s %s while connecting is %v, want %v", c.state, name, got, c.whileDialing)
		}
	}
}

func TestABrokenConnectionMeansThatTheServerIsAway(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&net.OpError{Op: "read", Err: syscall.ECONNRESET},
		&net.DNSError{Err: "no such host", IsNotFound: true},
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, context.DeadlineExceeded,
		pgconn.ErrConnClosed,
		nobodyListens(t),
		onAClosedConnection(t),
	} {
		for _, err := range []error{err, wrapped(err)} {
			if got := pg.Classify(err); got != pg.Away {
				t.Errorf("%v is %v, want Away", err, got)
			}
		}
	}
}

func TestErrorsOfOthersSayNothingAboutTheDatabase(t *testing.T) {
	t.Parallel()
	hungUp, cancel := context.WithCancel(t.Context())
	cancel()
	_, dialling := pgx.Connect(hungUp, "postgres://127.0.0.1:1/none")

	for _, err := range []error{
		nil, errors.New("the event does not fold"), pgx.ErrNoRows, pgx.ErrTxClosed, context.Canceled, dialling,
	} {
		if got := pg.Classify(err); got != pg.None {
			t.Errorf("%v is %v, want None", err, got)
		}
	}
}

func wrapped(err error) error {
	return fmt.Errorf("append: %w", errors.Join(errors.New("while writing"), err))
}

// refusedWith returns the error of a connection that a server refuses with a SQLSTATE.
func refusedWith(t *testing.T, state string) error {
	t.Helper()
	listener := listen(t)
	defer listener.Close()

	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()

		hello := make([]byte, 1024)
		_, _ = conn.Read(hello)
		said := "SFATAL\x00VFATAL\x00C" + state + "\x00Mrefused\x00\x00"
		_, _ = conn.Write(append([]byte{'E', 0, 0, 0, byte(len(said) + 4)}, said...))
	}()

	_, err := pgx.Connect(t.Context(), "postgres://someone@"+listener.Addr().String()+"/db?sslmode=disable")
	if _, ok := errors.AsType[*pgconn.ConnectError](err); !ok {
		t.Fatalf("connecting answered %v, want a refused connection", err)
	}
	return err
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func nobodyListens(t *testing.T) error {
	t.Helper()
	listener := listen(t)
	_ = listener.Close()
	_, err := pgx.Connect(t.Context(), "postgres://someone@"+listener.Addr().String()+"/db?sslmode=disable")
	return err
}

func onAClosedConnection(t *testing.T) error {
	t.Helper()
	conn := pgtest.New(t).Conn(t, pgtest.Query)
	pg.Close(t.Context(), conn)
	pg.Close(t.Context(), nil)
	_, err := conn.Exec(t.Context(), "select 1")
	return err
}

func TestABackoffEndsWithItsContext(t *testing.T) {
	t.Parallel()
	pauses := pg.NewBackoff(time.Microsecond, time.Hour)
	if !pauses.Wait(t.Context()) {
		t.Error("the first pause ended with the context, which has not ended")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if pg.NewBackoff(time.Hour, time.Hour).Wait(ctx) {
		t.Error("the pause of an hour was waited for, though the context had ended")
	}
}

func TestConditionsCountTheirArguments(t *testing.T) {
	t.Parallel()
	w := pg.Where{Args: []any{0}}
	for i := range 11 {
		w.And("a = %s", i)
	}
	w.And("b in ('x')")
	w.And("(c = %[1]s or d = %[1]s)", "y")

	const want = " and a = $2 and a = $3 and a = $4 and a = $5 and a = $6 and a = $7 and a = $8 and a = $9" +
		" and a = $10 and a = $11 and a = $12 and b in ('x') and (c = $13 or d = $13)"
	if got := w.SQL(); got != want || len(w.Args) != 13 {
		t.Errorf("got %q with %d arguments, want %q with 13", got, len(w.Args), want)
	}
}
