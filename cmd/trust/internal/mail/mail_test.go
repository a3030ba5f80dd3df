package mail

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/salga-trust/engine/domain"
)

const (
	host     = "mail.example.org"
	password = "the mail server's password"
	account  = "engine:the%20mail%20server's%20password@"
)

// post is a mail server of the test's own. It speaks SMTP as the ones that people run do.
type post struct {
	address string
	roots   *x509.CertPool

	mu sync.Mutex
	// refusals are the answers to the next letters; then letters are taken.
	refusals []error
	arrived  chan received
}

type received struct {
	from, to, user string
	secure         bool
	text           []byte
}

type session struct {
	post *post
	conn *smtp.Conn
	got  received
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, given string) error {
		if given != password {
			return smtp.ErrAuthFailed
		}
		s.got.user = user
		return nil
	}), nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.got.from = from
	_, s.got.secure = s.conn.TLSConnectionState()
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	if len(s.post.refusals) > 0 {
		refusal := s.post.refusals[0]
		s.post.refusals = s.post.refusals[1:]
		return refusal
	}
	s.got.to = to
	return nil
}

func (s *session) Data(r io.Reader) (err error) {
	if s.got.text, err = io.ReadAll(r); err != nil {
		return err
	}
	s.post.arrived <- s.got
	return nil
}

// newPost serves until the test ends. Its certificate is for host, and no system trusts
// it.
func newPost(t *testing.T, tlsFirst, offersTLS bool) *post {
	t.Helper()
	certificate, roots := selfMade(t)
	p := &post{roots: roots, arrived: make(chan received, 10)}

	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{post: p, conn: c}, nil
	}))
	server.Domain, server.EnableSMTPUTF8, server.AllowInsecureAuth = host, true, true
	server.ErrorLog = quiet{}
	secure := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if offersTLS {
		server.TLSConfig = secure
	}

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	p.address = listener.Addr().String()
	if tlsFirst {
		listener = tls.NewListener(listener, secure)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func selfMade(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	must(t, err)
	made, err := x509.ParseCertificate(der)
	must(t, err)

	roots := x509.NewCertPool()
	roots.AddCert(made)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// sender sends to a server under an address, whose host is looked up as this machine.
func (p *post) sender(t *testing.T, address string, trusts bool) (*Sender, *lines) {
	t.Helper()
	server, err := Parse(address, "Trust Engine <no-reply@salga.example>")
	must(t, err)

	log := &lines{}
	s := New(t.Context(), server, slog.New(slog.NewTextHandler(log, nil)))
	s.first = time.Millisecond
	s.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, p.address)
	}
	if trusts {
		s.roots = p.roots
	}
	return s, log
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func letter(language domain.Language) domain.Letter {
	return domain.Letter{
		Kind: domain.PasswordResetCode, To: "nomsa@example.org", Language: language,
		Municipality: "Ṱhulamela", Code: domain.NewCodeText([domain.CodeEntropy]byte{1, 2, 3}),
		ExpiresAt: time.Now().Add(time.Minute),
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestALetterArrivesUnderTLSInTheLanguageOfItsReader(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		address             string
		tlsFirst, offersTLS bool
		secure              bool
	}{
		"STARTTLS":                        {"smtp://" + account + host, false, true, true},
		"TLS from the first byte":         {"smtps://" + account + host, true, false, true},
		"this machine, in the clear":      {"smtp://" + account + "localhost:25", false, false, false},
		"this machine, if it offers TLS":  {"smtp://" + account + "127.0.0.1", false, true, true},
		"this machine, its own authority": {"smtps://" + account + "[::1]", true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, test.tlsFirst, test.offersTLS)
			s, log := p.sender(t, test.address, !strings.Contains(name, "this machine"))

			for _, language := range domain.Languages() {
				l := letter(language)
				must(t, s.Send(l))
				got := <-p.arrived
				if got.from != "no-reply@salga.example" || got.to != l.To || got.user != "engine" ||
					got.secure != test.secure {
					t.Errorf("it came from %s to %s by %q, under TLS: %t", got.from, got.to, got.user, got.secure)
				}
				reads(t, got.text, l)
			}

			s.Close(t.Context())
			if log.String() != "" {
				t.Errorf("logged %s", log)
			}
		})
	}
}

// reads checks a message as a mail program reads it.
func reads(t *testing.T, raw []byte, l domain.Letter) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	must(t, err)
	subject, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject"))
	must(t, err)
	to, err := m.Header.AddressList("To")
	must(t, err)
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	must(t, err)

	text := strings.ReplaceAll(string(body), "\r\n", "\n")
	if subject != l.Subject() || len(to) != 1 || to[0].Address != l.To || text != l.Text() {
		t.Errorf("%q to %v:\n%s", subject, to, text)
	}
	if !strings.Contains(text, l.Code.String()) || strings.Contains(text, "://") {
		t.Errorf("a letter has its code and no link:\n%s", text)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Message-ID") == "" ||
		m.Header.Get("Date") == "" {
		t.Errorf("headers %v", m.Header)
	}
}

func TestNothingIsSentWithoutTLSToAnotherMachine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		address   string
		offersTLS bool
		trusts    bool
	}{
		"a server without STARTTLS":                  {"smtp://" + host, false, true},
		"a certificate that nobody vouches for":      {"smtp://" + host, true, false},
		"a certificate for another name":             {"smtp://other.example.org", true, true},
		"a server without TLS where it should begin": {"smtps://" + host, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, false, test.offersTLS)
			s, log := p.sender(t, test.address, test.trusts)
			must(t, s.Send(letter(domain.English)))
			s.letters.Wait()
			s.Close(t.Context())

			select {
			case got := <-p.arrived:
				t.Errorf("it arrived: %+v", got)
			default:
			}
			if !strings.Contains(log.String(), "a letter was not sent") {
				t.Errorf("logged %q", log)
			}
		})
	}
}

func TestALetterIsTriedAgainWhenTheServerIsBusyAndDroppedWhenItRefuses(t *testing.T) {
	t.Parallel()
	busy := &smtp.SMTPError{
		Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted nomsa@example.org, try later",
	}
	unknown := &smtp.SMTPError{
		Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no mailbox nomsa@example.org here",
	}
	l := letter(domain.Afrikaans)
	for name, test := range map[string]struct {
		refusals []error
		arrives  bool
		logged   string
	}{
		"busy twice":          {[]error{busy, busy}, true, ""},
		"busy for ever":       {[]error{busy, busy, busy, busy, busy, busy}, false, "tries=5"},
		"no such mailbox":     {[]error{unknown}, false, "answered 550 5.1.1"},
		"busy, then refusing": {[]error{busy, unknown}, false, "tries=2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, false, true)
			p.refusals = test.refusals
			s, log := p.sender(t, "smtp://"+account+host, true)
			must(t, s.Send(l))
			s.letters.Wait()
			s.Close(t.Context())

			if arrived := len(p.arrived) == 1; arrived != test.arrives {
				t.Errorf("it arrived: %t", arrived)
			}
			if test.logged == "" && log.String() != "" || !strings.Contains(log.String(), test.logged) {
				t.Errorf("logged %q", log)
			}
			for _, secret := range []string{l.To, "nomsa", l.Code.String(), string(l.Code), password, "the%20mail"} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log has %q: %s", secret, log)
				}
			}
		})
	}
}

func TestAWrongPasswordOfTheMailServerIsNotLogged(t *testing.T) {
	t.Parallel()
	p := newPost(t, false, true)
	s, log := p.sender(t, "smtp://engine:wrongpassword@"+host, true)
	must(t, s.Send(letter(domain.Zulu)))
	s.letters.Wait()
	s.Close(t.Context())
	if text := log.String(); !strings.Contains(text, "answered 535") || strings.Contains(text, "wrongpassword") {
		t.Errorf("logged %q", text)
	}
}

func TestAFullQueueAndAStopSendNothingMore(t *testing.T) {
	t.Parallel()
	p := newPost(t, false, true)
	s, _ := p.sender(t, "smtp://"+host, true)
	hangs := make(chan struct{})
	s.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		hangs <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for range maxWaiting {
		must(t, s.Send(letter(domain.English)))
	}
	err := s.Send(letter(domain.English))
	if refusal, is := errors.AsType[*domain.Error](err); !is || refusal.Code != domain.CodeOverloaded {
		t.Errorf("a letter too many: %v", err)
	}

	<-hangs
	<-hangs
	ended, end := context.WithCancel(t.Context())
	end()
	go func() {
		for range hangs { //nolint:revive // drained
		}
	}()
	s.Close(ended) // returns although no server ever answered
	close(hangs)
	if len(p.arrived) != 0 {
		t.Error("a letter arrived")
	}
}

func TestNoNameOrAddressAddsAHeader(t *testing.T) {
	t.Parallel()
	from := mail.Address{Name: "Trust", Address: "no-reply@salga.example"}
	for _, change := range []func(*domain.Letter){
		func(l *domain.Letter) { l.To = "nomsa@example.org\r\nBcc: all@example.org" },
		func(l *domain.Letter) { l.To = "nomsa@example.org\nBcc: all@example.org" },
		func(l *domain.Letter) { l.Municipality = "Thulamela\r\nBcc: all@example.org" },
	} {
		l := letter(domain.English)
		change(&l)
		if text, err := message(from, l, time.Now()); err == nil {
			t.Errorf("made %s", text)
		}
	}

	odd := letter(domain.English)
	odd.To, odd.Municipality = "a,b@example.org", "=?utf-8?q?=0D=0ABcc:?= all@example.org"
	text, err := message(from, odd, time.Now())
	must(t, err)
	reads(t, text, odd)
}

func TestAnAddressOfAMailServerIsCheckedAndNeverRepeated(t *testing.T) {
	t.Parallel()
	const from = "Trust Engine <no-reply@salga.example>"
	for _, address := range []string{
		"", "mail.example.org", "http://mail.example.org", "smtp://", "smtp:mail.example.org",
		"smtp://user@mail.example.org", "smtp://:secretword@mail.example.org",
		"smtp://u:secretword@mail.example.org/path", "smtp://u:secretword@host?x=y",
		"smtp://u:secretword@host#part", "smtp://u:secretword@host:port",
	} {
		_, err := Parse(address, from)
		if err == nil || IsAboutSender(err) || strings.Contains(err.Error(), "secretword") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, sender := range []string{
		"", "nobody", "a@example.org\r\nBcc: b@example.org", "a@example.org, b@example.org",
	} {
		if _, err := Parse("smtp://mail.example.org", sender); !IsAboutSender(err) {
			t.Errorf("%q: %v", sender, err)
		}
	}

	for address, want := range map[string]string{
		"smtp://mail.example.org": "mail.example.org:587", "smtps://mail.example.org/": "mail.example.org:465",
		"smtp://u:p%40ss@mail.example.org:25": "mail.example.org:25",
	} {
		s, err := Parse(address, from)
		must(t, err)
		if s.address() != want {
			t.Errorf("%s: %s, want %s", address, s.address(), want)
		}
	}
}
