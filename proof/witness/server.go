package witness

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// ServeHTTP answers by C2SP tlog-witness. Submission prefix and monitoring prefix are the
// same. Besides, GET / says to people what this is.
func (w *Witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) { w.mux.ServeHTTP(rw, r) }

func (w *Witness) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.serveAdd)
	mux.HandleFunc("GET /{hash}/checkpoint", w.serveCheckpoint)
	mux.HandleFunc("GET /{$}", w.serveIndex)
	return mux
}

func (w *Witness) serveAdd(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxRequest))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		http.Error(rw, fmt.Sprintf("a request of more than %d bytes is not read", maxRequest),
			http.StatusRequestEntityTooLarge)
		return
	}
	if err != nil {
		http.Error(rw, "the request could not be read", http.StatusBadRequest)
		return
	}

	lines, err := w.add(r.Context(), body)
	if err != nil {
		w.serveRefusal(rw, r, err)
		return
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = rw.Write(lines) // who went away asks again
}

func (w *Witness) serveRefusal(rw http.ResponseWriter, r *http.Request, err error) {
	refused, is := errors.AsType[*refusalError](err)
	switch {
	case !is:
		w.log.ErrorContext(r.Context(), "nothing is cosigned: the folder cannot be used", slog.Any("error", err))
		http.Error(rw, "the witness cannot keep what it would cosign", http.StatusInternalServerError)
	case refused.status == http.StatusConflict:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(refused.status)
		_, _ = fmt.Fprintf(rw, "%d\n", refused.known)
	default:
		w.log.InfoContext(r.Context(), "refused", slog.Int("status", refused.status), slog.String("why", refused.text))
		http.Error(rw, refused.text, refused.status)
	}
}

// serveCheckpoint gives monitors the newest checkpoint that was cosigned of a log.
func (w *Witness) serveCheckpoint(rw http.ResponseWriter, r *http.Request) {
	for origin, l := range w.logs {
		if hashOf(origin) != r.PathValue("hash") {
			continue
		}

		l.mu.Lock()
		latest, err := w.latest(l, origin)
		l.mu.Unlock()
		if err != nil {
			w.serveRefusal(rw, r, err)
			return
		}
		if latest.Raw == nil {
			break
		}
		rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
		rw.Header().Set("Cache-Control", "no-cache")
		_, _ = rw.Write(latest.Raw)
		return
	}
	http.Error(rw, "this witness has cosigned no checkpoint of such a log", http.StatusNotFound)
}

// serveIndex says who this is, and what it cosigned.
func (w *Witness) serveIndex(rw http.ResponseWriter, r *http.Request) {
	states, err := w.States()
	if err != nil {
		w.serveRefusal(rw, r, err)
		return
	}

	var page strings.Builder
	fmt.Fprintf(&page, "Witness %s of transparency logs (c2sp.org/tlog-witness). Its keys:\n\n", w.Name())
	for _, key := range w.Keys() {
		fmt.Fprintf(&page, "%s\n\n", key.Vkey())
	}
	page.WriteString("Its logs:\n\n")
	for _, s := range states {
		fmt.Fprintf(&page, "%s: cosigned up to size %d", s.Origin, s.Size)
		if s.Splits > 0 {
			fmt.Fprintf(&page, "; THIS LOG SIGNED TWO TREES OF ONE SIZE (%d proofs of it are kept)", s.Splits)
		}
		fmt.Fprintf(&page, "\n  /%s/checkpoint\n", hashOf(s.Origin))
	}
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(rw, page.String())
}
