package epi

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/driver"
)

// TestHunt01_ClientsWithoutAddressAreCounted has a client accepted whose address the
// system does not give: it is closed, counted, and the log says why.
func TestHunt01_ClientsWithoutAddressAreCounted(t *testing.T) {
	var said strings.Builder
	e := &Engine{Driver: DriverEpoll, Logger: slog.New(slog.NewTextHandler(&said, nil))}
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*Conn) Handler { t.Error("a handler is made"); return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { e.free(); ln.closeHandles() }()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pair[0]) }()
	(*acceptance)(ln.acceptors[0]).Accepted(driver.Handle(pair[1]), netip.AddrPort{}, nil)
	if n, err := unix.Read(pair[0], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the client reads %d bytes, %v", n, err)
	}
	if s := e.Stats(); s.Accepted != 0 || s.Shed != 1 || s.ShedUnknown != 1 {
		t.Errorf("accepted %d, shed %d, of them %d without an address", s.Accepted, s.Shed, s.ShedUnknown)
	}
	if !strings.Contains(said.String(), "does not give its address") {
		t.Errorf("the log says %q", said.String())
	}
}
