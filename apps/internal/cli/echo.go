package cli

import (
	"github.com/spf13/cobra"

	"github.com/epinet/epi"
	"github.com/epinet/epi/ws"
)

const echoHelp = `Serve echo: every byte comes back in order. A client that half-closes gets
everything it sent, then the end of the stream.

A ws:// address speaks WebSocket, with compression, at its path or at all paths
when it has none: every message of at most --max-message bytes comes back, and a
longer one closes the connection with code 1009. (Test suites want 16MiB.) The same
port serves a page to try it with, and /healthz.

A tls:// or wss:// address has the certificate of --cert and --key; SIGHUP reads
them and --client-ca again, and of what cannot be used the old content stays.
Without them it has a self-signed one, made for a trial, which no client trusts
by itself: compare its SHA-256 fingerprint, which is printed at the start.

A udp:// or unixgram:// address sends each datagram back, at most --packet-rate of
one peer in a second. Datagrams that claim to come from the socket itself or from a
port below 1024 are dropped: answers to them would go round in circles, or to
somebody who has not asked. --stats and the totals show how many were dropped.

Connections from the networks of --proxy-from must begin with a PROXY header of
version 1 or 2, and those from elsewhere must not. On Unix sockets that is for
programs of root and of this process's user, or of those that --proxy-users names.

With systemd's socket activation, --listen fd://NAME takes the socket with that
FileDescriptorName=, fd://3, fd://4 and so on take them by their number, and
fd:// takes all. tls+fd://NAME, ws+fd://NAME/path and wss+fd://NAME/path do the
same and speak TLS or WebSocket on it; udp+fd://NAME and unixgram+fd://NAME take
sockets for datagrams (ListenDatagram=).

SIGINT or SIGTERM drains: no more connections are accepted, and the program
ends when the clients have everything. A second signal aborts.

Exit codes: 0 drained, 1 failed or aborted, 2 called wrongly.`

const echoExample = `  epi echo
  epi echo --listen tcp://:7000 --listen unix:///tmp/echo.sock --stats 1s
  epi echo --listen ws://127.0.0.1:8080 --listen udp://127.0.0.1:7000
  epi echo --listen wss://:8443 --cert chain.pem --key key.pem
  epi echo --listen tls://:7443 --proxy-from 10.0.0.0/8
  epi echo --admin :9090    # curl 127.0.0.1:9090/metrics
  printf 'hello\n' | nc -N 127.0.0.1 7000`

func echoCommand() *cobra.Command {
	var s server
	longest := echoMessage
	cmd := &cobra.Command{
		Use:     "echo",
		Short:   "Serve echo: every byte comes back",
		Long:    echoHelp,
		Example: echoExample,
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.serve(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s.stream = func(place) func(*epi.Conn) epi.Handler { return func(*epi.Conn) epi.Handler { return echo{} } }
	s.prepare = func(s *server) error {
		if speaksWebSocket(s.listen) {
			s.engine.MaxQueued = echoQueued(longest)
		}
		return nil
	}
	s.webSocket, s.datagrams = func(_ place, path string) *ws.Server { return echoMessages(path, longest) }, true
	s.addFlags(cmd.Flags(), "tcp://127.0.0.1:7000")
	s.packets.rate = defaultPacketRate
	cmd.Flags().Var(count(&s.packets.rate), "packet-rate", "`number` of datagrams of one peer answered in a second; 0 means all (default 2000)")
	cmd.Flags().Var(sizeValue(&longest, "1MiB"), "max-message", "`bytes` of the longest message of a WebSocket, such as 16MiB; each connection may hold three times as many")
	return cmd
}

// echoMessage is the longest message of a WebSocket that comes back, unless the
// command line says something else.
const echoMessage = 1 << 20

// echoQueued is how many bytes may be queued, so that a message of the longest kind
// has room behind what is queued when package ws stops reading, its frame and what
// the queue needs for itself included.
func echoQueued(longest int) int { return 3 * max(longest, echoMessage) }

// echo writes what it reads. Without OnEOF, the engine closes the connection
// after a half-close, when everything was delivered. The queue never fills up:
// the engine stops reading at its high watermark.
type echo struct{}

func (echo) OnData(c *epi.Conn) error {
	n, err := c.Write(c.Unread())
	c.Discard(n)
	return err
}

func (echo) OnClose(*epi.Conn, error) {}
