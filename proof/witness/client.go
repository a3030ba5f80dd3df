package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/salga-trust/engine/proof"
)

// Endpoint is a witness as a log knows it. One that cosigns with two keys has two lines
// in the policy, with the same address.
type Endpoint struct {
	Name string // as the policy calls it, after the first of its lines
	URL  string // the submission prefix
	Keys []proof.Key
}

// Endpoints returns the witnesses of a policy that can be asked: those with an address.
func Endpoints(policy *proof.Policy) ([]Endpoint, error) {
	var all []Endpoint
	at := map[string]int{}
	for _, w := range policy.Witnesses {
		if w.URL == "" {
			continue
		}
		address, err := url.Parse(w.URL)
		if err != nil || address.Host == "" || address.Scheme != "https" && address.Scheme != "http" {
			return nil, fmt.Errorf("the address of the witness %q in the policy is no URL with http or https", w.Name)
		}

		prefix := strings.TrimRight(w.URL, "/")
		i, known := at[prefix]
		if !known {
			i = len(all)
			at[prefix] = i
			all = append(all, Endpoint{Name: w.Name, URL: prefix})
		}
		all[i].Keys = append(all[i].Keys, w.Key)
	}
	return all, nil
}

// Prover returns the proof that the tree of the older size begins that of the newer one.
type Prover func(ctx context.Context, older, newer uint64) ([]proof.Hash, error)

// Cosignature is one signature of a witness, verified.
type Cosignature struct {
	Key  proof.Key
	At   time.Time
	Line string // as it is appended to the signed checkpoint
}

// SplitViewError says that a witness knows a tree of this log that the checkpoint does
// not continue: the log shows different trees to different people, or went back.
type SplitViewError struct {
	Witness string
	Ours    proof.Checkpoint
	Size    uint64 // of the tree that the witness knows
	// Theirs is the checkpoint that the witness cosigned, with the log's signature and
	// its own, if it could be fetched: the proof.
	Theirs []byte
}

// Error implements error.
func (e *SplitViewError) Error() string {
	what := fmt.Sprintf("the witness %q knows another tree of the log %q: it cosigned one of size %d that ours of "+
		"size %d does not continue", e.Witness, e.Ours.Origin, e.Size, e.Ours.Size)
	if e.Size > e.Ours.Size {
		what = fmt.Sprintf("the witness %q knows a later tree of the log %q: it cosigned one of size %d, and ours "+
			"has only %d; the log went back, or this checkpoint is old", e.Witness, e.Ours.Origin, e.Size, e.Ours.Size)
	}
	if theirs, err := proof.Unsigned(e.Theirs); err == nil {
		what += fmt.Sprintf(" (its root is %x)", theirs.Root)
	}
	return what
}

// StatusError is an answer that the client can do nothing about.
type StatusError struct {
	Witness string
	Status  int
	Text    string // the first line, cut
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the witness %q answered %d: %q", e.Witness, e.Status, e.Text)
}

// Client asks witnesses.
type Client struct{ http *http.Client }

// Limits of what a witness may make us wait for and read.
const (
	patience  = 10 * time.Second
	maxAnswer = proof.MaxCheckpoint
	attempts  = 4
)

