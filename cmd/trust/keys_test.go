package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/settings"
	"github.com/salga-trust/engine/internal/pgtest"
)

const (
	nextMaster = "the-next-master-key-which-is-long-enough-too"
	toNext     = "NEW_MASTER_KEY=" + nextMaster
	asNext     = "MASTER_KEY=" + nextMaster
)

// keys returns everything that a rotation may change, and the length of the log.
func (s *site) keys() (all string) {
	s.t.Helper()
	const sql = `select (select count(*) from trust.events)::text || coalesce(string_agg(x, ' ' order by x), '')
		from (select s::text from trust.secrets s union all select k::text from trust.keys k) as t (x)`
	if err := connect(s.t, s).QueryRow(s.t.Context(), sql).Scan(&all); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// peopled is a site whose database holds a municipality with an admin.
func peopled(t *testing.T, env ...string) *site {
	t.Helper()
	s, _ := onDatabase(t)
	s = s.with(env...)
	s.run("import", "municipalities", s.file("m.csv", "code,name,province\nCPT,City of Cape Town,Western Cape\n")).
		expect(t, exit.CodeDone, "1 registered")
	s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "boss@cpt.example",
		"--full-name", "Ṱhilivhali Boss").
		expect(t, exit.CodeDone, "admin of CPT made")
	return s
}

func TestKeysRotateChangesTheMasterKeyAndNothingElse(t *testing.T) {
	t.Parallel()
	s := peopled(t)
	before := s.keys()

	o := s.with(toNext).run("keys", "rotate")
	o.expect(t, exit.CodeDone, "5 keys re-wrapped under the new master key; give it to every process as MASTER_KEY")
	if strings.Count(o.stdout, "\n") != 1 || o.stderr != "" {
		t.Errorf("not one line: %q %q", o.stdout, o.stderr)
	}

	after := s.keys()
	if before == after {
		t.Error("nothing changed")
	}
	s.with(toNext).run("keys", "rotate").expect(t, exit.CodeDone, "nothing to do")
	if s.keys() != after {
		t.Error("the second time something changed")
	}
	s.run("verify").expect(t, exit.CodeUsage, "MASTER_KEY is not the one")

	next := s.with(asNext)
	next.start("project", "all")
	next.start("serve")
	pgtest.Eventually(t, "the system is ready under the new key", next.ready)
	boss := next.signedIn("boss@cpt.example", "a good password", "CPT")
	if name := field(t, boss.call("GET", "users/me", ""), "full_name"); name != "Ṱhilivhali Boss" {
		t.Errorf("the admin's name reads %q", name)
	}
	next.run("import", "municipalities", next.file("m2.csv", "code,name,province\nJHB,City of Johannesburg,Gauteng\n")).
		expect(t, exit.CodeDone, "1 registered")
	pgtest.Eventually(t, "the log is verified", func() bool { return next.run("verify").code == exit.CodeDone })
}

func TestKeysRotateRefusesKeysThatAreNotRightAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := peopled(t)
	peopled(t, "MASTER_KEY="+strings.Repeat("others-", 6)) // now it is the key of some database
	before := s.keys()

	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"no new key":      {nil, "NEW_MASTER_KEY is not set"},
		"no old key":      {[]string{toNext, "MASTER_KEY="}, "MASTER_KEY is not set"},
		"a short new key": {[]string{"NEW_MASTER_KEY=short"}, "NEW_MASTER_KEY has 5 characters"},
		"a repeated new key": {
			[]string{"NEW_MASTER_KEY=" + strings.Repeat("x", 40)},
			"NEW_MASTER_KEY is one character",
		},
		"twice the same": {[]string{"NEW_" + testMaster}, "MASTER_KEY and NEW_MASTER_KEY are the same"},
		"the secret key": {
			[]string{"NEW_MASTER_KEY=" + strings.TrimPrefix(testSecret, "SECRET_KEY=")},
			"SECRET_KEY and NEW_MASTER_KEY are the same",
		},
		"a wrong old key": {
			[]string{toNext, "MASTER_KEY=" + strings.Repeat("wrong-", 8)},
			"neither MASTER_KEY nor NEW_MASTER_KEY",
		},
		"another database's key": {
			[]string{toNext, "MASTER_KEY=" + strings.Repeat("others-", 6)},
			"neither MASTER_KEY nor NEW_MASTER_KEY",
		},
		"no database": {[]string{toNext, "DATABASE_URL="}, "DATABASE_URL is not set"},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.with(c.env...).run("keys", "rotate")
			o.expect(t, exit.CodeUsage, c.want)
			if strings.Count(o.stderr, "\n") != 1 || strings.Contains(o.stderr, "others-others") ||
				strings.Contains(o.stderr, nextMaster) {
				t.Errorf("not one line, or it shows a key: %q", o.stderr)
			}
		})
	}
	if s.keys() != before {
		t.Error("something changed")
	}

	empty, _ := onDatabase(t)
	empty.with(toNext).run("keys", "rotate").expect(t, exit.CodeNotSo, "the database has no keys yet")
}

