package polltest

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// SharedListener is case P07: several loops on one listener accept every
// connection once.
//
//	loops:   Wait ──► asleep, all of them
//	clients:            connect, one after the other ──► one loop accepts it
func SharedListener(t *testing.T, s Subject) {
	t.Run("level", func(t *testing.T) { acceptInLoops(t, s, poll.Level) })
	if s.Edge {
		t.Run("exclusive", func(t *testing.T) { acceptInLoops(t, s, poll.Exclusive) })
	}
}

func acceptInLoops(t *testing.T, s Subject, mode poll.Mode) {
	const loops, clients = 4, 500
	l, addr := NewListener(t)
	var accepted atomic.Int32
	var done atomic.Bool
	ended := map[poll.Poller]<-chan error{}
	for range loops {
		p := s.Open(t)
		Must(t, p.Add(l.FD, 1, poll.Readable, mode))
		ended[p] = elsewhere(func() error { return acceptLoop(p, l.FD, &accepted, &done) })
	}
	for range clients {
		if err := dialAndRead(addr.Port); err != nil {
			t.Error(err)
			break
		}
	}
	done.Store(true)
	for p, end := range ended {
		Must(t, p.Wake())
		Must(t, Receive(t, end))
	}
	if got := accepted.Load(); got != clients {
		t.Errorf("%d connections accepted, want %d", got, clients)
	}
}

// acceptLoop greets every connection with one byte, until done.
func acceptLoop(p poll.Poller, listener int, accepted *atomic.Int32, done *atomic.Bool) error {
	var events [4]poll.Event
	for !done.Load() {
		if _, err := p.Wait(events[:], -1); err != nil {
			return err
		}
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				return err
			}
			accepted.Add(1)
			if _, err := unix.Write(fd, []byte{'k'}); err != nil {
				return err
			}
			if err := unix.Close(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

func dialAndRead(port int) error {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "k" {
		return fmt.Errorf("greeting %q, %v", got, err)
	}
	return nil
}
