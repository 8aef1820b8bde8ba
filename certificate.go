package epi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// hasCertificate reports whether a server can work with a configuration.
func hasCertificate(config *tls.Config) bool {
	return config != nil && (len(config.Certificates) > 0 || config.GetCertificate != nil || config.GetConfigForClient != nil)
}

var errNoCertificate = errors.New("there is no certificate: set Engine.TLS or ListenOptions.TLS to a tls.Config with Certificates or GetCertificate")

// A Certificate is a server's certificate and key in files, which may change
// while it serves. Its GetCertificate belongs into a [tls.Config].
type Certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// LoadCertificate reads a certificate (with the chain that leads to its issuer)
// and its key, both as PEM. The error names the file that cannot be used, and why.
func LoadCertificate(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again: connections from now on get the new certificate.
// After an error the old one stays. It may be called from any goroutine.
func (c *Certificate) Reload() error {
	for _, name := range []string{c.certFile, c.keyFile} {
		if _, err := os.ReadFile(name); err != nil {
			return fmt.Errorf("certificate: %w: give a file that is there and that this user may read", err)
		}
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w: give a certificate chain and the key that it was made with, both as PEM", c.certFile, c.keyFile, err)
	}
	now := time.Now()
	if leaf := pair.Leaf; leaf != nil && now.After(leaf.NotAfter) {
		return fmt.Errorf("certificate %s has expired on %s: renew it", c.certFile, leaf.NotAfter.Format(time.DateOnly))
	} else if leaf != nil && now.Before(leaf.NotBefore) {
		return fmt.Errorf("certificate %s is not valid before %s: look at the clock", c.certFile, leaf.NotBefore.Format(time.RFC3339))
	}
	c.current.Store(&pair)
	return nil
}

// GetCertificate returns the certificate as it was last read.
func (c *Certificate) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}
