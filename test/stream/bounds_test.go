package stream_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// A filling is a download that writes small pieces until the queue is full, and
// goes on at OnDrain.
type filling struct {
	left   int
	closed chan error
}

func (f *filling) OnOpen(c *epi.Conn) error { return f.fill(c) }

func (f *filling) OnDrain(c *epi.Conn) { _ = f.fill(c) }

func (f *filling) fill(c *epi.Conn) error {
	for ; f.left > 0; f.left -= fillingPiece {
		if _, err := c.Write(make([]byte, fillingPiece)); errors.Is(err, epi.ErrQueueFull) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return c.Close()
}

func (*filling) OnData(*epi.Conn) error { return nil }

func (f *filling) OnClose(_ *epi.Conn, err error) { f.closed <- err }

const fillingPiece = 1000

// TestHunt07_DrainAfterARefusedWrite sets the bounds of the queue so that it cannot
// rise above HighWater.
func TestHunt07_DrainAfterARefusedWrite(t *testing.T) {
	const size = 2000 * fillingPiece
	for _, bounds := range []struct {
		name                           string
		lowWater, highWater, maxQueued int
	}{
		{"MaxQueued alone", 0, 0, 64 << 10},
		{"HighWater alone", 0, 4 << 20, 0},
		{"equal", 0, 64 << 10, 64 << 10},
		{"all equal", 64 << 10, 64 << 10, 64 << 10},
		{"closer than a write", 0, 64<<10 - 1, 64 << 10},
		{"LowWater alone", 1 << 20, 0, 0},
	} {
		t.Run(bounds.name, func(t *testing.T) {
			epitest.Each(t, func(t *testing.T, m epitest.Mode) {
				t.Parallel()
				e := m.Engine()
				e.LowWater, e.HighWater, e.MaxQueued = bounds.lowWater, bounds.highWater, bounds.maxQueued
				closed := make(chan error, 1)
				s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return &filling{size, closed} })
				n, err := io.Copy(io.Discard, s.Dial())
				if n != size || err != nil {
					t.Errorf("%d of %d bytes arrive: %v", n, size, err)
				}
				if err := epitest.Receive(t, closed); err != nil {
					t.Errorf("OnClose got %v", err)
				}
			})
		})
	}
}

// TestHunt07_ContradictingBounds names both of a pair that cannot be.
func TestHunt07_ContradictingBounds(t *testing.T) {
	for _, row := range []struct {
		engine *epi.Engine
		names  [4]string
	}{
		{&epi.Engine{LowWater: 200, HighWater: 100}, [4]string{"LowWater", "200", "HighWater", "100"}},
		{&epi.Engine{HighWater: 200, MaxQueued: 100}, [4]string{"HighWater", "200", "MaxQueued", "100"}},
		{&epi.Engine{LowWater: 200, MaxQueued: 100}, [4]string{"LowWater", "200", "MaxQueued", "100"}},
		{&epi.Engine{MaxDatagram: 2000, PacketQueue: 1000}, [4]string{"MaxDatagram", "2000", "PacketQueue", "1000"}},
	} {
		_, err := row.engine.Loop(0)
		if err == nil {
			t.Errorf("%v is taken", row.names)
			continue
		}
		for _, name := range row.names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%q does not say %s", err, name)
			}
		}
	}
}

// TestHunt08_NoLimit sets every bound to the largest value.
func TestHunt08_NoLimit(t *testing.T) {
	// Numbers of things that are made, and a least value, are no bounds.
	counts := map[string]bool{"Loops": true, "Workers": true, "BufferPool": true, "LeastRate": true}
	data := epitest.Pattern(1 << 20)
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		fields := reflect.ValueOf(e).Elem()
		for i := range fields.NumField() {
			field := fields.Type().Field(i)
			switch field.Type {
			case reflect.TypeFor[int]():
				if !counts[field.Name] {
					fields.Field(i).SetInt(math.MaxInt)
				}
			case reflect.TypeFor[time.Duration]():
				if field.IsExported() {
					fields.Field(i).SetInt(math.MaxInt64)
				}
			}
		}
		if e.Linger != math.MaxInt64 || e.ReadBudget != math.MaxInt {
			t.Fatal("the fields are not set")
		}
		closed := make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{Data: epitest.Echo, Close: func(_ *epi.Conn, err error) { closed <- err }}
		})
		packets, err := e.ListenPacket("udp://127.0.0.1:0", func(*epi.PacketConn) epi.PacketHandler { return exitingPackets{} })
		if err != nil {
			t.Fatal(err)
		}
		_ = packets
		c := s.Dial()
		go func() { _, _ = io.Copy(c, bytes.NewReader(data)) }()
		epitest.ExpectBytes(t, c, data, 64<<10)
		_ = c.Close()
		epitest.Receive(t, closed)
	})
}

// TestHunt08_OneWithoutLimit sets each bound of a connection alone to the largest
// value: the others follow it.
func TestHunt08_OneWithoutLimit(t *testing.T) {
	for _, name := range []string{"HighWater", "LowWater", "MaxQueued", "MaxUnread"} {
		t.Run(name, func(t *testing.T) {
			e := epitest.Modes()[0].Engine()
			reflect.ValueOf(e).Elem().FieldByName(name).SetInt(math.MaxInt)
			s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return &epitest.Funcs{} })

			var o epi.ListenOptions
			reflect.ValueOf(&o).Elem().FieldByName(name).SetInt(math.MaxInt)
			if _, err := s.Engine.ListenWith("tcp://127.0.0.1:0", o, func(*epi.Conn) epi.Handler { return &epitest.Funcs{} }); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestListenWith_NegativeOptions are refused in one form, times and numbers.
func TestListenWith_NegativeOptions(t *testing.T) {
	s := epitest.Start(t, epitest.Modes()[0].Engine(), epitest.EchoHandler)
	for want, o := range map[string]epi.ListenOptions{
		"ListenOptions.Linger is -1ns: it cannot be negative; 0 chooses the engine's":  {Linger: -1},
		"ListenOptions.HighWater is -1: it cannot be negative; 0 chooses the engine's": {HighWater: -1},
	} {
		_, err := s.Engine.ListenWith("tcp://127.0.0.1:0", o, epitest.EchoHandler)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}

// TestHunt08_EndlessLinger closes connections with bytes queued, for which there is
// all the time.
func TestHunt08_EndlessLinger(t *testing.T) {
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		e.Linger, e.HandshakeTimeout = math.MaxInt64, math.MaxInt64
		closed := make(chan error, 1)
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler {
			return &epitest.Funcs{
				Open: func(c *epi.Conn) error {
					if err := c.Send(epitest.Pattern(epitest.EightMiB)); err != nil {
						return err
					}
					return c.Close()
				},
				Close: func(_ *epi.Conn, err error) { closed <- err },
			}
		})
		c := s.Dial()
		before := e.Stats().Timers
		epitest.WaitUntil(t, "the engine has looked", func() bool { return e.Stats().Timers >= before+3 })
		epitest.ExpectBytes(t, c, epitest.Pattern(epitest.EightMiB), 64<<10)
		epitest.ExpectEOF(t, c) // a close_notify that met a closed client would be answered by a reset
		_ = c.Close()
		if err := epitest.Receive(t, closed); err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}
