package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// request makes an HTTP request and returns the answer with its body. What is in with
// says who asks, or how.
func request(t *testing.T, method, url, body string, with ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range with {
		set(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// account has an account ask; nobody does when it has no name.
func account(name, password string) func(*http.Request) {
	return func(r *http.Request) {
		if name != "" {
			r.SetBasicAuth(name, password)
		}
	}
}

type words = map[string]any

// demand posts JSON to a page of the chat, as the client in the browser does, and returns
// the answer as text.
func demand(t *testing.T, url, name, password string, body any) (status int, answer string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, answer := request(t, http.MethodPost, url, string(text), account(name, password), func(r *http.Request) {
		r.Header.Set("Content-Type", "application/json")
	})
	return resp.StatusCode, answer
}

// askPage is demand where the answer is JSON, too.
func askPage(t *testing.T, url, name, password string, body any) (status int, answer map[string]string) {
	t.Helper()
	status, text := demand(t, url, name, password, body)
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%s: %d %q: %v", url, status, text, err)
	}
	return status, answer
}
