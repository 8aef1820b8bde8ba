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

// Network is tcp, or tls in a secure mode: the scheme of addresses.
func (m Mode) Network() string {
	if m.TLS {
		return "tls"
	}
	return "tcp"
}

// Address is where to listen in this mode: a free port of 127.0.0.1.
func (m Mode) Address() string { return m.Network() + "://127.0.0.1:0" }

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
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
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

type secrets struct {
	server *tls.Config // also for what these engines dial
	client *tls.Config
}

// shared is what the engines of secure modes and their clients use.
var shared = sync.OnceValue(func() secrets {
	server, client, err := SelfSigned()
	if err != nil {
		panic(fmt.Sprintf("a certificate for tests: %v", err))
	}
	// A client that closes with tickets unread would reset the connection.
	server.SessionTicketsDisabled = true
	server.RootCAs, server.ServerName = client.RootCAs, client.ServerName
	return secrets{server, client}
})

// isSecure reports whether e is of a secure mode.
func isSecure(e *epi.Engine) bool { return e.TLS != nil && e.TLS == shared().server }

// DialListener connects a client with a watchdog to a listener of e, over TLS
// where e is of a secure mode; it is closed at the end of the test.
func DialListener(t *testing.T, e *epi.Engine, ln *epi.Listener, dialer net.Dialer) net.Conn {
	t.Helper()
	return dialListener(t, ln, dialer, isSecure(e))
}

func dialListener(t *testing.T, ln *epi.Listener, dialer net.Dialer, secure bool) net.Conn {
	t.Helper()
	c, err := connect(ln, dialer, secure)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func connect(ln *epi.Listener, dialer net.Dialer, secure bool) (net.Conn, error) {
	c, err := dialer.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(Patience))
	if !secure {
		return c, nil
	}
	client := SecureClient(c)
	if err := client.Handshake(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return client, nil
}

// SecureClient returns a client of a secure mode's server on c, before its
// handshake.
func SecureClient(c net.Conn) *tls.Conn { return tls.Client(c, shared().client) }

// A secureListener's connections speak TLS, for what the engine of a secure mode
// dials.
type secureListener struct{ *net.TCPListener }

func (l *secureListener) Accept() (net.Conn, error) {
	c, err := l.TCPListener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(c, shared().server), nil
}

// socket returns what is below TLS, or c itself.
func socket(c net.Conn) net.Conn {
	if secure, ok := c.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return c
}
