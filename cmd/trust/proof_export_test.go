package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// A resident downloads the proof of their consent, an operator exports it, and a stranger
// with the binary, the file and the log's keys checks it.
func TestAProofIsHandedOutAndCheckedByAStranger(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off", "CHECKPOINT_EVERY=100ms")
	up := s.start("up")
	pgtest.Eventually(t, "the system is ready", func() bool { return s.ready() || up.ended() })
	nomsa := s.citizen("nomsa@example.org", "Nomsa Ṱhavhani")
	given := nomsa.call("POST", "consents", `{"purpose":"sms_alert","language":"zu","consented":true}`)
	consent := field(t, given, "id")

	stranger := newSite(t)
	log := s.with("DATABASE_URL=" + s.kept()["DATABASE_URL"])
	keys := regexp.MustCompile(`salga-trust/\S+`).FindAllString(log.run("keys", "show").stdout, -1)
	policy := stranger.file("policy", "log "+strings.Join(keys, "\nlog ")+"\nquorum none\n")
	check := func(file string) outcome { return stranger.run("proof", "check", file, "--policy", policy) }

	downloaded := string(nomsa.call("GET", "consents/"+consent+"/proof", ""))
	check(stranger.file("downloaded.json", downloaded)).expect(t, exit.CodeDone, `agreed to the purpose "sms_alert"`)
	for _, name := range []string{"Nomsa", "havhani", "nomsa@example.org"} {
		if strings.Contains(downloaded, name) {
			t.Errorf("the file shows %q", name)
		}
	}
	t.Logf("%d bytes", len(downloaded))

	out := filepath.Join(stranger.dir, "exported.json")
	export := func(args ...string) outcome {
		all := []string{"proof", "export", "--tenant", "cpt", "--consent", consent, "--out", out}
		return log.run(append(all, args...)...)
	}
	export("--reason", "case 114/2026").expect(t, exit.CodeDone, "receipt ")
	check(out).expect(t, exit.CodeDone, "Proven.")
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("the file is %v (%v)", info.Mode(), err)
	}
	exported, err := os.ReadFile(out)
	must(t, err)
	changed := strings.Replace(string(exported), "izaziso", "izazizo", 1)
	check(stranger.file("changed.json", changed)).expect(t, exit.CodeNotSo, "signature")

	export().expect(t, exit.CodeUsage, "exists")
	export("--replace").expect(t, exit.CodeDone, "receipt ")
	log.run("proof", "export", "--tenant", "CPT", "--consent", nomsa.id, "--out", out+"2").
		expect(t, exit.CodeNotSo, "no such consent")
	if _, err := os.Stat(out + "2"); err == nil {
		t.Error("a file was written for nothing")
	}
	s.with("DATABASE_URL=postgres://nobody@127.0.0.1:1/none").
		run("proof", "export", "--tenant", "CPT", "--consent", consent, "--out", out+"3").
		expect(t, exit.CodeUnreachable, "")
	if code := up.stop(t, syscall.SIGTERM); code != exit.CodeDone {
		t.Errorf("trust up ends with %d", code)
	}
}
