package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// account sends requests to a site.
type account struct {
	s        *site
	id       string
	token    string
	position string // of the newest answer that named one
}

// call sends a request and returns the answer's body. A status above 299 fails the test.
func (c *account) call(method, path, body string) []byte {
	c.s.t.Helper()
	r, err := http.NewRequestWithContext(c.s.t.Context(), method, "http://"+c.s.addr+"/api/v1/"+path,
		strings.NewReader(body))
	if err != nil {
		c.s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}

	a, err := http.DefaultClient.Do(r)
	if err != nil {
		c.s.t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()

	text, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode > 299 {
		c.s.t.Fatalf("%s %s: %d %s %v", method, path, a.StatusCode, text, err)
	}

	if at := a.Header.Get("Event-Position"); at != "" {
		c.position = at
	}
	return text
}

// field returns one text of an answer.
func field(t testing.TB, answer []byte, name string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(answer, &fields); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	text, _ := fields[name].(string)
	return text
}

func (s *site) signedIn(email, password, code string) *account {
	s.t.Helper()
	c := &account{s: s}
	c.token = field(s.t, c.call("POST", "auth/login",
		fmt.Sprintf(`{"email":%q,"password":%q,"municipality_code":%q}`, email, password, code)), "access_token")
	c.id = field(s.t, c.call("GET", "users/me", ""), "id")
	return c
}

// citizen registers somebody in Cape Town.
func (s *site) citizen(email, name string) *account {
	s.t.Helper()
	(&account{s: s}).call("POST", "auth/register",
		fmt.Sprintf(`{"email":%q,"password":"correct horse battery","full_name":%q,
		"municipality_code":"CPT","consent":{"purpose":"platform_registration","language":"en","consented":true}}`,
			email, name))
	return s.signedIn(email, "correct horse battery", "CPT")
}

// The officer's question on the command line: what had this person agreed to on that
// date, in which words, who recorded it, and who has looked since?
func TestAnOfficerAnswersTheRegulatorOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "officer@example.org").
		expect(t, exit.CodeDone, "admin of CPT made")
	officer, nomsa := s.signedIn("officer@example.org", "a good password", "CPT"),
		s.citizen("nomsa@example.org", "Nomsa Ṱhavhani")
	s.citizen("somebody@example.org", "Somebody Else")

	daysAgo := func(n int) string { return time.Now().AddDate(0, 0, -n).UTC().Format(time.RFC3339) }
	then, day := daysAgo(3), daysAgo(2)
	consent := field(t, officer.call("POST", "consents",
		fmt.Sprintf(`{"subject_id":%q,"purpose":"sms_alert","language":"zu","consented":true,"channel":"paper",
		"given_at":%q,"evidence":{"sha256":%q,"reference":"box 4"}}`, nomsa.id, then, strings.Repeat("ab", 32))), "id")
	nomsa.call("POST", "consents/"+consent+"/withdraw", `{}`)

	replay := func(args ...string) outcome { return s.run(append([]string{"replay", "--tenant", "cpt"}, args...)...) }
	onThatDay := replay("--subject", nomsa.id, "--as-of", day)
	for _, want := range []string{
		nomsa.id, officer.id, "sms_alert", "granted", "Ukukuthumelela izaziso ze-SMS", "1 consents",
	} {
		if !strings.Contains(onThatDay.stdout, want) {
			t.Errorf("%q is missing:\n%s", want, onThatDay.stdout)
		}
	}
	for _, name := range []string{"Nomsa", "nomsa@example.org", "box 4"} {
		if all := replay(); strings.Contains(all.stdout+all.stderr+onThatDay.stdout, name) {
			t.Errorf("%q shows without --reveal:\n%s", name, all.stdout)
		}
	}
	replay("--subject", nomsa.id, "--as-of", day, "--known-at", day).expect(t, exit.CodeDone, "0 consents")

	for _, format := range []string{"csv", "ndjson"} {
		over := officer.call("GET", "compliance/consents?purpose=sms_alert&notice_version=1&language=zu&channel=paper"+
			"&status=withdrawn&given_from="+then+"&given_to="+day+"&format="+format, "")
		here := replay("--purpose", "SMS_Alert", "--notice-version", "1", "--language", "zu", "--channel", "paper",
			"--status", "withdrawn", "--given-from", then, "--given-to", day, "--position", officer.position,
			"--format", format)
		if !strings.Contains(here.stdout, consent) {
			t.Errorf("%s: the consent is not found:\n%s", format, here.stdout)
		}
		if here.code != exit.CodeDone || !bytes.Equal(over, []byte(here.stdout)) {
			t.Errorf("%s: the command line says\n%s\nthe API says\n%s", format, here.stdout, over)
		}
	}

	replay("--reveal", "--reason", "complaint 2026/114", "--subject", nomsa.id, "--format", "csv").
		expect(t, exit.CodeDone, `"Nomsa Ṱhavhani","nomsa@example.org"`)
	replay("--reveal", "--reason", "complaint 2026/115").expect(t, exit.CodeDone, "Somebody Else")
	looked := s.run("exposure", "--tenant", "CPT", "--subject", nomsa.id)
	for _, want := range []string{
		"an operator", "trust replay", "because: complaint 2026/114", "because: complaint 2026/115", officer.id,
		"4 reads",
	} {
		if !strings.Contains(looked.stdout, want) {
			t.Errorf("%q is missing:\n%s", want, looked.stdout)
		}
	}
	s.run("exposure", "--tenant", "CPT", "--actor", officer.id).expect(t, exit.CodeDone, "2 reads")
	s.run("verify").expect(t, exit.CodeDone, "events verified")

	for name, c := range map[string]struct {
		code int
		args []string
		want string
	}{
		"no such tenant": {exit.CodeNotSo, []string{"--tenant", "XYZ"}, "no municipality with this code"},
		"nobody":         {exit.CodeNotSo, []string{"--subject", consent}, "no such person"},
		"a typing error": {exit.CodeNotSo, []string{"--purpose", "sms_alrt"}, "never had such a purpose"},
		"no instant":     {exit.CodeUsage, []string{"--as-of", "3 March"}, "give an instant, with its zone"},
		"both": {
			exit.CodeUsage,
			[]string{"--known-at", day, "--position", "1"},
			"position or known_at, not both",
		},
		"no status": {exit.CodeUsage, []string{"--status", "valid"}, "status"},
		"a blank":   {exit.CodeUsage, []string{"--channel", ""}, "give a value"},
		"backwards": {
			exit.CodeUsage, []string{"--given-from", day, "--given-to", then}, "not before given_from",
		},
		"no version":           {exit.CodeUsage, []string{"--notice-version", "0"}, "versions count from 1"},
		"a position to come":   {exit.CodeUsage, []string{"--position", "99999999"}, "log has no such position"},
		"names for no reason":  {exit.CodeUsage, []string{"--reveal"}, "--reveal needs --reason"},
		"a reason for nothing": {exit.CodeUsage, []string{"--reason", "x"}, "--reason needs --reveal"},
		"an endless reason":    {exit.CodeUsage, []string{"--reveal", "--reason", strings.Repeat("x", 5000)}, "reason"},
		"another format":       {exit.CodeUsage, []string{"--format", "pdf"}, "--format"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := replay(c.args...)
			o.expect(t, c.code, c.want)
			if o.stdout != "" || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("not one line: %q %q", o.stdout, o.stderr)
			}
		})
	}
}
