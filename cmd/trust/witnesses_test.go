package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// checkpoint returns the newest checkpoint that is served; empty: none.
func (s *site) checkpoint() string {
	response, err := http.Get("http://" + s.addr + "/log/checkpoint") //nolint:noctx // of a test
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	note, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return ""
	}
	return string(note)
}

// The log, a witness and somebody who watches from outside, each a process of its own.
func TestAWitnessCosignsTheLogAndAnybodyCanWatchThat(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off", "CHECKPOINT_EVERY=100ms")
	up := s.start("up")
	pgtest.Eventually(t, "a checkpoint is served", func() bool { return s.checkpoint() != "" || up.ended() })
	shown := s.with("DATABASE_URL="+s.kept()["DATABASE_URL"]).run("keys", "show")
	keys := regexp.MustCompile(`salga-trust/\S+`).FindAllString(shown.stdout, -1)
	if len(keys) != 2 {
		t.Fatalf("the log signs with %q: %s", keys, shown.stdout)
	}

	watched := filepath.Join(s.dir, "seen")
	watch := func(args ...string) outcome {
		return s.run(append([]string{"log", "watch", "http://" + s.addr, "--state", watched}, args...)...)
	}
	watch("--key", keys[0], "--key", keys[1]).expect(t, exit.CodeDone, "seen for the first time")
	if code := up.stop(t, syscall.SIGTERM); code != exit.CodeDone {
		t.Fatalf("trust up ends with %d", code)
	}

	_, to := s.witnessOf("w", "--name", "witness.example/1", "--log", keys[0], "--log", keys[1])
	policy := s.file("policy", fmt.Sprintf("log %s\nlog %s\nwitness w %s %s\nquorum w\n",
		keys[0], keys[1], to.Keys[0].Vkey(), to.URL))
	s = s.with("LOG_POLICY=" + policy)
	s.start("up")
	cosigned := func() bool { return strings.Contains(s.checkpoint(), "\n\u2014 witness.example/1 ") }
	pgtest.Eventually(t, "the witness has cosigned", cosigned)
	watch("--policy", policy).expect(t, exit.CodeDone, "begin with the")

	size := func() string { return strings.Split(s.checkpoint()+"\n\n", "\n")[1] }
	before := size()
	pgtest.Eventually(t, "the system is ready", s.ready)
	s.citizen("nomsa@example.org", "Nomsa Mudau")
	pgtest.Eventually(t, "the witness cosigns what came after", func() bool { return size() != before && cosigned() })
	watch("--policy", policy).expect(t, exit.CodeDone, "begin with the")
	s.with("DATABASE_URL="+s.kept()["DATABASE_URL"]).run("verify").expect(t, exit.CodeDone, "events verified")
	s.tellsHowFarTheLogIsSealed(policy)
}

// tellsHowFarTheLogIsSealed looks at the metrics and at trust status, then with a policy
// that is damaged, which hides nothing of the rest.
func (s *site) tellsHowFarTheLogIsSealed(policy string) {
	s.t.Helper()
	caughtUp := func() bool {
		m := s.metrics()
		return m["trust_log_policy_readable"] == "1" && m["trust_log_position"] == m["trust_log_cosigned_size"] &&
			m["trust_log_checkpoint_behind"] == "0" && m[`trust_log_witness_waiting_seconds{witness="w"}`] == "0" &&
			m["trust_log_checkpoint_age_seconds"] > "0"
	}
	pgtest.Eventually(s.t, "the metrics say that the log is cosigned", caughtUp)
	lines := regexp.MustCompile(`(?m)^(signed|cosigned|by w) +(\d+)  +0 +[\dhm]+s$`)
	s = s.with("DATABASE_URL=" + s.kept()["DATABASE_URL"])
	if o := s.run("status"); o.code != exit.CodeDone || len(lines.FindAllString(o.stdout, -1)) != 3 {
		s.t.Errorf("status says %s", o.stdout)
	}

	must(s.t, os.WriteFile(policy, []byte("witness w\n"), 0o600))
	o := s.run("status")
	o.expect(s.t, exit.CodeNotSo, policy+": policy, line 1")
	if !strings.Contains(o.stdout, "\nsigned ") || !strings.Contains(o.stdout, "\nusers ") {
		s.t.Errorf("a damaged policy hides the rest: %s", o.stdout)
	}
	if m := s.metrics(); m["trust_log_policy_readable"] != "0" || m["trust_log_checkpoint_size"] == "" {
		s.t.Errorf("the metrics say %v", m)
	}
}
