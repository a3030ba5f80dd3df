package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/salga-trust/engine/cmd/trust/data"
	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/supervise"
	"github.com/salga-trust/engine/internal/pgtest"
)

// One system through its whole life, because making a cluster for each step would take
// too long.
func TestUp(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	up := s.start("up")

	for _, step := range []struct {
		name string
		do   func(*testing.T, *site, *running) *running
	}{
		{"everything runs on a bare machine", upFromNothing},
		{"a second one on the same folder is refused", upTwice},
		{"status and verify are content", upIsHealthy},
		{"whatever is killed comes back", upHeals},
		{"the master key is changed while it runs", upRotates},
		{"SIGTERM leaves nothing behind", upStops},
		{"the next start goes on with the same data", upGoesOn},
		{"a terminal that closes leaves nothing behind", upHangsUp},
		{"upgrades of its programs change nothing before they are asked for", upOutlivesUpgrades},
		{"kill -9 of the supervisor leaves nothing behind", upIsKilled},
		{"another master key is refused", upWithOtherKey},
		{"a lost master key is not made anew", upWithoutKey},
	} {
		if !t.Run(step.name, func(t *testing.T) {
			up = step.do(t, s, up)
		}) {
			t.Logf("trust up said:\n%s", up.said)
			return
		}
	}
}

// partsOfUp lists the processes of trust up: three that are always there, and one for
// each follower.
func partsOfUp() []string {
	names := []string{"postgres", "serve", "webhooks"}
	for _, f := range followers() {
		names = append(names, "project-"+f.Name())
	}
	return names
}

func upFromNothing(t *testing.T, s *site, up *running) *running {
	pgtest.Eventually(t, "it says where everything is", func() bool {
		return strings.Contains(up.said.String(), "\nready\n") || up.ended()
	})
	pgtest.Eventually(t, "/ready says so too", s.ready)
	if n := s.municipalities(); n != 257 {
		t.Errorf("%d municipalities", n)
	}

	want := partsOfUp()
	slices.Sort(want)
	pids := s.pids()
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(pids))); diff != "" {
		t.Error(diff)
	}
	for name, pid := range pids {
		if !alive(pid) {
			t.Errorf("%s.pid names no living process", name)
		}
	}

	kept := s.kept()
	names := []string{"ADMIN_EMAIL", "ADMIN_PASSWORD", "DATABASE_URL", "LOG_SIGNING_KEY", "MASTER_KEY", "SECRET_KEY"}
	if diff := cmp.Diff(names, slices.Sorted(maps.Keys(kept))); diff != "" {
		t.Error(diff)
	}
	info, err := os.Stat(s.data("env"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of env: %v %v", info.Mode(), err)
	}

	for _, name := range []string{"ADMIN_PASSWORD", "MASTER_KEY", "SECRET_KEY"} {
		if strings.Contains(up.said.String(), kept[name]) {
			t.Errorf("%s was printed where no terminal is", name)
		}
	}
	for _, part := range []string{
		data.Credit, "http://" + s.addr + "/docs", "257 registered, 0 unchanged, 0 refused", s.data("env"),
	} {
		if !strings.Contains(up.said.String(), part) {
			t.Errorf("it does not say %q", part)
		}
	}
	if said := up.said.String(); strings.Contains(said, "level=WARN") || strings.Contains(said, "level=ERROR") {
		t.Errorf("a first start warns of its own making:\n%s", said)
	}

	if code := s.signIn(kept["ADMIN_EMAIL"], kept["ADMIN_PASSWORD"], "SALGA"); code != 200 {
		t.Errorf("the first admin's sign-in answers %d", code)
	}
	return up
}

func upTwice(t *testing.T, s *site, up *running) *running {
	s.run("up").expect(t, exit.CodeUnreachable, "trust up runs on "+s.data("")+" already (process ")
	if up.ended() {
		t.Error("that ended the first one")
	}
	pgtest.Eventually(t, "the first one is ready", s.ready)
	return up
}

