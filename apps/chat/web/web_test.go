package web_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/epinet/epi/apps/chat/web"
)

func page() func(path string, header ...string) *httptest.ResponseRecorder {
	handler := web.Page(func() web.Site { return web.Site{Network: "test", Path: "/"} })
	return func(path string, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		return answer
	}
}

func TestPageRunsNothingOfOthers(t *testing.T) {
	get := page()
	for path, status := range map[string]int{
		"/": 200, "/main.js": 200, "/style.css": 200, "/icon.svg": 200, "/site.json": 200,
		"/web.go": 404, "/irc.test.mjs": 404, "/none": 404, "/a/b": 404, "/index.html/": 404,
	} {
		if answer := get(path); answer.Code != status {
			t.Errorf("%s: %d", path, answer.Code)
		}
	}
	for _, path := range []string{"/", "/main.js", "/icon.svg"} {
		policy := get(path).Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'self'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
	}
}

// What the page loads is small, as it is sent, and is asked for once.
func TestPageIsSmall(t *testing.T) {
	const most = 100 << 10
	get := page()
	names, err := filepath.Glob("*.*")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, name := range names {
		answer := get("/"+name, "Accept-Encoding", "gzip")
		if answer.Code != 200 {
			continue // a test, or Go
		}
		total += answer.Body.Len()
		if again := get("/"+name, "If-None-Match", answer.Header().Get("ETag")); again.Code != 304 {
			t.Errorf("%s again: %d", name, again.Code)
		}
	}
	if total == 0 || total > most {
		t.Errorf("the page has %d bytes, at most %d are allowed", total, most)
	}
	t.Logf("%d bytes", total)
}

// needs are the files that a file of the page has loaded with it.
var needs = regexp.MustCompile(`(?:\bfrom ?|\bimport ?|src=|href=)["']\.?/?([a-z]+\.[a-z]+)["']`)

// What the first view loads is small also where nothing packs it: the way in, and the
// chat itself, in every language. The rest is loaded when it is asked for.
func TestFirstViewIsSmall(t *testing.T) {
	const most = 100_000
	get := page()
	for _, language := range []string{"english.js", "korean.js"} {
		sizes := map[string]int{}
		waiting := []string{"index.html", "site.json", "enter.js", language} // the last two are for main.js to choose
		for len(waiting) > 0 {
			name := waiting[0]
			waiting = waiting[1:]
			if _, seen := sizes[name]; seen {
				continue
			}
			answer := get("/" + name)
			if answer.Code != 200 {
				t.Fatalf("%s: %d", name, answer.Code)
			}
			sizes[name] = answer.Body.Len()
			for _, found := range needs.FindAllStringSubmatch(answer.Body.String(), -1) {
				waiting = append(waiting, found[1])
			}
		}
		total := 0
		for _, size := range sizes {
			total += size
		}
		for _, name := range []string{"client.js", "icon.svg", "style.css"} {
			if sizes[name] == 0 {
				t.Errorf("%s is not among %v", name, sizes)
			}
		}
		if total > most {
			t.Errorf("the first view has %d bytes, at most %d are allowed: %v", total, most, sizes)
		}
		t.Logf("%s: %d bytes in %d files", language, total, len(sizes))
	}
}

// The service worker keeps all files of the page, or it would not open without a
// network.
func TestServiceWorkerKeepsThePage(t *testing.T) {
	worker, err := os.ReadFile("sw.js")
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("*.*")
	if err != nil {
		t.Fatal(err)
	}
	get := page()
	for _, name := range names {
		if name == "sw.js" || name == "index.html" || get("/"+name).Code != 200 {
			continue
		}
		if !strings.Contains(string(worker), "'"+name+"'") {
			t.Errorf("sw.js does not name %s", name)
		}
	}
}

// Nothing makes HTML or a program of a text, and nothing is in the markup that the
// policy would refuse.
func TestScriptsMakeNoHTML(t *testing.T) {
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|\beval\(|new Function|setTimeout\(['"]|'style'`)
	inline := regexp.MustCompile(`\son\w+=|style=|<script>|javascript:|https?://`)
	for pattern, what := range map[string]*regexp.Regexp{"*.js": forbidden, "*.html": inline} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if found := what.FindString(string(text)); found != "" {
				t.Errorf("%s has %q", name, found)
			}
		}
	}
}

// vectors writes ircdocs' parser tests as JSON, where they are beside the repository.
func vectors(t *testing.T) string {
	t.Helper()
	all := map[string]any{}
	for key, name := range map[string]string{"split": "msg-split", "join": "msg-join", "source": "userhost-split"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "shared", "irc-parser-tests", name+".yaml"))
		if errors.Is(err, fs.ErrNotExist) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Tests []struct {
				Input, Source, Desc string
				Atoms               struct {
					Tags             map[string]string
					Source, Verb     string
					Params           []string
					Nick, User, Host string
				}
				Matches []string
			}
		}
		if err := yaml.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		all[key] = file.Tests
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "vectors.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestScriptsOfThePage runs what the client's pure parts have as tests.
func TestScriptsOfThePage(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("it needs node: apt-get install nodejs")
	}
	names, err := filepath.Glob("*.test.mjs")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	cmd := exec.Command("node", append([]string{"--test"}, names...)...)
	cmd.Env = os.Environ()
	if name := vectors(t); name != "" {
		cmd.Env = append(cmd.Env, "IRC_VECTORS="+name)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
