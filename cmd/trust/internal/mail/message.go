package mail

import (
	"bytes"
	"errors"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/domain"
)

// message puts a letter into the form of RFC 5322: plain text, without a link.
func message(from mail.Address, l domain.Letter, now time.Time) ([]byte, error) {
	if hasControl(l.To) || hasControl(l.Subject()) {
		return nil, errors.New("an address or a name has a control character")
	}
	_, host, _ := strings.Cut(from.Address, "@")
	to := mail.Address{Address: l.To}

	var b bytes.Buffer
	for _, header := range [][2]string{
		{"From", from.String()},
		{"To", to.String()},
		{"Subject", mime.QEncoding.Encode("utf-8", l.Subject())},
		{"Date", now.Format(time.RFC1123Z)},
		{"Message-ID", "<" + uuid.NewString() + "@" + host + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: nobody's absence notice answers it
		{"Content-Language", string(l.Language)},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(header[0] + ": " + header[1] + "\r\n")
	}
	b.WriteString("\r\n")

	body := quotedprintable.NewWriter(&b)
	if _, err := body.Write([]byte(strings.ReplaceAll(l.Text(), "\n", "\r\n"))); err != nil {
		return nil, err
	}
	return b.Bytes(), body.Close()
}

func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }
