package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/cmd/trust/internal/wrapping/transittest"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A process asks the service for its master key once. Without the service it goes on,
// makes keys of new people, and starts again by the second wrapping.
func TestAProcessNeedsTheServiceThatUnwrapsItsKeyOnlyToStart(t *testing.T) {
	t.Parallel()
	bao := transittest.New(t, "s.t0ken", "transit", "trust")
	safe, err := age.GenerateX25519Identity()
	must(t, err)

	plain := peopled(t, "TRANSIT_TOKEN_FILE=token", "RATE_LIMIT=off")
	plain.file("token", "s.t0ken\n")
	plain.run("keys", "wrap", "wrapped", "--name", "bao", "--transit", bao.URL, "--key", "trust").
		expect(t, exit.CodeDone, "is wrapped in wrapped as bao; it was opened again")
	wrapped := plain.with("MASTER_KEY=", "MASTER_KEY_WRAPPED_FILE=wrapped")
	wrapped.run("keys", "wrap", "wrapped", "--name", "safe", "--age", safe.Recipient().String()).
		expect(t, exit.CodeDone, "is wrapped in wrapped as safe; try it where the identity is")

	project, serve := wrapped.start("project", "all"), wrapped.start("serve")
	pgtest.Eventually(t, "it is ready", wrapped.ready)
	bao.Close()
	asked := bao.Asked()
	boss := wrapped.signedIn("boss@cpt.example", "a good password", "CPT")
	if name := field(t, boss.call("GET", "users/me", ""), "full_name"); name != "Ṱhilivhali Boss" {
		t.Errorf("the admin's name reads %q", name)
	}
	wrapped.citizen("new@example.org", "Somebody New")
	pgtest.Eventually(t, "the read tables have followed", wrapped.caughtUp)
	serve.stop(t, syscall.SIGTERM)
	project.stop(t, syscall.SIGTERM)
	if n := bao.Asked(); n != asked {
		t.Errorf("the service was asked %d times after the start", n-asked)
	}

	o := wrapped.run("serve")
	o.expect(t, exit.CodeUnreachable, "does not answer, so the wrapping bao cannot be opened")
	glass := wrapped.with("MASTER_KEY_WRAPPING=safe", "MASTER_KEY_AGE_IDENTITY_FILE=identity")
	glass.file("identity", safe.String()+"\n")
	glass.run("verify").expect(t, exit.CodeDone, "events verified")
	glass.with(toNext).run("keys", "rotate").
		expect(t, exit.CodeDone, "put the file that wraps it in the place of wrapped, and start every process again")
	glass.run("verify").expect(t, exit.CodeUsage, "MASTER_KEY is not the one")

	for _, told := range []string{"t0ken", safe.String(), strings.TrimPrefix(testMaster, "MASTER_KEY=")} {
		if strings.Contains(o.stderr+serve.said.String(), told) {
			t.Errorf("%q is shown", told)
		}
	}
}

// The way back: the key leaves its wrapping for a file of its own, and is never printed.
func TestAWrappedKeyIsTriedListedForgottenAndWrittenToAFile(t *testing.T) {
	t.Parallel()
	safe, err := age.GenerateX25519Identity()
	must(t, err)
	s := newSite(t, testMaster, "MASTER_KEY_AGE_IDENTITY_FILE=identity")
	s.file("identity", safe.String()+"\n")
	for _, name := range []string{"safe", "second"} {
		s.run("keys", "wrap", "wrapped", "--name", name, "--age", safe.Recipient().String()).
			expect(t, exit.CodeDone, "as "+name)
	}

	s.run("keys", "wrappings", "wrapped").expect(t, exit.CodeDone, "second  age "+safe.Recipient().String())
	s.run("keys", "forget", "wrapped", "--name", "second").expect(t, exit.CodeDone, "second is forgotten")
	s.run("keys", "unwrap", "wrapped", "--name", "second").expect(t, exit.CodeUsage, "there are: safe")
	s.with(asNext).run("keys", "wrap", "wrapped", "--name", "bao", "--age", safe.Recipient().String()).
		expect(t, exit.CodeUsage, "wrapped is of another master key")
	s.run("keys", "wrap", "wrapped", "--name", "Safe!", "--age", "x").expect(t, exit.CodeUsage, "lower case letters")
	s.run("keys", "wrap", "wrapped", "--name", "safe").expect(t, exit.CodeUsage, "give either --age or --transit")
	s.run("status", "--master-key-wrapped-file", "wrapped").
		expect(t, exit.CodeUsage, "MASTER_KEY and MASTER_KEY_WRAPPED_FILE are both set, the first in the environment")

	o := s.run("keys", "unwrap", "wrapped", "--out", "master.key")
	o.expect(t, exit.CodeDone, "safe opens the master key")
	key := strings.TrimPrefix(testMaster, "MASTER_KEY=")
	if strings.Contains(o.stdout+o.stderr, key) {
		t.Error("the key is shown")
	}
	path := s.dir + "/master.key"
	info, err := os.Stat(path)
	must(t, err)
	if text, err := os.ReadFile(path); string(text) != key+"\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q with mode %s, %v", text, info.Mode().Perm(), err)
	}
	s.run("keys", "unwrap", "wrapped", "--out", "master.key").expect(t, exit.CodeUnreachable, "to a new file")
	s.with("MASTER_KEY=", "MASTER_KEY_FILE=master.key").run("keys", "wrap", "wrapped", "--name", "safe", "--age",
		safe.Recipient().String()).expect(t, exit.CodeDone, "as safe")
}
