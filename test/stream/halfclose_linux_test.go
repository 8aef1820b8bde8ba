package stream_test

import (
	"errors"
	"io"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// twoMiB is more than the kernel takes in one write.
const twoMiB = 2 << 20

func TestH01_CloseWriteAfterQueuedData(t *testing.T) {
	data := epitest.Pattern(twoMiB)
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		var heard epitest.Words
		closed := make(chan error, 1)
		s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error {
					if _, err := c.Write(data); err != nil {
						return err
					}
					for range 2 { // twice is harmless
						if err := c.CloseWrite(); err != nil {
							return err
						}
					}
					if _, err := c.Write([]byte("late")); !errors.Is(err, epi.ErrClosed) {
						t.Errorf("Write after CloseWrite returns %v", err)
					}
					return nil
				},
				Data: func(c *epi.Conn) error {
					heard.Add("%s", c.Unread())
					c.Discard(len(c.Unread()))
					return c.CloseWrite() // long done
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.Dial()
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
		epitest.Say(t, client, "still")
		epitest.CloseWrite(t, client)
		if err := epitest.Receive(t, closed); err != io.EOF {
			t.Errorf("the cause is %v", err)
		}
		if heard.String() != "still" {
			t.Errorf("after its CloseWrite the handler got %q", &heard)
		}
	})
}

// Both ends shut down their writing half before they see the other's end.
//
//	client:  writes "c", CloseWrite
//	server:  writes "s", CloseWrite   (the loop is held until both have)
//	each reads the other's byte and the end; then the connection is closed
func TestH01_SimultaneousCloseWrite(t *testing.T) {
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		var heard epitest.Words
		opened := make(chan *epi.Conn, 1)
		closed := make(chan error, 1)
		s := epitest.StartOn(t, m.Serial(), address, func(*epi.Conn) epi.Handler {
			return &epitest.FuncsEOF{
				Funcs: epitest.Funcs{
					Open:  func(c *epi.Conn) error { opened <- c; return nil },
					Data:  func(c *epi.Conn) error { heard.Add("%s", c.Unread()); c.Discard(1); return nil },
					Close: func(_ *epi.Conn, err error) { heard.Add("close"); closed <- err },
				},
				EOF: func(*epi.Conn) error { heard.Add("EOF"); return nil },
			}
		})
		client := s.Dial()
		c := epitest.Receive(t, opened)
		release := epitest.Hold(t, c.Loop())
		epitest.Say(t, client, "c")
		epitest.CloseWrite(t, client)
		epitest.AwaitArrival(t, client)
		if _, err := c.Write([]byte("s")); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		release()
		epitest.Expect(t, client, "s")
		epitest.ExpectEOF(t, client)
		if err := epitest.Receive(t, closed); err != nil && err != io.EOF {
			t.Errorf("the cause is %v", err)
		}
		if heard.String() != "c EOF close" {
			t.Errorf("the handler got %q", &heard)
		}
	})
}

func TestH02_OnEOFMayGoOnWriting(t *testing.T) {
	data := epitest.Pattern(twoMiB)
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		var heard epitest.Words
		ended := make(chan *epi.Conn, 2)
		closed := make(chan error, 1)
		s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
			return &epitest.FuncsEOF{
				Funcs: epitest.Funcs{
					Data:  func(*epi.Conn) error { return nil }, // leaves all unread
					Close: func(_ *epi.Conn, err error) { heard.Add("close"); closed <- err },
				},
				EOF: func(c *epi.Conn) error {
					heard.Add("EOF after %s", c.Unread())
					ended <- c
					return nil
				},
			}
		})
		client := s.Dial()
		epitest.Say(t, client, "unread")
		epitest.CloseWrite(t, client)
		c := epitest.Receive(t, ended)
		c.Pause()
		c.Resume() // has nothing new to report
		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
		if err := epitest.Receive(t, closed); err != nil {
			t.Errorf("the cause is %v", err)
		}
		if heard.String() != "EOF after unread close" {
			t.Errorf("the handler got %q", &heard)
		}
	})
}

func TestH02_WithoutOnEOFQueuedDataIsDelivered(t *testing.T) {
	data := epitest.Pattern(twoMiB)
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		t.Parallel()
		closed := make(chan error, 1)
		s := epitest.StartOn(t, m.Engine(), address, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					c.Discard(len(c.Unread()))
					_, err := c.Write(data)
					return err
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		client := s.Dial()
		epitest.Say(t, client, "x")
		epitest.CloseWrite(t, client)
		epitest.ExpectBytes(t, client, data, 64<<10)
		epitest.ExpectEOF(t, client)
		if err := epitest.Receive(t, closed); err != io.EOF {
			t.Errorf("the cause is %v", err)
		}
	})
}

// The end of the stream waits while the connection is paused, and nothing
// turns meanwhile.
//
//	client:  writes (or not)   CloseWrite
//	test:                                  Pause                   Resume
//	loop:    (held.............................) event: no call    OnData, OnEOF
func TestH02_EOFWhilePaused(t *testing.T) {
	for _, tail := range []string{"", "tail"} {
		t.Run("with "+tail, func(t *testing.T) {
			epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
				t.Parallel()
				testEOFWhilePaused(t, m, address, tail)
			})
		})
	}
}

func testEOFWhilePaused(t *testing.T, m epitest.Mode, address, tail string) {
	var heard epitest.Words
	opened := make(chan *epi.Conn, 1)
	ended := make(chan struct{}, 1)
	e := m.Serial()
	s := epitest.StartOn(t, e, address, func(*epi.Conn) epi.Handler {
		return &epitest.FuncsEOF{
			Funcs: epitest.Funcs{
				Open: func(c *epi.Conn) error { opened <- c; return nil },
				Data: func(c *epi.Conn) error { heard.Add("data"); return epitest.Echo(c) },
			},
			EOF: func(c *epi.Conn) error { heard.Add("EOF"); ended <- struct{}{}; return c.Close() },
		}
	})
	client := s.Dial()
	c := epitest.Receive(t, opened)
	release := epitest.Hold(t, c.Loop())
	epitest.Say(t, client, tail)
	epitest.CloseWrite(t, client)
	epitest.AwaitArrival(t, client)
	c.Pause()
	release()
	epitest.ExpectQuiet(t, e)
	if heard.String() != "" {
		t.Errorf("while paused the handler got %q", &heard)
	}
	c.Resume()
	epitest.Receive(t, ended)
	want := "EOF"
	if tail != "" {
		want = "data EOF"
	}
	if heard.String() != want {
		t.Errorf("the handler got %q, want %q", &heard, want)
	}
	epitest.Expect(t, client, tail)
	epitest.ExpectEOF(t, client)
}
