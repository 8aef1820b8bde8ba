package site

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	pages "github.com/epinet/epi/docs/course"
)

func get(t *testing.T, url, language string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, url, nil)
	r.Header.Set("Accept-Language", language)
	w := httptest.NewRecorder()
	Handler(nil).ServeHTTP(w, r)
	return w
}

// TestEveryLinkLeadsSomewhere follows all links and pictures from the first page on,
// and must come past every page that there is.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	link := regexp.MustCompile(`(?:href|src)="([^"#:]+)"`)
	seen := map[string]bool{}
	for todo := []string{"/README.md"}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		if seen[at] {
			continue
		}
		seen[at] = true
		w := get(t, at, "en")
		if location := w.Header().Get("Location"); location != "" { // a folder
			w = get(t, location, "en")
		}
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", at, w.Code)
			continue
		}
		if !strings.HasSuffix(at, ".md") {
			continue
		}
		for _, found := range link.FindAllStringSubmatch(w.Body.String(), -1) {
			to := found[1]
			if !strings.HasPrefix(to, "/") {
				to = path.Join(path.Dir(at), to)
			}
			todo = append(todo, to)
		}
	}
	err := fs.WalkDir(pages.Pages, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !seen["/"+name] {
			t.Errorf("nothing links to %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFirstPageIsInTheReadersLanguage(t *testing.T) {
	for language, want := range map[string]string{"ko-KR,ko;q=0.9": "/ko/README.md", "de": "/README.md"} {
		if got := get(t, "/", language).Header().Get("Location"); got != want {
			t.Errorf("%s: %s, want %s", language, got, want)
		}
	}
}

func TestPages(t *testing.T) {
	korean := get(t, "/ko/06-trigger.md", "ko").Body.String()
	for _, want := range []string{`<html lang="ko">`, `href="/en/06-trigger.md"`, `rel="prev" href="/ko/05-wait.md"`, `rel="next" href="/ko/07-echo.md"`, "<pre>", `aria-current="page"`} {
		if !strings.Contains(korean, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if table := get(t, "/en/11-systems.md", "en").Body.String(); !strings.Contains(table, "<table>") {
		t.Error("the table is none")
	}
	for _, nothing := range []string{"/en/12.md", "/course.go", "/en", "/../course.go", "/pictures/", "/examples/course/echo/none.go"} {
		if code := get(t, nothing, "en").Code; code == http.StatusOK {
			t.Errorf("%s: %d", nothing, code)
		}
	}
}

// TestPlays: live pages have a name in both languages and stand beside chapters that are
// there; without live pages there are none.
func TestPlays(t *testing.T) {
	live := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "live at "+r.URL.Path) })
	ask := func(url string) string {
		w := httptest.NewRecorder()
		Handler(live).ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
		return w.Body.String()
	}
	for file := range plays {
		for _, language := range []string{"en", "ko"} {
			page := ask("/" + language + "/" + file)
			for _, p := range playsOf(language, file) {
				frame := `<iframe src="/show/` + p.Name + "?only=" + p.Name
				if p.Title == "" || !strings.Contains(page, frame) || !strings.Contains(page, "<summary>"+p.Title) {
					t.Errorf("%s/%s has no %s %q", language, file, p.Name, p.Title)
				}
			}
		}
	}
	if at := ask("/show/pipe?only=pipe"); at != "live at /pipe" {
		t.Errorf("below /show/ is %q", at)
	}
	if page := get(t, "/en/06-trigger.md", "en").Body.String(); strings.Contains(page, "iframe") {
		t.Error("there are frames without live pages")
	}
}
