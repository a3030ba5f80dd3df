package http

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/swaggest/swgui/v5/static"
)

// The documentation page is Swagger UI, served from the binary: no other host, no inline
// script.
const (
	docsPage = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SALGA Trust Engine</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script src="docs/swagger-ui-bundle.js" defer></script>
<script src="docs/start.js" defer></script>
</head>
<body>
<div id="swagger-ui">The API is described by <a href="openapi.json">openapi.json</a>.</div>
</body>
</html>
`
	docsStart = `SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
`
	// Swagger UI sets style attributes, and has its pictures in the style sheet.
	docsPolicy = contentPolicy + "; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
)

func (s *server) docs() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, docsPage)
	})
}

func docsTypes() map[string]string {
	return map[string]string{
		"start.js":             "text/javascript; charset=utf-8",
		"swagger-ui-bundle.js": "text/javascript; charset=utf-8",
		"swagger-ui.css":       "text/css; charset=utf-8",
		"favicon-32x32.png":    "image/png",
	}
}

func (s *server) docsAsset() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := chi.URLParam(r, "asset")
		contentType, ok := docsTypes()[name]
		if !ok {
			s.notFound(w, r)
			return
		}

		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=86400")
		if name == "start.js" {
			_, _ = io.WriteString(w, docsStart)
			return
		}
		if err := sendAsset(w, r, name); err != nil {
			s.problemOf(r.Context(), err, nil).write(w)
		}
	})
}

// sendAsset sends a file of Swagger UI. All but the pictures are stored compressed.
func sendAsset(w http.ResponseWriter, r *http.Request, name string) error {
	if plain, err := static.FS.Open(name); err == nil {
		defer func() { _ = plain.Close() }()
		_, _ = io.Copy(w, plain)
		return nil
	}

	packed, err := static.FS.Open(name + ".gz")
	if err != nil {
		return err
	}
	defer func() { _ = packed.Close() }()

	w.Header().Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.Copy(w, packed)
		return nil
	}

	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	_, _ = io.Copy(w, unpacked) //nolint:gosec // our own file
	return nil
}
