package times_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A talk is one side saying, over and over, what time it is, to the other.
type talk struct {
	begin time.Time
	last  atomic.Int64 // the latest time heard, since begin
}

const stampSize = 8

func newTalk() *talk { return &talk{begin: time.Now()} }

func (k *talk) stamp() []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(time.Since(k.begin)))
}

func (k *talk) hear(stamp []byte) { k.last.Store(int64(binary.BigEndian.Uint64(stamp))) }

// silence returns at least how long nothing was said.
func (k *talk) silence() time.Duration { return time.Since(k.begin) - time.Duration(k.last.Load()) }

// An idleEnd is how a connection of TestT04_IdleTimeout has ended.
type idleEnd struct {
	who     string
	silence time.Duration
	cause   error
}

// TestT04_IdleTimeout has connections that are silent, one that falls silent
// after a word in the middle of its time, one on which the client talks and one
// on which the server talks. When the silent ones are gone, the talkers are
// there, unless the machine kept them silent for that long.
func TestT04_IdleTimeout(t *testing.T) {
	const timeout, pace, silent = 200 * time.Millisecond, 5 * time.Millisecond, 5
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.IdleTimeout = timeout
		ended := make(chan idleEnd, silent+3)
		talking := func(who string, k *talk, f epitest.Funcs) *epi.Listener {
			f.Close = func(_ *epi.Conn, err error) { ended <- idleEnd{who, k.silence(), err} }
			return epitest.ListenAlso(t, e, func(*epi.Conn) epi.Handler { return &f })
		}
		hearing := func(who string, k *talk) *epi.Listener {
			return talking(who, k, epitest.Funcs{Data: func(c *epi.Conn) error {
				for ; len(c.Unread()) >= stampSize; c.Discard(stampSize) {
					k.hear(c.Unread())
				}
				return nil
			}})
		}
		told, heard, word := newTalk(), newTalk(), newTalk()
		telling := talking("server talks", heard, epitest.Funcs{Open: func(c *epi.Conn) error {
			var tick func()
			tick = func() {
				if _, err := c.Write(heard.stamp()); err == nil {
					c.Loop().After(pace, tick)
				}
			}
			tick()
			return nil
		}})
		quiet := newTalk()
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Close: func(_ *epi.Conn, err error) { ended <- idleEnd{"silent", quiet.silence(), err} }}
		})
		stop := sayAndHear(t, told, epitest.DialPlain(t, hearing("client talks", told)), pace, heard, epitest.DialPlain(t, telling))
		defer stop()

		fallsSilent := epitest.DialPlain(t, hearing("fell silent", word))
		var clients []net.Conn
		for range silent {
			clients = append(clients, s.Dial())
		}
		time.Sleep(timeout / 2)
		_, _ = fallsSilent.Write(word.stamp()) // too late, where the machine has stalled
		for gone := 0; gone < silent+1; {
			end := epitest.Receive(t, ended)
			if !errors.Is(end.cause, epi.ErrIdle) || end.silence < timeout {
				t.Errorf("%s: it ends after a silence of %v: %v", end.who, end.silence, end.cause)
			}
			if end.who == "silent" || end.who == "fell silent" {
				gone++
			}
		}
		for _, c := range clients {
			epitest.ExpectEOF(t, c)
		}
	})
}

// sayAndHear is the clients' part of two talks.
func sayAndHear(t *testing.T, told *talk, toServer net.Conn, pace time.Duration, heard *talk, fromServer net.Conn) (stop func()) {
	var both [2]chan struct{}
	for i := range both {
		both[i] = make(chan struct{})
	}
	go func() {
		defer close(both[0])
		for {
			if _, err := toServer.Write(told.stamp()); err != nil {
				return
			}
			time.Sleep(pace)
		}
	}()
	go func() {
		defer close(both[1])
		stamp := make([]byte, stampSize)
		for {
			if _, err := io.ReadFull(fromServer, stamp); err != nil {
				return
			}
			heard.hear(stamp)
		}
	}()
	return func() {
		_, _ = toServer.Close(), fromServer.Close()
		for _, ended := range both {
			epitest.Receive(t, ended)
		}
	}
}

// A trickle is a client that reads steadily but slowly, for longer than the
// timeouts below. Its server's kernel reports room for more bytes only when a
// third of its send buffer, which has megabytes, is free.
const (
	trickleBytes   = 8 << 20 // more than both kernels take
	trickleRate    = 2 << 20 // bytes per second
	trickleSlow    = 3 << 19 // bytes at this rate; the rest is read at once
	trickleTimeout = 400 * time.Millisecond
	// trickleRoom is the client's receive buffer: some segments of the loopback,
	// so that its window opens and closes in small steps.
	trickleRoom = 256 << 10
)