// NewClient returns a client whose requests go through a transport; nil: the default.
func NewClient(transport http.RoundTripper) *Client {
	return &Client{http: &http.Client{
		Transport: transport, Timeout: patience,
		// A redirect would send the checkpoint where the policy does not say.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// AddCheckpoint asks a witness to cosign a checkpoint. old is the size that the witness
// knows, as far as the caller knows; if it knows another one, it is asked again with
// that. The answer holds at least one cosignature, verified with the endpoint's keys.
// Errors: *SplitViewError, *StatusError.
func (c *Client) AddCheckpoint(
	ctx context.Context, to Endpoint, signed []byte, old uint64, prove Prover,
) ([]Cosignature, error) {
	ours, err := proof.Unsigned(signed)
	if err != nil {
		return nil, err
	}
	old = min(old, ours.Size)

	for range attempts {
		r := request{old: old, checkpoint: signed}
		if old > 0 && old < ours.Size {
			if r.path, err = prove(ctx, old, ours.Size); err != nil {
				return nil, fmt.Errorf("prove that the tree of size %d begins that of size %d: %w", old, ours.Size, err)
			}
		}

		status, body, err := c.send(ctx, to, http.MethodPost, "/add-checkpoint", r.encode())
		if err != nil {
			return nil, err
		}
		switch status {
		case http.StatusOK:
			return cosignatures(to, ours, body)
		case http.StatusUnprocessableEntity:
			return nil, c.explain(ctx, to, ours, r, body)
		case http.StatusConflict:
			known, isSize := parseSize(strings.TrimSuffix(string(body), "\n"))
			if !isSize || known == old {
				return nil, statusError(to, status, body)
			}
			if known > ours.Size {
				theirs := c.Latest(ctx, to, ours.Origin)
				return nil, &SplitViewError{Witness: to.Name, Ours: ours, Size: known, Theirs: theirs}
			}
			old = known
		default:
			return nil, statusError(to, status, body)
		}
	}
	return nil, fmt.Errorf("the witness %q knew another size each time that it was asked, %d times", to.Name, attempts)
}

// explain says why a witness did not accept a proof: because it knows another tree, or,
// if what it serves to monitors shows that our proof holds, for no reason.
func (c *Client) explain(ctx context.Context, to Endpoint, ours proof.Checkpoint, r request, body []byte) error {
	theirs := c.Latest(ctx, to, ours.Origin)
	split := &SplitViewError{Witness: to.Name, Ours: ours, Size: r.old, Theirs: theirs}

	known, err := proof.Unsigned(theirs)
	if err == nil && known.Size == r.old && follows(known, ours, r.path) == nil || r.old == 0 {
		return statusError(to, http.StatusUnprocessableEntity, body)
	}
	return split
}

// Latest fetches the checkpoint that a witness cosigned of a log; nil if it does not
// serve one that one of its keys has signed.
func (c *Client) Latest(ctx context.Context, to Endpoint, origin string) []byte {
	status, body, err := c.send(ctx, to, http.MethodGet, "/"+hashOf(origin)+"/checkpoint", nil)
	if err != nil || status != http.StatusOK {
		return nil
	}
	signed, err := proof.Open(body, to.Keys...)
	if err != nil || signed.Origin != origin {
		return nil
	}
	return body
}

// send makes one request and reads its answer, within bounds.
func (c *Client) send(ctx context.Context, to Endpoint, method, path string, body []byte) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, to.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, nil, fmt.Errorf("the witness %q does not answer: %w", to.Name, withoutURL(err))
	}
	defer func() { _ = answer.Body.Close() }()

	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, fmt.Errorf("the answer of the witness %q was cut off: %w", to.Name, err)
	}
	if len(text) > maxAnswer {
		return 0, nil, fmt.Errorf("the witness %q answers with more than %d bytes", to.Name, maxAnswer)
	}
	return answer.StatusCode, text, nil
}

// withoutURL removes the address, which may hold a password, from an error.
func withoutURL(err error) error {
	if failed, is := errors.AsType[*url.Error](err); is {
		return failed.Err
	}
	return err
}

func statusError(to Endpoint, status int, body []byte) error {
	line, _, _ := strings.Cut(string(body), "\n")
	return &StatusError{Witness: to.Name, Status: status, Text: line[:min(len(line), 200)]}
}

// cosignatures verifies an answer. Lines of keys that the policy does not know are
// ignored, as the specification demands.
func cosignatures(to Endpoint, ours proof.Checkpoint, lines []byte) ([]Cosignature, error) {
	opened, err := proof.Open(append([]byte(ours.Text()+"\n"), lines...), to.Keys...)
	if err != nil {
		return nil, fmt.Errorf("the answer of the witness %q is no cosignature of it: %w", to.Name, err)
	}

	var all []Cosignature
	for _, by := range opened.By {
		if by.At.Unix() <= 0 {
			return nil, fmt.Errorf("the cosignature of the witness %q does not say when it was made", to.Name)
		}
		all = append(all, Cosignature{Key: by.Key, At: by.At, Line: lineOf(by.Key, lines)})
	}
	return all, nil
}

// lineOf returns the first line of a key, which is the one that is verified.
func lineOf(key proof.Key, lines []byte) string {
	for line := range strings.Lines(string(lines)) {
		encoded, named := strings.CutPrefix(line, "\u2014 "+key.Name()+" ")
		data, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(encoded, "\n"))
		if named && err == nil && len(data) >= 4 && binary.BigEndian.Uint32(data) == key.KeyHash() {
			return line
		}
	}
	return ""
}
