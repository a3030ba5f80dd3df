package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// secures sets up a second factor with its present code, and returns its secret.
func (c *account) secures(password string) (secret string) {
	t := c.s.t
	t.Helper()
	secret = field(t, c.call("POST", "users/me/totp", fmt.Sprintf(`{"current_password":%q}`, password)), "secret")
	code, err := totp.GenerateCode(secret, time.Now())
	must(t, err)
	c.call("POST", "users/me/totp/confirm", fmt.Sprintf(`{"totp":%q}`, code))
	return secret
}

// The only admin of a municipality has lost the phone; and second factors in a backup
// whose keys are newer than its events.
func TestASecondFactorIsRestoredWithItsKeysAndResetByTheOperator(t *testing.T) {
	t.Parallel()
	s := newSite(t, "RATE_LIMIT=off")
	s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	for _, email := range []string{"kept@example.org", "late@example.org"} {
		s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", email).
			expect(t, exit.CodeDone, "made")
	}
	secret := s.signedIn("kept@example.org", "a good password", "CPT").secures("a good password")
	s.run("backup", "--to", "full").expect(t, exit.CodeDone, "backup of position")
	s.signedIn("late@example.org", "a good password", "CPT").secures("a good password")
	s.run("backup", "--to", "later").expect(t, exit.CodeDone, "backup of position")
	if strings.Contains(s.dump(t), secret) {
		t.Error("the database, and so a backup, holds the secret in plain")
	}

	// The events decide: a secret that was set up after them belongs to nobody.
	restored := s.elsewhere(pgtest.Fresh(t))
	restored.run("restore", "--from", "full", "--keys", "later").expect(t, exit.CodeDone, "erased again: 0")
	restored.opens()
	if got := restored.signIn("kept@example.org", "a good password", "CPT"); got != http.StatusUnauthorized {
		t.Errorf("a password alone: %d", got)
	}
	code, err := totp.GenerateCode(secret, time.Now().Add(30*time.Second))
	must(t, err)
	(&account{s: restored}).call("POST", "auth/login",
		fmt.Sprintf(`{"email":"kept@example.org","password":"a good password","municipality_code":"CPT","totp":%q}`,
			code))
	restored.signedIn("late@example.org", "a good password", "CPT").secures("a good password")

	reset := []string{"admin", "reset-totp", "--municipality", "CPT", "--email", "Kept@example.org", "--reason"}
	restored.run(append(reset, " ")...).expect(t, exit.CodeUsage, "reason")
	restored.run("admin", "reset-totp", "--municipality", "CPT", "--email", "nobody@example.org", "--reason", "lost").
		expect(t, exit.CodeNotSo, "has no account")
	restored.run(append(reset, "phone lost; called back on the number in the staff list")...).
		expect(t, exit.CodeDone, "the second factor is removed")
	restored.run(append(reset, "lost")...).expect(t, exit.CodeNotSo, "no second factor")
	restored.signedIn("kept@example.org", "a good password", "CPT")
	restored.run("verify").expect(t, exit.CodeDone, "events verified")
}
