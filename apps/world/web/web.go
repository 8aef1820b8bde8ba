// Package web is the world's client in the browser: static files, without a build
// step.
package web

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"
)

//go:embed *.html *.css *.js
var files embed.FS

// policy lets the page load its own files and connect to its own server, and nothing
// else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Page returns the handler that serves the client, and /healthz.
func Page() http.Handler {
	static := http.FileServerFS(filesOnly{files})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		static.ServeHTTP(w, r)
	})
	return mux
}

// filesOnly has no lists of directories.
type filesOnly struct{ fs.FS }

func (f filesOnly) Open(name string) (fs.File, error) {
	if name != "." && strings.Contains(name, "/") {
		return nil, fs.ErrNotExist
	}
	return f.FS.Open(name)
}
