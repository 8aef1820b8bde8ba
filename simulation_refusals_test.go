package epi

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"syscall"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/seam"
)

// A refusal is a call that must fail, and leave nothing behind.
type refusal struct {
	what string
	call func(*simulation) error
}

// listens refuses a listener.
func listens(at string, o ListenOptions) func(*simulation) error {
	return func(s *simulation) error {
		_, err := s.engine.ListenWith(at, o, s.handler)
		return err
	}
}

// adopts refuses a socket that listens, which is closed all the same.
func adopts(addr net.Addr, o ListenOptions) func(*simulation) error {
	return func(s *simulation) error {
		from := &simulatedSocket{addr: addr}
		_, err := s.engine.ListenOn(from, o, s.handler)
		if !from.closed {
			s.Failf("a socket that is refused stays open")
		}
		return err
	}
}

func listensPacket(at string, o PacketOptions) func(*simulation) error {
	return func(s *simulation) error {
		_, err := s.engine.ListenPacketWith(at, o, func(*PacketConn) PacketHandler { return nil })
		return err
	}
}

func adoptsPacket(addr net.Addr, o PacketOptions) func(*simulation) error {
	return func(s *simulation) error {
		from := &simulatedPacketSocket{addr: addr}
		_, err := s.engine.ListenPacketOn(from, o, func(*PacketConn) PacketHandler { return nil })
		if !from.closed {
			s.Failf("a socket for datagrams that is refused stays open")
		}
		return err
	}
}

func dials(to string, o DialOptions) func(*simulation) error {
	return func(s *simulation) error {
		_, err := s.engine.DialWith(context.Background(), to, o, &simulatedHandler{s: s})
		return err
	}
}

func dialsPacket(to string, o PacketOptions) func(*simulation) error {
	return func(s *simulation) error {
		_, err := s.engine.DialPacketWith(context.Background(), to, o, &simulatedPacketHandler{})
		return err
	}
}

// starts refuses an engine.
func starts(make func() *Engine) func(*simulation) error {
	return func(s *simulation) error {
		e := make()
		seam.Give(e, s.Seams())
		return e.start()
	}
}

var refusals = []refusal{
	{"no address", listens("10.0.0.1:9", ListenOptions{})},
	{"a negative timeout", listens("tcp://10.0.0.1:9", ListenOptions{IdleTimeout: -1})},
	{"a negative bound", listens("tcp://10.0.0.1:9", ListenOptions{MaxQueued: -1})},
	{"marks in the wrong order", listens("tcp://10.0.0.1:9", ListenOptions{HighWater: 10, LowWater: 20})},
	{"no code point", listens("tcp://10.0.0.1:9", ListenOptions{Socket: SocketOptions{DSCP: 64}})},
	{"a negative buffer", listens("tcp://10.0.0.1:9", ListenOptions{Socket: SocketOptions{ReceiveBuffer: -1}})},
	{"no choice", listens("tcp://10.0.0.1:9", ListenOptions{Socket: SocketOptions{KeepAlive: 7}})},
	{"no network", listens("tcp://10.0.0.1:9", ListenOptions{ProxyFrom: make([]netip.Prefix, 1)})},
	{"a listener without a handler", func(s *simulation) error { _, err := s.engine.Listen("tcp://10.0.0.1:9", nil); return err }},

	{"a socket of another kind", adopts(&net.UDPAddr{}, ListenOptions{})},
	{"a socket with a negative timeout", adopts(&net.TCPAddr{}, ListenOptions{ReadTimeout: -1})},
	{"a socket with a negative bound", adopts(&net.TCPAddr{}, ListenOptions{HighWater: -1})},
	{"a socket with no network", adopts(&net.TCPAddr{}, ListenOptions{ProxyFrom: make([]netip.Prefix, 1)})},
	{"a socket with no code point", adopts(&net.TCPAddr{}, ListenOptions{Socket: SocketOptions{DSCP: 64}})},
	{"a socket without a certificate", adopts(&net.TCPAddr{}, ListenOptions{TLS: &tls.Config{MinVersion: tls.VersionTLS13}})},

	{"datagrams without an address", listensPacket("10.0.0.1:9", PacketOptions{})},
	{"datagrams with a negative buffer", listensPacket("udp://10.0.0.1:9", PacketOptions{ReadBuffer: -1})},
	{"datagrams with no code point", listensPacket("udp://10.0.0.1:9", PacketOptions{DSCP: 64})},
	{"a group that is none", listensPacket("udp://10.0.0.1:9", PacketOptions{Groups: []netip.Addr{netip.MustParseAddr("10.0.0.9")}})},
	{"a group of the other family", listensPacket("udp4://10.0.0.1:9", PacketOptions{Groups: []netip.Addr{netip.MustParseAddr("ff02::1")}})},
	{"a group in a Unix socket", listensPacket("unixgram://@refused", PacketOptions{MulticastHops: 2})},
	{"datagrams without a handler", func(s *simulation) error { _, err := s.engine.ListenPacket("udp://10.0.0.1:9", nil); return err }},

	{"a socket for streams", adoptsPacket(&net.TCPAddr{}, PacketOptions{})},
	{"a socket for datagrams with no code point", adoptsPacket(&net.UDPAddr{}, PacketOptions{DSCP: -1})},

	{"dialling without an address", dials("10.0.0.1:1", DialOptions{})},
	{"dialling with a negative timeout", dials("tcp://10.0.0.1:1", DialOptions{Timeout: -1})},
	{"dialling on another engine's loop", dials("tcp://10.0.0.1:1", DialOptions{Loop: &Loop{}})},
	{"dialling a Unix socket from an address", dials("unix://@refused", DialOptions{Local: netip.MustParseAddr("10.0.0.1")})},
	{"dialling with no code point", dials("tcp://10.0.0.1:1", DialOptions{Socket: SocketOptions{DSCP: 64}})},
	{"dialling without a handler", func(s *simulation) error {
		_, err := s.engine.Dial(context.Background(), "tcp://10.0.0.1:1", nil)
		return err
	}},

	{"datagrams to nowhere", dialsPacket("10.0.0.1:1", PacketOptions{})},
	{"datagrams to no port", dialsPacket("udp://10.0.0.1:0", PacketOptions{})},
	{"datagrams of a group to somebody", dialsPacket("udp://10.0.0.1:1", PacketOptions{Groups: []netip.Addr{netip.MustParseAddr("224.0.0.9")}})},
	{"datagrams to somebody with no code point", dialsPacket("udp://10.0.0.1:1", PacketOptions{DSCP: 64})},
	{"datagrams to somebody without a handler", func(s *simulation) error {
		_, err := s.engine.DialPacket(context.Background(), "udp://10.0.0.1:1", nil)
		return err
	}},

	{"a loop below the first", func(s *simulation) error { _, err := s.engine.Loop(-1); return err }},
	{"a loop behind the last", func(s *simulation) error { _, err := s.engine.Loop(len(s.engine.loops)); return err }},

	{"an engine with a negative bound", starts(func() *Engine { return &Engine{Driver: DriverPortable, MaxQueued: -1} })},
	{"an engine with a negative timeout", starts(func() *Engine { return &Engine{Driver: DriverPortable, IdleTimeout: -1} })},
	{"an engine with marks in the wrong order", starts(func() *Engine { return &Engine{Driver: DriverPortable, HighWater: 10, LowWater: 20} })},
	{"an engine with a queue too short for a datagram", starts(func() *Engine {
		return &Engine{Driver: DriverPortable, PacketQueue: 300, MaxDatagram: 400}
	})},
	{"an unknown driver", starts(func() *Engine { return &Engine{Driver: "none"} })},
	{"an unknown trigger", starts(func() *Engine { return &Engine{Driver: DriverPortable, Trigger: "none"} })},
	{"the portable driver with a trigger", starts(func() *Engine { return &Engine{Driver: DriverPortable, Trigger: TriggerEdge} })},
	{"io_uring with a trigger", starts(func() *Engine { return &Engine{Driver: DriverUring, Trigger: TriggerEdge} })},
	{"an unknown choice of threads", starts(func() *Engine { return &Engine{Driver: DriverPortable, LockOSThread: 9} })},
	{"io_uring without threads", starts(func() *Engine { return &Engine{Driver: DriverUring, LockOSThread: No} })},
	{"an engine without memory", withoutMemory},
}

