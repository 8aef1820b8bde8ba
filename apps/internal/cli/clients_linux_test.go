package cli

import (
	"net"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

func TestHostile03_ServersBoundEachClient(t *testing.T) {
	for _, test := range []struct {
		name              string
		args              []string // of echo, unless the first says something else
		conns, handshakes int
	}{
		{"loopback", []string{"--listen", "tcp://127.0.0.1:0", "--listen", "ws://localhost:0/x"}, 0, 0},
		{"another address", []string{"--listen", "tcp://127.0.0.1:0", "--listen", "tls://:0"}, connsOfClient, handshakesOfClient},
		{"a flag", []string{"--listen", "tcp://0.0.0.0:0", "--max-conns-per-ip", "7"}, 7, handshakesOfClient},
		{"none", []string{"--listen", "tcp://[::]:0", "--max-conns-per-ip", "0", "--max-handshakes-per-ip", "0"}, 0, 0},
		{"chat", []string{"chat", "--listen", "irc://0.0.0.0:0", "--set", "limits.per-address=9"}, 9, handshakesOfClient},
		{"chat with a flag", []string{"chat", "--listen", "irc://0.0.0.0:0", "--max-conns-per-ip", "11"}, 11, handshakesOfClient},
		{"chat on loopback", []string{"chat", "--listen", "irc://127.0.0.1:0"}, 0, 0},
		{"loopback by a flag", []string{"--listen", "tcp://127.0.0.1:0", "--max-handshakes-per-ip", "5"}, 0, 5},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append(test.args, "--json")
			if args[0] != "chat" {
				args = append([]string{"echo"}, args...)
			}
			p := start(t, args...)
			begun := await[startEvent](p, "start")
			if begun.ConnsPerIP != test.conns || begun.HandshakesPerIP != test.handshakes {
				t.Errorf("the limits are %d connections and %d handshakes, want %d and %d", begun.ConnsPerIP, begun.HandshakesPerIP, test.conns, test.handshakes)
			}
			p.signal(syscall.SIGTERM)
			p.end(exitDone)
		})
	}
}

// The flag reaches the engine: another client is served.
func TestHostile03_ClientAboveItsLimitIsClosed(t *testing.T) {
	p := start(t, "echo", "--json", "--listen", "tcp://127.0.0.1:0", "--max-conns-per-ip", "2")
	address := await[startEvent](p, "start").Listen[0]
	first, second := dial(t, address), dial(t, address)
	epitest.RoundTrip(t, first, "hello")
	epitest.RoundTrip(t, second, "hello")
	one := dial(t, address)
	if n, err := one.Read(make([]byte, 1)); err == nil {
		t.Errorf("one more reads %d bytes", n)
	}
	other := dialWith(t, &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}, address)
	epitest.RoundTrip(t, other, "hello")
	for _, c := range []net.Conn{first, second, other} {
		_ = c.Close()
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

func TestOpenAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"tcp://127.0.0.1:7000": false, "tls://[::1]:7000": false, "ws://localhost:80/a": false, "unix:///tmp/x": false,
		"udp://0.0.0.0:7": false, // datagrams have no connections
		"tcp://:7000":     true, "tcp://0.0.0.0:7000": true, "wss://[::]:443/a": true, "tcp6://[fe80::1%eth0]:1": true,
		"tcp://server.example:1": true, "fd://web": true, "tls+fd://3": true, "tcp://192.0.2.1:7000": true,
	} {
		if got := isOpen(address); got != want {
			t.Errorf("%s is open: %v", address, got)
		}
	}
}
