package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salga-trust/engine/migrations/localpg"
)

// A registered person's e-mail address, name, phone and address are in the read tables, which rebuild and erasure cover, and
// nowhere else: not in the log, not in the command side's tables, not in a log file of ours or of Postgres.
func TestPersonalDataStandsInTheReadTablesAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off", "DEBUG=true")
	up := s.start("up")
	eventually(t, "the system is ready", s.ready)
	c := newClient("http://" + s.addr)
	marks := map[string]string{
		"e-mail": "marked.resident@example.co.za", "new e-mail": "marked.other@example.co.za", "name": "Ṱhilivhali Markedname",
		"phone": "+27821239876", "password": "marked horse battery", "user agent": "marked-agent/1.0", "reason": "marked reason",
		"evidence": "marked box 7", "wrong value": "marked-wrong-language", "refused wording": "marked wording",
		"competent person": "Marked Guardian", "injection": "marked'; drop table trust.events; --",
	}
	c.http.Transport = agent{marks["user agent"]}
	livesMarked(t, c, marks)
	var users struct{ Status string }
	eventually(t, "the read tables have followed", func() bool { return s.get("/ready", &users) == 200 && users.Status == "ready" })

	tables := s.dump(t, "--exclude-table-data=trust.users_v1")
	everything := s.dump(t)
	logs := up.said.String() + s.postgresLog(t)
	for what, mark := range marks {
		for place, text := range map[string]string{"a dump without the table of users": tables, "a log": logs} {
			if strings.Contains(text, mark) {
				t.Errorf("the %s is in %s", what, place)
			}
		}
	}
	for _, what := range []string{"new e-mail", "name", "phone"} { // so that the search can fail
		if !strings.Contains(everything, marks[what]) {
			t.Errorf("the %s is not in the table of users either", what)
		}
	}
}

type agent struct{ name string }

func (a agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", a.name)
	return http.DefaultTransport.RoundTrip(r)
}

// livesMarked does everything with marked values that a person can: right and wrong.
func livesMarked(t *testing.T, c *client, marks map[string]string) {
	t.Helper()
	ctx := t.Context()
	do := func(method, path string, want int, body map[string]any) reply {
		t.Helper()
		r, err := c.insist(ctx, method, path, body)
		if err != nil || r.status != want {
			t.Fatalf("%s %s: %d %v %v, want %d", method, path, r.status, r.body["code"], err, want)
		}
		return r
	}
	register := func(change map[string]any) map[string]any {
		body := map[string]any{
			"email": marks["e-mail"], "password": marks["password"], "full_name": marks["name"], "phone": marks["phone"],
			"preferred_language": "zu", "municipality_code": "CPT",
			"consent": map[string]any{"purpose": "platform_registration", "language": "zu", "consented": true},
		}
		for k, v := range change {
			body[k] = v
		}
		return body
	}
	do("POST", "/api/v1/auth/register", 422, register(map[string]any{"preferred_language": marks["wrong value"]}))
	do("POST", "/api/v1/auth/register", 422, register(map[string]any{marks["injection"]: marks["wrong value"]}))
	do("POST", "/api/v1/auth/register", 422, register(map[string]any{"password": map[string]any{"x": marks["password"]}}))
	do("POST", "/api/v1/auth/register", 201, register(nil))
	do("POST", "/api/v1/auth/register", 409, register(nil))
	do("POST", "/api/v1/auth/login", 401, map[string]any{"email": marks["e-mail"], "password": marks["injection"]})
	login := do("POST", "/api/v1/auth/login", 200, map[string]any{"email": marks["e-mail"], "password": marks["password"]})
	c.token = login.text("access_token")
	do("PATCH", "/api/v1/users/me", 200, map[string]any{"email": marks["new e-mail"], "current_password": marks["password"]})
	sha := strings.Repeat("ab", 32)
	do("POST", "/api/v1/consents", 422, map[string]any{
		"purpose": "sms_alert", "language": "zu", "consented": true, "purpose_description": marks["refused wording"],
	})
	granted := do("POST", "/api/v1/consents", 201, map[string]any{
		"purpose": "child_programme", "language": "zu", "consented": true, "channel": "paper",
		"evidence": map[string]any{"sha256": sha, "reference": marks["evidence"]},
		"given_by": map[string]any{"name": marks["competent person"], "relation": "mother", "authority": "birth certificate"},
	})
	do("POST", "/api/v1/consents/"+granted.text("id")+"/withdraw", 200, map[string]any{"reason": marks["reason"]})
	do("GET", "/api/v1/users/me?"+"q="+strings.ReplaceAll(marks["phone"], "+", ""), 200, nil)
}

// dump gives what pg_dump writes.
func (s *site) dump(t *testing.T, more ...string) string {
	t.Helper()
	found, err := localpg.Find()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--dbname=" + s.kept()["DATABASE_URL"], "--schema=trust"}, more...)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(found.Dir, "pg_dump"), args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("pg_dump: %v: %s", err, complaint.String())
	}
	return out.String()
}

// postgresLog gives every log that Postgres wrote to a file.
func (s *site) postgresLog(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".log") {
			return nil //nolint:nilerr // files come and go in a running cluster
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