// withoutMemory starts an engine one of whose drivers cannot be made.
func withoutMemory(s *simulation) error {
	e := &Engine{Driver: DriverPortable, Loops: 1 + s.Choose(3), Logger: slog.New(slog.DiscardHandler)}
	seams, made := s.Seams(), len(s.Drivers)
	fails := made + s.Choose(e.Loops)
	make := seams.NewDriver
	seams.NewDriver = func(c driver.Config) (driver.Driver, error) {
		if len(s.Drivers) == fails {
			return nil, syscall.ENOMEM
		}
		return make(c)
	}
	seam.Give(e, seams)
	err := e.start()
	if !errors.Is(err, syscall.ENOMEM) {
		s.Failf("an engine without memory: %v", err)
	}
	return err
}

// refuse makes a call that must fail.
func (s *simulation) refuse() {
	r := refusals[s.Choose(len(refusals))]
	drivers, open, conns := len(s.Drivers), s.Open(), s.engine.admission.conns.Load()
	if err := r.call(s); err == nil {
		s.Failf("%s is not refused", r.what)
	}
	for _, d := range s.Drivers[drivers:] {
		if !d.Released() {
			s.Failf("%s is refused, and a driver is left", r.what)
		}
	}
	s.Drivers = s.Drivers[:drivers]
	if s.Open() != open || s.engine.admission.conns.Load() != conns {
		s.Failf("%s is refused, and %d handles and %d connections are left, of %d and %d before", r.what, s.Open(), s.engine.admission.conns.Load(), open, conns)
	}
	s.Count("refused call")
}

// A simulatedSocket is a listening socket that was opened elsewhere.
type simulatedSocket struct {
	net.Listener
	addr   net.Addr
	closed bool
}

func (l *simulatedSocket) Addr() net.Addr { return l.addr }

func (l *simulatedSocket) Close() error {
	l.closed = true
	return nil
}

// A simulatedPacketSocket is a socket for datagrams that was opened elsewhere.
type simulatedPacketSocket struct {
	net.PacketConn
	addr   net.Addr
	closed bool
}

func (c *simulatedPacketSocket) LocalAddr() net.Addr { return c.addr }

func (c *simulatedPacketSocket) Close() error {
	c.closed = true
	return nil
}
