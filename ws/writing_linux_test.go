package ws

import (
	wire "encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// writeAll writes messages of all sizes, by turns with Write and Send, until they
// have a total length, and returns how many.
func writeAll(c *Conn, total int) (count int, err error) {
	for left := total; left > 0 && err == nil; count++ {
		p := numbered(count, sizes[count%len(sizes)])
		left -= len(p)
		if count/len(sizes)%2 == 0 {
			err = c.Write(Binary, p)
		} else {
			err = c.Send(Prepare(Binary, p))
		}
	}
	return count, err
}

func sizeOf(i int) int { return sizes[i%len(sizes)] }

func TestW01_MessagesThenClose(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		counts := make(chan int, 1)
		s, ended := ends(funcs{open: func(c *Conn) error {
			n, err := writeAll(c, eightMiB)
			counts <- n
			return errors.Join(err, c.Close(Normal, ""))
		}})
		client := serve(t, m, s).Dial()
		r := open(t, client, "", "")
		expectNumbered(t, r, epitest.Receive(t, counts), sizeOf)
		expectClose(t, r, Normal)
		epitest.Say(t, client, bye)
		expectEnd(t, r)
		if err := epitest.Receive(t, ended); err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// The client says that it sends no more, and then reads what it asked for.
func TestW02_EndThenAwait(t *testing.T) {
	rows := []struct {
		name  string
		sends string
		code  Code // of the server's close frame; 0: none
		told  string
	}{
		{"half-close", "", 0, io.ErrUnexpectedEOF.Error()},
		{"half-close within a message", begin("never whole"), 0, io.ErrUnexpectedEOF.Error()},
		{"half-close within a frame", text("never whole")[:9], 0, io.ErrUnexpectedEOF.Error()},
		{"close frame", bye, Normal, "websocket closed by the peer: code 1000"},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range rows {
			counts := make(chan int, 1)
			s, ended := ends(funcs{message: func(c *Conn, _ Opcode, _ []byte) error {
				n, err := writeAll(c, 2<<20)
				counts <- n
				return err
			}})
			client := serve(t, m, s).Dial()
			r := open(t, client, "", text("?")+row.sends)
			epitest.CloseWrite(t, client)
			expectNumbered(t, r, epitest.Receive(t, counts), sizeOf)
			if row.code != 0 {
				expectClose(t, r, row.code)
			}
			expectEnd(t, r)
			if err := epitest.Receive(t, ended); err.Error() != row.told {
				t.Errorf("%s: OnClose got %v", row.name, err)
			}
		}
	})
}

func TestW03_PeerSendsAndCloses(t *testing.T) {
	const total = 1 << 20
	rows := []struct{ name, end, told string }{
		{"without a close frame", "", io.ErrUnexpectedEOF.Error()},
		{"within a frame", text("never whole")[:9], io.ErrUnexpectedEOF.Error()},
		{"with a close frame", bye, "websocket closed by the peer: code 1000"},
	}
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range rows {
			heard := 0
			s, ended := ends(funcs{message: func(_ *Conn, _ Opcode, p []byte) error {
				if string(p) != string(numbered(heard, len(p))) {
					t.Errorf("%s: message %d is wrong", row.name, heard)
				}
				heard++
				return nil
			}})
			es := serve(t, m, s)
			client := es.Dial()
			open(t, client, "", "")
			var all strings.Builder
			count := 0
			for ; all.Len() < total; count++ {
				all.WriteString(binary(string(numbered(count, min(sizeOf(count), testMax)))))
			}
			epitest.Say(t, client, all.String()+row.end)
			_ = client.Close()
			if err := epitest.Receive(t, ended); err.Error() != row.told {
				t.Errorf("%s: OnClose got %v", row.name, err)
			}
			if heard != count {
				t.Errorf("%s: %d of %d messages came", row.name, heard, count)
			}
			if err := es.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestW06_Watermarks writes messages, always as many as the watermarks allow.
func TestW06_Watermarks(t *testing.T) {
	const high, low, size, count = 16 << 10, 8 << 10, 5000, 600
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.HighWater, e.LowWater = high, low
		written, crossings, drains := 0, 0, 0 // the callbacks' until the end
		conns, done := make(chan *Conn, 1), make(chan struct{})
		pump := func(c *Conn) error {
			for written < count {
				if err := c.Write(Binary, numbered(written, size)); err != nil {
					return err
				}
				written++
				if c.Conn().Queued() > high {
					crossings++
					return nil
				}
			}
			close(done)
			return nil
		}
		s := handled(func() Handler {
			return &draining{funcs{open: func(c *Conn) error { conns <- c; return pump(c) }}, func(c *Conn) {
				drains++
				if n := c.Conn().Queued(); n > low || drains != crossings {
					t.Errorf("OnDrain with %d bytes queued, call %d after %d crossings", n, drains, crossings)
				}
				if err := pump(c); err != nil {
					t.Error(err)
				}
			}}
		})
		es := epitest.Start(t, e, s.Serve)
		client := es.DialNarrow()
		r := open(t, client, "", "")
		c := epitest.Receive(t, conns)
		// A slow reader: it waits until the server can write no more.
		epitest.Settled(t, "the queue", func() uint64 { return uint64(c.Conn().Queued()) + e.Stats().BytesOut })
		expectNumbered(t, r, count, func(int) int { return size })
		epitest.Receive(t, done)
		if err := c.Close(Normal, ""); err != nil {
			t.Error(err)
		}
		expectClose(t, r, Normal)
		epitest.Say(t, client, bye)
		expectEnd(t, r)
		if err := es.Stop(); err != nil { // from here on the counts are ours
			t.Fatal(err)
		}
		if crossings == 0 || drains != crossings {
			t.Errorf("%d calls of OnDrain for %d crossings", drains, crossings)
		}
	})
}

// TestW07_StalledReaders counts the turns of a second in which clients do not
// read, or have sent half of something.
func TestW07_StalledReaders(t *testing.T) {
	// In a second, all connections together; the kernel's probes of full windows
	// are some of them. A loop that spins makes thousands.
	const mostTurns = 60
	const muchMore = 5 << 20 // than the buffers of a client that does not read hold
	bomb := packed(Binary, strings.Repeat("*", testMax))
	rows := []struct {
		name    string
		lines   string
		sends   string
		forEver bool
		message func(c *Conn, op Opcode, p []byte) error
	}{
		{"half a frame", "", text("never whole")[:9], false, nil},
		{"half a message", "", begin("never whole"), false, nil},
		{"half a header", "", text("")[:1], false, nil},
		{"it sends for ever and is echoed", "", binary(strings.Repeat("*", testMax)), true, echo{}.OnMessage},
		{"compressed, it sends for ever and is echoed", offerLine, bomb, true, echo{}.OnMessage},
		{"much is queued for it", "", text("?"), false, func(c *Conn, _ Opcode, _ []byte) error {
			_, err := writeAll(c, muchMore)
			return err
		}},
		{"the server closed it", "", text("?"), false, func(c *Conn, _ Opcode, _ []byte) error {
			_, err := writeAll(c, muchMore)
			return errors.Join(err, c.Close(Normal, ""))
		}},
	}
	run := func(t *testing.T, m epitest.Mode) {
		e := m.Engine()
		e.Linger = epitest.Patience
		handlers := make(chan Handler, 1)
		s := handled(func() Handler { return <-handlers })
		s.CloseTimeout = epitest.Patience
		s.CompressFrom = 1 << 30 // answers are long
		es := epitest.Start(t, e, s.Serve)
		for _, row := range rows {
			handlers <- &funcs{message: row.message}
			client := es.DialNarrow()
			open(t, client, row.lines, row.sends)
			if row.forEver {
				sendForEver(t, client, row.sends)
			}
			epitest.Settled(t, row.name, func() uint64 { return epitest.BytesMoved(e) })
		}
		if n := epitest.TurnsAtRest(t, e); n >= mostTurns {
			t.Errorf("the loops made %.0f turns in a second without work", n)
		}
		if n := e.Stats().Conns; n != int64(len(rows)) {
			t.Errorf("%d of %d stalled connections are open", n, len(rows))
		}
		handlers <- echo{}
		other := es.Dial()
		r := open(t, other, "", "")
		for i := range 100 {
			epitest.Say(t, other, binary(string(numbered(i, 100))))
			if _, p := next(t, r); string(p) != string(numbered(i, 100)) {
				t.Fatalf("the echo of message %d is wrong", i)
			}
		}
	}
	for _, m := range epitest.SecureModes() { // what is ws's own here does not depend on the driver
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			run(t, m)
		})
	}
}

