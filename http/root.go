package http

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// rootPage is for people who open the address in a browser.
const rootPage = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SALGA Trust Engine</title>
</head>
<body>
<h1>SALGA Trust Engine</h1>
<p>It is running.</p>
<ul>
<li><a href="console">The console</a>: pages for staff and residents, in three languages</li>
<li><a href="docs">Documentation</a>, to read and try out</li>
<li><a href="openapi.json">The OpenAPI document</a>, for generators</li>
<li><a href="ready">Can it serve?</a></li>
</ul>
</body>
</html>
`

// root says where to look: browsers get a page, other clients JSON.
func (s *server) root() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept")
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, rootPage)
			return
		}

		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"name": "SALGA Trust Engine", "version": s.config.Version, "api": "/api/v1", "console": "/console",
			"documentation": "/docs", "openapi": "/openapi.json", "health": "/health",
			"ready": "/ready",
		})
	})
}
