//go:build far

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/salga-trust/engine/internal/pgtest"
)

// Two API processes and a real Redis, which is killed, started again, and then hangs.
func TestFarTwoProcessesShareTheirLimitsInRedisAndGoOnWithoutIt(t *testing.T) {
	t.Parallel()
	const most = 20
	redis := freeAddress()
	first, _ := onDatabase(t)
	first = first.with("RATE_LIMIT=on", fmt.Sprintf("RATE_LIMIT_ADDRESS=%d", most),
		"REDIS_URL=redis://trust:hunter2@"+redis+"/3")
	second := first.with("HTTP_ADDR=" + freeAddress())
	second.addr = strings.TrimPrefix(second.env[len(second.env)-1], "HTTP_ADDR=")

	server := first.redis(t, redis)
	one, two := first.start("serve"), second.start("serve")
	for _, s := range []*site{first, second} {
		pgtest.Eventually(t, "it serves and counts in Redis", func() bool {
			return s.metrics()["trust_rate_limits_shared"] == "1"
		})
	}

	if passed := pass(first, second, 3*most); passed != most {
		t.Errorf("%d requests passed at two processes, of at most %d", passed, most)
	}

	server.stop(t, syscall.SIGKILL)
	// Each goes on in its memory, in which it has what passed there before: a half.
	if passed := pass(first, second, 4*most); passed != most {
		t.Errorf("%d requests passed at two processes without Redis; want %d", passed, most)
	}

	server = first.redis(t, redis)
	for _, s := range []*site{first, second} {
		pgtest.Eventually(t, "it counts in Redis again", func() bool {
			return s.metrics()["trust_rate_limits_shared"] == "1"
		})
	}
	if passed := pass(first, second, 3*most); passed != most { // it kept nothing
		t.Errorf("%d requests passed at two processes once Redis was back; want %d", passed, most)
	}

	must(t, server.cmd.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	pass(first, second, 2*most)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("with a Redis that hangs, %d requests took %s", 2*most, took)
	}
	pgtest.Eventually(t, "it counts in its memory", func() bool {
		return first.metrics()["trust_rate_limits_shared"] == "0"
	})
	must(t, server.cmd.Process.Signal(syscall.SIGCONT))

	for _, process := range []*running{one, two} {
		pgtest.Eventually(t, "it says that Redis is back", func() bool {
			return strings.Count(process.said.String(), "Redis is back") == 2
		})
		said := process.said.String()
		if strings.Count(said, "Redis cannot be used") != 2 || strings.Contains(said, "hunter2") {
			t.Errorf("it says:\n%s", said)
		}
	}
}

// redis starts a Redis with one login, as docs/operator.md says.
func (s *site) redis(t *testing.T, address string) *running {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	must(t, err)
	rules := regexp.MustCompile(`(?m)^    (user trust on .*|maxmemory.*)$`).
		FindAllString(read(t, "docs/operator.md"), -1)
	conf := s.file("redis.conf", strings.ReplaceAll(strings.Join(rules, "\n"), "PASSWORD", "hunter2")+
		"\nuser default off\nsave \"\"\nbind 127.0.0.1\nport "+port+"\n")

	r := s.startProgram(exec.CommandContext(context.Background(), "redis-server", conf))
	pgtest.Eventually(t, "Redis answers", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		_, asked := conn.Write([]byte("PING\r\n"))
		_, err = conn.Read(make([]byte, 1))
		return errors.Join(asked, err) == nil
	})
	return r
}

// pass asks two processes in turn, and returns how many requests were not refused.
func pass(first, second *site, requests int) (passed int) {
	for i := range requests {
		s := first
		if i%2 == 1 {
			s = second
		}
		if s.get("/api/v1/municipalities", nil) == http.StatusOK {
			passed++
		}
	}
	return passed
}
