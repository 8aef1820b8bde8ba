package load

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Trust says which certificates of servers are accepted: those that the system
// trusts, or one of the others.
type Trust struct {
	// Insecure accepts every certificate.
	Insecure bool `json:"insecure,omitempty"`
	// CA is a PEM file with the certificates of those that are trusted.
	CA string `json:"ca,omitempty"`
	// Fingerprint is that of the one certificate that is accepted: SHA-256 as
	// hexadecimal digits, with or without colons.
	Fingerprint string `json:"fingerprint,omitempty"`
}

var errFingerprint = errors.New("the server's certificate is not the one with the given fingerprint: compare --fingerprint with what the server says")

// refusal says why a certificate was refused, and what can be done.
func refusal(err error) string {
	return fmt.Sprintf("the server's certificate is refused: %v: trust its issuer with --ca FILE, the one certificate with --fingerprint SHA256, or any with --insecure", err)
}

// config returns the configuration for TLS, without the server's name.
func (t Trust) config() (*tls.Config, error) {
	given := 0
	for _, is := range []bool{t.Insecure, t.CA != "", t.Fingerprint != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		return nil, errors.New("--insecure, --ca and --fingerprint exclude each other: give one")
	}
	switch {
	case t.CA != "":
		return trustIssuer(t.CA)
	case t.Fingerprint != "":
		return trustOne(t.Fingerprint)
	}
	return &tls.Config{InsecureSkipVerify: t.Insecure}, nil
}

func trustIssuer(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w: name a file with certificates", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--ca: there is no certificate in %s: name a file with certificates as PEM", file)
	}
	return &tls.Config{RootCAs: pool}, nil
}

func trustOne(fingerprint string) (*tls.Config, error) {
	digits := strings.TrimPrefix(strings.ToLower(fingerprint), "sha256:")
	want, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if err != nil || len(want) != sha256.Size {
		return nil, fmt.Errorf("--fingerprint %q is no SHA-256 of a certificate: write its %d hexadecimal digits, with or without colons", fingerprint, 2*sha256.Size)
	}
	return &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it, at resumptions, too
		VerifyConnection: func(state tls.ConnectionState) error {
			got := sha256.Sum256(state.PeerCertificates[0].Raw)
			if !bytes.Equal(got[:], want) {
				return errFingerprint
			}
			return nil
		},
	}, nil
}

// tlsFor returns the configuration for an endpoint, nil where there is no TLS.
func (g *generator) tlsFor(to endpoint) *tls.Config {
	if to.Name == "" {
		return nil
	}
	config := g.trust.Clone()
	config.ServerName = to.Name
	return config
}
