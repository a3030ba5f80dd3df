package witness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/salga-trust/engine/proof"
)

// Config says what a witness is.
type Config struct {
	Folder string
	// Name is how it signs, a URL without scheme; empty: the one that the folder keeps.
	Name string
	// Logs are the keys of the logs that it cosigns. A key's name is its log's origin; a
	// log may have several.
	Logs []proof.Key
	Now  func() time.Time
	Log  *slog.Logger
}

// Witness cosigns checkpoints. Any number of requests may come at once.
type Witness struct {
	signer *proof.Signer
	folder *folder
	logs   map[string]*watched // by origin
	now    func() time.Time
	log    *slog.Logger
	mux    *http.ServeMux
}

// watched is a log that the witness cosigns.
type watched struct {
	keys []proof.Key

	mu sync.Mutex // held from reading what is known until its successor is kept
	// latest is what the folder holds; nil: it has to be read, because it was not yet, or
	// because a failed write may have replaced the file.
	latest *proof.Signed
}

// Open takes the folder and makes or reads the keys in it. Errors: ErrHeld, *KeyError.
func Open(config Config) (*Witness, error) {
	folder, err := openFolder(config.Folder)
	if err != nil {
		return nil, err
	}

	w := &Witness{folder: folder, logs: map[string]*watched{}, now: config.Now, log: config.Log}
	if w.signer, err = folder.signer(config.Name); err == nil {
		err = folder.check(w.Keys())
	}
	if err != nil {
		return nil, errors.Join(err, folder.close())
	}

	for _, key := range config.Logs {
		if w.logs[key.Name()] == nil {
			w.logs[key.Name()] = &watched{}
		}
		l := w.logs[key.Name()]
		l.keys = append(l.keys, key)
	}
	w.mux = w.routes()
	return w, nil
}

// Close gives the folder back.
func (w *Witness) Close() error { return w.folder.close() }

// Name returns how the witness signs.
func (w *Witness) Name() string { return w.signer.Name() }

// Keys returns the keys that its cosignatures are verified with, Ed25519 first.
func (w *Witness) Keys() []proof.Key { return w.signer.WitnessKeys() }

// refusalError is why a checkpoint is not cosigned.
type refusalError struct {
	status int
	known  uint64 // for a conflict: the size of the tree that the witness knows
	text   string
}

func (r *refusalError) Error() string { return r.text }

func refuse(status int, format string, args ...any) error {
	return &refusalError{status: status, text: fmt.Sprintf(format, args...)}
}

// add decides about a request, in the order of the specification, and returns the lines
// of the cosignatures. Errors: *refusalError; any other means that nothing is cosigned
// because the folder cannot be read or written.
func (w *Witness) add(ctx context.Context, body []byte) ([]byte, error) {
	r, err := parseRequest(body)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	claimed, err := proof.Unsigned(r.checkpoint)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}

	l, known := w.logs[claimed.Origin]
	if !known {
		return nil, refuse(http.StatusNotFound, "this witness does not know the log")
	}
	signed, err := proof.Open(r.checkpoint, l.keys...)
	if err != nil {
		return nil, refuse(http.StatusForbidden, "%v", err)
	}
	if r.old > signed.Size {
		return nil, refuse(http.StatusBadRequest, "the old size is larger than the checkpoint's")
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	return w.follow(ctx, l, r, signed)
}

// follow cosigns a checkpoint if it follows the newest one, and keeps it first. The
// caller holds the log.
func (w *Witness) follow(ctx context.Context, l *watched, r request, signed proof.Signed) ([]byte, error) {
	latest, err := w.latest(l, signed.Origin)
	if err != nil {
		return nil, err
	}
	if err := w.keepSplit(ctx, l, latest, signed); err != nil {
		return nil, err
	}
	if r.old != latest.Size {
		return nil, &refusalError{status: http.StatusConflict, known: latest.Size, text: "another size is known"}
	}
	if err := follows(latest.Checkpoint, signed.Checkpoint, r.path); err != nil {
		return nil, err
	}

	lines, err := w.signer.Cosign(signed.Checkpoint, w.now())
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%v", err)
	}
	kept, err := proof.Join(append([]byte(signed.Text()+"\n"), lines...), signaturesOf(r.checkpoint), l.keys...)
	if err != nil {
		return nil, err
	}

	l.latest = nil // a write that fails may have replaced the file all the same
	if err := w.folder.write(w.folder.path(signed.Origin, checkpointEnding), string(kept)); err != nil {
		return nil, err
	}
	l.latest = &proof.Signed{Checkpoint: signed.Checkpoint, Raw: kept}
	return lines, nil
}

// latest returns the newest checkpoint that was cosigned. The caller holds the log.
func (w *Witness) latest(l *watched, origin string) (proof.Signed, error) {
	if l.latest == nil {
		read, err := w.folder.read(origin, w.Keys())
		if err != nil {
			return proof.Signed{}, err
		}
		l.latest = &read
	}
	return *l.latest, nil
}

// keepSplit keeps the proof when a log signed two trees of one size: this checkpoint
// contradicts the newest one, and both have the log's signature. The request is refused
// further on, whatever else it says.
func (w *Witness) keepSplit(ctx context.Context, l *watched, latest, signed proof.Signed) error {
	if latest.Size == 0 || signed.Size != latest.Size || signed.Root == latest.Root {
		return nil
	}

	w.log.ErrorContext(ctx, "the log signed two trees of one size", slog.String("origin", signed.Origin),
		slog.Uint64("size", signed.Size), slog.String("cosigned", fmt.Sprintf("%x", latest.Root)),
		slog.String("refused", fmt.Sprintf("%x", signed.Root)))
	evidence, err := proof.Join(signed.Raw, signaturesOf(signed.Raw), l.keys...)
	if err == nil {
		err = w.folder.keepSplit(signed.Checkpoint, evidence)
	}
	return err
}

// follows refuses a checkpoint that is not shown to begin with the one that is known.
func follows(known, next proof.Checkpoint, path []proof.Hash) error {
	switch {
	case next.Size == 0 && next.Root != proof.EmptyRoot():
		return refuse(http.StatusUnprocessableEntity, "an empty tree has another root")
	case known.Size == 0 || known.Size == next.Size:
		if len(path) > 0 {
			return refuse(http.StatusUnprocessableEntity, "nothing is to be proven here, and there is a proof")
		}
		if known.Size == next.Size && known.Root != next.Root {
			return refuse(http.StatusUnprocessableEntity, "this witness cosigned another tree of this size")
		}
		return nil
	}

	if err := proof.VerifyConsistency(known.Size, next.Size, path, known.Root, next.Root); err != nil {
		return refuse(http.StatusUnprocessableEntity, "the consistency proof does not hold: %v", err)
	}
	return nil
}

// State is what a witness knows of one log.
type State struct {
	Origin string
	Size   uint64 // of the newest tree that it cosigned; 0: none
	Splits int    // how many checkpoints show that the log signed two trees of one size
}

// States returns what the witness knows, by origin.
func (w *Witness) States() ([]State, error) {
	var all []State
	for origin, l := range w.logs {
		l.mu.Lock()
		latest, err := w.latest(l, origin)
		l.mu.Unlock()
		if err != nil {
			return nil, err
		}
		splits, err := w.folder.splits(origin)
		if err != nil {
			return nil, err
		}
		all = append(all, State{Origin: origin, Size: latest.Size, Splits: len(splits)})
	}
	slices.SortFunc(all, func(a, b State) int { return cmp.Compare(a.Origin, b.Origin) })
	return all, nil
}
