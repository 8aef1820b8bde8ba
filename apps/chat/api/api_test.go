package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/store"
)

// A fake chat has two channels, and what was said there.
type fake struct {
	said []string
	err  error
}

func (f *fake) Users(context.Context) ([]User, error) {
	return []User{
		{Nick: "ann", Account: "Ann", Channels: []string{"#room", "#secret"}},
		{Nick: "bob", Channels: []string{"#secret"}},
	}, f.err
}

func (f *fake) Channels(context.Context) ([]Channel, error) {
	return []Channel{{Name: "#Room", Topic: "all of it", Members: 1}, {Name: "#secret", Members: 2}}, f.err
}

func (f *fake) Post(_ context.Context, channel, name, text string) (string, error) {
	if f.err != nil {
		return "", f.err
	}
	f.said = append(f.said, channel+" "+name+": "+text)
	return fmt.Sprint(len(f.said)), nil
}

const base = int64(1_700_000_000_000) // ms

func at(n int) store.ID { return store.ID((base + int64(n)) << store.IDBits) }

// newServer has a token for each set of scopes, named after it, for #room alone.
func newServer(t *testing.T) (*Server, *fake) {
	t.Helper()
	s := store.NewMemory()
	var writes []store.Write
	for i := range 5 {
		writes = append(writes, store.AddMessage{Message: store.Message{
			ID: at(i), Target: "#room", Command: "PRIVMSG", Source: "ann!a@h", Account: "Ann", Text: fmt.Sprintf("line %d", i),
		}})
	}
	writes = append(writes, store.AddMessage{Message: store.Message{ID: at(9), Target: "#secret", Command: "PRIVMSG", Source: "bob!b@h", Text: "line of bob"}})
	if _, err := s.Apply(t.Context(), writes); err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	room := []string{"#ro*"}
	return New(f, s, store.NewWriter(s), Tokens{
		Tokens: []Token{
			{Name: "all", Hash: Hash("all"), Scopes: Scopes, Channels: room},
			{Name: "reader", Hash: Hash("reader"), Scopes: []Scope{Read}, Channels: room},
		},
		Hooks: []Hook{{Name: "ci", Hash: Hash("hook"), Channel: "#room"}},
	}), f
}

func ask(s *Server, method, path, token, body string, headers ...string) (int, string) {
	r := httptest.NewRequest(method, Prefix+path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

const room = "/channels/%23Room"

func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		method, path, token, body string
		status                    int
		has                       string
	}{
		"health":                            {"GET", "/health", "", "", 200, `"ok"`},
		"users of the channel":              {"GET", "/users", "reader", "", 200, `[{"nick":"ann","account":"Ann","realname":"","channels":["#room"]}]`},
		"channels of the token":             {"GET", "/channels", "reader", "", 200, `[{"name":"#Room","topic":"all of it","members":1}]`},
		"one channel":                       {"GET", "/channels/%23room", "reader", "", 200, `{"name":"#Room"`},
		"not for it":                        {"GET", "/channels/%23secret", "all", "", 403, "not for that channel"},
		"no such channel":                   {"GET", "/channels/%23rot", "all", "", 404, "no such channel"},
		"no token":                          {"GET", "/users", "", "", 401, "Bearer TOKEN"},
		"wrong token":                       {"GET", "/users", "guess", "", 401, "not known"},
		"lacks the scope":                   {"GET", room + "/messages", "reader", "", 403, "history"},
		"lacks the scope to send":           {"POST", room + "/messages", "reader", `{"text":"x"}`, 403, "send"},
		"no such resource":                  {"GET", "/nothing", "all", "", 404, "openapi.json"},
		"wrong method":                      {"DELETE", "/users", "all", "", 404, "openapi.json"},
		"last of the history":               {"GET", room + "/messages?limit=2", "all", "", 200, `"text":"line 3"`},
		"limit 0":                           {"GET", room + "/messages?limit=0", "all", "", 400, "limit"},
		"limit above":                       {"GET", room + "/messages?limit=1001", "all", "", 400, "limit"},
		"before nonsense":                   {"GET", room + "/messages?before=x", "all", "", 400, "before"},
		"history not for it":                {"GET", "/channels/%23secret/messages", "all", "", 403, "not for that channel"},
		"search":                            {"GET", "/search?q=line+3", "all", "", 200, `"text":"line 3"`},
		"search sees no secrets":            {"GET", "/search?q=bob", "all", "", 200, `[]`},
		"search not for it":                 {"GET", "/search?q=bob&channel=%23secret", "all", "", 403, "not for that channel"},
		"search for nothing":                {"GET", "/search", "all", "", 400, "what to look for"},
		"send":                              {"POST", room + "/messages", "all", `{"text":"hello"}`, 202, `{"ids":["1"]}`},
		"send nothing":                      {"POST", room + "/messages", "all", `{"text":" \r\n\u0000"}`, 400, "no text"},
		"send no JSON":                      {"POST", room + "/messages", "all", `text`, 400, "JSON"},
		"send too much":                     {"POST", room + "/messages", "all", `{"text":"` + strings.Repeat("x", maxBody) + `"}`, 413, "64 KiB"},
		"send too many lines":               {"POST", room + "/messages", "all", `{"text":"` + strings.Repeat(`x\n`, maxLines+1) + `"}`, 400, "40 lines"},
		"hook":                              {"POST", "/hooks/hook", "", `{"text":"built"}`, 200, "ok"},
		"no such hook":                      {"POST", "/hooks/guess", "", `{"text":"built"}`, 404, "no such webhook"},
		"a token is no hook":                {"POST", "/hooks/all", "", `{"text":"built"}`, 404, "no such webhook"},
		"a hook is no token":                {"GET", "/users", "hook", "", 401, "not known"},
		"the configured hash isn't a token": {"GET", "/users", Hash("all"), "", 401, "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer(t)
			status, body := ask(s, tt.method, tt.path, tt.token, tt.body)
			if status != tt.status || !strings.Contains(body, tt.has) {
				t.Errorf("%s %s: %d %s, want %d with %s", tt.method, tt.path, status, body, tt.status, tt.has)
			}
		})
	}
}