// waits reports whether a statement in the site's database waits for a lock.
func waits(t *testing.T, conn *pgx.Conn) bool {
	t.Helper()
	var n int
	err := conn.QueryRow(t.Context(), `select count(*) from pg_stat_activity
		where datname = current_database() and wait_event_type = 'Lock'`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// killRotation starts a rotation, kills it when it waits for the lock that the test
// holds, releases the lock, and waits until Postgres has ended the killed session.
func (s *site) killRotation(t *testing.T, hold, release string) {
	t.Helper()
	holder, watcher := connect(t, s), connect(t, s)
	if _, err := holder.Exec(t.Context(), hold); err != nil {
		t.Fatal(err)
	}

	rotation := s.with(toNext).start("keys", "rotate")
	pgtest.Eventually(t, "the rotation waits for the lock", func() bool {
		return waits(t, watcher) || rotation.ended()
	})
	if rotation.stop(t, syscall.SIGKILL) != -1 {
		t.Fatalf("it ended by itself:\n%s", rotation.said)
	}

	if _, err := holder.Exec(t.Context(), release); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "nothing of it is left", func() bool {
		var n int
		err := watcher.QueryRow(t.Context(),
			"select count(*) from pg_stat_activity where datname = current_database() and application_name = 'trust'").
			Scan(&n)
		return err == nil && n == 0
	})
}

func TestARotationThatIsKilledInTheMiddleHasChangedNothingAndIsSimplyRepeated(t *testing.T) {
	t.Parallel()
	s := peopled(t)
	before := s.keys()
	// The tenants' keys are written before the secrets.
	s.killRotation(t, "begin; select from trust.secrets where name = 'lookup' for update", "rollback")
	if s.keys() != before {
		t.Error("half a rotation is left")
	}

	s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "two@cpt.example").
		expect(t, exit.CodeDone, "admin of CPT made")
	s.with(asNext).run("verify").expect(t, exit.CodeUsage, "MASTER_KEY is not the one")
	s.with(toNext).run("keys", "rotate").expect(t, exit.CodeDone, "5 keys re-wrapped")
	s.with(asNext).feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "two@cpt.example").
		expect(t, exit.CodeDone, "exists in CPT already")
}

// keptKeys makes the site keep its master key as trust up does.
func (s *site) keptKeys(t *testing.T) *site {
	t.Helper()
	if err := os.MkdirAll(s.data(""), 0o711); err != nil {
		t.Fatal(err)
	}
	kept := settings.Pair{Name: "MASTER_KEY", Value: strings.TrimPrefix(testMaster, "MASTER_KEY=")}
	if err := settings.Keep(s.data("env"), kept); err != nil {
		t.Fatal(err)
	}
	return s.with("MASTER_KEY=")
}

// Killed between the commit and the file, it leaves both keys in the file, and every
// later command says what to do.
func TestARotationThatIsKilledAtItsCommitIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	s := peopled(t)
	s = s.keptKeys(t)
	_, err := connect(t, s).Exec(t.Context(), `create function public.hold() returns trigger language plpgsql as
			$$ begin perform pg_catalog.pg_advisory_xact_lock(42); return null; end $$;
		create constraint trigger hold after update on trust.secrets deferrable initially deferred
			for each row execute function public.hold()`)
	if err != nil {
		t.Fatal(err)
	}
	s.killRotation(t, "select pg_advisory_lock(42)", "select pg_advisory_unlock(42)")
	if kept := s.kept(); kept["NEW_MASTER_KEY"] != nextMaster || kept["MASTER_KEY"] == nextMaster {
		t.Errorf("it keeps %d variables, and not both keys", len(kept))
	}

	s.with(asNext).feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "boss@cpt.example").
		expect(t, exit.CodeDone, "exists in CPT already")
	for _, command := range [][]string{{"serve"}, {"project", "users"}, {"verify"}} {
		s.run(command...).expect(t, exit.CodeUnreachable, "is not finished; run trust keys rotate")
	}
	s.with("NEW_MASTER_KEY="+strings.Repeat("third-", 8)).run("keys", "rotate").
		expect(t, exit.CodeUsage, "a change to another NEW_MASTER_KEY was begun")

	s.run("keys", "rotate").expect(t, exit.CodeDone,
		"nothing to do: all keys are wrapped under NEW_MASTER_KEY, which is MASTER_KEY in "+s.data("env"))
	if kept := s.kept(); len(kept) != 1 || kept["MASTER_KEY"] != nextMaster {
		t.Errorf("it keeps %d variables, and not the new key alone", len(kept))
	}
	info, err := os.Stat(s.data("env"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of env: %v %v", info.Mode(), err)
	}
	s.run("status").expect(t, exit.CodeNotSo, "stopped: ")
}

