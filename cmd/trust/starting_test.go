package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestWhatTheServerRefusesIsNotWaitedForAtTheStart(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(pgtest.Fresh(t))
	must(t, err)
	absent := *address
	absent.Path = "/no_such_database"

	for name, c := range map[string]struct {
		address string
		says    string
		passes  bool
	}{
		"a database that is not there": {absent.String(), `database "no_such_database" does not exist`, false},
		"a server that is not there":   {"postgres://trust@" + freeAddress() + "/trust?sslmode=disable", "is it running", true},
	} {
		pool, err := openPool(t.Context(), c.address, 1)
		must(t, err)
		err = exit.Explain(pool.Ping(t.Context()))
		pool.Close()
		if exit.CodeOf(err) != exit.CodeUnreachable || !strings.Contains(err.Error(), c.says) || passes(err) != c.passes {
			t.Errorf("%s: exit code %d, waited for: %t, %v", name, exit.CodeOf(err), passes(err), err)
		}
	}
}
