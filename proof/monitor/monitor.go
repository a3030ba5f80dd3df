package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/salga-trust/engine/proof"
	"github.com/salga-trust/engine/proof/witness"
)

// FaultError is what a log does that it must not do.
type FaultError struct {
	Text string
	// Shown is the signed checkpoint that shows it; nil: none was read.
	Shown []byte
	// Beside is the one that it contradicts, unless that was seen before: the log showed
	// it to us now, and Shown to a witness. Both carry the log's signature.
	Beside []byte
}

// Error implements error.
func (f *FaultError) Error() string { return f.Text }

// Config says which log is looked at, and who is believed.
type Config struct {
	URL    string // the log's prefix, such as https://trust.example/log
	Policy *proof.Policy
	// MaxAge is how long ago the newest checkpoint may have been signed; 0: however long.
	MaxAge time.Duration
	// Wait is how long a new checkpoint may lack its cosignatures.
	Wait      time.Duration
	Now       func() time.Time
	Transport http.RoundTripper // nil: the default
}

// Seen is what was found.
type Seen struct {
	Signed     []byte // the newest checkpoint, as it was served
	Origin     string
	Size       uint64
	Root       proof.Hash
	SignedAt   time.Time // the newest time in its signatures; zero: none says
	Cosigned   []string  // names in the policy of the witnesses that cosigned it
	Silent     []string  // witnesses that could not be asked what they know
	Consistent bool      // with what was seen before, and with what witnesses know
}

// Monitor looks at one log.
type Monitor struct {
	config Config
	client *http.Client
	ask    *witness.Client
	asked  []witness.Endpoint
}

const patience = 15 * time.Second

// New returns a monitor. It refuses an address that is none.
func New(config Config) (*Monitor, error) {
	address, err := url.Parse(config.URL)
	if err != nil || address.Host == "" || address.Scheme != "https" && address.Scheme != "http" {
		return nil, errors.New("the address of the log is no URL with http or https")
	}
	if address.Path == "" || address.Path == "/" {
		address.Path = "/log"
	}
	config.URL = strings.TrimRight(address.String(), "/")

	endpoints, err := witness.Endpoints(config.Policy)
	if err != nil {
		return nil, err
	}
	return &Monitor{
		config: config, client: &http.Client{Transport: config.Transport, Timeout: patience},
		ask: witness.NewClient(config.Transport), asked: endpoints,
	}, nil
}

// Look compares what the log shows now with the checkpoint that it showed before; nil:
// none was seen. What was found so far comes with an error too. Error: *FaultError.
func (m *Monitor) Look(ctx context.Context, before []byte) (Seen, error) {
	seen, missing, err := m.newest(ctx)
	if err != nil {
		return seen, err
	}

	err = m.continues(ctx, seen, before)
	if err == nil {
		err = m.agrees(ctx, &seen)
	}
	if fault, is := errors.AsType[*FaultError](err); is && fault.Shown == nil {
		fault.Shown = seen.Signed // it covers what the log does not show
	}
	if err != nil {
		return seen, err
	}
	seen.Consistent = true

	if missing != nil {
		return seen, missing
	}
	return seen, m.fresh(seen)
}