func TestANewKeyThatTheEnvFileCannotHoldIsRefused(t *testing.T) {
	t.Parallel()
	s := peopled(t)
	s = s.keptKeys(t)
	before := s.keys()
	for _, part := range []string{" # ", "$HOME", `'`, "\n"} {
		s.with("NEW_MASTER_KEY="+part+strings.Repeat("next-", 4)+part+strings.Repeat("next-", 4)).run("keys", "rotate").
			expect(t, exit.CodeUsage, "NEW_MASTER_KEY has characters that")
	}

	if s.keys() != before || len(s.kept()) != 1 {
		t.Error("something changed")
	}
}

// Every command that needs the master key refuses another one before it does anything.
func TestEveryCommandRefusesAMasterKeyThatIsNotTheDatabases(t *testing.T) {
	t.Parallel()
	s := peopled(t)
	peopled(t, "MASTER_KEY="+strings.Repeat("others-", 6))
	before := s.keys()

	file := s.file("late.csv", "code,name,province\nJHB,City of Johannesburg,Gauteng\n")
	commands := [][]string{
		{"serve"},
		{"project", "users"},
		{"verify"},
		{"replay", "--tenant", "CPT"},
		{"exposure", "--tenant", "CPT", "--actor", "019384a0-0000-7000-8000-000000000001"},
		{"import", "municipalities", file},
		{"admin", "create", "--municipality", "CPT", "--email", "late@cpt.example"},
	}

	for name, c := range map[string]struct{ env, want string }{
		"wrong": {
			"MASTER_KEY=" + strings.Repeat("wrong-", 8),
			"MASTER_KEY is not the one that this database was made with",
		},
		"another database's": {
			"MASTER_KEY=" + strings.Repeat("others-", 6),
			"MASTER_KEY is not the one that this database was made with",
		},
		"missing": {"MASTER_KEY=", "MASTER_KEY is not set"},
	} {
		for _, command := range commands {
			t.Run(name+", "+command[0], func(t *testing.T) {
				o := s.with(c.env).feed("a good password\n", command...)
				o.expect(t, exit.CodeUsage, c.want)
				if strings.Contains(o.stdout+o.stderr, "wrong-wrong") ||
					strings.Contains(o.stdout+o.stderr, "others-others") {
					t.Errorf("it shows the key: %q", o.stderr)
				}
			})
		}
	}
	if s.keys() != before {
		t.Error("something changed")
	}

	// None of them refuses everything.
	for i, command := range commands[2:] {
		if o := s.feed("a good password\n", command...); o.code == exit.CodeUsage {
			t.Errorf("%d: with the right key it says %s", i, o.stderr)
		}
	}
}

// watchers counts connections whose last statement looked at the key.
func watchers(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `select count(*) from pg_stat_activity
		where datname = current_database() and application_name = 'trust' and query like '%trust.secret_once%'`).
		Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A process that runs meanwhile ends by itself, but not as one whose configuration is
// wrong, so that its supervisor starts it again.
func TestAProcessThatRunsWhileTheMasterKeyIsChangedAsksToBeStartedAgain(t *testing.T) {
	t.Parallel()
	s := peopled(t)
	project := s.start("project", "all")
	conn := connect(t, s)
	pgtest.Eventually(t, "the projectors have looked at the key", func() bool { return watchers(t, conn) == 1 })
	serve := s.start("serve")
	pgtest.Eventually(t, "the system is ready", s.ready)

	s.with(toNext).run("keys", "rotate").expect(t, exit.CodeDone, "re-wrapped")
	for name, process := range map[string]*running{"serve": serve, "project": project} {
		pgtest.Receive(t, process.exited)
		if code := process.cmd.ProcessState.ExitCode(); code != exit.CodeUnreachable ||
			!strings.Contains(process.said.String(), "the master key was changed while this process ran") {
			t.Errorf("%s: exit code %d", name, code)
		}
	}
}
