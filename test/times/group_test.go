package times_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// An audience is clients of a server whose connections are known.
type audience struct {
	*epitest.Server
	opened chan *epi.Conn
	closed chan error
	on     epitest.Funcs // Data and Drain may be set before the first client
}

func startGroup(t *testing.T, e *epi.Engine) *audience {
	t.Helper()
	w := &audience{opened: make(chan *epi.Conn, 1), closed: make(chan error, 1000)}
	w.on.Open = func(c *epi.Conn) error { w.opened <- c; return nil }
	w.on.Close = func(_ *epi.Conn, err error) { w.closed <- err }
	w.Server = epitest.Start(t, e, func(*epi.Conn) epi.Handler { return &w.on })
	return w
}

// join connects n clients and makes them members.
func (w *audience) join(t *testing.T, g *epi.Group, n int) (clients []net.Conn, conns []*epi.Conn) {
	t.Helper()
	for range n {
		clients = append(clients, w.Dial())
		c := epitest.Receive(t, w.opened)
		conns = append(conns, c)
		if err := g.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	return clients, conns
}

// send sends text to the members and expects that it can.
func send(t *testing.T, g *epi.Group, text string) {
	t.Helper()
	if err := g.Send([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// TestProgram06_GroupHasOneOrder lets several goroutines send at the same time,
// two of them on the loops.
//
//	sender 0   0:0 0:1 0:2 …  ╲
//	sender 1   1:0 1:1 1:2 …   ├─► every member reads the same line of them
//	loop 0, 1  2:0 …, 3:0 …   ╱
func TestProgram06_GroupHasOneOrder(t *testing.T) {
	const members, senders, each = 6, 4, 50
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		w := startGroup(t, e)
		var g epi.Group
		clients, _ := w.join(t, &g, members)
		var sending sync.WaitGroup
		for s := range senders {
			send := func(i int) {
				if err := g.Send(fmt.Appendf(nil, "%d:%d ", s, i)); err != nil {
					t.Error(err)
				}
			}
			sending.Go(func() {
				l, err := e.Loop(s % 2)
				for i := range each {
					switch {
					case s < 2:
						send(i)
					case err != nil || l.Do(func() { send(i) }) != nil:
						t.Error("a loop takes no task")
					}
				}
			})
		}
		sending.Wait()
		var first string
		size := senders * (each*len("0:0 ") + each - 10)
		for i, c := range clients {
			got := make([]byte, size)
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = string(got)
			}
			if string(got) != first {
				t.Fatalf("member %d read\n%s\nand member 0\n%s", i, got, first)
			}
		}
		for s := range senders {
			last := -1
			for i := range each {
				at := strings.Index(first, fmt.Sprintf("%d:%d ", s, i))
				if at <= last {
					t.Fatalf("sender %d: message %d is at %d, the one before at %d", s, i, at, last)
				}
				last = at
			}
		}
	})
}

// TestProgram06_GroupSendIsOneTaskPerLoop counts tasks: one for each loop, not
// for each member.
func TestProgram06_GroupSendIsOneTaskPerLoop(t *testing.T) {
	const members, sends = 40, 10
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		m.Parallel(t)
		e := m.Engine()
		w := startGroup(t, e)
		var g epi.Group
		clients, _ := w.join(t, &g, members)
		send(t, &g, "begin")
		for _, c := range clients {
			epitest.Expect(t, c, "begin")
		}
		epitest.AwaitTurns(t, e)
		before := e.Stats().Tasks
		for range sends {
			send(t, &g, "x")
		}
		for _, c := range clients {
			epitest.Expect(t, c, strings.Repeat("x", sends))
		}
		if n := e.Stats().Tasks - before; n > uint64(sends*e.Loops+e.Loops) { // the last of AwaitTurns may be counted late
			t.Errorf("%d tasks for %d sends on %d loops", n, sends, e.Loops)
		}
		if e.Stats().TasksWaiting != 0 {
			t.Error("tasks wait that were run")
		}
	})
}

