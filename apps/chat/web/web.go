// Package web is the chat's client in the browser: static files, without a build
// step. They are sent without comments and what else only people need. The client
// speaks IRC over the WebSocket that is beside it.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/css"
	"github.com/tdewolff/minify/v2/js"
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

// An asset is one file.
type asset struct {
	kind string
	// sent is how it is sent; that is made when it is first asked for, so that the
	// server starts without it.
	sent func() sent
}

// sent is a file as it is sent.
type sent struct {
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
		kind := kindOf(entry.Name())
		assets[entry.Name()] = &asset{kind: kind, sent: sync.OnceValue(func() sent { return prepare(kind, data) })}
	}
	return assets
}

func prepare(kind string, data []byte) sent {
	data = shorten(kind, data)
	sum := sha256.Sum256(data)
	return sent{tag: `"` + hex.EncodeToString(sum[:12]) + `"`, plain: data, packed: pack(data)}
}

// shorten makes less of scripts and style sheets that says the same.
func shorten(kind string, data []byte) []byte {
	m := minify.New()
	m.AddFunc("text/javascript", js.Minify)
	m.AddFunc("text/css", css.Minify)
	short, err := m.Bytes(kind, data)
	switch {
	case errors.Is(err, minify.ErrNotExist): // pictures and the like
		return data
	case err != nil:
		panic(err) // they are in the program
	}
	return short
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
	s, h := a.sent(), w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Type", a.kind)
	h.Set("ETag", s.tag)
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("If-None-Match"), s.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := s.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = s.packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // a browser that has gone needs no answer
}
