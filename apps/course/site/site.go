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
	Live           []play
}

// A play is a live page beside a chapter.
type play struct {
	Name  string // below /show/
	Title string
}

// plays are the live pages by the chapter's file, and what they are called.
var plays = map[string][]string{
	"01-select.md":   {"cost"},
	"02-epoll.md":    {"cost", "twin"},
	"04-register.md": {"pipe"},
	"06-trigger.md":  {"pipe", "signal", "trap"},
	"07-echo.md":     {"trap"},
	"10-boss.md":     {"boss", "waiters"},
	"11-systems.md":  {"trap", "boss"},
}

var playTitles = map[string]map[string]string{
	"en": {
		"cost":    "what one wait costs",
		"twin":    "readiness beside completion",
		"pipe":    "three pipes, half read",
		"signal":  "the signal",
		"trap":    "the trap of edge",
		"boss":    "boss and workers",
		"waiters": "who wakes",
	},
	"ko": {
		"cost":    "대기 한 번의 비용",
		"twin":    "준비 통지와 완료 통지",
		"pipe":    "절반만 읽은 파이프 세 개",
		"signal":  "신호",
		"trap":    "엣지의 함정",
		"boss":    "보스와 워커",
		"waiters": "누가 깨어나는가",
	},
}

// playsOf returns the live pages of a chapter.
func playsOf(language, file string) (all []play) {
	for _, name := range plays[file] {
		all = append(all, play{name, playTitles[language][name]})
	}
	return all
}

// Handler serves the course, and live below /show/, where the chapters have its pages
// in frames; nil: there are none. It answers GET and HEAD, live what it answers, and
// needs nothing from elsewhere.
func Handler(live http.Handler) http.Handler {
	mux := http.NewServeMux()
	if live != nil {
		below := http.StripPrefix("/show", framed(live))
		mux.Handle("GET /show/", below)
		mux.Handle("POST /show/", below)
	}
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
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { servePage(w, r, live != nil) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		mux.ServeHTTP(w, r)
	})
}

// framed lets pages of the same origin, and no others, have the answers in frames.
func framed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
		next.ServeHTTP(w, r)
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

// servePage serves a page, with live pages beside it if there are any.
func servePage(w http.ResponseWriter, r *http.Request, live bool) {
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
	if live {
		v.Live = playsOf(v.Language, path.Base(name))
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