// newest fetches the newest checkpoint, verified by the policy's log keys. missing says
// that witnesses have not cosigned it as the policy demands, although they had time to.
func (m *Monitor) newest(ctx context.Context) (seen Seen, missing *FaultError, err error) {
	until := m.config.Now().Add(m.config.Wait)
	for {
		signed, err := m.get(ctx, "checkpoint", proof.MaxCheckpoint)
		if err != nil {
			return seen, nil, err
		}
		c, err := proof.Unsigned(signed)
		if err != nil {
			return seen, nil, fmt.Errorf("checkpoint: %w", err)
		}
		opened, err := proof.Open(signed, m.keys(c.Origin)...)
		if err != nil {
			return seen, nil, &FaultError{Text: fmt.Sprintf("the checkpoint of %q: %v", c.Origin, err), Shown: signed}
		}
		seen = m.seen(opened)

		_, err = m.config.Policy.Open(signed)
		if err == nil {
			return seen, nil, nil
		}
		if !m.config.Now().Before(until) {
			return seen, &FaultError{Text: err.Error(), Shown: signed}, nil
		}
		if err := pause(ctx, time.Second); err != nil {
			return seen, nil, err
		}
	}
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// keys are those of the policy for a log of an origin: its own, and its witnesses'.
func (m *Monitor) keys(origin string) []proof.Key {
	var keys []proof.Key
	for _, l := range m.config.Policy.Logs {
		if l.Key.Name() == origin {
			keys = append(keys, l.Key)
		}
	}
	for _, w := range m.config.Policy.Witnesses {
		keys = append(keys, w.Key)
	}
	return keys
}

func (m *Monitor) seen(opened proof.Signed) Seen {
	seen := Seen{Signed: opened.Raw, Origin: opened.Origin, Size: opened.Size, Root: opened.Root}
	for _, by := range opened.By {
		if by.At.After(seen.SignedAt) {
			seen.SignedAt = by.At
		}
	}
	for _, w := range m.config.Policy.Witnesses {
		if _, signed := opened.SignedBy(w.Key); signed {
			seen.Cosigned = append(seen.Cosigned, w.Name)
		}
	}
	return seen
}

// continues refuses a log that does not begin with the tree that was seen before. The
// first time it only has the log show the tree that its checkpoint speaks of.
func (m *Monitor) continues(ctx context.Context, seen Seen, before []byte) error {
	if before == nil {
		root, err := proof.Root(seen.Size, m.tiles(ctx, seen.Size))
		if err != nil {
			return err
		}
		if root != seen.Root {
			return &FaultError{Text: fmt.Sprintf("the tiles of %q have the root %x, and its checkpoint of size %d "+
				"has %x", seen.Origin, root, seen.Size, seen.Root), Shown: seen.Signed}
		}
		return nil
	}

	known, err := proof.Unsigned(before)
	if err != nil {
		return err
	}
	now := proof.Checkpoint{Origin: seen.Origin, Size: seen.Size, Root: seen.Root}
	switch {
	case known.Origin != now.Origin:
		return &FaultError{
			Text:  fmt.Sprintf("the log was %q and is %q now: it began anew", known.Origin, now.Origin),
			Shown: seen.Signed,
		}
	case now.Size < known.Size:
		return &FaultError{Text: fmt.Sprintf("the log went back: it was seen with %d events, and shows %d",
			known.Size, now.Size), Shown: seen.Signed}
	}
	return m.begins(ctx, known, now, "it was seen with", seen.Signed)
}

// begins returns a FaultError if the older tree is not shown to begin the newer one.
func (m *Monitor) begins(ctx context.Context, older, newer proof.Checkpoint, who string, shown []byte) error {
	if older.Size == newer.Size {
		if older.Root != newer.Root {
			return &FaultError{Text: fmt.Sprintf("the log shows two trees of %d events: %s the root %x, "+
				"and it shows %x", older.Size, who, older.Root, newer.Root), Shown: shown}
		}
		return nil
	}
	if older.Size == 0 {
		return nil
	}

	path, err := proof.ConsistencyProof(older.Size, newer.Size, m.tiles(ctx, newer.Size))
	if err != nil {
		return err
	}
	if proof.VerifyConsistency(older.Size, newer.Size, path, older.Root, newer.Root) != nil {
		return &FaultError{Text: fmt.Sprintf("the log was changed: %s the root %x of %d events, which its tree of %d "+
			"events (root %x) does not begin with", who, older.Root, older.Size, newer.Size, newer.Root), Shown: shown}
	}
	return nil
}

// agrees compares what the log shows to us with what it showed to its witnesses: that is
// how a log is found out that shows different trees to different people.
func (m *Monitor) agrees(ctx context.Context, seen *Seen) error {
	ours := proof.Checkpoint{Origin: seen.Origin, Size: seen.Size, Root: seen.Root}
	for _, to := range m.asked {
		text := m.ask.Latest(ctx, to, seen.Origin)
		theirs, err := proof.Open(text, m.keys(seen.Origin)...)
		if err != nil || !m.bySomeLogKey(theirs) {
			seen.Silent = append(seen.Silent, to.Name)
			continue
		}

		older, newer, who := theirs.Checkpoint, ours, fmt.Sprintf("the witness %q knows", to.Name)
		if older.Size > newer.Size {
			older, newer, who = ours, theirs.Checkpoint, "we were shown"
		}
		err = m.begins(ctx, older, newer, who, text)
		if fault, is := errors.AsType[*FaultError](err); is {
			fault.Shown, fault.Beside = text, seen.Signed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bySomeLogKey reports whether the log itself signed what a witness shows: otherwise it
// would say nothing about the log.
func (m *Monitor) bySomeLogKey(signed proof.Signed) bool {
	for _, by := range signed.By {
		if m.config.Policy.Trusts(signed.Origin, by.Key) {
			return true
		}
	}
	return false
}

// lead is how far the clock of a log or a witness may be ahead of ours.
const lead = 5 * time.Minute

func (m *Monitor) fresh(seen Seen) error {
	age := m.config.Now().Sub(seen.SignedAt)
	switch {
	case m.config.MaxAge == 0:
		return nil
	case seen.SignedAt.IsZero():
		return &FaultError{Text: "the age of the checkpoint is not known: none of the keys that are believed signs " +
			"with the time; add the log's ML-DSA-44 key"}
	case age < -lead:
		return &FaultError{Text: fmt.Sprintf("the checkpoint says that it was signed at %s, which is not yet",
			seen.SignedAt.Format(time.RFC3339)), Shown: seen.Signed}
	case age > m.config.MaxAge:
		return &FaultError{Text: fmt.Sprintf("the newest checkpoint is of %s: older than %s",
			seen.SignedAt.Format(time.RFC3339), m.config.MaxAge), Shown: seen.Signed}
	}
	return nil
}

// tiles reads tiles of a tree of a size. A log that does not have one has to: its
// checkpoint covers it.
func (m *Monitor) tiles(ctx context.Context, size uint64) proof.TileReader {
	return func(level int, index uint64, width int) ([]proof.Hash, error) {
		path := proof.TilePath(level, index, width)
		data, err := m.get(ctx, path, proof.TileWidth*len(proof.Hash{}))
		if missing, is := errors.AsType[*statusError](err); is && missing.status == http.StatusNotFound &&
			width < proof.TileWidth {
			// The tile may be full by now, and a log may drop partial ones then.
			data, err = m.get(ctx, proof.TilePath(level, index, proof.TileWidth), proof.TileWidth*len(proof.Hash{}))
		}
		if missing, is := errors.AsType[*statusError](err); is && missing.status == http.StatusNotFound {
			const text = "the log does not show %s, which its tree of %d events has"
			return nil, &FaultError{Text: fmt.Sprintf(text, path, size)}
		}
		if err != nil {
			return nil, err
		}
		if len(data) < width*len(proof.Hash{}) || len(data)%len(proof.Hash{}) != 0 {
			const text = "%s has %d bytes, not %d"
			return nil, &FaultError{Text: fmt.Sprintf(text, path, len(data), width*len(proof.Hash{}))}
		}

		hashes := make([]proof.Hash, width)
		for i := range hashes {
			copy(hashes[i][:], data[i*len(proof.Hash{}):])
		}
		return hashes, nil
	}
}

// statusError is an answer other than 200.
type statusError struct {
	path   string
	status int
}

func (e *statusError) Error() string { return fmt.Sprintf("%s: status %d", e.path, e.status) }

// get fetches something of the log, within bounds.
func (m *Monitor) get(ctx context.Context, path string, most int) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.config.URL+"/"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Cache-Control", "no-cache")
	answer, err := m.client.Do(request)
	if err != nil {
		if failed, is := errors.AsType[*url.Error](err); is {
			err = failed.Err // without the address, which may hold a password
		}
		return nil, fmt.Errorf("the log does not answer: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()

	if answer.StatusCode != http.StatusOK {
		return nil, &statusError{path, answer.StatusCode}
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("%s was cut off: %w", path, err)
	}
	if len(data) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, nil
}
