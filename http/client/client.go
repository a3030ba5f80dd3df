package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Client calls one API, anonymously or as somebody who is signed in.
type Client struct {
	base  string
	token string
	// HTTP sends the requests; New sets http.DefaultClient, which has no time limit: use
	// contexts for that.
	HTTP *http.Client
}

// New makes a client for the API at an address such as https://trust.example.org.
func New(base string) *Client {
	return &Client{base: strings.TrimRight(base, "/"), HTTP: http.DefaultClient}
}

// As returns a copy of the client that acts for the holder of an access token.
func (c *Client) As(accessToken string) *Client {
	other := *c
	other.token = accessToken
	return &other
}

// Answer is a successful answer.
type Answer[T any] struct {
	Status int
	Header http.Header
	Body   T
}

// ETag names the version that the answer shows, for IfMatch; empty: it has none.
func (a *Answer[T]) ETag() string { return a.Header.Get("ETag") }

// Position is that of a command's newest event. Pass it as MinEventPosition to queries
// that must see the command; 0: nothing happened.
func (a *Answer[T]) Position() int64 {
	position, _ := strconv.ParseInt(a.Header.Get("Event-Position"), 10, 64) // 0 if absent
	return position
}

// request is filled in by the generated methods.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	body         any        // nil: none
	form         url.Values // in place of body; its sender proves itself in it
}

func newRequest(method, path string) *request {
	return &request{method: method, path: path, query: url.Values{}, header: http.Header{}}
}

// text returns a parameter as the API reads it; items of a list are separated by commas.
func text(v any) string {
	if at, ok := v.(time.Time); ok {
		return at.Format(time.RFC3339Nano)
	}

	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return fmt.Sprint(v)
	}
	items := make([]string, list.Len())
	for i := range items {
		items[i] = text(list.Index(i).Interface())
	}
	return strings.Join(items, ",")
}

// send sends a request and reads the whole answer.
func send[T any](ctx context.Context, c *Client, r *request) (*Answer[T], error) {
	stream, err := c.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Body.Close() }()

	answer := &Answer[T]{Status: stream.Status, Header: stream.Header}
	if _, none := any(answer.Body).(struct{}); none { // 204, or 202 without a body
		return answer, nil
	}
	decoder := json.NewDecoder(stream.Body)
	decoder.UseNumber() // where a value may be anything, a large number stays exact
	if err := decoder.Decode(&answer.Body); err != nil {
		return nil, fmt.Errorf("client: answer to %s %s: %w", r.method, r.path, err)
	}
	return answer, nil
}

// open sends a request and leaves the body of a successful answer to be read.
func (c *Client) open(ctx context.Context, r *request) (*Answer[io.ReadCloser], error) {
	sent, err := c.build(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}

	response, err := c.HTTP.Do(sent)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		defer func() { _ = response.Body.Close() }()
		return nil, errorOf(response)
	}
	return &Answer[io.ReadCloser]{Status: response.StatusCode, Header: response.Header, Body: response.Body}, nil
}

func (c *Client) build(ctx context.Context, r *request) (*http.Request, error) {
	address := c.base + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}

	var body bytes.Buffer
	if r.body != nil {
		r.header.Set("Content-Type", "application/json")
		if err := json.NewEncoder(&body).Encode(r.body); err != nil {
			return nil, err
		}
	}

	if r.form != nil {
		r.header.Set("Content-Type", "application/x-www-form-urlencoded")
		body.WriteString(r.form.Encode())
	}

	sent, err := http.NewRequestWithContext(ctx, r.method, address, &body)
	if err != nil {
		return nil, err
	}
	sent.Header = r.header
	if c.token != "" && r.form == nil {
		sent.Header.Set("Authorization", "Bearer "+c.token)
	}
	return sent, nil
}
