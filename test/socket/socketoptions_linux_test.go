package socket_test

import (
	"errors"
	"io/fs"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt23_SocketOptions asks the kernel what the sockets of a listener, of its
// connections and of a dialled one have.
func TestHunt23_SocketOptions(t *testing.T) {
	options := epi.SocketOptions{
		KeepAliveIdle:     90 * time.Second,
		KeepAliveInterval: 1500 * time.Millisecond,
		KeepAliveCount:    4,
		UserTimeout:       7*time.Second + 1,
		ReceiveBuffer:     64 << 10,
		SendBuffer:        32 << 10,
		DSCP:              46,
	}
	want := map[string][3]int{
		"SO_KEEPALIVE":     {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":     {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 90},
		"TCP_KEEPINTVL":    {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 2},
		"TCP_KEEPCNT":      {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
		"TCP_USER_TIMEOUT": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 7001},
		"SO_RCVBUF":        {unix.SOL_SOCKET, unix.SO_RCVBUF, 128 << 10},
		"SO_SNDBUF":        {unix.SOL_SOCKET, unix.SO_SNDBUF, 64 << 10},
		"IP_TOS":           {unix.IPPROTO_IP, unix.IP_TOS, 46 << 2},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		accepted, dialled := serveAndDial(t, m, options)
		for name, o := range want {
			for end, c := range map[string]net.Conn{"accepted": accepted, "dialled": dialled} {
				if value := socketOption(t, c, o[0], o[1]); value != o[2] {
					t.Errorf("%s of the %s connection is %d, want %d", name, end, value, o[2])
				}
			}
		}
		accepted, dialled = serveAndDial(t, m, epi.SocketOptions{KeepAlive: epi.No})
		for end, c := range map[string]net.Conn{"accepted": accepted, "dialled": dialled} {
			if socketOption(t, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0 {
				t.Errorf("the %s connection is looked after by probes", end)
			}
		}
		accepted, _ = serveAndDial(t, m, epi.SocketOptions{})
		if idle := socketOption(t, accepted, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); idle != systemKeepIdle(t) {
			t.Errorf("without options, TCP_KEEPIDLE is %d", idle)
		}
	})
}

// serveAndDial connects an engine to itself, and returns both ends as connections of
// package net.
func serveAndDial(t *testing.T, m epitest.Mode, o epi.SocketOptions) (accepted, dialled net.Conn) {
	t.Helper()
	away := [2]chan net.Conn{make(chan net.Conn, 1), make(chan net.Conn, 1)}
	detach := func(to chan net.Conn) epi.Handler {
		return &epitest.Funcs{Open: func(c *epi.Conn) error { return c.Detach(func(c net.Conn) { to <- c }) }}
	}
	s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
	ln, err := s.Engine.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{Socket: o}, func(*epi.Conn) epi.Handler { return detach(away[0]) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Engine.DialWith(t.Context(), ln.String(), epi.DialOptions{Socket: o}, detach(away[1])); err != nil {
		t.Fatal(err)
	}
	accepted, dialled = epitest.Receive(t, away[0]), epitest.Receive(t, away[1])
	t.Cleanup(func() { _, _ = accepted.Close(), dialled.Close() })
	return accepted, dialled
}

// socketOption asks for an option of a connection, below what it is wrapped in.
func socketOption(t *testing.T, c net.Conn, level, option int) (value int) {
	t.Helper()
	for {
		wrapped, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = wrapped.NetConn()
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, option) })
	if err := errors.Join(failed, err); err != nil {
		t.Fatal(err)
	}
	return value
}

// systemKeepIdle is what a new socket has.
func systemKeepIdle(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	idle, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
	if err != nil {
		t.Fatal(err)
	}
	return idle
}

// TestHunt23_Control is called with a socket that is neither bound nor connected, and
// can refuse it.
func TestHunt23_Control(t *testing.T) {
	refusal := errors.New("not this one")
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		var mu sync.Mutex
		var seen []string
		control := func(network, _ string, c syscall.RawConn) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, network)
			var err error
			failed := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, 5)
			})
			return errors.Join(failed, err)
		}
		options := epi.SocketOptions{Control: control}
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		ln, err := s.Engine.ListenWith(address, epi.ListenOptions{Socket: options}, epitest.EchoHandler)
		if err != nil {
			t.Fatal(err)
		}
		opened, closed := make(chan struct{}), make(chan error, 1)
		client := &epitest.Funcs{
			Open:  func(*epi.Conn) error { close(opened); return nil },
			Close: func(_ *epi.Conn, err error) { closed <- err },
		}
		c, err := s.Engine.DialWith(t.Context(), ln.String(), epi.DialOptions{Socket: options}, client)
		if err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, opened)
		_ = c.Close()
		epitest.Receive(t, closed)
		want := "tcp4 tcp4"
		if strings.HasPrefix(address, "unix") {
			want = "unix unix"
		}
		mu.Lock()
		if text := strings.Join(seen, " "); text != want {
			t.Errorf("Control was called with %s, want %s", text, want)
		}
		mu.Unlock()
		options.Control = func(string, string, syscall.RawConn) error { return refusal }
		if _, err := s.Engine.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{Socket: options}, epitest.EchoHandler); !errors.Is(err, refusal) {
			t.Errorf("ListenWith returns %v", err)
		}
		if _, err := s.Engine.DialWith(t.Context(), ln.String(), epi.DialOptions{Socket: options}, &epitest.Funcs{Close: client.Close}); err != nil {
			t.Fatal(err)
		}
		if err := epitest.Receive(t, closed); !errors.Is(err, refusal) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// TestHunt23_ModeOfASocketFile: the umask has no say, and nobody gets in before.
