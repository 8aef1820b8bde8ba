package stream_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestHunt23_WatermarksOfAListener: two listeners of one engine bound their
// connections differently.
func TestHunt23_WatermarksOfAListener(t *testing.T) {
	const own = 4 << 10
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		fits := func(most int, results chan<- error) func(*epi.Conn) epi.Handler {
			return func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Open: func(c *epi.Conn) error {
					_, err := c.Write(make([]byte, most+1))
					results <- err
					return nil
				}}
			}
		}
		plain, narrow := make(chan error, 1), make(chan error, 1)
		s := epitest.Start(t, m.Engine(), fits(own, plain))
		ln, err := s.Engine.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{MaxQueued: own}, fits(own, narrow))
		if err != nil {
			t.Fatal(err)
		}
		s.Dial()
		dialTo(t, s.Engine, ln)
		if err := epitest.Receive(t, plain); err != nil {
			t.Errorf("the engine's bound: %v", err)
		}
		if err := epitest.Receive(t, narrow); !errors.Is(err, epi.ErrQueueFull) {
			t.Errorf("the listener's bound: %v", err)
		}
		_, err = s.Engine.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{HighWater: 2, MaxQueued: 1}, epitest.EchoHandler)
		if err == nil || !strings.Contains(err.Error(), "ListenOptions.HighWater is 2, above MaxQueued, which is 1") {
			t.Errorf("ListenWith returns %v", err)
		}
		unread := make(chan error, 1)
		ln, err = s.Engine.ListenWith("tcp://127.0.0.1:0", epi.ListenOptions{MaxUnread: 8}, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(*epi.Conn) error { return nil }, Close: func(_ *epi.Conn, err error) { unread <- err }}
		})
		if err != nil {
			t.Fatal(err)
		}
		epitest.Say(t, dialTo(t, s.Engine, ln), "nine here")
		if err := epitest.Receive(t, unread); !errors.Is(err, epi.ErrUnreadFull) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func dialTo(t *testing.T, e *epi.Engine, ln *epi.Listener) net.Conn {
	t.Helper()
	return epitest.DialListener(t, e, ln, net.Dialer{})
}
