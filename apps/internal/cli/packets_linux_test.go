package cli

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// echoSockets opens count sockets of e on 127.0.0.1, on one engine, and returns
// them.
func echoSockets(t *testing.T, e *packetEcho, count int) (*epi.Engine, []*epi.PacketConn) {
	t.Helper()
	engine := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	opened := make(chan *epi.PacketConn, count)
	for range count {
		_, err := engine.ListenPacket("udp4://127.0.0.1:0", func(c *epi.PacketConn) epi.PacketHandler {
			opened <- c
			return e.open(c)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- engine.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := epitest.Receive(t, result); err != nil {
			t.Error(err)
		}
	})
	var sockets []*epi.PacketConn
	for range count {
		sockets = append(sockets, epitest.Receive(t, opened))
	}
	return engine, sockets
}

// TestHostile06_TwoServersStopTalking lets a datagram of one server come to the
// other, as a forged one would. It goes to and fro until the rate of either is
// used up, and is gone then.
func TestHostile06_TwoServersStopTalking(t *testing.T) {
	e := &packetEcho{rate: 50}
	engine, sockets := echoSockets(t, e, 2)
	if err := sockets[0].WriteTo([]byte("x"), sockets[1].LocalAddr()); err != nil {
		t.Fatal(err)
	}
	epitest.WaitUntil(t, "it is dropped", func() bool { return e.dropped.Load() == 1 })
	s := engine.Stats()
	if s.PacketsIn < 100 || s.PacketsIn != s.PacketsOut {
		t.Errorf("%d datagrams arrived, %d left", s.PacketsIn, s.PacketsOut)
	}
}

// TestHostile06_NoAnswerToOneself sends a server a datagram of its own.
func TestHostile06_NoAnswerToOneself(t *testing.T) {
	e := new(packetEcho)
	engine, sockets := echoSockets(t, e, 1)
	if err := sockets[0].WriteTo([]byte("x"), sockets[0].LocalAddr()); err != nil {
		t.Fatal(err)
	}
	epitest.WaitUntil(t, "it is dropped", func() bool { return e.dropped.Load() == 1 })
	if n := engine.Stats().PacketsOut; n != 1 {
		t.Errorf("%d datagrams left", n)
	}
}

// TestHostile06_NoAnswerToServices sends one from a port of the system's services.
func TestHostile06_NoAnswerToServices(t *testing.T) {
	var service *net.UDPConn
	err := error(syscall.EADDRINUSE)
	for port := firstUserPort - 1; err != nil && port > firstUserPort-50; port-- {
		service, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	}
	if err != nil {
		t.Skipf("a port below %d: %v", firstUserPort, err)
	}
	defer service.Close()
	e := new(packetEcho)
	engine, sockets := echoSockets(t, e, 1)
	if _, err := service.WriteToUDPAddrPort([]byte("x"), sockets[0].LocalAddr().AddrPort); err != nil {
		t.Fatal(err)
	}
	epitest.WaitUntil(t, "it is dropped", func() bool { return e.dropped.Load() == 1 })
	if n := engine.Stats().PacketsOut; n != 0 {
		t.Errorf("%d datagrams left", n)
	}
}

// TestHostile06_AllowanceGrowsWithTime looks at one peer's at chosen moments.
func TestHostile06_AllowanceGrowsWithTime(t *testing.T) {
	begin := time.Now()
	a := &allowance{left: 2, at: begin}
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, true}, {0, false}, {499 * time.Millisecond, false}, {501 * time.Millisecond, true}, {501 * time.Millisecond, false}, {time.Hour, true}, {time.Hour, true}, {time.Hour, false}} {
		if got := a.take(2, begin.Add(step.after)); got != step.want {
			t.Errorf("after %v: %v, want %v", step.after, got, step.want)
		}
	}
}

// TestHostile06_OthersCanReachIt is said in the log, and not for loopback.
func TestHostile06_OthersCanReachIt(t *testing.T) {
	for address, warned := range map[string]bool{"udp://:0": true, "udp4://0.0.0.0:0": true, "udp://127.0.0.1:0": false} {
		p := start(t, "echo", "--json", "--listen", address)
		await[startEvent](p, "start")
		p.signal(syscall.SIGTERM)
		_, stderr := p.end(exitDone)
		if got := strings.Contains(stderr, "whom they name as the sender"); got != warned {
			t.Errorf("%s: the log is %q", address, stderr)
		}
	}
}
