package webguard

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func request(method, host string, header ...string) *http.Request {
	r := httptest.NewRequest(method, "/", nil)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestHostile07_RequestsOfOtherSitesAreRefused(t *testing.T) {
	const site, mode, dest = "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"
	own := Guard{}
	certified := Guard{Knows: func(name string) bool { return name == "certified.example" }}
	open := Guard{Hosts: []string{"chat.example"}, Methods: []string{"GET", "POST"}, Links: true}
	for _, row := range []struct {
		name   string
		guard  *Guard
		r      *http.Request
		status int // 0: let through
	}{
		{"a program", &own, request("GET", "127.0.0.1:9090"), 0},
		{"a program that asks for the header", &own, request("HEAD", "127.0.0.1:9090"), 0},
		{"IPv6", &own, request("GET", "[::1]:9090"), 0},
		{"IPv6 without a port", &own, request("GET", "[::1]"), 0},
		{"IPv6 with a zone", &own, request("GET", "[fe80::1%eth0]:9090"), 0},
		{"localhost", &own, request("GET", "LocalHost:9090"), 0},
		{"localhost of the root", &own, request("GET", "localhost."), 0},
		{"an address that was typed in", &own, request("GET", "127.0.0.1:9090", site, "none"), 0},
		{"its own page", &own, request("GET", "127.0.0.1:9090", site, "same-origin", "Origin", "http://127.0.0.1:9090"), 0},
		{"its own page behind a proxy", &open, request("POST", "chat.example", site, "same-origin", "Origin", "https://chat.example"), 0},
		{"a name that is known", &open, request("GET", "CHAT.example:8443"), 0},
		{"a name that somebody else knows", &certified, request("GET", "certified.example:443"), 0},
		{"a name that nobody knows", &certified, request("GET", "evil.example:443"), http.StatusMisdirectedRequest},
		{"a link", &open, request("GET", "chat.example", site, "cross-site", mode, "navigate", dest, "document"), 0},

		{"DNS rebinding", &own, request("GET", "evil.example:9090", site, "same-origin"), http.StatusMisdirectedRequest},
		{"a name that ends like one that is known", &open, request("GET", "evilchat.example"), http.StatusMisdirectedRequest},
		{"a name that begins like an address", &own, request("GET", "127.0.0.1.evil.example"), http.StatusMisdirectedRequest},
		{"localhost as a domain", &own, request("GET", "evil.localhost"), http.StatusMisdirectedRequest},
		{"no name", &own, request("GET", ""), http.StatusMisdirectedRequest},
		{"a port alone", &own, request("GET", ":9090"), http.StatusMisdirectedRequest},
		{"another site", &own, request("GET", "127.0.0.1:9090", site, "cross-site"), http.StatusForbidden},
		{"another port", &own, request("GET", "127.0.0.1:9090", site, "same-site"), http.StatusForbidden},
		{"a word of tomorrow", &own, request("GET", "127.0.0.1:9090", site, "who-knows"), http.StatusForbidden},
		{"two words", &own, request("GET", "127.0.0.1:9090", site, "none", site, "cross-site"), http.StatusForbidden},
		{"a link where links have effects", &own, request("GET", "127.0.0.1:9090", site, "cross-site", mode, "navigate", dest, "document"), http.StatusForbidden},
		{"a frame", &open, request("GET", "chat.example", site, "cross-site", mode, "navigate", dest, "iframe"), http.StatusForbidden},
		{"a form of another site", &open, request("POST", "chat.example", site, "cross-site", mode, "navigate", dest, "document"), http.StatusForbidden},
		{"another origin, of a browser without Fetch Metadata", &open, request("POST", "chat.example", "Origin", "https://evil.example"), http.StatusForbidden},
		{"no origin at all", &open, request("POST", "chat.example", "Origin", "null"), http.StatusForbidden},
		{"two origins", &open, request("POST", "chat.example", "Origin", "https://chat.example", "Origin", "https://evil.example"), http.StatusForbidden},
		{"a method with effects", &own, request("POST", "127.0.0.1:9090"), http.StatusMethodNotAllowed},
		{"a method of nobody", &own, request("BREW", "127.0.0.1:9090"), http.StatusMethodNotAllowed},
	} {
		t.Run(row.name, func(t *testing.T) {
			through := false
			w := httptest.NewRecorder()
			row.guard.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { through = true })).ServeHTTP(w, row.r)
			if through != (row.status == 0) || !through && w.Code != row.status {
				t.Errorf("let through: %v, status %d, want %d; the answer is %q", through, w.Code, row.status, w.Body)
			}
			err := row.guard.Check(row.r)
			if refusal := (*Refusal)(nil); (err == nil) != through || err != nil && (!errors.As(err, &refusal) || refusal.Status != row.status) {
				t.Errorf("Check returns %v", err)
			}
			if w.Code == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("allowed is %q", w.Header().Get("Allow"))
			}
			for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "X-Frame-Options": "DENY"} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

// What a refused client sent comes back in quotes and not at any length.
func TestRefusalIsPlainText(t *testing.T) {
	err := new(Guard).Check(request("GET", "\x1b[2J\n"+strings.Repeat("x", 10_000)))
	if text := err.Error(); strings.ContainsAny(text, "\x1b\n") || len(text) > 300 {
		t.Errorf("the text is %q", text)
	}
}
