package stream_test

import (
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// Faults that were found in the sources of other servers, and that this engine must
// not have. Those not here have a case of their own:
//
//	a short send loses data; partial sends are left to the user   W01, W04
//	EAGAIN drops the message                                      W04, W05, W08
//	the reply goes to a reused number                             L03, and below

// One wake-up reports nine connections, and the budget is two.
//
//	clients:  1 2 3 4 5 6 7 8 9 connect
//	loop:     (held...........) one event: accepts 2; must come back for 7
func TestD11_OneEventForTheWholeBacklog(t *testing.T) {
	const clients = 9
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		e := m.Serial()
		e.AcceptBudget = 2
		s := epitest.StartOn(t, e, address, epitest.EchoHandler)
		loop, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		release := epitest.Hold(t, loop)
		var waiting []net.Conn
		for range clients {
			waiting = append(waiting, s.Dial())
		}
		release()
		for _, c := range waiting {
			epitest.RoundTrip(t, c, "served")
		}
	})
}

// Every thread of the process is interrupted over and over; the kernel never
// restarts a wait by itself.
func TestD11_SignalsEndNothing(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	defer signal.Stop(signals)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		done, storm := make(chan struct{}), make(chan int)
		go func() {
			sent := 0
			for {
				select {
				case <-done:
					storm <- sent
					return
				default:
					sent += interruptThreads()
				}
			}
		}()
		client := s.Dial()
		for range 50 {
			epitest.RoundTrip(t, client, "still here")
			epitest.RoundTrip(t, s.Dial(), "and open")
		}
		close(done)
		if epitest.Receive(t, storm) == 0 {
			t.Error("no signal was sent: this shows nothing")
		}
	})
}

// interruptThreads signals each thread of this process once and returns their
// number.
func interruptThreads() int {
	threads, _ := os.ReadDir("/proc/self/task")
	sent := 0
	for _, thread := range threads {
		id, _ := strconv.Atoi(thread.Name())
		if unix.Tgkill(os.Getpid(), id, unix.SIGUSR1) == nil { // it may have ended
			sent++
		}
	}
	return sent
}

// A handler is at work when its client goes and another comes.
//
//	client a:  writes "a"              resets
//	client b:                                    connects   (workers: is served)
//	handler a: OnData (at work................................) Write(reply) → to nobody
func TestD11_ReplyOfABusyHandler(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		busy, proceed := make(chan struct{}), make(chan struct{})
		closed := make(chan error, 2)
		e := m.Engine()
		e.Loops = 1
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					if string(c.Unread()) != "a" {
						return epitest.Echo(c)
					}
					close(busy)
					<-proceed
					return epitest.Echo(c)
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		a := s.Dial()
		epitest.Say(t, a, "a")
		epitest.Receive(t, busy)
		epitest.Reset(t, a)
		epitest.AwaitReset(t, a)
		b := s.Dial()
		epitest.Say(t, b, "b")
		if m.Workers > 0 { // on a loop, b waits until the handler of a returns
			epitest.Expect(t, b, "b")
			epitest.Say(t, b, "b")
		}
		close(proceed)
		epitest.Expect(t, b, "b")
		if err := epitest.Receive(t, closed); !isReset(err) {
			t.Errorf("a's cause is %v", err)
		}
		epitest.CloseWrite(t, b)
		epitest.ExpectEOF(t, b)
		if err := epitest.Receive(t, closed); err != io.EOF {
			t.Errorf("b's cause is %v", err)
		}
	})
}

