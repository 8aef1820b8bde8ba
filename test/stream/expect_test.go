package stream_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
	"github.com/epinet/epi/internal/epitest"
)

// A collector is a handler of records behind a length of four bytes.
type collector struct {
	epitest.Funcs
	calls   int // of OnData
	records [][]byte
	ended   chan *collector
}

func (r *collector) OnData(c *epi.Conn) error {
	r.calls++
	for len(c.Unread()) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(c.Unread()))
		if len(c.Unread()) < size {
			return c.Expect(size)
		}
		c.Discard(4)
		r.records = append(r.records, c.Take(size-4))
	}
	return nil
}

func (r *collector) OnClose(*epi.Conn, error) { r.ended <- r }

func startCollector(t *testing.T, e *epi.Engine) (*epitest.Server, <-chan *collector) {
	t.Helper()
	ended := make(chan *collector, 1)
	s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return &collector{ended: ended} })
	return s, ended
}

func record(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// TestProgram03_OnDataOnceForALongMessage sends one in many pieces: OnData is
// called for what has come with the length, and for the whole.
func TestProgram03_OnDataOnceForALongMessage(t *testing.T) {
	const size, piece = 900_000, 10_000
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s, ended := startCollector(t, m.Engine())
		c := s.Dial()
		body := epitest.Pattern(size)
		for p := range chunks(record(body), piece) {
			if _, err := c.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		epitest.CloseWrite(t, c)
		got := epitest.Receive(t, ended)
		if len(got.records) != 1 || !bytes.Equal(got.records[0], body) {
			t.Fatalf("%d records", len(got.records))
		}
		// The length itself can come in pieces, too.
		if got.calls > 5 {
			t.Errorf("OnData was called %d times for one message", got.calls)
		}
	})
}

// TestProgram03_RecordsOfAnySize sends many, cut anywhere, without waiting.
func TestProgram03_RecordsOfAnySize(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		rng := rand.New(rand.NewPCG(7, 7))
		var stream []byte
		var want [][]byte
		for range 60 {
			body := epitest.Pattern(rng.IntN(1 << rng.IntN(20)))
			for i := range body {
				body[i] += byte(len(want))
			}
			want = append(want, body)
			stream = append(stream, record(body)...)
		}
		s, ended := startCollector(t, m.Engine())
		c := s.Dial()
		for len(stream) > 0 {
			n := min(len(stream), 1+rng.IntN(100_000))
			if _, err := c.Write(stream[:n]); err != nil {
				t.Fatal(err)
			}
			stream = stream[n:]
		}
		epitest.CloseWrite(t, c)
		got := epitest.Receive(t, ended)
		if len(got.records) != len(want) {
			t.Fatalf("%d records, want %d", len(got.records), len(want))
		}
		for i := range want {
			if !bytes.Equal(got.records[i], want[i]) {
				t.Fatalf("record %d is wrong, of %d bytes", i, len(want[i]))
			}
		}
	})
}

// TestProgram03_WhatWasExpectedAndDidNotCome is offered at the end of the stream,
// before OnEOF or OnClose.
func TestProgram03_WhatWasExpectedAndDidNotCome(t *testing.T) {
	for _, end := range []string{"eof", "close", "reset"} {
		epitest.Each(t, func(t *testing.T, m epitest.Mode) {
			t.Run(end, func(t *testing.T) {
				t.Parallel()
				var events epitest.Words
				first, done := make(chan struct{}, 10), make(chan struct{})
				h := epitest.Funcs{
					Data: func(c *epi.Conn) error {
						events.Add("data:%s", c.Unread())
						first <- struct{}{}
						return c.Expect(100_000)
					},
					Close: func(*epi.Conn, error) { events.Add("close"); close(done) },
				}
				withEOF := &epitest.FuncsEOF{Funcs: h, EOF: func(c *epi.Conn) error {
					events.Add("eof:%s", c.Unread())
					return c.Close()
				}}
				opened := make(chan *epi.Conn, 1)
				s := epitest.Start(t, m.Engine(), func(c *epi.Conn) epi.Handler {
					opened <- c
					if end == "eof" {
						return withEOF
					}
					return &h
				})
				c := s.Dial()
				epitest.Say(t, c, "one")
				epitest.Receive(t, first)
				epitest.Say(t, c, "two")
				epitest.WaitUntil(t, "all has arrived", func() bool { return s.Engine.Stats().BytesIn == 6 })
				want := "data:one data:onetwo close"
				switch end {
				case "eof":
					epitest.CloseWrite(t, c)
					want = "data:one data:onetwo eof:onetwo close"
				case "close":
					_ = c.Close()
				case "reset":
					epitest.Reset(t, c)
				}
				epitest.Receive(t, done)
				if events.String() != want {
					t.Errorf("%s, want %s", &events, want)
				}
			})
		})
	}
}