// sendForEver sends a frame over and over until the test ends.
func sendForEver(t *testing.T, client net.Conn, frame string) {
	ended := make(chan struct{})
	t.Cleanup(func() { _ = client.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			if _, err := io.WriteString(client, frame); err != nil {
				return
			}
		}
	}()
}

// TestW08_ManyWriters lets goroutines write numbered messages to one connection,
// by Write and by Send, and pings in between.
func TestW08_ManyWriters(t *testing.T) {
	const writers, messages = 32, 50
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		conns := make(chan *Conn, 1)
		s, ended := ends(funcs{open: func(c *Conn) error { conns <- c; return nil }})
		client := serve(t, m, s).DialNarrow()
		r := open(t, client, "", "")
		c := epitest.Receive(t, conns)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range messages {
					p := numbered(w<<16|i, 4+(w*97+i*389)%2048)
					var err error
					switch i % 3 {
					case 0:
						err = c.Write(Binary, p)
					case 1:
						err = c.Send(Prepare(Binary, p))
					case 2:
						err = errors.Join(c.Ping(p[:4]), c.Write(Binary, p))
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		go func() { all.Wait(); _ = c.Close(Normal, "") }()
		var due [writers]int
		for range writers * messages {
			op, p := next(t, r)
			for op == ws.OpPing {
				op, p = next(t, r)
			}
			id := wire.BigEndian.Uint32(p)
			w, i := int(id>>16), int(id&0xffff)
			if op != Binary || w >= writers || i != due[w] || string(p) != string(numbered(int(id), 4+(w*97+i*389)%2048)) {
				t.Fatalf("message %d of writer %d came where %d was due, or mixed with another", i, w, due[w])
			}
			due[w]++
		}
		expectClose(t, r, Normal)
		epitest.Say(t, client, bye)
		expectEnd(t, r)
		if err := epitest.Receive(t, ended); err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// TestW09_QueueFull: a message for which there is no room leaves nothing behind.
func TestW09_QueueFull(t *testing.T) {
	const bound, size = 64 << 10, 1000
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxQueued = bound
		conns := make(chan *Conn, 1)
		s, ended := ends(funcs{open: func(c *Conn) error { conns <- c; return nil }})
		client := epitest.Start(t, e, s.Serve).DialNarrow()
		r := open(t, client, "", "")
		c := epitest.Receive(t, conns)
		if err := c.Write(Binary, make([]byte, bound)); !errors.Is(err, epi.ErrQueueFull) {
			t.Errorf("more than MaxQueued at once: %v", err)
		}
		taken := 0
		epitest.Settled(t, "the full queue", func() uint64 {
			for {
				p := numbered(taken, size)
				err := c.Write(Binary, p)
				if taken%2 == 1 && err != nil {
					err = c.Send(Prepare(Binary, p))
				}
				if err != nil {
					if !errors.Is(err, epi.ErrQueueFull) {
						t.Errorf("a message without room: %v", err)
					}
					return uint64(taken)
				}
				taken++
			}
		})
		expectNumbered(t, r, taken, func(int) int { return size })
		epitest.WaitUntil(t, "the queue drains", func() bool { return c.Conn().Queued() == 0 })
		// Nothing of the refused ones follows, and there is room again.
		if err := errors.Join(c.Write(Text, []byte("last")), c.Close(Normal, "")); err != nil {
			t.Error(err)
		}
		if op, p := next(t, r); op != Text || string(p) != "last" {
			t.Errorf("at last comes opcode %d, %q", op, brief(p))
		}
		expectClose(t, r, Normal)
		epitest.Say(t, client, bye)
		expectEnd(t, r)
		if err := epitest.Receive(t, ended); err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestW09_CloseOnFull(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxQueued, e.CloseOnFull = 64<<10, true
		conns := make(chan *Conn, 1)
		s, ended := ends(funcs{open: func(c *Conn) error { conns <- c; return nil }})
		client := epitest.Start(t, e, s.Serve).DialNarrow()
		open(t, client, "", "")
		c := epitest.Receive(t, conns)
		var err error
		for err == nil {
			err = c.Write(Binary, make([]byte, 60_000))
		}
		if !errors.Is(err, epi.ErrQueueFull) {
			t.Errorf("the message that found no room: %v", err)
		}
		if err := c.Write(Text, nil); err != ErrClosed {
			t.Errorf("the message after it: %v", err)
		}
		if err := epitest.Receive(t, ended); !errors.Is(err, epi.ErrQueueFull) {
			t.Errorf("OnClose got %v", err)
		}
		epitest.ExpectReset(t, client)
	})
}

// TestW12_FanOutCopiesNothing measures the allocations of the process and so is
// not parallel. Not over TLS: see the engine's test of this case.
func TestW12_FanOutCopiesNothing(t *testing.T) {
	const count, size = 100, 64 << 10
	message := numbered(0, size)
	for _, m := range epitest.Modes() {
		t.Run(m.String(), func(t *testing.T) {
			var opened atomic.Int32
			conns := make(chan *Conn, count)
			s := handled(func() Handler {
				return &funcs{open: func(c *Conn) error { opened.Add(1); conns <- c; return nil }}
			})
			es := serve(t, m, s)
			var readers []io.Reader
			for range count {
				readers = append(readers, open(t, es.Dial(), "", ""))
			}
			epitest.WaitUntil(t, "all are open", func() bool { return opened.Load() == count })
			got := make([]byte, size+ws.MaxHeaderSize)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			shared := Prepare(Binary, message)
			for range count {
				if err := (<-conns).Send(shared); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range readers {
				if _, err := io.ReadFull(r, got[:10]); err != nil || wire.BigEndian.Uint64(got[2:]) != size {
					t.Fatalf("a header is % x, %v", got[:10], err)
				}
				if _, err := io.ReadFull(r, got[:size]); err != nil || string(got[:size]) != string(message) {
					t.Fatalf("a message is wrong, or %v", err)
				}
			}
			runtime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			if limit := uint64(count*size) / 16; allocated > limit {
				t.Errorf("%d × %d bytes allocated %d, want less than %d", count, size, allocated, limit)
			}
		})
	}
}
