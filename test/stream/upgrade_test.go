package stream_test

import (
	"io"
	"strings"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// openedEcho greets in OnOpen, echoes, and answers the end with "bye".
type openedEcho struct {
	greeting string
	closed   chan error
}

func (h *openedEcho) OnOpen(c *epi.Conn) error {
	_, err := io.WriteString(c, h.greeting)
	return err
}

func (h *openedEcho) OnData(c *epi.Conn) error { return epitest.Echo(c) }

func (h *openedEcho) OnEOF(c *epi.Conn) error {
	_, _ = io.WriteString(c, "bye")
	return c.Close()
}

func (h *openedEcho) OnClose(_ *epi.Conn, err error) { h.closed <- err }

// TestProgram08_HandlerByTheFirstBytes looks at what a client says first and
// leaves it to one of two handlers.
func TestProgram08_HandlerByTheFirstBytes(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		closed := make(chan error, 1)
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data: func(c *epi.Conn) error {
					first := string(c.Unread())
					switch {
					case len(first) < 4:
						return nil
					case strings.HasPrefix(first, "loud"):
						c.SetHandler(&openedEcho{greeting: "LOUD:", closed: closed})
					default:
						c.SetHandler(&openedEcho{greeting: "other:", closed: closed})
					}
					return nil
				},
				Close: func(*epi.Conn, error) { t.Error("the first handler got OnClose") },
			}
		})
		for first, want := range map[string]string{"loud and more": "LOUD:loud and more", "soft": "other:soft"} {
			c := s.Dial()
			for _, part := range []string{first[:2], first[2:]} {
				if _, err := io.WriteString(c, part); err != nil {
					t.Fatal(err)
				}
			}
			epitest.Expect(t, c, want)
			epitest.RoundTrip(t, c, "again")
			epitest.CloseWrite(t, c)
			epitest.Expect(t, c, "bye")
			epitest.ExpectEOF(t, c)
			if err := epitest.Receive(t, closed); err != nil {
				t.Errorf("closed with %v", err)
			}
		}
	})
}

// TestProgram08_SetHandlerInEveryCallback passes a connection on from OnOpen, and
// at the end, with bytes that nobody has read.
func TestProgram08_SetHandlerInEveryCallback(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		closed := make(chan error, 1)
		last := func() *openedEcho { return &openedEcho{greeting: "last:", closed: closed} }
		handlers := map[string]func(*epi.Conn) epi.Handler{
			"OnOpen": func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Open: func(c *epi.Conn) error { c.SetHandler(last()); return nil }}
			},
			"OnOpen twice": func(*epi.Conn) epi.Handler {
				return &epitest.Funcs{Open: func(c *epi.Conn) error {
					c.SetHandler(&epitest.Funcs{Open: func(c *epi.Conn) error { c.SetHandler(last()); return nil }})
					return nil
				}}
			},
			"OnEOF": func(*epi.Conn) epi.Handler {
				h := &epitest.FuncsEOF{EOF: func(c *epi.Conn) error { c.SetHandler(last()); return nil }}
				h.Data = func(*epi.Conn) error { return nil } // leaves all unread
				return h
			},
		}
		for name, handler := range handlers {
			s := epitest.Start(t, m.Engine(), handler)
			c := s.Dial()
			if _, err := io.WriteString(c, "hello"); err != nil {
				t.Fatal(err)
			}
			epitest.CloseWrite(t, c)
			epitest.Expect(t, c, "last:hellobye")
			epitest.ExpectEOF(t, c)
			if err := epitest.Receive(t, closed); err != nil {
				t.Errorf("%s: closed with %v", name, err)
			}
		}
	})
}

// TestProgram08_SetHandlerAndShutdown: the handler that there is now has the last
// word.
func TestProgram08_SetHandlerAndShutdown(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		closed := make(chan error, 2)
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error { c.SetHandler(&lastWord{closed}); return nil }}
		})
		c := s.Dial()
		epitest.RoundTrip(t, c, "hello")
		s.Cancel()
		epitest.Expect(t, c, "farewell")
		epitest.ExpectEOF(t, c)
		if err := epitest.Receive(t, closed); err != epi.ErrShutdown {
			t.Errorf("closed with %v", err)
		}
	})
}

type lastWord struct{ closed chan error }

func (h *lastWord) OnData(c *epi.Conn) error         { return epitest.Echo(c) }
func (h *lastWord) OnShutdown(c *epi.Conn)           { _, _ = io.WriteString(c, "farewell") }
func (h *lastWord) OnClose(_ *epi.Conn, cause error) { h.closed <- cause }

// TestProgram08_NoHandler: SetHandler(nil) ends the connection as any panic does.
func TestProgram08_NoHandler(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		closed := make(chan error, 1)
		s := epitest.Start(t, m.Engine(), func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Data:  func(c *epi.Conn) error { c.SetHandler(nil); return nil },
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		c := s.Dial()
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		if _, ok := epitest.Receive(t, closed).(*epi.PanicError); !ok {
			t.Error("closed without a panic")
		}
	})
}