func upIsHealthy(t *testing.T, s *site, up *running) *running {
	s.run("status").expect(t, exit.CodeDone, "municipalities")
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	s.run("migrate", "--status").expect(t, exit.CodeDone, "schema version")

	pgtest.Eventually(t, "the metrics say that every projector runs, and has caught up", func() bool {
		metrics := s.metrics()
		head := metrics["trust_log_position"]
		for _, name := range namesOf(followers()) {
			if metrics[`trust_projection_state{projection="`+name+`",state="running"}`] != "1" ||
				metrics[`trust_projection_position{projection="`+name+`"}`] != head {
				return false
			}
		}
		return head != "" && metrics["trust_notification_queue_usage"] != ""
	})
	return up
}

func upHeals(t *testing.T, s *site, up *running) *running {
	for name, pid := range s.pids() {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		pgtest.Eventually(t, name+" is back", func() bool {
			now := s.pids()[name]
			return now != 0 && now != pid && alive(now) && s.ready()
		})
	}

	s.run("verify").expect(t, exit.CodeDone, "events verified")
	return up
}

func upRotates(t *testing.T, s *site, up *running) *running {
	before, parts := s.kept(), s.pids()
	s.with("NEW_MASTER_KEY="+nextMaster).run("keys", "rotate").
		expect(t, exit.CodeDone, "261 keys re-wrapped under the new master key, which is MASTER_KEY in "+s.data("env"))

	after := s.kept()
	if after["MASTER_KEY"] != nextMaster {
		t.Error("the new key is not kept")
	}
	if after["MASTER_KEY"] = before["MASTER_KEY"]; !maps.Equal(before, after) {
		t.Errorf("something else changed: %v", slices.Sorted(maps.Keys(after)))
	}

	pgtest.Eventually(t, "every part that knew the old key was started again", func() bool {
		for name, pid := range s.pids() {
			if (pid == parts[name]) != (name == supervise.PostgresPart) {
				return false
			}
		}
		return len(s.pids()) == len(parts) && s.ready()
	})

	me := s.signedIn(after["ADMIN_EMAIL"], after["ADMIN_PASSWORD"], "SALGA")
	if name := field(t, me.call("GET", "users/me", ""), "full_name"); name != "Administrator" {
		t.Error("the first admin's name does not read as before")
	}
	s.run("import", "municipalities", s.file("late.csv", "code,name,province\nLATE1,A Late One,Gauteng\n")).
		expect(t, exit.CodeDone, "1 registered")
	s.run("verify").expect(t, exit.CodeDone, "events verified")
	s.with("MASTER_KEY="+before["MASTER_KEY"]).run("verify").expect(t, exit.CodeUsage, "MASTER_KEY is not the one")
	s.with("NEW_MASTER_KEY="+nextMaster).run("keys", "rotate").expect(t, exit.CodeDone, "nothing to do")
	return up
}

// The first admin changes the password, and then removes the old one from the file.
func upHangsUp(t *testing.T, s *site, up *running) *running {
	kept := s.kept()
	admin := s.signedIn(kept["ADMIN_EMAIL"], kept["ADMIN_PASSWORD"], "SALGA")
	admin.call("PUT", "users/me/password",
		`{"current_password":"`+kept["ADMIN_PASSWORD"]+`","new_password":"another one, of mine"}`)
	upEndsAt(t, s, up, syscall.SIGHUP)

	const changed = "its password is not the one that is set or kept here"
	up = s.start("up")
	pgtest.Eventually(t, "it says that the password is another", func() bool {
		return strings.Contains(up.said.String(), changed) || up.ended()
	})
	upEndsAt(t, s, up, syscall.SIGTERM)

	text, err := os.ReadFile(s.data("env"))
	must(t, err)
	cleared := strings.Replace(string(text), "ADMIN_PASSWORD="+kept["ADMIN_PASSWORD"]+"\n", "", 1)
	must(t, os.WriteFile(s.data("env"), []byte(cleared), 0o600))
	up = s.start("up")
	pgtest.Eventually(t, "it says so again", func() bool {
		return strings.Contains(up.said.String(), changed) || up.ended()
	})
	if made, is := s.kept()["ADMIN_PASSWORD"]; is {
		t.Errorf("it made up another password, %q", made)
	}
	s.run("status").expect(t, exit.CodeDone, s.data("postgres"))
	return up
}

