package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// client talks to one API and never gives up: a request that got no answer, or one that
// says to come again, is repeated under its idempotency key until there is one.
type client struct {
	base  string
	token string
	http  *http.Client
}

func newClient(base string) *client {
	return &client{base: base, http: &http.Client{Timeout: 10 * time.Second}}
}

// reply is a final answer: a success, or a refusal that repeating would not change.
type reply struct {
	status   int
	body     map[string]any
	position int64
}

func (r reply) text(field string) string {
	s, _ := r.body[field].(string)
	return s
}

// insist sends a request until it has an answer.
func (c *client) insist(ctx context.Context, method, path string, body any) (reply, error) {
	key := uuid.NewString()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		r, err := c.send(ctx, method, path, key, body)
		if err == nil && r.status < 500 {
			return r, nil
		}
		if ctx.Err() != nil {
			return reply{}, fmt.Errorf("%s %s: no answer in time: %d, %w", method, path, r.status, ctx.Err())
		}

		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (c *client) send(ctx context.Context, method, path, key string, body any) (reply, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return reply{}, err
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(encoded))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}

	response, err := c.http.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}

	r := reply{status: response.StatusCode}
	r.position, _ = strconv.ParseInt(response.Header.Get("Event-Position"), 10, 64)
	if len(text) > 0 {
		if err := json.Unmarshal(text, &r.body); err != nil {
			return reply{}, fmt.Errorf("%s %s: %w", method, path, err)
		}
	}
	return r, nil
}

// person registers in a municipality and signs in.
func (c *client) person(ctx context.Context, municipality, email string) error {
	r, err := c.insist(ctx, "POST", "/api/v1/auth/register", map[string]any{
		"email": email, "password": "correct horse battery", "full_name": "Ṱhilivhali Mudau", "phone": "082 123 4567",
		"preferred_language": "zu", "municipality_code": municipality,
		"consent": map[string]any{"purpose": "platform_registration", "language": "zu", "consented": true},
	})
	if err != nil || r.status != http.StatusCreated {
		return fmt.Errorf("register: %d %v %w", r.status, r.body["code"], err)
	}

	r, err = c.insist(ctx, "POST", "/api/v1/auth/login", map[string]any{
		"email": email, "password": "correct horse battery", "municipality_code": municipality,
	})
	if err != nil || r.status != http.StatusOK {
		return fmt.Errorf("login: %d %v %w", r.status, r.body["code"], err)
	}
	c.token = r.text("access_token")
	return nil
}
