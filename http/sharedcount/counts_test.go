package sharedcount_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/salga-trust/engine/http/sharedcount"
)

// soon is long enough for anything that happens without a pause, on a busy machine.
const soon = 10 * time.Second

func open(t *testing.T, address string, log io.Writer) *sharedcount.Redis {
	t.Helper()
	server, err := sharedcount.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	r := sharedcount.Open(t.Context(), server, slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(r.Close)
	return r
}

func limit() sharedcount.Limit { return sharedcount.Limit{Count: 2, Per: time.Minute} }

// lines is a log that can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1000)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more <- struct{}{}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait waits for the next line.
func (l *lines) wait(t *testing.T) {
	t.Helper()
	select {
	case <-l.more:
	case <-time.After(soon):
		t.Fatalf("it says nothing more than\n%s", l)
	}
}

func TestRedisGoesAwayAndComesBackAndEachIsSaidOnce(t *testing.T) {
	t.Parallel()
	redis, log := miniredis.RunT(t), newLines()
	r := open(t, "redis://"+redis.Addr(), log)
	log.wait(t)
	if _, counted := r.Take(t.Context(), "k", limit()); !counted {
		t.Fatalf("not counted: %s", log)
	}

	redis.Close()
	for range 100 {
		if _, counted := r.Take(t.Context(), "k", limit()); counted || r.Up() {
			t.Fatal("counted by nobody")
		}
		r.GiveBack(t.Context(), "k")
	}
	log.wait(t)

	if err := redis.Restart(); err != nil {
		t.Fatal(err)
	}
	log.wait(t)
	// Redis has kept the first.
	if wait, counted := r.Take(t.Context(), "k", limit()); wait != 0 || !counted {
		t.Errorf("the second: %s, %t", wait, counted)
	}
	if wait, counted := r.Take(t.Context(), "k", limit()); wait <= 0 || wait > time.Minute || !counted {
		t.Errorf("the third: %s, %t", wait, counted)
	}

	for text, want := range map[string]int{
		"rate limits are counted in Redis": 1, "Redis cannot be used": 1, "Redis is back": 1, "level=": 3,
	} {
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q is said %d times, not %d:\n%s", text, n, want, log)
		}
	}
}

// A Redis that takes connections and never answers.
func TestARedisThatHangsHoldsOneRequestUpAndShortly(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	redis := miniredis.RunT(t)
	hangs := make(chan struct{})
	go relay(listener, redis.Addr(), hangs)

	log := newLines()
	r := open(t, "redis://"+listener.Addr().String(), log)
	if _, counted := r.Take(t.Context(), "k", limit()); !counted {
		t.Fatalf("not counted: %s", log)
	}

	close(hangs)
	began := time.Now()
	if _, counted := r.Take(t.Context(), "k", limit()); counted {
		t.Error("counted by nobody")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the first request waited for %s", took)
	}

	began = time.Now()
	for range 1000 {
		r.Take(t.Context(), "k", limit())
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the next thousand waited for %s", took)
	}
}

// relay passes connections on to a server, until it hangs: then nothing is passed on.
func relay(listener net.Listener, to string, hangs <-chan struct{}) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			server, err := net.Dial("tcp", to) //nolint:noctx // it ends with the listener's test
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(from, server) }()

			buffer := make([]byte, 4096)
			for {
				n, err := from.Read(buffer)
				if err != nil {
					return
				}
				select {
				case <-hangs:
				default:
					_, _ = server.Write(buffer[:n])
				}
			}
		}()
	}
}

// A process starts without Redis, and no line of its log shows the password.
func TestARedisThatIsAwayAtTheStartIsFoundLater(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	address := redis.Addr()
	redis.RequireUserAuth("trust", "hunter2")
	redis.Close()

	log := newLines()
	r := open(t, fmt.Sprintf("redis://trust:hunter2@%s/0", address), log)
	log.wait(t)
	if r.Up() || !strings.Contains(log.String(), "Redis cannot be used") {
		t.Errorf("it says %s", log)
	}

	if err := redis.StartAddr(address); err != nil {
		t.Fatal(err)
	}
	log.wait(t)
	if _, counted := r.Take(t.Context(), "k", limit()); !counted {
		t.Errorf("not counted: %s", log)
	}

	wrong := newLines()
	if open(t, fmt.Sprintf("redis://trust:hunter3@%s/0", address), wrong).Up() {
		t.Error("any password opens it")
	}
	for _, said := range []string{log.String(), wrong.String()} {
		if strings.Contains(said, "hunter") {
			t.Errorf("a password is logged: %s", said)
		}
	}
}

// A client that leaves says nothing about Redis.
func TestARequestThatIsGivenUpIsStillCounted(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	r := open(t, "redis://"+redis.Addr(), io.Discard)
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, counted := r.Take(gone, "k", limit()); !counted || !r.Up() {
		t.Error("it is taken for a Redis that does not answer")
	}
}

// When the clock of Redis goes back, nobody is refused for longer than a period.
func TestAClockThatGoesBackEndsNoLimitAndLengthensNone(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	redis.SetTime(now)
	r := open(t, "redis://"+redis.Addr(), io.Discard)
	for range 2 {
		r.Take(t.Context(), "k", limit())
	}

	redis.SetTime(now.Add(-time.Hour))
	if wait, counted := r.Take(t.Context(), "k", limit()); wait != time.Minute || !counted {
		t.Errorf("after the clock went back: %s, %t", wait, counted)
	}
	redis.FastForward(time.Minute)
	if wait, _ := r.Take(t.Context(), "k", limit()); wait != 0 {
		t.Errorf("a minute later: %s", wait)
	}
}
