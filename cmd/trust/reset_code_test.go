package main

import (
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

// postbox is a mail server on this machine, as most machines have one.
type postbox struct {
	address string
	letters chan string
}

func newPostbox(t *testing.T) *postbox {
	t.Helper()
	p := &postbox{letters: make(chan string, 10)}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return postboxSession{p}, nil }))
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	p.address = listener.Addr().String()
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

type postboxSession struct{ *postbox }

func (postboxSession) Reset()                               {}
func (postboxSession) Logout() error                        { return nil }
func (postboxSession) Mail(string, *smtp.MailOptions) error { return nil }
func (postboxSession) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (s postboxSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	text, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(body)))
	s.letters <- head + "\n\n" + string(text)
	return err
}

var oneTimeCode = regexp.MustCompile(`[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3}`)

// A letter of the running system, a code of the operator, and a backup that has neither.
func TestAPasswordIsReplacedByALetterAndByTheOperator(t *testing.T) {
	t.Parallel()
	box := newPostbox(t)
	s := newSite(t, "RATE_LIMIT=off", "DEBUG=true", "SMTP_URL=smtp://"+box.address, "SMTP_FROM=no-reply@salga.example")
	up := s.start("up")
	pgtest.Eventually(t, "the system is ready", s.ready)
	const email = "officer@example.org"
	s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", email).
		expect(t, exit.CodeDone, "made")
	anybody := &account{s: s}
	redeem := func(code, password string) {
		t.Helper()
		anybody.call("POST", "auth/redeem", fmt.Sprintf(`{"code":%q,"password":%q}`, code, password))
	}

	anybody.call("POST", "auth/password-reset", fmt.Sprintf(`{"email":%q,"municipality_code":"CPT"}`, email))
	letter := <-box.letters
	sent := oneTimeCode.FindString(letter)
	if sent == "" || !strings.Contains(letter, "To: <"+email+">") {
		t.Fatalf("the letter is:\n%s", letter)
	}
	redeem(sent, "a second password")
	officer := s.signedIn(email, "a second password", "CPT")

	officer.call("POST", "users/me/email/verify", "")
	verification := oneTimeCode.FindString(<-box.letters)
	me := officer.call("POST", "users/me/email/verify", fmt.Sprintf(`{"code":%q}`, verification))
	if field(t, me, "email_verified_at") == "" {
		t.Errorf("not verified: %s", me)
	}

	reset := []string{"admin", "reset-code", "--municipality", "CPT", "--email", email, "--identity-document"}
	s.run(append(reset, " ")...).expect(t, exit.CodeUsage, "identity_document")
	s.run("admin", "reset-code", "--municipality", "CPT", "--email", "nobody@example.org", "--identity-document", "ID").
		expect(t, exit.CodeNotSo, "has no account")
	made := s.run(append(reset, "ID card, ending in 083")...)
	made.expect(t, exit.CodeDone, "good until")
	printed := strings.TrimSpace(made.stdout)
	if oneTimeCode.FindString(printed) != printed {
		t.Fatalf("printed %q", made.stdout)
	}

	// A backup does not bring it back.
	s.run("backup", "--to", "full").expect(t, exit.CodeDone, "backup of position")
	restored := s.elsewhere(pgtest.Fresh(t))
	restored.run("restore", "--from", "full", "--keys", "full").expect(t, exit.CodeDone, "erased again: 0")
	if n := s.count(t, restored.address(), "select count(*) from trust.one_time_codes"); n != 0 {
		t.Errorf("%d codes were restored", n)
	}

	redeem(printed, "a third password")
	if got := s.signIn(email, "a second password", "CPT"); got != http.StatusUnauthorized {
		t.Errorf("the former password: %d", got)
	}
	s.signedIn(email, "a third password", "CPT")
	pgtest.Eventually(t, "the read tables have followed", s.caughtUp)
	s.run("verify").expect(t, exit.CodeDone, "events verified")

	for _, code := range []string{sent, verification, printed} {
		for _, spelling := range []string{code, strings.ReplaceAll(code, "-", "")} {
			if strings.Contains(up.said.String(), spelling) {
				t.Error("the log holds a code")
			}
		}
	}
}