// TestHunt27_GroupOverTLS: what a group sends is encrypted, though nothing waits before
// it.
func TestHunt27_GroupOverTLS(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		m.TLS = true
		w := startGroup(t, m.Engine())
		var g epi.Group
		clients, _ := w.join(t, &g, 2)
		for _, text := range []string{"one", "two"} {
			send(t, &g, text)
			for _, c := range clients {
				epitest.Expect(t, c, text)
			}
		}
	})
}

// TestHunt27_GroupSendTakenInPart sends to a member that does not read, until the kernel
// takes a message in part, and then none: the member gets all of them in their order.
func TestHunt27_GroupSendTakenInPart(t *testing.T) {
	const size, sends = 100_000, 100
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		w := startGroup(t, m.Engine())
		var g epi.Group
		clients, conns := w.join(t, &g, 1)
		stream := epitest.Pattern(size * sends)
		for i := range sends {
			if err := g.Send(stream[i*size:][:size]); err != nil {
				t.Fatal(err)
			}
			sent := make(chan struct{}) // alone: no other message waits for the same loop
			if err := conns[0].Loop().Do(func() { close(sent) }); err != nil {
				t.Fatal(err)
			}
			epitest.Receive(t, sent)
		}
		epitest.ExpectBytes(t, clients[0], stream, 1<<20)
	})
}

// TestProgram06_MembersFromAddToRemove sends around both.
func TestProgram06_MembersFromAddToRemove(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		w := startGroup(t, m.Engine())
		var g epi.Group
		client := w.Dial()
		c := epitest.Receive(t, w.opened)
		for _, step := range []func() error{
			func() error { return g.Send([]byte("before ")) },
			func() error { return g.Add(c) },
			func() error { return g.Add(c) },
			func() error { return g.Send([]byte("one "), []byte("two ")) },
			func() error { return g.SendExcept(c, []byte("for others ")) },
			func() error { return g.Remove(c) },
			func() error { return g.Send([]byte("after ")) },
			func() error { return g.Remove(c) },
			func() error { return g.Add(c) },
			func() error { return g.Send([]byte("again ")) },
			func() error { return g.Send() },
			func() error { return c.Loop().Do(func() { _, _ = c.Write([]byte("behind it")); _ = c.Close() }) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		epitest.Expect(t, client, "one two again behind it")
		epitest.ExpectEOF(t, client)
	})
}

// TestProgram06_LenCountsEachMemberOnce asks while the loop has yet to come to what
// Add and Remove gave to it, and afterwards.
func TestProgram06_LenCountsEachMemberOnce(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		w := startGroup(t, m.Engine())
		var g epi.Group
		client := w.Dial()
		c := epitest.Receive(t, w.opened)
		expect := func(what string, err error, members int) {
			t.Helper()
			if n := g.Len(); err != nil || n != members {
				t.Fatalf("%d members, %v, %s; want %d", n, err, what, members)
			}
		}
		release := epitest.Hold(t, c.Loop())
		expect("after Remove of none", g.Remove(c), 0)
		expect("after Add", g.Add(c), 1)
		expect("after the second Add", g.Add(c), 1)
		expect("after Remove", g.Remove(c), 0)
		expect("after the second Remove", g.Remove(c), 0)
		expect("after Add again", g.Add(c), 1)
		release()
		send(t, &g, "once")
		epitest.Expect(t, client, "once")
		expect("when it has joined", g.Add(c), 1)
		release = epitest.Hold(t, c.Loop())
		expect("after Remove of a member", g.Remove(c), 0)
		expect("after Add of one that leaves", g.Add(c), 1)
		_ = client.Close()
		release()
		epitest.Receive(t, w.closed)
		if n := g.Len(); n != 0 {
			t.Fatalf("%d members after the end", n)
		}
	})
}