// TestHistoryPages: pages join without gap or duplicate, both ways.
func TestHistoryPages(t *testing.T) {
	s, _ := newServer(t)
	page := func(query string) (texts []string, first, last string) {
		t.Helper()
		_, body := ask(s, "GET", room+"/messages?limit=2"+query, "all", "")
		var list []Message
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		for _, m := range list {
			texts = append(texts, m.Text)
		}
		if len(list) > 0 {
			first, last = list[0].ID, list[len(list)-1].ID
		}
		return texts, first, last
	}
	var back []string
	for texts, first, _ := page(""); len(texts) > 0; texts, first, _ = page("&before=" + first) {
		back = append(texts, back...)
	}
	var forth []string
	start := url.QueryEscape(time.UnixMilli(base - 1).UTC().Format(time.RFC3339))
	for texts, _, last := page("&after=" + start); len(texts) > 0; texts, _, last = page("&after=" + last) {
		forth = append(forth, texts...)
	}
	want := []string{"line 0", "line 1", "line 2", "line 3", "line 4"}
	if !slices.Equal(back, want) || !slices.Equal(forth, want) {
		t.Errorf("back %q, forth %q", back, forth)
	}
}

// TestHistoryOfActions: what somebody does ("/me") is without IRC's marks; a time that no
// message can have is after all messages.
func TestHistoryOfActions(t *testing.T) {
	s, _ := newServer(t)
	waves := store.Message{ID: at(20), Target: "#room", Command: "PRIVMSG", Source: "ann!a@h", Text: "\x01ACTION waves\x01"}
	if _, err := s.store.Apply(t.Context(), []store.Write{store.AddMessage{Message: waves}}); err != nil {
		t.Fatal(err)
	}
	if _, body := ask(s, "GET", room+"/messages?limit=1", "all", ""); !strings.Contains(body, `"action":true,"text":"waves"`) {
		t.Error(body)
	}
	for _, query := range []string{"after=9999-01-01T00:00:00Z", "before=1900-01-01T00:00:00Z"} {
		if _, body := ask(s, "GET", room+"/messages?"+query, "all", ""); body != "[]" {
			t.Errorf("%s: %s", query, body)
		}
	}
}

