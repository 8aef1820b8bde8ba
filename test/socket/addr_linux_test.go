package socket_test

import (
	"net"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// ends are the two ends of one connection, made by one engine.
type ends struct {
	dialled, accepted *epi.Conn
	closed            chan struct{} // one for each end
}

// connect dials s, whose handlers say who they are, and waits until both ends
// are open.
func connect(t *testing.T, s *epitest.Server, accepted chan *epi.Conn, closed chan struct{}) ends {
	t.Helper()
	opened := make(chan *epi.Conn, 1)
	epitest.Dial(t, s.Engine, s.Listener.String(), &epitest.Funcs{
		Open:  func(c *epi.Conn) error { opened <- c; return nil },
		Close: func(*epi.Conn, error) { closed <- struct{}{} },
	})

	return ends{epitest.Receive(t, opened), epitest.Receive(t, accepted), closed}
}

// same compares addresses as a person reads them.
func same(t *testing.T, what string, got, want net.Addr) {
	t.Helper()
	if (got == nil) != (want == nil) || got != nil && (got.Network() != want.Network() || got.String() != want.String()) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestAddresses(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for name, address := range map[string]string{
			"tcp":  "tcp://127.0.0.1:0",
			"tcp4": "tcp4://127.0.0.1:0",
			"tcp6": "tcp6://[::1]:0",
			"unix": "unix://" + epitest.UnixPath(t),
		} {
			t.Run(name, func(t *testing.T) { testAddresses(t, m, address) })
		}
	})
}

func testAddresses(t *testing.T, m epitest.Mode, address string) {
	accepted := make(chan *epi.Conn, 1)
	closed := make(chan struct{}, 2)
	s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
		return &epitest.Funcs{
			Open:  func(c *epi.Conn) error { accepted <- c; return nil },
			Close: func(*epi.Conn, error) { closed <- struct{}{} },
		}
	})
	server := s.Listener.Addr()
	both := connect(t, s, accepted, closed)

	// The engine's views of the two ends are each other's mirror. A client's
	// Unix socket has no name.
	client := both.dialled.LocalAddr()
	if _, ok := server.(*net.UnixAddr); ok {
		client = &net.UnixAddr{Net: "unix"}
	}
	same(t, "the dialled end's LocalAddr", both.dialled.LocalAddr(), client)
	same(t, "the dialled end's RemoteAddr", both.dialled.RemoteAddr(), server)
	same(t, "the accepted end's LocalAddr", both.accepted.LocalAddr(), server)
	same(t, "the accepted end's RemoteAddr", both.accepted.RemoteAddr(), client)

	if err := both.dialled.Close(); err != nil {
		t.Fatal(err)
	}
	epitest.Receive(t, closed)
	epitest.Receive(t, closed)
	same(t, "after close, the dialled end's LocalAddr", both.dialled.LocalAddr(), nil)
	same(t, "after close, the dialled end's RemoteAddr", both.dialled.RemoteAddr(), server)
	same(t, "after close, the accepted end's LocalAddr", both.accepted.LocalAddr(), server)
	same(t, "after close, the accepted end's RemoteAddr", both.accepted.RemoteAddr(), client)
}

// Before it is open a dialled connection knows where it is going.
func TestAddressesBeforeOpen(t *testing.T) {
	eachDial(t, func(t *testing.T, m epitest.Mode, network string) {
		ln, address := epitest.FullListener(t, network)
		e := m.Engine()
		epitest.Run(t, e)
		c := epitest.Dial(t, e, address, newCaller())
		asked := make(chan struct{}) // the loop has begun to connect
		if err := c.Loop().Do(func() { close(asked) }); err != nil {
			t.Fatal(err)
		}
		epitest.Receive(t, asked)
		same(t, "LocalAddr", c.LocalAddr(), nil)
		same(t, "RemoteAddr", c.RemoteAddr(), ln.Addr())
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, "after Close, RemoteAddr", c.RemoteAddr(), ln.Addr())
	})
}