// TestProgram06_MembersLeaveAtTheirEnd closes members in several ways. In
// OnClose they have left.
func TestProgram06_MembersLeaveAtTheirEnd(t *testing.T) {
	const members = 9
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		w := startGroup(t, m.Engine())
		var all, odd epi.Group
		lens := make(chan int, members)
		w.on.Close = func(c *epi.Conn, err error) {
			if odd.Add(c) == nil {
				t.Error("a closed connection can be added")
			}
			lens <- all.Len()
		}
		clients, conns := w.join(t, &all, members)
		for i := 1; i < members; i += 2 {
			if err := odd.Add(conns[i]); err != nil {
				t.Fatal(err)
			}
		}
		for i := range members {
			switch i % 3 {
			case 0:
				_ = clients[i].Close()
			case 1:
				_ = conns[i].Abort()
			case 2:
				_ = conns[i].Close()
			}
			if n := epitest.Receive(t, lens); n != members-1-i {
				t.Fatalf("%d members in OnClose number %d", n, i)
			}
			send(t, &all, "to those who are left")
		}
		if all.Len() != 0 || odd.Len() != 0 {
			t.Errorf("%d and %d members are left", all.Len(), odd.Len())
		}
	})
}

// TestProgram06_MemberWithoutRoomIsReset has one member that does not read.
func TestProgram06_MemberWithoutRoomIsReset(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxQueued = 1 << 20
		w := startGroup(t, e)
		var g epi.Group
		clients, _ := w.join(t, &g, 3)
		message := epitest.Pattern(64 << 10)
		for sent := 0; g.Len() == 3; sent++ {
			if err := g.Send(message); err != nil {
				t.Fatal(err)
			}
			for _, c := range clients[1:] {
				epitest.ExpectBytes(t, c, message, len(message))
			}
		}
		if err := epitest.Receive(t, w.closed); !errors.Is(err, epi.ErrQueueFull) {
			t.Errorf("OnClose got %v", err)
		}
		_ = clients[0].Close()
	})
}

// TestProgram06_GroupSendIsForAllLoopsOrNone fills the tasks of one of two loops.
func TestProgram06_GroupSendIsForAllLoopsOrNone(t *testing.T) {
	const most = 40
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxTasks = most
		w := startGroup(t, e)
		var g epi.Group
		clients, conns := w.join(t, &g, 30) // more than one loop keeps for itself
		send(t, &g, "a")
		for _, c := range clients {
			epitest.Expect(t, c, "a")
		}
		release := epitest.Hold(t, conns[0].Loop())
		for range most {
			send(t, &g, "b")
		}
		for range 3 {
			if err := g.Send([]byte("c")); !errors.Is(err, epi.ErrTooManyTasks) {
				t.Errorf("Send returns %v", err)
			}
			if err := g.Each(func(*epi.Conn) { t.Error("it is called") }); !errors.Is(err, epi.ErrTooManyTasks) {
				t.Errorf("Each returns %v", err)
			}
		}
		var other epi.Group
		if err := other.Add(conns[0]); !errors.Is(err, epi.ErrTooManyTasks) {
			t.Errorf("Add returns %v", err)
		}
		if err := g.Remove(conns[0]); !errors.Is(err, epi.ErrTooManyTasks) {
			t.Errorf("Remove returns %v", err)
		}
		release()
		for _, c := range clients {
			epitest.Expect(t, c, strings.Repeat("b", most))
		}
		send(t, &g, "d")
		for _, c := range clients {
			epitest.Expect(t, c, "d")
		}
		if n := g.Len(); n != len(clients) {
			t.Errorf("%d members", n)
		}
	})
}

