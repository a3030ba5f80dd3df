package webhooks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/eventstore/cloudevent"
)

// Failure says why a try failed.
type Failure string

// The failures.
const (
	// FailedStatus: the answer was neither 2xx nor a redirect.
	FailedStatus Failure = "status"
	// FailedRedirect: the answer was a redirect, which is not followed.
	FailedRedirect Failure = "redirect"
	// FailedTimeout: there was no answer in time.
	FailedTimeout Failure = "timeout"
	// FailedTLS: the recipient did not prove who it is.
	FailedTLS Failure = "tls"
	// FailedRefused: the name leads to an address that may not be called.
	FailedRefused Failure = "refused_address"
	// FailedConnection: the recipient was not reached, or hung up.
	FailedConnection Failure = "connection"
)

// result is what came of one try. Status is 0 if there was no answer; Failure is empty if
// the recipient acknowledged.
type result struct {
	status  int
	failure Failure
}

// post tries a delivery once.
func (n *Network) post(ctx context.Context, d delivery, secret string, at time.Time) result {
	target, why := parse(d.url)
	if why != "" {
		return result{failure: FailedRefused} // it was checked when it was registered
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(d.body))
	if err != nil {
		return result{failure: FailedConnection}
	}

	request.Header.Set("Content-Type", cloudevent.MediaType)
	request.Header.Set("User-Agent", "salga-trust-webhooks/1")
	request.Header.Set("webhook-id", d.event.String())
	request.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	request.Header.Set("webhook-signature", sign(secret, d.event, at, d.body))

	answer, err := n.over(target).Do(request)
	if err != nil {
		return result{failure: failureOf(err)}
	}
	// What the recipient says besides its status does not matter.
	_, _ = io.CopyN(io.Discard, answer.Body, answerAtMost)
	_ = answer.Body.Close()

	switch answer.StatusCode / 100 {
	case 2:
		return result{status: answer.StatusCode}
	case 3:
		return result{answer.StatusCode, FailedRedirect}
	default:
		return result{answer.StatusCode, FailedStatus}
	}
}

// sign returns the signature of a delivery as Standard Webhooks 1.0 defines it.
func sign(secret string, id uuid.UUID, at time.Time, body string) string {
	_, encoded, _ := strings.Cut(secret, "_")
	key, _ := base64.StdEncoding.DecodeString(encoded) // of domain.WebhookSecret

	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id.String()+"."+strconv.FormatInt(at.Unix(), 10)+"."+body) // it never fails
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func failureOf(err error) Failure {
	var network net.Error
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var alert tls.AlertError

	switch {
	case errors.Is(err, errRefused):
		return FailedRefused
	case errors.As(err, &record), errors.As(err, &certificate), errors.As(err, &alert):
		return FailedTLS
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return FailedTimeout
	default:
		return FailedConnection
	}
}