// expectTrickle says that it is ready, reads epitest.Pattern(trickleBytes), and
// reports whether the machine let it do so without a pause that is long beside
// trickleTimeout. The kernel makes pauses, too, where it has dropped a segment and
// sends it again after 200 ms or more.
func expectTrickle(t *testing.T, c net.Conn) (steady bool) {
	t.Helper()
	if err := c.(*net.TCPConn).SetReadBuffer(trickleRoom); err != nil {
		t.Fatal(err)
	}
	epitest.Say(t, c, "?") // before, the kernel would fill a larger buffer
	// The server sees less than the client does: its peer acknowledges nothing while it has
	// room for what it has read, up to a quarter of a second at this rate.
	const longPause = trickleTimeout / 8
	want := epitest.Pattern(trickleBytes)
	buf := make([]byte, 16<<10)
	begin := time.Now()
	last, longest := begin, time.Duration(0)
	for at := 0; at < len(want); {
		if at < trickleSlow {
			due := time.Duration(at) * time.Second / trickleRate
			time.Sleep(time.Until(begin.Add(due)))
		}
		n, err := c.Read(buf)
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
		if err != nil {
			if longest < longPause {
				t.Errorf("after %d bytes a client that never waits for more than %v reads: %v", at, longest, err)
			}
			return false
		}
		if string(buf[:n]) != string(want[at:at+n]) {
			t.Error("the slow client reads something else")
			return false
		}
		at += n
	}
	return longest < longPause
}

// A forcedEnd is when and why a connection was ended whose peer is stuck.
type forcedEnd struct {
	after time.Duration
	cause error
}

// TestT04_WriteTimeout has a client that does not read, one that reads slowly,
// and one for which nothing is queued.
func TestT04_WriteTimeout(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.WriteTimeout = trickleTimeout
		ended := make(chan forcedEnd, 1)
		stuck := epitest.ListenAlso(t, e, func(*epi.Conn) epi.Handler {
			var sent time.Time
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error {
					sent = time.Now()
					return c.Send(make([]byte, trickleBytes))
				},
				Close: func(_ *epi.Conn, err error) { ended <- forcedEnd{time.Since(sent), err} },
			}
		})

		slow := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: func(c *epi.Conn) error {
				c.Discard(len(c.Unread()))
				return c.Send(epitest.Pattern(trickleBytes))
			}}
		})
		silent := epitest.ListenAlso(t, e, epitest.EchoHandler)
		quiet, client := epitest.DialPlain(t, silent), epitest.DialPlain(t, stuck)
		steady := expectTrickle(t, slow.Dial())

		got := epitest.Receive(t, ended)
		if !errors.Is(got.cause, epi.ErrWriteStalled) || got.after < trickleTimeout {
			t.Errorf("the stuck connection ends after %v: %v", got.after, got.cause)
		}
		epitest.ExpectReset(t, client)
		epitest.RoundTrip(t, quiet, "still here")
		if n := e.Stats().Stalls; n != 1 && steady {
			t.Errorf("%d connections are counted as stalled", n)
		}
	})
}

// TestT04_Linger closes connections with bytes queued. One client does not
// read, the other does, for longer than Linger.
func TestT04_Linger(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Linger = trickleTimeout
		closing := func(ended chan forcedEnd) func(*epi.Conn) epi.Handler {
			return func(*epi.Conn) epi.Handler {
				var begun time.Time
				return &epitest.Funcs{
					Data: func(c *epi.Conn) error {
						c.Discard(len(c.Unread()))
						if err := c.Send(epitest.Pattern(trickleBytes)); err != nil {
							return err
						}
						begun = time.Now()
						return c.Close()
					},
					Close: func(_ *epi.Conn, err error) { ended <- forcedEnd{time.Since(begun), err} },
				}
			}
		}
		stuckEnded, slowEnded := make(chan forcedEnd, 1), make(chan forcedEnd, 1)
		slow := epitest.Start(t, e, closing(slowEnded))
		stuckClient := epitest.DialPlain(t, epitest.ListenAlso(t, e, closing(stuckEnded)))
		epitest.Say(t, stuckClient, "?")
		steady := expectTrickle(t, slow.Dial())
		if got := epitest.Receive(t, slowEnded); got.cause != nil && steady {
			t.Errorf("the slow connection ends after %v: %v", got.after, got.cause)
		}
		if got := epitest.Receive(t, stuckEnded); !errors.Is(got.cause, epi.ErrLinger) || got.after < trickleTimeout {
			t.Errorf("the stuck connection ends after %v: %v", got.after, got.cause)
		}
		epitest.ExpectReset(t, stuckClient)
	})
}
