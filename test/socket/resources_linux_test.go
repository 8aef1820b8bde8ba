package socket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// TestR01_OutOfDescriptors gives a server with 64 descriptors 200 clients.
func TestR01_OutOfDescriptors(t *testing.T) {
	const limit, clients = 64, 200
	// A loop that polls for descriptors every 50 ms would already be above it.
	const window, fewTurns = 500 * time.Millisecond, 10
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := startServer(t, serverConfig{Modes: []epitest.Mode{m}, OpenFiles: limit})
		var all, served []net.Conn
		for range clients {
			all = append(all, s.dial(0))
		}
		for _, c := range all {
			_, _ = io.WriteString(c, "x") // fails where the server has closed already
		}
		for _, c := range all {
			if isServed(t, c) {
				served = append(served, c)
			}
		}
		shed := clients - len(served)
		if len(served) < limit/2 || shed == 0 {
			t.Errorf("%d clients were served with %d descriptors", len(served), limit)
		}
		epitest.WaitUntil(t, "every client is counted", func() bool {
			now := s.stats()[0]
			return now.Conns == int64(len(served)) && now.Shed == uint64(shed)
		})
		before := s.stats()[0].Turns
		time.Sleep(window)
		if n := s.stats()[0].Turns - before; n >= fewTurns {
			t.Errorf("the loops made %d turns in %v without clients", n, window)
		}

		for _, c := range served {
			epitest.RoundTrip(t, c, "still here")
		}
		for _, c := range served[:10] {
			_ = c.Close()
		}
		epitest.WaitUntil(t, "a new client is served", func() bool {
			c := s.dial(0)
			_, _ = io.WriteString(c, "x")
			return isServed(t, c)
		})
	})
}

// isServed reads the echo of one byte, or the end that a shed client sees.
func isServed(t *testing.T, c net.Conn) bool {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	switch {
	case err == nil:
		return true
	case err != io.EOF && !errors.Is(err, syscall.ECONNRESET):
		t.Fatalf("a client is neither served nor shed: %v", err)
	}
	_ = c.Close()
	return false
}

func TestR02_MaxConns(t *testing.T) {
	const most, more = 10, 5
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxConns = most
		s := epitest.Start(t, e, epitest.EchoHandler)
		var served []net.Conn
		for range most {
			c := s.Dial()
			epitest.RoundTrip(t, c, "x")
			served = append(served, c)
		}
		for range more {
			epitest.ExpectEOF(t, s.Dial())
		}
		epitest.WaitUntil(t, "every client is counted", func() bool { return e.Stats().Shed == more })
		_, err := e.Dial(context.Background(), s.Listener.String(), &epitest.Funcs{})
		if !errors.Is(err, epi.ErrTooManyConns) || !strings.Contains(err.Error(), "MaxConns is 10") {
			t.Errorf("Dial returns %v", err)
		}
		for _, c := range served {
			epitest.RoundTrip(t, c, "still here")
		}
		_ = served[0].Close()
		epitest.WaitUntil(t, "one has left", func() bool { return e.Stats().Conns < most })
		epitest.RoundTrip(t, s.Dial(), "x")
		if now := e.Stats(); now.Conns != most || now.Accepted != most+1 || now.Shed != more {
			t.Errorf("%d connections, %d accepted, %d shed", now.Conns, now.Accepted, now.Shed)
		}
	})
}

// TestR03_TenThousandAtOnce connects them, echoes on all at once and closes
// them, in ten rounds. The rounds after the first look for leaks: they have one
// request in flight, because the pools keep what a burst needed.
//
// Select can watch 1,024 descriptors. Poll looks at all of them in each wait,
// so that the time for n connections grows with n²: it has fewer.
func TestR03_TenThousandAtOnce(t *testing.T) {
	const rounds = 6
	clients := startCrowd(t)
	type crowd struct {
		mode   epitest.Mode
		number int
	}
	tests := []crowd{
		{epitest.Mode{Driver: epi.DriverEpoll, Trigger: epi.TriggerEdge}, 10_000},
		{epitest.Mode{Driver: epi.DriverEpoll, Trigger: epi.TriggerOneShot, Workers: 3}, 10_000},
		{epitest.Mode{Driver: epi.DriverPoll}, 2_000},
		{epitest.Mode{Driver: epi.DriverSelect}, 900},
	}
	if epitest.UringMissing() == "" {
		tests = append(tests, crowd{epitest.Mode{Driver: epi.DriverUring}, 10_000},
			crowd{epitest.Mode{Driver: epi.DriverUring, Workers: 3}, 2_000})
	}
	for _, test := range tests {
		t.Run(test.mode.String(), func(t *testing.T) {
			shared := &epitest.Funcs{Data: epitest.Echo}
			e := test.mode.Engine()
			s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return shared })
			total := 0
			round := func(number, source, batch int) {
				clients.connect(s.Addr(), number, source, batch)
				if n := e.Stats().Conns; n != int64(number) {
					t.Errorf("%d connections", n)
				}
				if batch > 1 {
					clients.echo()
				}
				clients.close()
				epitest.WaitUntil(t, "all have left", func() bool { return e.Stats().Conns == 0 })
				total += number
			}
			number := test.number
			round(number, 2, 32)
			round(number, 3, 1)
			before, heap := epitest.UsageNow(t), epitest.HeapInUse()
			for i := 2; i < rounds; i++ {
				round(number, 2+i, 1)
			}
			before.Await(t)
			expectNoGrowth(t, heap, (rounds-2)*number)
			all := uint64(total)
			if now := e.Stats(); now.Accepted != all || now.Closed != all || now.Shed != 0 || now.BytesOut != now.BytesIn {
				t.Errorf("accepted %d, closed %d, shed %d, %d bytes received, %d sent", now.Accepted, now.Closed, now.Shed, now.BytesIn, now.BytesOut)
			}
		})
	}
}

// expectNoGrowth expects that no more is left of closed connections than what
// the pools may keep of a burst: 16 bytes each, where a Conn has over 200.
func expectNoGrowth(t *testing.T, heap int64, conns int) {
	t.Helper()
	const tolerance = 16
	if grown := epitest.HeapInUse() - heap; grown > int64(tolerance*conns) {
		t.Errorf("the heap has grown by %d bytes since %d connections", grown, conns)
	}
}
