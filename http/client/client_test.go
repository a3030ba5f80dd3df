package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

// said is what a server got.
type said struct{ line, token, key, body string }

// serve answers every request alike, and keeps the last one.
func serve(t *testing.T, status int, header http.Header, body string) (*client.Client, *said) {
	t.Helper()
	var last said
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		last = said{
			r.Method + " " + r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Idempotency-Key"),
			strings.TrimSpace(string(sent)),
		}
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return client.New(server.URL + "/"), &last
}

func TestARequestSaysWhatItWasGiven(t *testing.T) {
	t.Parallel()
	c, last := serve(t, http.StatusOK, http.Header{"Event-Position": {"7"}, "Etag": {`"2"`}},
		`{"allowed":true,"decided_by":null,"of_a_later_release":1}`)
	at := time.Date(2026, 3, 1, 14, 0, 0, 5000, time.FixedZone("SAST", 2*60*60))
	check, err := c.As("secret").CheckConsent(t.Context(), &client.CheckConsentParams{Purpose: "a&b", At: &at})
	if err != nil || !check.Body.Allowed || check.Body.DecidedBy != nil || check.Position() != 7 ||
		check.ETag() != `"2"` {
		t.Errorf("%+v, %v", check, err)
	}

	const want = "GET /api/v1/consents/check?at=2026-03-01T14%3A00%3A00.000005%2B02%3A00&purpose=a%26b"
	if last.line != want || last.token != "Bearer secret" {
		t.Errorf("got %+v, want %s", last, want)
	}
	_, err = c.RetirePurpose(t.Context(), "a/b", &client.RetirePurposeParams{IdempotencyKey: new("k")})
	if want := (said{"POST /api/v1/purposes/a%2Fb/retire", "", "k", ""}); err != nil || *last != want {
		t.Errorf("got %+v, %v, want %+v", last, err, want)
	}
	_, err = c.ChangeRole(t.Context(), uuid.Nil, client.ChangeRoleBody{Role: "manager"}, nil)
	if err != nil || last.body != `{"role":"manager"}` {
		t.Errorf("got %+v, %v", last, err)
	}
}

func TestARefusalIsATypedError(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, http.StatusServiceUnavailable, http.Header{"Retry-After": {"5"}, "X-Request-Id": {"id"}},
		`{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"Try again.","code":"unavailable",`+
			`"errors":[{"field":"database","code":"not_ready","message":"No."}]}`)
	_, err := c.Ready(t.Context())
	refusal, ok := errors.AsType[*client.Error](fmt.Errorf("wrapped: %w", err))
	if !ok || client.CodeOf(err) != client.ProblemCodeUnavailable || refusal.Status != 503 ||
		refusal.RetryAfter() != 5*time.Second ||
		refusal.Header.Get("X-Request-ID") != "id" || err.Error() != "503 unavailable: Try again.; database: No." {
		t.Errorf("%+v", err)
	}
}

func TestWhatIsNoAnswerOfTheAPIIsAnErrorToo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"a proxy's page":      {http.StatusBadGateway, "<html>", "502 Bad Gateway: This answer is not from the API."},
		"foreign JSON":        {403, `{"detail":"x"}`, "403 Forbidden: This answer is not from the API."},
		"a success, cut off":  {http.StatusOK, `{"status":`, "client: answer to GET /health: unexpected EOF"},
		"a success in HTML":   {http.StatusOK, `<html>`, "client: answer to GET /health: invalid character"},
		"a redirect to login": {http.StatusNotModified, ``, "304 Not Modified: This answer is not from the API."},
	} {
		api, _ := serve(t, c.status, nil, c.body)
		_, err := api.Health(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || client.CodeOf(err) != "" {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := client.New("http://127.0.0.1:1").Health(t.Context()); err == nil || client.CodeOf(err) != "" {
		t.Errorf("nobody there: %v", err)
	}
}

func TestATokenIsFetchedByAForm(t *testing.T) {
	t.Parallel()
	c, last := serve(t, http.StatusOK, nil,
		`{"access_token":"t","token_type":"Bearer","expires_in":900,"scope":"consents:check"}`)
	token, err := c.As("somebody's").FetchToken(t.Context(), "id", "a secret", "consents:check", "consents:read")
	want := said{
		"POST /api/v1/auth/token", "", "",
		"client_id=id&client_secret=a+secret&grant_type=client_credentials&scope=consents%3Acheck+consents%3Aread",
	}
	if err != nil || *last != want || token.AccessToken != "t" || token.Lasts() != 15*time.Minute {
		t.Errorf("%+v, %v, got %+v", token, err, last)
	}

	c, _ = serve(t, http.StatusUnauthorized, nil, `{"error":"invalid_client","error_description":"No such client."}`)
	_, err = c.FetchToken(t.Context(), "id", "wrong")
	if client.CodeOf(err) != "invalid_client" || err.Error() != "401 invalid_client: No such client." {
		t.Errorf("%v", err)
	}
}
