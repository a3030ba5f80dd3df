package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"

	"github.com/salga-trust/engine/http/client"
)

//go:embed assets/*.css assets/*.js assets/*.svg
var assetFiles embed.FS

// asset is a file of the look.
type asset struct {
	media         string
	plain, packed []byte
	version       string // of its content
}

// assets holds the files by name, read and packed once.
//
//nolint:gochecknoglobals // read once, never written
var assets = sync.OnceValues(func() (map[string]asset, error) {
	media := map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}
	names, err := fs.Glob(assetFiles, "assets/*.*")
	if err != nil {
		return nil, err
	}

	all := map[string]asset{}
	for _, name := range names {
		content, err := assetFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		all[path.Base(name)] = asset{
			media: media[path.Ext(name)], plain: content, packed: pack(content), version: hex.EncodeToString(sum[:6]),
		}
	}
	return all, nil
})

func pack(content []byte) []byte {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
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

// Asset serves a file of the look.
func (c *Console) Asset(v *Visit) error {
	all, err := assets()
	if err != nil {
		return err
	}
	file, is := all[v.r.PathValue("asset")]
	if !is {
		return refusal(http.StatusNotFound, client.ProblemCodeNotFound)
	}

	v.w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	v.send(http.StatusOK, file.media, file.plain, file.packed)
	return nil
}

// send writes an answer, packed if the browser can unpack it.
func (v *Visit) send(status int, media string, plain, packed []byte) {
	h := v.w.Header()
	h.Set("Content-Type", media)
	h.Add("Vary", "Accept-Encoding")
	if strings.Contains(v.r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		plain = packed
	}
	v.w.WriteHeader(status)
	_, _ = v.w.Write(plain) // a browser that has gone away needs no answer
}