// The hang-up is reported by the same event as the first of sixteen budgets.
//
//	client:  writes 16 budgets   closes
//	loop:    (held....................) event: readable and hung up; the tail is read first
func TestD11_TailBehindHangUp(t *testing.T) {
	const budget = 2 << 10
	tail := string(epitest.Pattern(16 * budget))
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		var got strings.Builder
		opened := make(chan *epi.Conn, 1)
		closed := make(chan error, 1)
		e := m.Serial()
		e.ReadBudget = budget
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open:  func(c *epi.Conn) error { opened <- c; return nil },
				Data:  func(c *epi.Conn) error { got.Write(c.Unread()); c.Discard(len(c.Unread())); return nil },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.Dial()
		release := epitest.Hold(t, epitest.Receive(t, opened).Loop())
		epitest.Say(t, client, tail)
		epitest.CloseWrite(t, client)
		epitest.AwaitArrival(t, client)
		_ = client.Close()
		release()
		if err := epitest.Receive(t, closed); err != io.EOF {
			t.Errorf("the cause is %v", err)
		}
		if got.String() != tail {
			t.Errorf("of %d bytes the handler was offered %d", len(tail), got.Len())
		}
	})
}

// A handler that waits for the rest of a frame is called once for each piece,
// and neither loop nor worker turns meanwhile.
func TestD11_IncompleteFrameSpinsNobody(t *testing.T) {
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		calls := make(chan int, 10) // the bytes that were unread at each call
		e := m.Serial()
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				calls <- len(c.Unread())
				if strings.HasSuffix(string(c.Unread()), ".") {
					return epitest.Echo(c)
				}
				return nil
			}}
		})
		client := s.Dial()
		for i, piece := range []string{"four", "more", "end."} {
			epitest.Say(t, client, piece)
			if n := epitest.Receive(t, calls); n != 4*(i+1) {
				t.Errorf("the handler was offered %d bytes after %d", n, 4*(i+1))
			}
			epitest.ExpectQuiet(t, e)
		}
		epitest.Expect(t, client, "fourmoreend.")
		if len(calls) > 0 {
			t.Error("the handler was called for nothing")
		}
	})
}

// Many workers, many events, one connection: its callbacks come one at a time
// and its bytes in order, whatever other goroutines do to it.
func TestD11_EventsOfAConnectionStayInOrder(t *testing.T) {
	const pieces = 300
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		var inside atomic.Int32
		var next byte
		opened := make(chan *epi.Conn, 1)
		alone := func(callback func()) {
			if inside.Add(1) != 1 {
				t.Error("two callbacks at a time")
			}
			runtime.Gosched()
			callback()
			inside.Add(-1)
		}
		e := m.Engine()
		e.Workers *= 3
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error { alone(func() { opened <- c }); return nil },
				Data: func(c *epi.Conn) (err error) {
					alone(func() {
						for _, b := range c.Unread() {
							if b != next {
								t.Errorf("byte %d came as number %d", b, next)
							}
							next++
						}
						err = epitest.Echo(c)
					})
					return err
				},
				Close: func(*epi.Conn, error) { alone(func() {}) },
			}
		})
		client := s.Dial()
		c := epitest.Receive(t, opened)
		poked := make(chan struct{})
		go func() {
			defer close(poked)
			for range pieces {
				c.Pause()
				runtime.Gosched()
				c.Resume()
			}
		}()
		for i := range pieces {
			epitest.Say(t, client, string([]byte{byte(i)}))
		}
		for i := range pieces {
			epitest.Expect(t, client, string([]byte{byte(i)}))
		}
		epitest.Receive(t, poked)
	})
}

// A peer that never stops sending gets its reply within a turn or two: no more
// than two budgets are read while the reply is queued.
func TestD11_ReadingDoesNotStarveWriting(t *testing.T) {
	const budget = 16 << 10
	epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		var written atomic.Bool
		var behind atomic.Int64 // bytes read while the reply was queued
		e := m.Serial()
		e.ReadBudget = budget
		s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				n := c.Discard(len(c.Unread()))
				if !written.Swap(true) {
					_, err := c.Write([]byte("reply"))
					return err
				}
				if c.Queued() > 0 {
					behind.Add(int64(n))
				}
				return nil
			}}
		})
		client := s.Dial()
		var enough atomic.Bool
		flooded := make(chan error, 1)
		go func() {
			var err error
			for piece := make([]byte, budget); err == nil && !enough.Load(); {
				_, err = client.Write(piece)
			}
			flooded <- err
		}()
		epitest.Expect(t, client, "reply")
		enough.Store(true)
		if err := epitest.Receive(t, flooded); err != nil {
			t.Error(err)
		}
		if n := behind.Load(); n > 2*budget {
			t.Errorf("%d bytes were read before the reply left, %d in one turn", n, budget)
		}
	})
}

