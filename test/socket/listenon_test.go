package socket_test

import (
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A socket that package net has opened serves, with what waited in its backlog,
// and ends with the listener.
func TestListenOn(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				t.Parallel()
				address := "127.0.0.1:0"
				if network == "unix" {
					address = epitest.UnixPath(t)
				}
				opened, err := net.Listen(network, address)
				if err != nil {
					t.Fatal(err)
				}
				early, err := net.Dial(network, opened.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer early.Close()

				e := m.Engine()
				ln, err := e.ListenOn(opened, epi.ListenOptions{}, epitest.EchoHandler)
				if err != nil {
					t.Fatal(err)
				}
				if want := network + "://" + opened.Addr().String(); ln.String() != want {
					t.Errorf("the listener is %s, want %s", ln, want)
				}
				if _, err := opened.Accept(); err == nil {
					t.Error("the listener that was handed over still accepts")
				}
				s := epitest.Start(t, e, epitest.EchoHandler) // another one, to run
				epitest.RoundTrip(t, early, "early")
				late, err := net.Dial(network, opened.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer late.Close()
				epitest.RoundTrip(t, late, "late")
				if err := s.Stop(); err != nil {
					t.Fatal(err)
				}
				if c, err := net.Dial(network, opened.Addr().String()); err == nil {
					_ = c.Close()
					t.Error("the socket listens after the end")
				}
				if network == "unix" {
					if _, err := os.Lstat(address); err != nil {
						t.Errorf("the file of somebody else's socket is gone: %v", err)
					}
				}
			})
		})
	}
}

func TestListenOn_RefusesOtherSockets(t *testing.T) {
	packets, err := net.Listen("unixpacket", epitest.UnixPath(t))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		ln     net.Listener
		reason string
	}{
		{"unixpacket", packets, "unixpacket socket"},
		{"not a socket", tls.NewListener(plain, nil), "has no socket of its own"},
		{"does not listen", epitest.Bound(t), "does not listen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := epitest.Modes()[0].Engine()
			_, err := e.ListenOn(c.ln, epi.ListenOptions{}, epitest.EchoHandler)
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("ListenOn returns %v, want it to say %q", err, c.reason)
			}
			if _, err := c.ln.Accept(); err == nil {
				t.Error("the listener was not closed")
			}
			epitest.Start(t, e, epitest.EchoHandler) // frees what ListenOn has made
		})
	}
	e := epi.Engine{Loops: 1}
	if _, err := e.ListenOn(plain, epi.ListenOptions{}, nil); err == nil {
		t.Error("no handler is no error")
	}
}
