// Package site serves the course as pages: those of docs/course, rendered, under the
// names that they have there, so that their links hold.
package site

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"

	pages "github.com/epinet/epi/docs/course"
	programs "github.com/epinet/epi/examples/course"
)

//go:embed page.html style.css
var assets embed.FS

var (
	page     = template.Must(template.ParseFS(assets, "page.html"))
	markdown = goldmark.New(goldmark.WithExtensions(extension.Table))
	// heading is the title of a chapter.
	heading = regexp.MustCompile(`(?m)^# (.*)$`)
)

// A chapter is a page of the course in one language.
type chapter struct {
	Path  string // as in docs/course
	Title string
}

// A view is what page.html shows.
type view struct {
	Language       string
	Title          string
	Path           string
	Chapters       []chapter // all of the language
	Previous, Next *chapter  // nil at the ends
	Contents       chapter
	Other          chapter // the same page in the other language
	Body           template.HTML
}

// Handler serves the course. It answers GET and HEAD, and needs nothing from elsewhere.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/"+contents(preferred(r)), http.StatusFound)
	})
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, assets, "style.css")
	})
	mux.HandleFunc("GET /pictures/{name}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pages.Pages, "pictures/"+r.PathValue("name"))
	})
	mux.Handle("GET /examples/course/", http.StripPrefix("/examples/course/", http.FileServerFS(programs.Programs)))
	mux.HandleFunc("GET /", servePage)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		mux.ServeHTTP(w, r)
	})
}

// preferred is the reader's language: Korean if the browser names it first.
func preferred(r *http.Request) string {
	if strings.HasPrefix(r.Header.Get("Accept-Language"), "ko") {
		return "ko"
	}
	return "en"
}

// contents is the path of a language's first page.
func contents(language string) string {
	if language == "ko" {
		return "ko/README.md"
	}
	return "README.md"
}

func servePage(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	source, err := fs.ReadFile(pages.Pages, name)
	if err != nil || path.Ext(name) != ".md" {
		http.NotFound(w, r)
		return
	}
	v, err := newView(name, source)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var out bytes.Buffer
	if err := page.Execute(&out, v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = out.WriteTo(w) // an error is the client's going
}

func newView(name string, source []byte) (*view, error) {
	var body bytes.Buffer
	if err := markdown.Convert(source, &body); err != nil {
		return nil, err
	}
	v := &view{Language: "en", Title: title(source), Path: "/" + name, Body: template.HTML(body.String())}
	other := "ko"
	if strings.HasPrefix(name, "ko/") {
		v.Language, other = "ko", "en"
	}
	v.Contents = read(contents(v.Language))
	v.Other = read(contents(other))
	chapters, err := fs.Glob(pages.Pages, v.Language+"/[0-9]*.md")
	if err != nil {
		return nil, err
	}
	for i, at := range chapters {
		v.Chapters = append(v.Chapters, read(at))
		if at != name {
			continue
		}
		v.Other = read(other + "/" + path.Base(name))
		if i > 0 {
			previous := read(chapters[i-1])
			v.Previous = &previous
		}
		if i+1 < len(chapters) {
			next := read(chapters[i+1])
			v.Next = &next
		}
	}
	return v, nil
}

// read returns a page that is there: its name and title.
func read(name string) chapter {
	source, _ := fs.ReadFile(pages.Pages, name)
	return chapter{"/" + name, title(source)}
}

func title(source []byte) string {
	found := heading.FindSubmatch(source)
	if found == nil {
		return ""
	}
	return string(found[1])
}
