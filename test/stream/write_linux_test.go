package stream_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func TestW01_WriteThenClose(t *testing.T) {
	data := epitest.Pattern(epitest.EightMiB)
	ways := []struct {
		name  string
		write func(c *epi.Conn) error
	}{
		{"Write", func(c *epi.Conn) error { _, err := c.Write(data); return err }},
		{"Send", func(c *epi.Conn) error { return c.Send(data) }},
	}
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		for _, way := range ways {
			closed := make(chan error, 1)
			s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Open:  func(c *epi.Conn) error { return errors.Join(way.write(c), c.Close()) },
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			})
			client := s.Dial()
			epitest.ExpectBytes(t, client, data, 64<<10)
			epitest.ExpectEOF(t, client)
			if err := epitest.Receive(t, closed); err != nil {
				t.Errorf("%s: OnClose got %v", way.name, err)
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestW02_HalfCloseThenAwait(t *testing.T) {
	data := epitest.Pattern(epitest.EightMiB)
	reply := func(c *epi.Conn) error { _, err := c.Write(data); return err }
	rows := []struct {
		name    string
		handler func(f epitest.Funcs) epi.Handler
		cause   error
	}{
		{"OnEOF writes and closes", func(f epitest.Funcs) epi.Handler {
			return &epitest.FuncsEOF{Funcs: f, EOF: func(c *epi.Conn) error {
				return errors.Join(reply(c), c.Close())
			}}
		}, nil},
		{"OnEOF writes and ends its half", func(f epitest.Funcs) epi.Handler {
			return &epitest.FuncsEOF{Funcs: f, EOF: func(c *epi.Conn) error {
				return errors.Join(reply(c), c.CloseWrite())
			}}
		}, nil},
		{"another goroutine writes after OnEOF", func(f epitest.Funcs) epi.Handler {
			return &epitest.FuncsEOF{Funcs: f, EOF: func(c *epi.Conn) error {
				go func() { _ = errors.Join(reply(c), c.Close()) }()
				return nil
			}}
		}, nil},
		{"without OnEOF", func(f epitest.Funcs) epi.Handler {
			f.Data = func(c *epi.Conn) error {
				c.Discard(len(c.Unread()))
				return reply(c)
			}
			return &f
		}, io.EOF},
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		for _, row := range rows {
			closed := make(chan error, 1)
			s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
				return row.handler(epitest.Funcs{Close: func(_ *epi.Conn, err error) { closed <- err }})
			})
			client := s.Dial()
			if _, err := client.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			epitest.CloseWrite(t, client)
			epitest.ExpectBytes(t, client, data, 64<<10)
			epitest.ExpectEOF(t, client)
			if err := epitest.Receive(t, closed); err != row.cause {
				t.Errorf("%s: OnClose got %v, want %v", row.name, err, row.cause)
			}
		}
	})
}

func TestW03_PeerSendsAndCloses(t *testing.T) {
	data := epitest.Pattern(1 << 20)
	consume := func(got *[]byte, c *epi.Conn) {
		*got = append(*got, c.Unread()...)
		c.Discard(len(c.Unread()))
	}
	keep := func(got *[]byte, c *epi.Conn) { *got = bytes.Clone(c.Unread()) }
	rows := []struct {
		name   string
		budget int // Engine.ReadBudget
		data   func(got *[]byte, c *epi.Conn)
	}{
		{"consumed", 0, consume},
		{"consumed, many turns", 20_000, consume},
		{"left unread up to MaxUnread", 0, keep},
	}
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		for _, row := range rows {
			var got []byte
			closed := make(chan error, 1)
			e := m.Engine()
			e.ReadBudget = row.budget
			s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{
					Data:  func(c *epi.Conn) error { row.data(&got, c); return nil },
					Close: func(_ *epi.Conn, err error) { closed <- err },
				}
			})
			client := s.Dial()
			if _, err := client.Write(data); err != nil {
				t.Fatal(err)
			}
			_ = client.Close()
			if err := epitest.Receive(t, closed); err != io.EOF {
				t.Errorf("%s: OnClose got %v", row.name, err)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%s: OnData saw %d bytes, or wrong ones, of %d", row.name, len(got), len(data))
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestW04_VectoredWriteOverFullSocket(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		vectored(t, m, m.Address())
	})
}

func TestW05_VectoredWriteOverFullUnixSocket(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		vectored(t, m, "unix://"+epitest.UnixPath(t))
	})
}