// TestProgram06_EachRunsOnTheLoops writes each member's own message, and panics
// for one.
func TestProgram06_EachRunsOnTheLoops(t *testing.T) {
	const members = 20
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		w := startGroup(t, m.Engine())
		var g epi.Group
		clients, conns := w.join(t, &g, members)
		number := map[*epi.Conn]int{}
		for i, c := range conns {
			number[c] = i
		}
		if err := g.Each(func(c *epi.Conn) {
			if number[c] == 7 {
				panic("seven")
			}
			_, _ = fmt.Fprintf(c, "you are %2d", number[c])
		}); err != nil {
			t.Fatal(err)
		}
		send(t, &g, ".")
		for i, c := range clients {
			if i == 7 {
				epitest.ExpectEOF(t, c)
				continue
			}
			epitest.Expect(t, c, fmt.Sprintf("you are %2d.", i))
		}
		var panicked *epi.PanicError
		if err := epitest.Receive(t, w.closed); !errors.As(err, &panicked) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// TestProgram06_ManySendsInOneTurn has more members to visit than a turn does.
func TestProgram06_ManySendsInOneTurn(t *testing.T) {
	const members, sends = 100, 1000
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		m.Parallel(t)
		e := m.Serial()
		w := startGroup(t, e)
		var g epi.Group
		clients, conns := w.join(t, &g, members)
		release := epitest.Hold(t, conns[0].Loop())
		ran := make(chan int64, sends)
		for i := range sends {
			send(t, &g, fmt.Sprintf("%03d", i))
			if i%100 == 99 {
				if err := conns[0].Loop().Do(func() { ran <- int64(i) }); err != nil {
					t.Fatal(err)
				}
			}
		}
		release()
		for _, c := range clients {
			for i := range sends {
				epitest.Expect(t, c, fmt.Sprintf("%03d", i))
			}
		}
		for i := int64(99); i < sends; i += 100 {
			if got := epitest.Receive(t, ran); got != i {
				t.Fatalf("task %d ran when %d was due", got, i)
			}
		}
	})
}

// TestProgram06_GroupsComeAndGo changes members while messages are sent.
func TestProgram06_GroupsComeAndGo(t *testing.T) {
	const goroutines, rounds = 4, 20
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		groups := make([]epi.Group, 5)
		ready := make(chan *epi.Conn, goroutines)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error {
					for i := range groups {
						if err := groups[i].Add(c); err != nil {
							return err
						}
					}
					ready <- c
					return nil
				},
				Data: epitest.Echo,
			}
		})
		var all sync.WaitGroup
		for n := range goroutines {
			all.Go(func() {
				for i := range rounds {
					client, err := s.Connect()
					if err != nil {
						t.Error(err)
						return
					}
					c := <-ready // perhaps another goroutine's
					_ = groups[i%len(groups)].Remove(c)
					_ = groups[n].Send([]byte("message"))
					_ = groups[n].Each(func(c *epi.Conn) { _, _ = c.Write([]byte(" to each")) })
					_ = client.Close()
				}
			})
		}
		all.Wait()
		epitest.WaitUntil(t, "all have left", func() bool {
			n := 0
			for i := range groups {
				n += groups[i].Len()
			}
			return n == 0
		})
	})
}

// TestProgram06_ConnsListsThem compares with what was opened.
func TestProgram06_ConnsListsThem(t *testing.T) {
	const clients = 10
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		w := startGroup(t, e)
		open := map[*epi.Conn]bool{}
		for range clients {
			w.Dial()
			open[epitest.Receive(t, w.opened)] = true
		}
		conns, err := e.Conns(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range conns {
			if !open[c] {
				t.Errorf("a connection of %v was not opened, or is there twice", c.RemoteAddr())
			}
			delete(open, c)
		}
		if len(open) > 0 {
			t.Errorf("%d connections are missing", len(open))
		}
		release := epitest.Hold(t, conns[0].Loop())
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.Conns(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Conns returns %v", err)
		}
		release()
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		if conns, err := e.Conns(t.Context()); err != nil || len(conns) > 0 {
			t.Errorf("%d connections after the end, %v", len(conns), err)
		}
	})
}
