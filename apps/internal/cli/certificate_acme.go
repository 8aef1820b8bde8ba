package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

const (
	// acmeLook is how often a certificate is asked for that is there: what has been
	// renewed meanwhile is served from then on.
	acmeLook = time.Hour
	// acmeFirst and acmeMost bound the time between tries that fail; it doubles. The
	// authorities bound the failures of an hour.
	acmeFirst = time.Minute
	acmeMost  = time.Hour
)

// An acmeSettings says which certificates to get by ACME (RFC 8555).
type acmeSettings struct {
	hosts     []string // none: no certificate is asked for
	email     string
	directory string // URL; "" is that of Let's Encrypt
	caFile    string // PEM with the issuers of the directory's own certificate; "" the system's
	dir       string // where certificates and the account's key are kept
}

// An automatic has certificates that an authority has made, and asks for new ones in
// time. Until the first is there it serves one for a trial: the authority itself looks
// at nothing else over TLS (RFC 8737).
type automatic struct {
	manager *autocert.Manager
	hosts   []string
	log     *slog.Logger
	trial   *tls.Certificate
	current atomic.Pointer[map[string]*tls.Certificate] // by the host; replaced as a whole
	mu      sync.Mutex                                  // of those who replace current
}

func newAutomatic(s *acmeSettings, trial *tls.Certificate, log *slog.Logger) (*automatic, error) {
	client := &acme.Client{DirectoryURL: s.directory}
	if s.directory == "" {
		client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	if s.caFile != "" {
		pem, err := os.ReadFile(s.caFile)
		if err != nil {
			return nil, fmt.Errorf("acme.ca-file: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("acme.ca-file %s: there is no certificate in it: give a PEM file with those of the issuers", s.caFile)
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		client.HTTPClient = &http.Client{Transport: transport}
	}
	a := &automatic{hosts: s.hosts, trial: trial, log: log, manager: &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(s.dir), Email: s.email, Client: client, HostPolicy: autocert.HostWhitelist(s.hosts...),
	}}
	a.current.Store(&map[string]*tls.Certificate{})
	return a, nil
}

// configure has a configuration of TLS use the certificates. The protocols are those
// that a browser and an IRC client may ask for, and the authority's question.
func (a *automatic) configure(config *tls.Config) {
	config.GetCertificate = a.GetCertificate
	config.NextProtos = []string{"http/1.1", "irc", acme.ALPNProto}
}

// GetCertificate is for tls.Config. It waits for no authority.
func (a *automatic) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
		return a.manager.GetCertificate(hello)
	}
	return a.certificate(hello.ServerName), nil
}

// answering returns a handler that answers the authority, and has next serve others. The
// manager compares hosts without a port, which there is where port 80 is forwarded.
func (a *automatic) answering(next http.Handler) http.Handler {
	answers := a.manager.HTTPHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = hostOf(r.Host)
		answers.ServeHTTP(w, r)
	})
}

// certificate returns the one of a host; for another host, and for none, that of the
// first.
func (a *automatic) certificate(host string) *tls.Certificate {
	known := *a.current.Load()
	if c := known[strings.ToLower(strings.TrimSuffix(host, "."))]; c != nil {
		return c
	}
	if c := known[a.hosts[0]]; c != nil {
		return c
	}
	return a.trial
}

// keep gets the certificates, and renews them, until ctx ends.
func (a *automatic) keep(ctx context.Context) {
	var hosts sync.WaitGroup
	for _, host := range a.hosts {
		hosts.Go(func() { a.keepOne(ctx, host) })
	}
	hosts.Wait()
}

func (a *automatic) keepOne(ctx context.Context, host string) {
	wait := acmeFirst
	for {
		err := a.obtain(host)
		next := acmeLook
		if err != nil {
			next, wait = wait, min(2*wait, acmeMost)
			a.log.Error("there is no certificate by ACME yet; the host must lead here, at port 443 or, with listen.redirect, 80", "host", host, "error", err, "again in", next)
		} else {
			wait = acmeFirst
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
	}
}

// obtain takes the certificate of a host from the manager, which has it, reads it from
// its directory, or asks the authority.
func (a *automatic) obtain(host string) error {
	got, err := a.manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName:        host,
		CipherSuites:      []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, // an ECDSA key: every client of today takes one
		SignatureSchemes:  []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		SupportedCurves:   []tls.CurveID{tls.CurveP256},
		SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12},
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known := maps.Clone(*a.current.Load())
	if before := known[host]; before == nil || before.Leaf == nil || !before.Leaf.Equal(got.Leaf) {
		a.log.Info("a certificate by ACME is served", "host", host, "until", got.Leaf.NotAfter)
	}
	known[host] = got
	a.current.Store(&known)
	return nil
}

// A redirector sends browsers that come without TLS to where there is TLS, and answers
// the questions of an authority (RFC 8555, section 8.3).
type redirector struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{} // serving has ended
}

// openRedirect listens for plain HTTP.
func openRedirect(address string, handler http.Handler, log *slog.Logger) (*redirector, error) {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen.redirect: %w; choose another address", err)
	}
	r := &redirector{listener: ln, done: make(chan struct{}), server: &http.Server{
		Handler: handler, ReadHeaderTimeout: adminHeaders, ReadTimeout: adminHeaders, WriteTimeout: adminHeaders, IdleTimeout: adminHeaders,
		MaxHeaderBytes: adminHeaderBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // it logs what clients do wrong
	}}
	go func() {
		defer close(r.done)
		if err := r.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("redirecting from HTTP has ended", "error", err)
		}
	}()
	return r, nil
}

func (r *redirector) close() {
	_ = r.server.Close() // which has nothing more to say
	<-r.done
}

// toTLS sends a request to the same path over TLS: at the host that it names if that is
// one of the server's, otherwise at the first of these.
func toTLS(hosts []string, port string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Connection", "close")
			http.Error(w, "use https", http.StatusBadRequest)
			return
		}
		target := *r.URL
		target.Scheme, target.Host, target.User = "https", hosts[0], nil
		for _, host := range hosts {
			if strings.EqualFold(host, hostOf(r.Host)) {
				target.Host = host
			}
		}
		if port != "" && port != "443" {
			target.Host = net.JoinHostPort(target.Host, port)
		}
		http.Redirect(w, r, target.String(), http.StatusPermanentRedirect)
	})
}

// hostOf is a Host header without its port.
func hostOf(header string) string {
	if host, _, err := net.SplitHostPort(header); err == nil {
		return host
	}
	return header
}
