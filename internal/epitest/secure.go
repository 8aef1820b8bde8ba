package epitest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi"
)

// SecureModes are the modes in which tests that are for any transport run over
// TLS too: each driver and each execution model has part in it.
func SecureModes() []Mode {
	var modes []Mode
	for _, m := range Modes() {
		switch {
		case m.Driver == epi.DriverEpoll && (m.Trigger == epi.TriggerEdge) == (m.Workers == 0) && m.Trigger != epi.TriggerLevel,
			m.Driver == epi.DriverUring,
			m.Driver == epi.DriverPortable && m.Workers == 0:
			m.TLS = true
			modes = append(modes, m)
		}
	}
	return modes
}

// EachTransport is Each, and the SecureModes.
func EachTransport(t *testing.T, test func(t *testing.T, m Mode)) {
	t.Helper()
	Each(t, test)
	eachSecure(t, test)
}

// EachStream is EachNetwork, and the SecureModes.
func EachStream(t *testing.T, test func(t *testing.T, m Mode, address string)) {
	t.Helper()
	EachNetwork(t, test)
	eachSecure(t, func(t *testing.T, m Mode) { test(t, m, m.Address()) })
}

func eachSecure(t *testing.T, test func(t *testing.T, m Mode)) {
	t.Helper()
	for _, m := range SecureModes() {
		t.Run(m.String(), func(t *testing.T) { test(t, m) })
	}
}

// Address is where to listen in this mode: a free port of 127.0.0.1.
func (m Mode) Address() string {
	if m.TLS {
		return "tls://127.0.0.1:0"
	}
	return "tcp://127.0.0.1:0"
}

// SelfSigned returns a configuration for a server of 127.0.0.1 and of the given
// names, and one for its clients, which trust nobody else.
func SelfSigned(names ...string) (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     names,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}}},
		&tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, nil
}

type secrets struct{ server, client *tls.Config }

// shared is what the engines of secure modes and their clients use.
var shared = sync.OnceValue(func() secrets {
	server, client, err := SelfSigned()
	if err != nil {
		panic(fmt.Sprintf("a certificate for tests: %v", err))
	}
	// A client that closes with tickets unread would reset the connection.
	server.SessionTicketsDisabled = true
	return secrets{server, client}
})

// isSecure reports whether e is of a secure mode.
func isSecure(e *epi.Engine) bool { return e.TLS != nil && e.TLS == shared().server }

// DialListener connects a client with a watchdog to a listener of e, over TLS
// where e is of a secure mode; it is closed at the end of the test.
func DialListener(t *testing.T, e *epi.Engine, ln *epi.Listener, dialer net.Dialer) net.Conn {
	t.Helper()
	c, err := dialer.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(Patience))
	if !isSecure(e) {
		return c
	}
	client := tls.Client(c, shared().client)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client
}

// socket returns what is below TLS, or c itself.
func socket(c net.Conn) net.Conn {
	if secure, ok := c.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c
}
