package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ProgramToken is the access token of a program: act with it by As. When it has expired,
// or when an answer is 401 invalid_token, fetch another.
type ProgramToken struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"` // seconds
	Scope       string `json:"scope"`      // those that it has, separated by blanks
}

// Lasts returns how long the token is good, counted from when it was fetched.
func (t ProgramToken) Lasts() time.Duration { return time.Duration(t.ExpiresIn) * time.Second }

// FetchToken fetches the access token of a program, with all scopes of its service
// account or with the given ones (RFC 6749 §4.4). The code of a refusal is one of RFC
// 6749 §5.2, such as invalid_client.
func (c *Client) FetchToken(
	ctx context.Context, clientID, clientSecret string, scopes ...string,
) (*ProgramToken, error) {
	r := newRequest(http.MethodPost, "/api/v1/auth/token")
	r.form = url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {clientSecret},
	}
	if len(scopes) > 0 {
		r.form.Set("scope", strings.Join(scopes, " "))
	}

	answer, err := send[ProgramToken](ctx, c, r)
	if err != nil {
		return nil, err
	}
	return &answer.Body, nil
}
