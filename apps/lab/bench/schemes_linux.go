package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
)

// What servers speak. Those of one scheme are compared with each other.
const (
	schemeTCP = "tcp"
	schemeTLS = "tls"
	schemeWS  = "ws"
	schemeUDP = "udp"
)

// references are the servers that the others of their scheme are compared with.
var references = map[string]string{
	schemeTCP: Reference,
	schemeTLS: "Go net TLS",
	schemeWS:  "gorilla",
	schemeUDP: "Go net UDP",
}

// greet goes over from TCP to a scheme and returns the connection to speak on,
// and what one byte is as its message.
func greet(ctx context.Context, c net.Conn, scheme string) (on net.Conn, ask []byte, answer int, err error) {
	switch scheme {
	case schemeTLS:
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // it is our own
		return t, []byte{1}, 1, t.HandshakeContext(ctx)
	case schemeWS:
		// A frame of one byte, masked with zeros (RFC 6455, section 5.2); the
		// server's is without a mask.
		return c, []byte{0x82, 0x81, 0, 0, 0, 0, 1}, 3, upgrade(c)
	}
	return c, []byte{1}, 1, nil
}

const upgradeRequest = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// upgrade makes a WebSocket of c. Nothing comes behind the answer before it is
// asked for.
func upgrade(c net.Conn) error {
	if _, err := io.WriteString(c, upgradeRequest); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	if r.StatusCode != http.StatusSwitchingProtocols {
		return errors.New("the server does not upgrade: " + r.Status)
	}
	return nil
}
