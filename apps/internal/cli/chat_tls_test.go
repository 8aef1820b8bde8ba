package cli

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/config"
)

// TestRedirectKnowsItsHosts: nobody is sent to a host that is not the server's.
func TestRedirectKnowsItsHosts(t *testing.T) {
	for _, test := range []struct {
		name, method, host, target, port string
		status                           int
		location                         string
	}{
		{"the second host", "GET", "B.example.org:80", "/x?y=z", "443", 308, "https://b.example.org/x?y=z"},
		{"another port", "HEAD", "a.example.org", "/", "8443", 308, "https://a.example.org:8443/"},
		{"a foreign host", "GET", "evil.example", "/", "443", 308, "https://a.example.org/"},
		{"two slashes", "GET", "a.example.org", "//evil.example/", "443", 308, "https://a.example.org//evil.example/"},
		{"a whole URL", "GET", "a.example.org", "http://evil.example/x", "443", 308, "https://a.example.org/x"},
		{"a secret that was sent in plain", "POST", "a.example.org", "/", "443", 400, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.target, nil)
			r.Host = test.host
			w := httptest.NewRecorder()
			toTLS([]string{"a.example.org", "b.example.org"}, test.port).ServeHTTP(w, r)
			if got := w.Header().Get("Location"); w.Code != test.status || got != test.location {
				t.Errorf("%d to %q, want %d to %q", w.Code, got, test.status, test.location)
			}
		})
	}
}

// TestBrowsersStayWithTLS: they are told so over TLS alone, and where [sts] says so.
func TestBrowsersStayWithTLS(t *testing.T) {
	for _, test := range []struct {
		name   string
		port   int
		secure bool
		want   string
	}{
		{"over TLS", 6697, true, "max-age=3600"},
		{"without TLS", 6697, false, ""},
		{"without a policy", 0, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			policy := config.STS{Port: test.port, Duration: config.Duration(time.Hour)}
			strict(policy, test.secure, http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if got := w.Header().Get("Strict-Transport-Security"); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestNoHandshakeWaitsForAnAuthority: until there is a certificate, and for names that
// are not the server's, clients get the one for a trial.
func TestNoHandshakeWaitsForAnAuthority(t *testing.T) {
	trial, err := makeCertificate([]string{"a.example.org"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAutomatic(&acmeSettings{hosts: []string{"a.example.org"}, directory: "http://127.0.0.1:1/", dir: t.TempDir()}, &trial, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, hello := range []*tls.ClientHelloInfo{{ServerName: "a.example.org"}, {ServerName: "evil.example"}, {}} {
		if got, err := a.GetCertificate(hello); err != nil || got != &trial {
			t.Errorf("%q gets %p, %v", hello.ServerName, got, err)
		}
	}
	question := &tls.ClientHelloInfo{ServerName: "a.example.org", SupportedProtos: []string{"acme-tls/1"}}
	if got, err := a.GetCertificate(question); err == nil {
		t.Errorf("a question of no authority gets %p", got)
	}
}
