// Package web is the chat's client in the browser: static files, without a build
// step. It speaks IRC over the WebSocket that is beside it.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed *.html *.css *.js *.svg *.webmanifest
var files embed.FS

// policy lets the page load its own files and connect to its own server, and nothing
// else. No text becomes HTML or the address of a program; the one of the service
// worker is fixed.
const policy = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types worker"

// A Site is what the page has to know before it can connect.
type Site struct {
	// Network is the name of the network.
	Network string `json:"network"`
	// Path is where the WebSocket is.
	Path string `json:"path"`
	// Files is the path to which the page uploads files; "" when it cannot.
	Files string `json:"files"`
	// Invitations: there are accounts, and administrators can invite people.
	Invitations bool `json:"invitations"`
}

// Page returns the handler that serves the client. site is called for
// each page, from any goroutine.
func Page(site func() Site) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /site.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(site()) // a browser that has gone needs no answer
	})
	assets := load()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "" {
			name = "index.html"
		}
		a := assets[name]
		if a == nil {
			http.NotFound(w, r)
			return
		}
		a.serve(w, r)
	})
	return mux
}

// An asset is one file as it is sent.
type asset struct {
	kind   string
	tag    string
	plain  []byte
	packed []byte // gzip's form
}

func load() map[string]*asset {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // they are in the program
	}
	assets := map[string]*asset{}
	for _, entry := range entries {
		data, err := files.ReadFile(entry.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		assets[entry.Name()] = &asset{kind: kindOf(entry.Name()), tag: `"` + hex.EncodeToString(sum[:12]) + `"`, plain: data, packed: pack(data)}
	}
	return assets
}

// kindOf is the type of a file; the system's table may say anything of it.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".webmanifest":
		return "application/manifest+json"
	case ".svg":
		return "image/svg+xml"
	case ".css":
		return "text/css; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	}
	return mime.TypeByExtension(path.Ext(name))
}

func pack(data []byte) []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is right
	}
	_, _ = z.Write(data) // a buffer takes all
	_ = z.Close()
	return b.Bytes()
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.tag)
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("If-None-Match"), a.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a browser that has gone needs no answer
}
