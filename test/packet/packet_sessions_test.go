package packet_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func peerNo(i int) epi.PacketAddr {
	return epi.PacketAddr{AddrPort: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(i))}
}

// inLoop runs test on a loop of an engine that is running.
func inLoop(t *testing.T, test func(l *epi.Loop)) {
	t.Helper()
	e := epitest.Modes()[0].Engine()
	epitest.Run(t, e)
	l, err := e.Loop(0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	if err := l.Do(func() { defer close(done); test(l) }); err != nil {
		t.Fatal(err)
	}
	epitest.Receive(t, done)
}

func open(t *testing.T, s *epi.PacketSessions[int], i int) error {
	t.Helper()
	got, err := s.Open(peerNo(i), func(epi.PacketAddr) int { return i })
	if err == nil && got != i {
		t.Errorf("session %d is %d", i, got)
	}
	return err
}

// TestHunt18_NobodyInParticularHasNoSession: all Unix sockets without a name have the
// zero PacketAddr, and would share one.
func TestHunt18_NobodyInParticularHasNoSession(t *testing.T) {
	inLoop(t, func(l *epi.Loop) {
		s := &epi.PacketSessions[int]{Loop: l}
		_, err := s.Open(epi.PacketAddr{}, func(epi.PacketAddr) int { t.Error("a session begins"); return 0 })
		if !errors.Is(err, epi.ErrBadPeer) {
			t.Errorf("Open returns %v", err)
		}
		if _, ok := s.Get(epi.PacketAddr{}); ok || s.Len() != 0 {
			t.Errorf("nobody has a session, %d in all", s.Len())
		}
	})
}

func TestPacketSessions_BoundRefusesOrEvicts(t *testing.T) {
	for _, evict := range []bool{false, true} {
		t.Run(fmt.Sprint("evict ", evict), func(t *testing.T) {
			inLoop(t, func(l *epi.Loop) {
				var ended []int
				s := &epi.PacketSessions[int]{Loop: l, Max: 3, Evict: evict, OnEnd: func(_ epi.PacketAddr, i int) { ended = append(ended, i) }}
				for i := range 3 {
					if err := open(t, s, i); err != nil {
						t.Error(err)
					}
				}
				if _, ok := s.Get(peerNo(0)); !ok {
					t.Error("session 0 is lost")
				}
				err := open(t, s, 3)
				if evict && (err != nil || !slices.Equal(ended, []int{1})) {
					t.Errorf("evicted %v, %v, want the one touched first", ended, err)
				}
				if !evict && (!errors.Is(err, epi.ErrTooManySessions) || len(ended) > 0) {
					t.Errorf("ended %v, %v, want ErrTooManySessions", ended, err)
				}
				if s.Len() != 3 {
					t.Errorf("there are %d sessions", s.Len())
				}
				s.Close()
				if s.Len() != 0 || s.End(peerNo(0)) {
					t.Error("a session has outlived Close")
				}
			})
		})
	}
}

func TestPacketSessions_AllInTheOrderOfTouches(t *testing.T) {
	inLoop(t, func(l *epi.Loop) {
		s := &epi.PacketSessions[int]{Loop: l}
		for _, i := range []int{1, 2, 3, 2, 1, 1} {
			_ = open(t, s, i)
		}
		var order []int
		for peer, i := range s.All() {
			order = append(order, i)
			s.End(peer)
		}
		if !slices.Equal(order, []int{3, 2, 1}) || s.Len() != 0 {
			t.Errorf("visited %v, %d are left", order, s.Len())
		}
		s.Close()
	})
}

// TestPacketSessions_IdleOnesEnd touches one session for as long as another is
// alive that is not touched.
func TestPacketSessions_IdleOnesEnd(t *testing.T) {
	const idle = 20 * time.Millisecond
	ended := make(chan int, 2)
	lasted := make(chan time.Duration, 1)
	inLoop(t, func(l *epi.Loop) {
		begun := time.Now()
		s := &epi.PacketSessions[int]{Loop: l, Idle: idle, OnEnd: func(_ epi.PacketAddr, i int) {
			if i == 0 {
				lasted <- time.Since(begun)
			}
			ended <- i
		}}
		_, _ = s.Open(peerNo(0), func(epi.PacketAddr) int { return 0 })
		_, _ = s.Open(peerNo(1), func(epi.PacketAddr) int { return 1 })
		var touch func()
		touch = func() {
			_, _ = s.Get(peerNo(1))
			if _, ok := s.Get(peerNo(2)); !ok && s.Len() == 2 {
				l.After(time.Millisecond, touch)
			}
		}
		touch()
	})
	first, second := epitest.Receive(t, ended), epitest.Receive(t, ended)
	if first != 0 || second != 1 {
		t.Errorf("sessions %d and %d ended, in this order", first, second)
	}
	if d := <-lasted; d < idle {
		t.Errorf("a session ended after %v", d)
	}
}
