package main

import (
	"context"
	"net/url"
	"strings"
	"sync"
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
		"a server that is not there": {
			"postgres://trust@" + freeAddress() + "/trust?sslmode=disable",
			"is it running", true,
		},
	} {
		pool, err := openPool(t.Context(), c.address, 1)
		must(t, err)
		err = exit.Explain(pool.Ping(t.Context()))
		pool.Close()
		if exit.CodeOf(err) != exit.CodeUnreachable || !strings.Contains(err.Error(), c.says) ||
			passes(err) != c.passes {
			t.Errorf("%s: exit code %d, waited for: %t, %v", name, exit.CodeOf(err), passes(err), err)
		}
	}
}

// The first statement of serve fails in a way that nobody foresaw.
func TestServeThatCannotGoOnSaysWhyAndDoesNotEndWith0(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	_, err := db.Superuser(t).Exec(t.Context(), "revoke execute on function trust.secret_once from trust_query")
	must(t, err)
	s.run("serve").expect(t, exit.CodeUnreachable, "permission denied for function secret_once")
	s.run("import", "municipalities", s.file("m.csv", "code,name,province\nA1,Alpha,Gauteng\n")).
		expect(t, exit.CodeUnreachable, "permission denied for function secret_once")
}

func TestALoginInNoRoleIsToldSoAndNotOfARestore(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	login := "stranger_" + db.Name()
	admin := db.Superuser(t)
	_, err := admin.Exec(t.Context(), "create role "+login+" login password 'stranger'")
	must(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec(context.WithoutCancel(t.Context()), "drop role "+login)
		must(t, err)
	})

	address := as(t, db.URL(pgtest.Superuser), login, "stranger")
	stranger := s.with("DATABASE_URL_API="+address, "DATABASE_URL_PROJECTOR="+address)
	for _, command := range [][]string{{"serve"}, {"status"}, {"verify"}, {"project", "all"}} {
		stranger.run(command...).expect(t, exit.CodeUsage, "is in none of the roles")
	}
}

func TestAWrongPasswordIsNotAServerThatDoesNotRun(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	address := as(t, db.URL(pgtest.Superuser), "postgres", "wrong")
	s = s.with("DATABASE_URL="+address, "NEW_MASTER_KEY="+nextMaster)

	for _, command := range [][]string{
		{"serve"},
		{"project", "all"},
		{"migrate"},
		{"migrate", "--status"},
		{"status"},
		{"verify"},
		{"rebuild", "all"},
		{"keys", "rotate"},
		{"backup", "--to", s.data("backup")},
		{"import", "municipalities", s.file("m.csv", "code,name,province\nA1,Alpha,Gauteng\n")},
	} {
		o := s.run(command...)
		o.expect(t, exit.CodeUnreachable, "password authentication failed")
		if strings.Contains(o.stderr, "is it running") {
			t.Errorf("trust %v asks whether the server runs: %s", command, o.stderr)
		}
	}
}

// as returns an address with another login.
func as(t *testing.T, address, login, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	u.User = url.UserPassword(login, password)
	return u.String()
}

// It listens, so that only an answer is missing.
func TestACommandOnAServerThatHangsSaysThatItDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s, db := onDatabase(t)
	line := pgtest.NewLine(t, db.URL(pgtest.Superuser))
	s = s.with("DATABASE_URL="+line.Over(db.URL(pgtest.Superuser)), "NEW_MASTER_KEY="+nextMaster)
	line.Silence()

	var asked sync.WaitGroup
	for _, command := range [][]string{
		{"migrate", "--status"},
		{"status"},
		{"verify"},
		{"rebuild", "all"},
		{"keys", "rotate"},
		{"backup", "--to", s.data("backup")},
		{"import", "municipalities", s.file("m.csv", "code,name,province\nA1,Alpha,Gauteng\n")},
	} {
		asked.Go(func() { s.run(command...).expect(t, exit.CodeUnreachable, "the database does not answer") })
	}
	asked.Wait()
}