// Between two starts a newer Postgres is installed, and while the system runs, a newer
// build takes the program's name.
func upOutlivesUpgrades(t *testing.T, s *site, up *running) *running {
	upEndsAt(t, s, up, syscall.SIGTERM)
	newer := filepath.Join(s.dir, "newer")
	must(t, os.Mkdir(newer, 0o755))
	for name, text := range map[string]string{
		"postgres": "#!/bin/sh\necho 'postgres (PostgreSQL) 99.1'\n", "initdb": "#!/bin/sh\n",
	} {
		must(t, os.WriteFile(filepath.Join(newer, name), []byte(text), 0o755))
	}

	upgraded := s.with("PATH=" + newer + ":" + os.Getenv("PATH"))
	upgraded.program = filepath.Join(s.dir, "trust")
	program, err := os.ReadFile(binary)
	must(t, err)
	must(t, os.WriteFile(upgraded.program, program, 0o755))
	up = upgraded.start("up")
	pgtest.Eventually(t, "it goes on with the Postgres that made its database", func() bool {
		return s.ready() || up.ended()
	})

	build := upgraded.program + ".new"
	must(t, os.WriteFile(build, []byte("#!/bin/sh\nexit 1\n"), 0o755))
	must(t, os.Rename(build, upgraded.program))
	before := s.pids()["serve"]
	must(t, syscall.Kill(before, syscall.SIGKILL))
	pgtest.Eventually(t, "the API is back", func() bool {
		now := s.pids()["serve"]
		return now != 0 && now != before && s.ready()
	})

	// A cluster that no installed Postgres can serve is reported at once.
	upEndsAt(t, s, up, syscall.SIGTERM)
	version := filepath.Join(s.data("postgres"), "data", "PG_VERSION")
	made, err := os.ReadFile(version)
	must(t, err)
	must(t, os.WriteFile(version, []byte("14\n"), 0o600))
	s.run("up").expect(t, exit.CodeUnreachable, "Postgres 14 made the database in "+s.data("postgres"))
	must(t, os.WriteFile(version, made, 0o600))
	up = s.start("up")
	pgtest.Eventually(t, "it goes on", s.ready)
	return up
}

func upStops(t *testing.T, s *site, up *running) *running {
	upEndsAt(t, s, up, syscall.SIGTERM)
	return up
}

