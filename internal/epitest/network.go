package epitest

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// UnixPath returns a path for a socket, short enough for sun_path whatever the
// test is called.
func UnixPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "epi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// EachNetwork runs a test for every mode over TCP and over Unix sockets.
// address is where to listen.
func EachNetwork(t *testing.T, test func(t *testing.T, m Mode, address string)) {
	t.Helper()
	Each(t, func(t *testing.T, m Mode) {
		t.Run("tcp", func(t *testing.T) { test(t, m, "tcp://127.0.0.1:0") })
		t.Run("unix", func(t *testing.T) { test(t, m, "unix://"+UnixPath(t)) })
	})
}

// Listen returns a listener of package net, on network tcp, tls or unix, for what
// engines dial, and its address as they write it.
func Listen(t *testing.T, network string) (ln net.Listener, address string) {
	t.Helper()
	var err error
	if network == "unix" {
		ln, err = net.Listen("unix", UnixPath(t))
	} else {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	address = network + "://" + ln.Addr().String()
	if network == "tls" {
		ln = &secureListener{ln.(*net.TCPListener)}
	}
	return ln, address
}

// Bound is a listener of a socket that has an address and does not listen.
func Bound(t *testing.T) net.Listener {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "bound")
	defer f.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
