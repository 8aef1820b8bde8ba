package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/epinet/epi"
)

// A security is what the servers' flags say about TLS.
type security struct {
	cert, key, clientCA string
	files               *epi.Certificate // nil: no --cert
	trial               bool             // the certificate was made here
	acme                acmeSettings     // from the configuration of a command that has them
	automatic           *automatic       // nil: no ACME
	issuers             *issuers         // nil: no --client-ca
}

func (s *security) addFlags(flags *pflag.FlagSet) {
	flags.Var(fileValue(&s.cert), "cert", "PEM `file` with the certificate chain for tls:// and wss://; SIGHUP reads it again (default one made for a trial)")
	flags.Var(fileValue(&s.key), "key", "PEM `file` with the certificate's key")
	flags.Var(fileValue(&s.clientCA), "client-ca", "PEM `file` with the issuers of the certificates that clients must have; SIGHUP reads it again (default they need none)")
}

// open returns the configuration for the addresses, nil when none has TLS.
func (s *security) open(addresses []string, log *slog.Logger) (*tls.Config, error) {
	hosts, needed := secureHosts(addresses)
	switch {
	case (s.cert == "") != (s.key == ""):
		return nil, errors.New("--cert and --key belong together: give both")
	case !needed && (s.cert != "" || s.clientCA != ""):
		return nil, errors.New("--cert, --key and --client-ca need a tls:// or wss:// address: add one by --listen")
	case s.cert != "" && len(s.acme.hosts) > 0:
		return nil, errors.New("--cert and acme.hosts are two ways to one thing: give one")
	case !needed && len(s.acme.hosts) > 0:
		return nil, errors.New("acme.hosts needs an address with TLS: add one by --listen")
	case !needed:
		return nil, nil
	}
	config := &tls.Config{}
	if err := s.addCertificate(config, hosts, log); err != nil {
		return nil, failure{err}
	}
	if s.clientCA == "" {
		return config, nil
	}
	s.issuers = &issuers{file: s.clientCA, base: config.Clone()}
	if err := s.issuers.reload(); err != nil {
		return nil, failure{err}
	}
	config.GetConfigForClient = s.issuers.configFor
	return config, nil
}

// rereads reports whether there are files that SIGHUP reads again.
func (s *security) rereads() bool { return s.files != nil || s.issuers != nil }

func (s *security) addCertificate(config *tls.Config, hosts []string, log *slog.Logger) (err error) {
	if s.cert == "" {
		made, err := makeCertificate(append(hosts, s.acme.hosts...), time.Now())
		if err != nil {
			return err
		}
		if len(s.acme.hosts) > 0 {
			if s.automatic, err = newAutomatic(&s.acme, &made, log); err == nil {
				s.automatic.configure(config)
			}
			return err
		}
		config.Certificates, s.trial = []tls.Certificate{made}, true
		return nil
	}
	if s.files, err = epi.LoadCertificate(s.cert, s.key); err != nil {
		return err
	}
	config.GetCertificate = s.files.GetCertificate
	return nil
}

// secureSchemes are those with TLS.
var secureSchemes = map[string]bool{"tls": true, "wss": true}

// secureHosts returns the hosts of the addresses with TLS, and whether there
// are any such addresses.
func secureHosts(addresses []string) (hosts []string, any bool) {
	for _, address := range addresses {
		scheme, rest := spokenAt(address)
		if !secureSchemes[scheme] {
			continue
		}
		any = true
		place, _, _ := strings.Cut(rest, "/")
		host, _, err := net.SplitHostPort(place)
		if ip := net.ParseIP(host); err == nil && host != "" && !(ip != nil && ip.IsUnspecified()) {
			hosts = append(hosts, host)
		}
	}
	return hosts, any
}

// issuers are those of the certificates that clients must have, in a file.
type issuers struct {
	file    string
	base    *tls.Config                // without them
	current atomic.Pointer[tls.Config] // base with them, as they were last read
}

