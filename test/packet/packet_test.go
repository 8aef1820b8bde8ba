package packet_test

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// packetAddresses are those that a test listens on.
func packetAddresses(t *testing.T) map[string]string {
	return map[string]string{
		"udp4":     "udp4://127.0.0.1:0",
		"udp6":     "udp6://[::1]:0",
		"any":      "udp://:0",
		"unixgram": "unixgram://" + filepath.Join(t.TempDir(), "s"),
	}
}

// dialPacket connects a client of package net, with a watchdog.
func dialPacket(t *testing.T, ln *epi.PacketListener) net.Conn {
	t.Helper()
	var local net.Addr
	if ln.Addr().Network() == "unixgram" {
		local = &net.UnixAddr{Name: filepath.Join(t.TempDir(), "c"), Net: "unixgram"}
	}
	d := net.Dialer{LocalAddr: local}
	c, err := d.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(epitest.Patience))
	return c
}

// eachPacket runs a test for every mode and kind of address.
func eachPacket(t *testing.T, test func(t *testing.T, m epitest.Mode, address string)) {
	t.Helper()
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		for name, address := range packetAddresses(t) {
			t.Run(name, func(t *testing.T) { test(t, m, address) })
		}
	})
}

func listenPacket(t *testing.T, e *epi.Engine, address string, handler func(*epi.PacketConn) epi.PacketHandler) *epi.PacketListener {
	t.Helper()
	ln, err := e.ListenPacket(address, handler)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// exchange sends p and expects it back.
func exchange(t *testing.T, c net.Conn, p []byte) {
	t.Helper()
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
	expectPacket(t, c, p)
}

func expectPacket(t *testing.T, c net.Conn, p []byte) {
	t.Helper()
	got := make([]byte, len(p)+1)
	n, err := c.Read(got)
	if err != nil || string(got[:n]) != string(p) {
		t.Fatalf("received %d bytes, %v, want the %d that were sent", n, err, len(p))
	}
}

// TestPacket_Echo sends datagrams of every size that the network takes, one
// without bytes among them.
func TestPacket_Echo(t *testing.T) {
	eachPacket(t, func(t *testing.T, m epitest.Mode, address string) {
		e := m.Engine()
		ln := listenPacket(t, e, address, epitest.PacketEcho)
		stop := epitest.Run(t, e)
		c := dialPacket(t, ln)
		for _, size := range []int{1, 0, 1200, 0, 9000, 65507} {
			exchange(t, c, epitest.Pattern(size))
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got := e.Stats(); got.PacketsIn != 6 || got.PacketsOut != 6 || got.PacketsDropped != 0 {
			t.Errorf("counted %d in, %d out, %d dropped", got.PacketsIn, got.PacketsOut, got.PacketsDropped)
		}
	})
}