// TestCopiesAreRead: what another machine has said is read though its copy may wait for a
// commit.
func TestCopiesAreRead(t *testing.T) {
	s, _ := newServer(t)
	for i, path := range []string{room + "/messages?limit=1", "/search?q=copied"} {
		text := fmt.Sprint("copied ", i)
		said := store.Message{ID: at(30 + i), Target: "#room", Command: "PRIVMSG", Source: "ann!a@h", Text: text}
		s.writer.WriteLater(store.CopyMessage{Message: said}, func(error) {})
		if _, body := ask(s, "GET", path, "all", ""); !strings.Contains(body, text) {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// TestSay: each line is a message, in the name of the token or the hook.
func TestSay(t *testing.T) {
	s, f := newServer(t)
	ask(s, "POST", room+"/messages", "all", `{"text":"one\r\n\ntwo"}`)
	ask(s, "POST", "/hooks/hook", "", `{"text":"<https://ci.example/7|build 7> &lt;ok&gt;","attachments":[{"title":"T","text":"A & B"},{"fallback":"F","color":"red"}]}`)
	form := url.Values{"payload": {`{"text":"by form <https://a.example> <b"}`}}.Encode()
	ask(s, "POST", "/hooks/hook", "", form, "Content-Type", "application/x-www-form-urlencoded")
	ask(s, "POST", "/hooks/hook", "", `{"text":"as curl -d sends it"}`, "Content-Type", "application/x-www-form-urlencoded")
	want := []string{
		"#Room all: one", "#Room all: two",
		"#room ci: build 7 (https://ci.example/7) <ok>", "#room ci: T", "#room ci: A & B", "#room ci: F",
		"#room ci: by form https://a.example <b", "#room ci: as curl -d sends it",
	}
	if !slices.Equal(f.said, want) {
		t.Errorf("said\n%q, want\n%q", f.said, want)
	}
}

// TestRefusals: what the hall has against a message comes to the program.
func TestRefusals(t *testing.T) {
	s, f := newServer(t)
	f.err = &Refused{"there is no such channel"}
	if status, body := ask(s, "POST", room+"/messages", "all", `{"text":"x"}`); status != 422 || !strings.Contains(body, "no such channel") {
		t.Errorf("%d %s", status, body)
	}
	f.err = context.DeadlineExceeded
	if status, _ := ask(s, "GET", "/health", "", ""); status != 503 {
		t.Errorf("a chat that does not answer is %d", status)
	}
}

// TestSpending: a token is slowed down, others are not; a hook as well.
func TestSpending(t *testing.T) {
	s, _ := newServer(t)
	for _, spend := range []func() int{
		func() int { status, _ := ask(s, "GET", "/users", "reader", ""); return status },
		func() int { status, _ := ask(s, "POST", "/hooks/hook", "", `{"text":"x"}`); return status },
	} {
		statuses := map[int]bool{}
		for range 20 * spendBurst {
			statuses[spend()] = true
		}
		if !statuses[200] || !statuses[429] {
			t.Errorf("the answers are %v, want 200 and then 429", statuses)
		}
	}
	if status, _ := ask(s, "GET", "/users", "all", ""); status != 200 {
		t.Errorf("another token is answered %d", status)
	}
}

// TestConfigure: a token that is taken away is refused at once.
func TestConfigure(t *testing.T) {
	s, _ := newServer(t)
	s.Configure(Tokens{})
	if status, _ := ask(s, "GET", "/users", "all", ""); status != 401 {
		t.Errorf("it is answered %d", status)
	}
}

// TestGuideAsksForWhatThereIs: the requests in the guide are of routes that there are, with
// parameters that they take.
func TestGuideAsksForWhatThereIs(t *testing.T) {
	s, _ := newServer(t)
	_, text := ask(s, "GET", "/openapi.json", "", "")
	var document struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../../docs/guide/bots.md")
	if err != nil {
		t.Fatal(err)
	}
	requests := regexp.MustCompile(`/api/v1(/[^\s"`+"`"+`]+)`).FindAllStringSubmatch(string(page), -1)
	if len(requests) < 4 {
		t.Fatalf("the guide has the requests %q only", requests)
	}
	for _, request := range requests {
		asked, err := url.Parse(request[1])
		if err != nil {
			t.Fatal(err)
		}
		takes := map[string]bool{}
		for template, methods := range document.Paths {
			template = strings.TrimPrefix(template, "/api/v1")
			if !regexp.MustCompile("^" + regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(template, "[^/]+") + "$").MatchString(asked.EscapedPath()) {
				continue
			}
			takes[""] = true
			for _, method := range methods {
				for _, p := range method.Parameters {
					takes[p.Name] = takes[p.Name] || p.In == "query"
				}
			}
		}
		if !takes[""] && asked.Path != "/openapi.json" {
			t.Errorf("there is no route for %s", request[0])
		}
		for name := range asked.Query() {
			if !takes[name] {
				t.Errorf("%s has the parameter %q, which that route does not take", request[0], name)
			}
		}
	}
}

// TestDocument: the document has all routes, all its references lead somewhere, and
// what needs a token is refused without one.
func TestDocument(t *testing.T) {
	s, _ := newServer(t)
	status, body := ask(s, "GET", "/openapi.json", "", "")
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ Security []any }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || status != 200 || doc.OpenAPI != "3.1.0" {
		t.Fatalf("%d %v %q", status, err, doc.OpenAPI)
	}
	for _, part := range strings.Split(body, `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("the schema %q is missing", name)
		}
	}
	n := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			n++
			status, body := ask(s, strings.ToUpper(method), strings.NewReplacer("{channel}", "%23room", "{secret}", "x").Replace(path), "", "{}")
			if (status == 401) != (op.Security != nil) || status == 404 && strings.Contains(body, "openapi") {
				t.Errorf("%s %s without a token is answered %d", method, path, status)
			}
		}
	}
	if n != len(routes) {
		t.Errorf("%d operations, want %d", n, len(routes))
	}
}

func TestCheck(t *testing.T) {
	for pattern, ok := range map[string]bool{"#a": true, "#*": true, "#team-[ab]": true, "a": false, "#[": false, "": false, "*": false} {
		if err := Check(pattern); (err == nil) != ok {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}