// reload reads the file again. After an error the old issuers stay.
func (i *issuers) reload() error {
	text, err := os.ReadFile(i.file)
	if err != nil {
		return fmt.Errorf("--client-ca: %w: give a PEM file that this user may read", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return fmt.Errorf("--client-ca %s: there is no certificate in it: give a PEM file with those of the issuers", i.file)
	}
	config := i.base.Clone()
	config.ClientCAs, config.ClientAuth = pool, tls.RequireAndVerifyClientCert
	i.current.Store(config)
	return nil
}

// configFor is tls.Config.GetConfigForClient. Who resumes a session is checked
// against the issuers of now, too: crypto/tls does that.
func (i *issuers) configFor(*tls.ClientHelloInfo) (*tls.Config, error) { return i.current.Load(), nil }

const (
	// trialLife is long enough for a trial, and too short to be forgotten about.
	trialLife = 30 * 24 * time.Hour
	// clockSkew is how far a client's clock may be behind.
	clockSkew = time.Hour
	// serialBits is the size of a serial number (RFC 5280 allows 20 bytes).
	serialBits = 127
)

// makeCertificate makes a self-signed certificate, for a trial, for this machine
// and the hosts.
func makeCertificate(hosts []string, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a serial number: %w", err)
	}
	about := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "epi trial"},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(trialLife),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	names := append([]string{"localhost", "127.0.0.1", "::1"}, hosts...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if ip := net.ParseIP(name); ip != nil {
			about.IPAddresses = append(about.IPAddresses, ip)
		} else {
			about.DNSNames = append(about.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// A certificateEvent reports which certificate is served: at the start, and after
// SIGHUP.
type certificateEvent struct {
	Event       string `json:"event"`
	Certificate string `json:"certificate"` // its file, or self-signed
	Fingerprint string `json:"fingerprint"` // SHA-256, as openssl x509 -fingerprint writes it
	Expires     string `json:"expires"`
	Error       string `json:"error,omitempty"` // why it was not read again

	ClientCA      string `json:"client_ca,omitempty"`       // the issuers' file
	ClientCAError string `json:"client_ca_error,omitempty"` // why it was not read again
}

// describe reports on the certificate that is served.
func (s *security) describe(config *tls.Config) certificateEvent {
	e := certificateEvent{Event: "certificate", Certificate: s.cert, ClientCA: s.clientCA}
	if s.trial {
		e.Certificate = "self-signed, for a trial"
	}
	if s.automatic != nil {
		e.Certificate = "by ACME; at first one for a trial"
	}
	served := s.served(config)
	e.Fingerprint = fingerprint(served.Certificate[0])
	e.Expires = served.Leaf.NotAfter.UTC().Format(time.RFC3339)
	return e
}

// served returns the certificate that clients get now.
func (s *security) served(config *tls.Config) *tls.Certificate {
	switch {
	case s.trial:
		return &config.Certificates[0]
	case s.automatic != nil:
		return s.automatic.certificate("")
	}
	served, _ := s.files.GetCertificate(nil) // which has no error
	return served
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

func (e certificateEvent) text() string {
	text := fmt.Sprintf("certificate  %s%s (until %s)\nSHA-256      %s\n", e.Certificate, kept(e.Error), e.Expires, e.Fingerprint)
	if e.ClientCA != "" {
		text += fmt.Sprintf("client CA    %s%s\n", e.ClientCA, kept(e.ClientCAError))
	}
	return text
}

func kept(why string) string {
	if why == "" {
		return ""
	}
	return " is kept"
}

// reload reads the files again. Of those that cannot be used, the old content
// stays.
func (s *security) reload(config *tls.Config, log *slog.Logger) certificateEvent {
	var certErr, issuersErr error
	if s.files != nil {
		certErr = s.files.Reload()
	}
	if s.issuers != nil {
		issuersErr = s.issuers.reload()
	}
	e := s.describe(config)
	if certErr != nil {
		e.Error = oneLine(certErr)
		log.Error("the old certificate is kept; mend the files and send SIGHUP again", "error", certErr)
	}
	if issuersErr != nil {
		e.ClientCAError = oneLine(issuersErr)
		log.Error("the old issuers of clients' certificates are kept; mend the file and send SIGHUP again", "error", issuersErr)
	}
	return e
}