// vectored sends slices of many sizes to a client that reads only when the
// socket is full.
//
//	slices   |--a--|--b--|--c--|--d--|
//	kernel   takes up to here ^          or exactly to the end of c
//	rest                       -|--d--|  must follow, once and in order
func vectored(t *testing.T, m epitest.Mode, address string) {
	conns := make(chan *epi.Conn, 1)
	closed := make(chan error, 1)
	s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
		return &epitest.Funcs{
			Open:  func(c *epi.Conn) error { conns <- c; return nil },
			Close: func(_ *epi.Conn, err error) { closed <- err },
		}
	})
	data := epitest.Pattern(3 << 20)
	// send returns how many bytes the kernel took before the client read any.
	send := func(name string, bufs [][]byte) int {
		client := s.DialNarrow()
		c := epitest.Receive(t, conns)
		if err := c.Send(bufs...); err != nil {
			t.Fatal(err)
		}
		epitest.WaitUntil(t, "the kernel takes some", func() bool { return c.Queued() < len(data) })
		left := epitest.Settled(t, "the queue", func() uint64 { return uint64(c.Queued()) })
		if left == 0 {
			t.Fatalf("%s: the socket was not filled", name)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
		if err := epitest.Receive(t, closed); err != nil {
			t.Errorf("%s: OnClose got %v", name, err)
		}
		return len(data) - int(left)
	}
	room := send("one slice", [][]byte{data})
	if room < around {
		t.Fatalf("the socket holds only %d bytes", room)
	}
	send("single bytes", cut(data, room, 1))
	send("odd sizes", cut(data, room, 1, 2, 0, 3, 7, 61, 0, 127, 509, 1021, 1))
	onEnd := 0
	for _, first := range []int{room - 1, room, room + 1} {
		if send("an end near the room", [][]byte{data[:first], data[first:]}) == first {
			onEnd++
		}
	}
	if network := s.Listener.Addr().Network(); network == "unix" && onEnd == 0 {
		t.Errorf("no short write ended on the end of a slice, room %d", room) // Unix sockets fill up the same way each time
	}
	t.Logf("the kernel took %d bytes; on a slice's end %d of 3 times", room, onEnd)
}

// around is how far around the byte at which the socket is full cut makes
// small slices. At one byte each these are many times what one call takes,
// and more than the system's limit of 1,024, writev(2).
const around = 16 << 10

// cut cuts the bytes around the given place into slices of the sizes, over and
// over, and leaves those before and behind whole.
func cut(data []byte, place int, sizes ...int) [][]byte {
	bufs := [][]byte{data[:place-around]}
	at := place - around
	for i := 0; at < min(place+around, len(data)); i++ {
		n := min(sizes[i%len(sizes)], len(data)-at)
		bufs = append(bufs, data[at:][:n:n])
		at += n
	}
	return append(bufs, data[at:])
}

// TestW08_ManyWriters lets goroutines write numbered records, each by Write or
// by a Send of several slices, to one connection.
func TestW08_ManyWriters(t *testing.T) {
	const writers, records = 32, 100
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		conns := make(chan *epi.Conn, 1)
		s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Open: func(c *epi.Conn) error { conns <- c; return nil }}
		})
		client := s.DialNarrow()
		c := epitest.Receive(t, conns)
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range records {
					if err := writeRecord(c, w, i); err != nil {
						t.Error(err)
					}
				}
			})
		}
		go func() { all.Wait(); _ = c.Close() }()
		var next [writers]int
		for {
			w, i, ok := readRecord(t, client)
			if !ok {
				break
			}
			if next[w] != i {
				t.Fatalf("writer %d: record %d came where %d was due", w, i, next[w])
			}
			next[w]++
		}
		for w, n := range next {
			if n != records {
				t.Errorf("writer %d: %d of %d records arrived", w, n, records)
			}
		}
	})
}

// A record is its writer, its number, the length of its body, and a body of
// bytes that are all the writer's number.
const recordHeader = 8

func writeRecord(c *epi.Conn, w, i int) error {
	size := (w*97 + i*389) % 2048
	head := binary.BigEndian.AppendUint16(nil, uint16(w))
	head = binary.BigEndian.AppendUint32(head, uint32(i))
	head = binary.BigEndian.AppendUint16(head, uint16(size))
	body := bytes.Repeat([]byte{byte(w)}, size)
	if i%2 == 0 {
		_, err := c.Write(append(head, body...))
		return err
	}
	return c.Send(head, body[:size/2], nil, body[size/2:])
}

func readRecord(t *testing.T, c net.Conn) (w, i int, ok bool) {
	t.Helper()
	head := make([]byte, recordHeader)
	if _, err := io.ReadFull(c, head); err == io.EOF {
		return 0, 0, false
	} else if err != nil {
		t.Fatal(err)
	}
	w = int(binary.BigEndian.Uint16(head))
	i = int(binary.BigEndian.Uint32(head[2:]))
	body := make([]byte, binary.BigEndian.Uint16(head[6:]))
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	if len(bytes.Trim(body, string([]byte{byte(w)}))) > 0 {
		t.Fatalf("writer %d: record %d is mixed with another", w, i)
	}
	return w, i, true
}

// TestW12_BroadcastCopiesNothing measures the allocations of the process and
// so is not parallel. It is not for TLS, which seals what is broadcast for each
// connection with a key of its own, and so copies it.
func TestW12_BroadcastCopiesNothing(t *testing.T) {
	message := epitest.Pattern(64 << 10)
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		count := 1000
		if m.Driver == epi.DriverSelect {
			count = 400 // both ends are below descriptor 1,024
		}
		var mu sync.Mutex
		var conns []*epi.Conn
		e := m.Engine()
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Open: func(c *epi.Conn) error {
				mu.Lock()
				defer mu.Unlock()
				conns = append(conns, c)
				return nil
			}}
		})
		clients := make([]net.Conn, count)
		for i := range clients {
			clients[i] = s.Dial()
		}
		epitest.WaitUntil(t, "all are open", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(conns) == count
		})
		got := make([]byte, len(message))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, c := range conns {
			if err := c.Send(message); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range clients {
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, message) {
				t.Fatalf("client %d: wrong bytes, or %v", i, err)
			}
		}
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		if limit := uint64(count*len(message)) / 16; allocated > limit {
			t.Errorf("a broadcast of %d × %d bytes allocated %d, want less than %d", count, len(message), allocated, limit)
		}
	})
}
