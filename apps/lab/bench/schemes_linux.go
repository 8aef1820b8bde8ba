package bench

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// What servers speak. Those of one scheme are compared with each other.
const (
	schemeTCP   = "tcp"
	schemeTLS   = "tls"
	schemeWS    = "ws"
	schemeUDP   = "udp"
	schemeIRC   = "irc"
	schemeMQTT  = "mqtt"
	schemeRedis = "redis"
	schemeHTTP  = "http"
	schemeProxy = "proxy" // what they pass on to an echo server
)

// references are the servers that the others of their scheme are compared with.
var references = map[string]string{
	schemeTCP:   Reference,
	schemeTLS:   "Go net TLS",
	schemeWS:    "gorilla",
	schemeUDP:   "Go net UDP",
	schemeIRC:   "InspIRCd",
	schemeMQTT:  "mosquitto",
	schemeRedis: "redis-server",
	schemeHTTP:  "fasthttp",
	schemeProxy: "haproxy",
}

// greet goes over from TCP to a scheme and returns connection i to speak on, and
// what one byte is as its message. Nothing is to be said to an IRC server.
func greet(ctx context.Context, c net.Conn, scheme string, i int) (on net.Conn, ask []byte, answer int, err error) {
	switch scheme {
	case schemeTLS:
		t := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // it is our own
		return t, []byte{1}, 1, t.HandshakeContext(ctx)
	case schemeWS:
		// A frame of one byte, masked with zeros (RFC 6455, section 5.2); the
		// server's is without a mask.
		return c, []byte{0x82, 0x81, 0, 0, 0, 0, 1}, 3, upgrade(c)
	case schemeIRC:
		return c, nil, 0, register(c, i)
	}
	return c, []byte{1}, 1, nil
}

// register begins the registration of client i, and returns when the server
// has answered once, so that no more clients wait than its backlog has room for.
func register(c net.Conn, i int) error {
	if _, err := io.WriteString(c, "CAP LS 302\r\n"); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 4<<10)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c, "NICK idle%d\r\nUSER idle 0 * :idle\r\nCAP END\r\n", i)
	return err
}

// settlePatience is how long a registration may take: some servers look at those
// that wait once a second.
const settlePatience = time.Minute

// settle waits until a client of an IRC server has registered.
func settle(c net.Conn, scheme string) error {
	if scheme != schemeIRC {
		return nil
	}
	_ = c.SetDeadline(time.Now().Add(settlePatience)) // it fails only when it is closed
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) < 2:
		case fields[1] == "376" || fields[1] == "422": // the end of the message of the day, or none
			return nil
		case fields[0] == "PING":
			if _, err := fmt.Fprintf(c, "PONG %s\r\n", fields[1]); err != nil {
				return err
			}
		case fields[0] == "ERROR":
			return errors.New("the server does not register: " + lines.Text())
		}
	}
	return fmt.Errorf("the server does not register: %w", cmp.Or(lines.Err(), io.EOF))
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