// An idle loop sleeps until its next timer, however long that is.
func TestD11_WaitIsNotClamped(t *testing.T) {
	const pause = 300 * time.Millisecond // thirty waits of 10 ms
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Serial()
		epitest.Start(t, e, epitest.EchoHandler)
		loop, err := e.Loop(0)
		if err != nil {
			t.Fatal(err)
		}
		fired := make(chan struct{})
		begin, before := time.Now(), e.Stats().Turns
		loop.After(pause, func() { close(fired) })
		epitest.Receive(t, fired)
		if d := time.Since(begin); d < pause {
			t.Errorf("the timer ran after %v", d)
		}
		if turns := e.Stats().Turns - before; turns > 10 {
			t.Errorf("%d turns with nothing to do", turns)
		}
	})
}

// The end of the peer's stream stays readable for ever, and the hang-up of a
// peer that is gone cannot be masked. A connection that lives on with either
// makes no turns.
func TestD11_PeerCloseIsHeardOnce(t *testing.T) {
	for name, end := range map[string]func(*testing.T, net.Conn){
		"half": epitest.CloseWrite,
		"full": func(_ *testing.T, c net.Conn) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			epitest.EachNetwork(t, func(t *testing.T, m epitest.Mode, address string) {
				t.Parallel()
				testPeerClose(t, m, address, end)
			})
		})
	}
}

func testPeerClose(t *testing.T, m epitest.Mode, address string, end func(*testing.T, net.Conn)) {
	ended := make(chan *epi.Conn, 10)
	closed := make(chan error, 1)
	e := m.Serial()
	s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
		return &epitest.FuncsEOF{
			Funcs: epitest.Funcs{Close: func(_ *epi.Conn, err error) { closed <- err }},
			EOF:   func(c *epi.Conn) error { ended <- c; return nil },
		}
	})
	end(t, s.Dial())
	c := epitest.Receive(t, ended)
	epitest.ExpectQuiet(t, e)
	if len(ended) > 0 {
		t.Error("OnEOF was called again")
	}
	if err := c.Close(); err != nil {
		t.Errorf("the connection has not lived on: %v", err)
	}
	if err := epitest.Receive(t, closed); err != nil {
		t.Errorf("the cause is %v", err)
	}
}

// A read stops at the mark of urgent data although more bytes wait, which looks
// like having read everything.
//
//	client:  writes "x"   urgent "!"   writes "y"
//	loop:    (held..............................) one event: reads "x", short; "y" must follow
//
// Not for the portable driver: at the mark the kernel also answers EAGAIN when a
// signal is pending, as the Go runtime sends them to its threads, and then package
// net waits for an edge that has passed, until more bytes come.
func TestD11_UrgentDataStrandsNothing(t *testing.T) {
	epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		opened := make(chan *epi.Conn, 1)
		e := m.Serial()
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error { opened <- c; return nil },
				Data: epitest.Echo,
			}
		})
		client := s.Dial()
		loop := epitest.Receive(t, opened).Loop()
		for range 5 {
			release := epitest.Hold(t, loop)
			epitest.Say(t, client, "x")
			epitest.SayUrgent(t, client, '!')
			epitest.Say(t, client, "y")
			epitest.AwaitArrival(t, client)
			release()
			epitest.Expect(t, client, "xy")
			epitest.SayUrgent(t, client, '!') // alone
			epitest.AwaitArrival(t, client)
			epitest.RoundTrip(t, client, "z")
		}
		epitest.SayUrgent(t, client, '!')
		epitest.ExpectQuiet(t, e)
		epitest.CloseWrite(t, client)
		epitest.ExpectEOF(t, client)
	})
}