func upEndsAt(t *testing.T, s *site, up *running, sig syscall.Signal) {
	t.Helper()
	if code := up.stop(t, sig); code != exit.CodeDone {
		t.Errorf("exit code %d", code)
	}
	if left := s.leftovers(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if pids := s.pids(); len(pids) > 0 {
		t.Errorf("pid files left behind: %v", pids)
	}
}

func upGoesOn(t *testing.T, s *site, _ *running) *running {
	before := s.kept()
	up := s.start("up")
	pgtest.Eventually(t, "it is ready again", func() bool {
		return strings.Contains(up.said.String(), "\nready\n") || up.ended()
	})

	if strings.Contains(up.said.String(), "importing") {
		t.Error("it imported again")
	}
	if n := s.municipalities(); n != 258 {
		t.Errorf("%d municipalities", n)
	}
	if diff := cmp.Diff(before, s.kept()); diff != "" {
		t.Error(diff)
	}
	if code := s.signIn(before["ADMIN_EMAIL"], before["ADMIN_PASSWORD"], "SALGA"); code != 200 {
		t.Errorf("the first admin's sign-in answers %d", code)
	}
	return up
}

func upIsKilled(t *testing.T, s *site, up *running) *running {
	if code := up.stop(t, syscall.SIGKILL); code != -1 {
		t.Errorf("exit code %d", code)
	}
	s.noneLeft()
	return up
}

func upWithOtherKey(t *testing.T, s *site, up *running) *running {
	wrong := s.with("MASTER_KEY=" + strings.Repeat("wrong-", 8))
	o := wrong.run("up")
	o.expect(t, exit.CodeUsage, "MASTER_KEY is not the one that this database was made with")
	if strings.Contains(o.stdout+o.stderr, "wrong-wrong") {
		t.Error("it printed the key")
	}
	s.noneLeft()
	return up
}

func upWithoutKey(t *testing.T, s *site, up *running) *running {
	text, err := os.ReadFile(s.data("env"))
	if err != nil {
		t.Fatal(err)
	}
	without := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "MASTER_KEY=")
	})
	if err := os.WriteFile(s.data("env"), []byte(strings.Join(without, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}

	s.run("up").expect(t, exit.CodeUsage, "but no MASTER_KEY")
	if _, made := s.kept()["MASTER_KEY"]; made {
		t.Error("it made another one")
	}
	return up
}

// A first start that is killed at any point can simply be repeated.
func TestUpFinishesAFirstStartThatWasKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, stage := range []struct {
		name    string
		reached func(*running) bool
	}{
		{"the keys are made", func(*running) bool { _, err := os.Stat(s.data("env")); return err == nil }},
		{"Postgres starts", func(*running) bool { return s.pids()["postgres"] != 0 }},
		{"the schema is made", func(up *running) bool {
			return s.pids()["prepare"] != 0 || strings.Contains(up.said.String(), "applied 001_roles.sql")
		}},
		{"the import runs", func(up *running) bool { return strings.Contains(up.said.String(), "importing") }},
	} {
		up := s.start("up")
		pgtest.Eventually(t, stage.name, func() bool { return stage.reached(up) || up.ended() })
		if up.stop(t, syscall.SIGKILL) != -1 {
			t.Fatalf("it ended by itself before %s:\n%s", stage.name, up.said)
		}
	}

	up := s.start("up")
	pgtest.Eventually(t, "it is ready", func() bool {
		return strings.Contains(up.said.String(), "\nready\n") || up.ended()
	})
	if n := s.municipalities(); n != 257 {
		t.Errorf("%d municipalities", n)
	}

	kept := s.kept()
	if code := s.signIn(kept["ADMIN_EMAIL"], kept["ADMIN_PASSWORD"], "SALGA"); code != 200 {
		t.Errorf("the first admin's sign-in answers %d", code)
	}
	if code := up.stop(t, syscall.SIGINT); code != exit.CodeDone {
		t.Errorf("exit code %d", code)
	}
	s.noneLeft()
}

func TestUpOnAGivenDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t, "DATABASE_URL="+pgtest.Fresh(t), "ADMIN_EMAIL=first@salga.example",
		"ADMIN_PASSWORD=given from outside")
	up := s.start("up")
	pgtest.Eventually(t, "it is ready", func() bool {
		return strings.Contains(up.said.String(), "\nready\n") || up.ended()
	})

	if pid := s.pids()["postgres"]; pid != 0 {
		t.Errorf("it runs a Postgres: %d", pid)
	}
	kept := s.kept()
	if diff := cmp.Diff([]string{"ADMIN_EMAIL", "LOG_SIGNING_KEY", "MASTER_KEY", "SECRET_KEY"},
		slices.Sorted(maps.Keys(kept))); diff != "" {
		t.Error(diff)
	}
	if code := s.signIn("first@salga.example", "given from outside", "SALGA"); code != 200 {
		t.Errorf("the first admin's sign-in answers %d", code)
	}
	if strings.Contains(up.said.String(), "given from outside") {
		t.Error("it printed the password")
	}
	if code := up.stop(t, syscall.SIGINT); code != exit.CodeDone {
		t.Errorf("exit code %d", code)
	}
	s.noneLeft()

	s.with("MASTER_KEY="+strings.Repeat("wrong-", 8)).run("up").expect(t, exit.CodeUsage, "MASTER_KEY is not the one")
	s.noneLeft()
}

// A restored database has an admin, for example.
func TestUpOnADatabaseWithAnAdminMakesNoOther(t *testing.T) {
	t.Parallel()
	s, _ := onDatabase(t)
	s.feed("correct horse battery\n", "admin", "create", "--municipality", "SALGA", "--email", "own@example.org").
		expect(t, exit.CodeDone, "made")

	up := s.start("up")
	pgtest.Eventually(t, "it is ready", func() bool {
		return strings.Contains(up.said.String(), "\nready\n") || up.ended()
	})

	if !strings.Contains(up.said.String(), "its password is not the one that is set or kept here") {
		t.Error("it announces a password")
	}
	if made, is := s.kept()["ADMIN_PASSWORD"]; is {
		t.Errorf("it made up a password, %q", made)
	}
}
