package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/salga-trust/engine/http/client"
)

// What make verifier makes is in built; in a plain checkout, that folder only says so.
//
//go:embed assets/*.css assets/*.js assets/*.svg assets/built
var assetFiles embed.FS

// asset is a file that pages are made of.
type asset struct {
	media   string
	plain   []byte // nil: it is kept packed alone
	packed  []byte
	version string // of its content
}

// assets holds the files by name, read and packed once.
//
//nolint:gochecknoglobals // read once, never written
var assets = sync.OnceValues(func() (map[string]asset, error) { return readAssets(assetFiles) })

// readAssets reads the files by name. One that is packed already is known by the name of
// what is in it, which is large, and rarely asked for plain.
func readAssets(files fs.FS) (map[string]asset, error) {
	names, err := fs.Glob(files, "assets/*.*")
	if err != nil {
		return nil, err
	}
	built, err := fs.Glob(files, "assets/built/*.*")
	if err != nil {
		return nil, err
	}

	all := map[string]asset{}
	for _, file := range slices.Concat(names, built) {
		content, err := fs.ReadFile(files, file)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		a := asset{version: hex.EncodeToString(sum[:6])}

		name, isPacked := strings.CutSuffix(path.Base(file), ".gz")
		if a.media = mediaOf(name); a.media == "" {
			continue
		}
		if isPacked {
			a.packed = content
		} else {
			a.plain, a.packed = content, pack(content)
		}
		all[name] = a
	}
	return all, nil
}

// mediaOf returns the type of an asset by its name; empty: it is none.
func mediaOf(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".wasm":
		return "application/wasm"
	default:
		return ""
	}
}

// unpacked returns the file as it is.
func (a asset) unpacked() ([]byte, error) {
	if a.plain != nil {
		return a.plain, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(a.packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func pack(content []byte) []byte { return packWith(gzip.NewWriter(nil), content) }

// pack is the function of that name for pages: what packs is used again, for it takes
// twenty times the memory of a page.
func (c *Console) pack(content []byte) []byte {
	w := c.packers.Get().(*gzip.Writer)
	defer c.packers.Put(w)
	return packWith(w, content)
}

func packWith(w *gzip.Writer, content []byte) []byte {
	var packed bytes.Buffer
	w.Reset(&packed)
	_, _ = w.Write(content) // into memory
	_ = w.Close()
	return packed.Bytes()
}

// assetLink returns the address of an asset, which changes with its content, so that
// browsers may keep it for ever.
func assetLink(name string) (string, error) {
	all, err := assets()
	return "/console/assets/" + name + "?v=" + all[name].version, err
}

// Asset serves a file that pages are made of.
func (c *Console) Asset(v *Visit) error {
	all, err := assets()
	if err != nil {
		return err
	}
	file, is := all[v.r.PathValue("asset")]
	if !is {
		return refusal(http.StatusNotFound, client.ProblemCodeNotFound)
	}
	var plain []byte
	if !v.unpacks() {
		if plain, err = file.unpacked(); err != nil {
			return err
		}
	}

	v.w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	v.send(http.StatusOK, file.media, plain, file.packed)
	return nil
}

// unpacks reports whether the browser can unpack what is packed.
func (v *Visit) unpacks() bool { return strings.Contains(v.r.Header.Get("Accept-Encoding"), "gzip") }

// send writes an answer, packed if the browser can unpack it. Nil: it is still to be
// packed.
func (v *Visit) send(status int, media string, plain, packed []byte) {
	h := v.w.Header()
	h.Set("Content-Type", media)
	h.Add("Vary", "Accept-Encoding")
	if v.unpacks() {
		h.Set("Content-Encoding", "gzip")
		if packed == nil {
			packed = v.console.pack(plain)
		}
		plain = packed
	}
	v.w.WriteHeader(status)
	//nolint:gosec // templates have escaped it
	_, _ = v.w.Write(plain) // a browser that has gone away needs no answer
}
