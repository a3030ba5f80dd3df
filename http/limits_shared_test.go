package http_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"pgregory.net/rapid"

	apphttp "github.com/salga-trust/engine/http"
	"github.com/salga-trust/engine/http/sharedcount"
)

// together opens what a process counts with, in a Redis.
func together(t testing.TB, redis *miniredis.Miniredis, log io.Writer) *sharedcount.Redis {
	t.Helper()
	server, err := sharedcount.Parse("redis://" + redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	shared := sharedcount.Open(t.Context(), server, slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(shared.Close)
	if !shared.Up() {
		t.Fatal("it does not count in Redis")
	}
	return shared
}

// Whatever comes in whatever order, several processes that share a Redis answer as one
// process does that counts in its memory: the same requests pass, and the same waits are
// named.
func TestSeveralProcessesTogetherLetThroughWhatOneProcessDoes(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	var clients []*sharedcount.Redis
	for range 3 {
		clients = append(clients, together(t, redis, io.Discard))
	}

	rapid.Check(t, func(t *rapid.T) {
		redis.FlushAll()
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }
		redis.SetTime(now)

		limit := apphttp.Limit{Count: rapid.IntRange(1, 6).Draw(t, "count"), Per: time.Second}
		one := apphttp.NewSharedLimiter(limit, nil, clock)
		var processes []apphttp.SharedLimiter
		for _, c := range clients {
			processes = append(processes, apphttp.NewSharedLimiter(limit, c, clock))
		}

		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "pause")) * time.Millisecond)
			redis.SetTime(now)
			at := processes[rapid.IntRange(0, len(processes)-1).Draw(t, "process")]
			key := byte(rapid.IntRange(0, 1).Draw(t, "key"))

			var got, want string
			switch rapid.SampledFrom([]string{"take", "take", "take", "over", "give back"}).Draw(t, "what") {
			case "take":
				wait, ok := at.Take(t.Context(), key)
				got = fmt.Sprint(wait, ok)
				wait, ok = one.Take(t.Context(), key)
				want = fmt.Sprint(wait, ok)
			case "over":
				got, want = fmt.Sprint(at.Over(t.Context(), key)), fmt.Sprint(one.Over(t.Context(), key))
			case "give back":
				at.GiveBack(t.Context(), key)
				one.GiveBack(t.Context(), key)
			}
			if got != want {
				t.Fatalf("at %s together %s, alone %s", now.Format("05.000"), got, want)
			}
		}
	})
}

// Two API processes: an account guessed at through both has one limit, and what Redis
// holds names nobody.
func TestTwoServersShareTheirLimitsAndRedisHoldsNoPersonalData(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	at := func(c *apphttp.Config) {
		limits(func(l *apphttp.Limits) { l.LoginSlow.Count = 1000 })(c)
		behindProxy(c)
		c.Counts = together(t, redis, io.Discard)
	}
	first, second := newWorld(t, at), newWorld(t, at)

	for i := range 5 {
		w := first
		if i%2 == 1 {
			w = second
		}
		w.signInFrom("192.0.2.77", "thandi@example.org", password).want(401)
	}
	for _, w := range []*world{first, second} {
		a := w.signInFrom("192.0.2.77", "thandi@example.org", password).wantProblem(429, "rate_limited")
		if a.header.Get("Retry-After") == "" {
			t.Error("it does not say how long to wait")
		}
	}
	first.signInFrom("192.0.2.77", "sipho@example.org", password).want(401)

	dump, keys := redis.Dump(), redis.Keys()
	if len(keys) < 5 {
		t.Errorf("few keys: %v", keys)
	}
	for _, told := range []string{"thandi", "sipho", "example", "192", password, url.QueryEscape(password), "KZN225"} {
		if strings.Contains(strings.ToLower(dump), strings.ToLower(told)) {
			t.Errorf("Redis holds %q:\n%s", told, dump)
		}
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "trust:limit:") || redis.TTL(key) <= 0 || redis.TTL(key) > time.Hour {
			t.Errorf("%s lives for %s", key, redis.TTL(key))
		}
	}
}

// What was counted in Redis is not forgotten when it goes away.
func TestNobodyBeginsAnewWhenRedisGoesAway(t *testing.T) {
	t.Parallel()
	redis := miniredis.RunT(t)
	w := newWorld(t, limits(func(*apphttp.Limits) {}), func(c *apphttp.Config) {
		c.Counts = together(t, redis, io.Discard)
	})
	for range 5 {
		w.send("POST", "/api/v1/auth/login", signInWith("thandi@example.org", "x")).want(401)
	}

	redis.Close()
	w.send("POST", "/api/v1/auth/login", signInWith("thandi@example.org", "x")).wantProblem(429, "rate_limited")
	w.send("POST", "/api/v1/auth/login", signInWith("sipho@example.org", "x")).want(401)
}