// TestProgram03_ResumeDoesNotEndExpect pauses while a message is on its way.
func TestProgram03_ResumeDoesNotEndExpect(t *testing.T) {
	const size = 300_000
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		called := make(chan int, 100)
		conns := make(chan *epi.Conn, 1)
		s := epitest.Start(t, m.Engine(), func(c *epi.Conn) epi.Handler {
			conns <- c
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				n := len(c.Unread())
				called <- n
				if n < size {
					return c.Expect(size)
				}
				c.Discard(n)
				return nil
			}}
		})
		client := s.Dial()
		c := epitest.Receive(t, conns)
		body := epitest.Pattern(size)
		for p := range chunks(body, size/20) {
			if _, err := client.Write(p); err != nil {
				t.Fatal(err)
			}
			c.Pause()
			c.Resume()
		}
		short := 0
		for n := range called {
			if n == size {
				break
			}
			if short++; short > 1 {
				t.Fatalf("OnData was called %d times with too few bytes, now %d", short, n)
			}
		}
	})
}

// TestProgram03_ExpectTooMuch asks for more than may be unread.
func TestProgram03_ExpectTooMuch(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.MaxUnread = 1000
		closed := make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			in := &frame.Reader{Framing: frame.LengthPrefix{Size: 4}, Max: 1 << 20}
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					for msg, err := range in.Messages(c) {
						if err != nil {
							return err
						}
						_, _ = c.Write(msg)
					}
					return nil
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		c := s.Dial()
		body := epitest.Pattern(996)
		if _, err := c.Write(record(body)); err != nil {
			t.Fatal(err)
		}
		epitest.ExpectBytes(t, c, body, len(body))
		if _, err := c.Write(record(make([]byte, 997))[:4]); err != nil {
			t.Fatal(err)
		}
		if err := epitest.Receive(t, closed); !errors.Is(err, epi.ErrUnreadFull) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

// TestProgram03_TakenBytesStay keeps them while others arrive.
func TestProgram03_TakenBytesStay(t *testing.T) {
	const size, most = 40_000, 30
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s, ended := startCollector(t, m.Engine())
		c := s.Dial()
		for i := range most {
			if _, err := c.Write(record(bytes.Repeat([]byte{byte(i)}, size+i))); err != nil {
				t.Fatal(err)
			}
		}
		epitest.CloseWrite(t, c)
		got := epitest.Receive(t, ended)
		for i, r := range got.records {
			if len(r) != size+i || bytes.Count(r, []byte{byte(i)}) != len(r) {
				t.Fatalf("record %d has changed", i)
			}
			_ = append(r, "this goes elsewhere"...)
		}
	})
}

// TestProgram03_ExpectedBytesAndDetach takes the connection away while a message
// is on its way: nothing of it is lost.
func TestProgram03_ExpectedBytesAndDetach(t *testing.T) {
	const size = 200_000
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		detached := make(chan net.Conn, 1)
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				if err := c.Expect(size); err != nil {
					return err
				}
				return c.Detach(func(nc net.Conn) { detached <- nc })
			}}
		})
		c := s.Dial()
		body := epitest.Pattern(size)
		go func() { _, _ = c.Write(body) }()
		nc := epitest.Receive(t, detached)
		defer nc.Close()
		got := make([]byte, size)
		if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%v, or other bytes", err)
		}
	})
}

// chunks cuts p into pieces of n bytes.
func chunks(p []byte, n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(p) > 0 {
			piece := p[:min(n, len(p))]
			if p = p[len(piece):]; !yield(piece) {
				return
			}
		}
	}
}
