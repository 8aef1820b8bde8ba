package packet_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// openFiles returns how many descriptors this process has.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// passFiles sends a byte and two files with it. The kernel may refuse those
// (SO_PASSRIGHTS); then the byte goes alone.
func passFiles(t *testing.T, c *net.UnixConn, to *net.UnixAddr) {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rights := syscall.UnixRights(int(f.Fd()), int(f.Fd()))
	if _, _, err = c.WriteMsgUnix([]byte("x"), rights, to); err != nil {
		_, _, err = c.WriteMsgUnix([]byte("x"), nil, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestHostile01_FilesOfOthersArePassedToNobody sends files, with a byte each, to
// every kind of Unix socket: those that listen, those of accepted connections, and
// those that were dialled. None becomes a descriptor of the receiver's.
func TestHostile01_FilesOfOthersArePassedToNobody(t *testing.T) {
	const count = 50
	send := func(t *testing.T, c *net.UnixConn, to *net.UnixAddr, got <-chan int) {
		t.Helper()
		before := openFiles(t)
		for range count {
			passFiles(t, c, to)
			if n := epitest.Receive(t, got); n != 1 {
				t.Fatalf("%d bytes arrived with the files", n)
			}
		}
		// Other tests' leftovers may open and close a few; the attack brings
		// two with each byte.
		if n := openFiles(t) - before; n > count {
			t.Errorf("after %d pairs of files there are %d descriptors more", count, n)
		}
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		dir := t.TempDir()
		got := make(chan int, 1)
		e := m.Engine()
		ln := listenPacket(t, e, "unixgram://"+filepath.Join(dir, "server"), func(*epi.PacketConn) epi.PacketHandler {
			return &epitest.PacketFuncs{Packet: func(_ *epi.PacketConn, p []byte, _ epi.PacketAddr) { got <- len(p) }}
		})
		count := func(c *epi.Conn) error {
			got <- c.Discard(len(c.Unread()))
			return nil
		}
		stream, err := e.Listen("unix://"+filepath.Join(dir, "stream"), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: count}
		})
		if err != nil {
			t.Fatal(err)
		}
		peer := listenUnix(t, filepath.Join(dir, "peer"))
		dialled, err := e.DialPacket(t.Context(), "unixgram://"+peer.LocalAddr().String(), &epitest.PacketFuncs{
			Packet: func(_ *epi.PacketConn, p []byte, _ epi.PacketAddr) { got <- len(p) },
		})
		if err != nil {
			t.Fatal(err)
		}
		epitest.Run(t, e)

		t.Run("a listening socket for datagrams", func(t *testing.T) {
			c := listenUnix(t, filepath.Join(dir, "client"))
			send(t, c, ln.Addr().(*net.UnixAddr), got)
		})
		t.Run("a dialled socket for datagrams", func(t *testing.T) {
			send(t, peer, &net.UnixAddr{Name: dialled.LocalAddr().Path, Net: "unixgram"}, got)
		})
		t.Run("an accepted connection", func(t *testing.T) {
			c, err := net.DialUnix("unix", nil, stream.Addr().(*net.UnixAddr))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			send(t, c, nil, got)
		})
		_ = dialled.Close()
	})
}

// listenUnix returns a socket of package net for datagrams.
func listenUnix(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestHostile02_SilentPeerSilencesNobody has a peer that never reads ask for more
// than the send buffer of the server's socket holds. It is connected to that, so
// that its own queue has no bound. Another has its answers meanwhile.
func TestHostile02_SilentPeerSilencesNobody(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		ln := listenPacket(t, e, "unixgram://"+filepath.Join(t.TempDir(), "server"), epitest.PacketEcho)
		epitest.Run(t, e)
		other := dialPacket(t, ln)
		silent := dialPacket(t, ln)
		ask := func() {
			if _, err := silent.Write(make([]byte, 16<<10)); err != nil {
				t.Fatal(err)
			}
		}
		for range 1000 {
			ask()
		}
		epitest.WaitUntil(t, "the server noticed it", func() bool {
			ask()
			return e.Stats().PacketsCrowded > 0
		})
		for range 50 {
			ask()
			exchange(t, other, []byte("hello"))
		}
	})
}

// TestHostile02_ManySilentPeersSilenceNobody is the same with so many of them that one
// answer for each would fill the send buffer: those who read have theirs, also who
// comes late.
func TestHostile02_ManySilentPeersSilenceNobody(t *testing.T) {
	const silent, rounds = 150, 4
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		ln := listenPacket(t, e, "unixgram://"+filepath.Join(t.TempDir(), "server"), epitest.PacketEcho)
		epitest.Run(t, e)
		early := dialPacket(t, ln)
		exchange(t, early, []byte("hello"))
		question := make([]byte, 60<<10)
		var peers []net.Conn
		for range silent {
			peers = append(peers, dialPacket(t, ln))
		}
		for range rounds {
			for i, peer := range peers {
				if _, err := peer.Write(question); err != nil {
					t.Fatal(err)
				}
				if i%10 == 0 {
					exchange(t, early, []byte("hello"))
				}
			}
			exchange(t, dialPacket(t, ln), []byte("late"))
		}
		if e.Stats().PacketsCrowded == 0 {
			t.Error("the server has not noticed it")
		}
	})
}