func TestHunt23_ModeOfASocketFile(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for _, mode := range []fs.FileMode{0o600, 0o660, 0o777} {
			path := epitest.UnixPath(t)
			s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
			ln, err := s.Engine.ListenWith("unix://"+path, epi.ListenOptions{Mode: mode}, epitest.EchoHandler)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != mode {
				t.Errorf("the mode is %v, want %v", info.Mode().Perm(), mode)
			}
			epitest.RoundTrip(t, epitest.DialListener(t, s.Engine, ln, net.Dialer{}), "hello")
			if _, err := s.Engine.ListenWith("unix://@"+path, epi.ListenOptions{Mode: mode}, epitest.EchoHandler); err != nil {
				t.Errorf("an abstract name: %v", err)
			}
		}
	})
}

// TestHunt23_BadSocketOptions are refused by name; what is too long is as long as can
// be.
func TestHunt23_BadSocketOptions(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		for name, o := range map[string]epi.ListenOptions{
			"UserTimeout": {Socket: epi.SocketOptions{UserTimeout: -1}},
			"SocketOptions.KeepAlive is 7: choose epi.Auto, epi.Yes or epi.No": {Socket: epi.SocketOptions{KeepAlive: 7}},
			"DSCP":       {Socket: epi.SocketOptions{DSCP: 64}},
			"SendBuffer": {Socket: epi.SocketOptions{SendBuffer: -1}},
			"Mode":       {Mode: fs.ModeSetuid | 0o700},
		} {
			_, err := s.Engine.ListenWith("tcp://127.0.0.1:0", o, epitest.EchoHandler)
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: ListenWith returns %v", name, err)
			}
		}
		long := epi.SocketOptions{KeepAliveIdle: math.MaxInt64, KeepAliveInterval: math.MaxInt64, UserTimeout: math.MaxInt64}
		if _, err := s.Engine.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{Socket: long}, epitest.EchoHandler); err != nil {
			t.Error(err)
		}
	})
}

// TestHunt23_PacketControl is called with a socket for datagrams that is not bound.
func TestHunt23_PacketControl(t *testing.T) {
	refusal := errors.New("not this one")
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		epitest.Run(t, e)
		for address, want := range map[string]string{
			"udp4://127.0.0.1:0":                "udp4",
			"unixgram://" + epitest.UnixPath(t): "unixgram",
		} {
			var seen string
			options := epi.PacketOptions{Control: func(network, _ string, c syscall.RawConn) error {
				seen = network
				return c.Control(func(uintptr) {})
			}}
			if _, err := e.ListenPacketWith(address, options, epitest.PacketEcho); err != nil || seen != want {
				t.Errorf("%s: Control was called with %q, and ListenPacketWith returns %v", address, seen, err)
			}
			options.Control = func(string, string, syscall.RawConn) error { return refusal }
			if _, err := e.ListenPacketWith("udp4://127.0.0.1:0", options, epitest.PacketEcho); !errors.Is(err, refusal) {
				t.Errorf("ListenPacketWith returns %v", err)
			}
		}
	})
}

// TestHunt23_NamesOfUnixPeers: a client that has a name is known by it, also when it
// has gone.
func TestHunt23_NamesOfUnixPeers(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		names := make(chan string, 2)
		s := epitest.StartOn(t, m.Engine(), "unix://"+epitest.UnixPath(t), func(c *epi.Conn) epi.Handler {
			names <- c.RemoteAddr().String()
			return &epitest.Funcs{Data: epitest.Echo, Close: func(c *epi.Conn, _ error) { names <- c.RemoteAddr().String() }}
		})
		for _, name := range []string{epitest.UnixPath(t), "@" + epitest.UnixPath(t), ""} {
			dialer := net.Dialer{}
			if name != "" {
				dialer.LocalAddr = &net.UnixAddr{Name: name, Net: "unix"}
			}
			c := epitest.DialListener(t, s.Engine, s.Listener, dialer)
			epitest.RoundTrip(t, c, "hello")
			_ = c.Close()
			for _, when := range []string{"open", "closed"} {
				if got := epitest.Receive(t, names); got != name {
					t.Errorf("%s, the peer is %q, want %q", when, got, name)
				}
			}
		}
	})
}
