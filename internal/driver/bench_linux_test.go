package driver

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// A benchStream sends back what it receives.
type benchStream struct {
	Stream
	sock  Socket
	drv   Driver
	reply [1][]byte
}

func (*benchStream) Room() ([]byte, *Pipe) { return nil, nil }
func (*benchStream) Sent(int, error)       {}
func (*benchStream) Closed()               {}

func (s *benchStream) Received(p []byte) {
	s.reply[0] = append(s.reply[0][:0], p...) // what was received is the driver's
	_, _, _ = s.drv.Send(&s.sock, s.reply[:])
}

// BenchmarkEcho is a message of 64 bytes through each driver, with the system calls
// of the client.
func BenchmarkEcho(b *testing.B) {
	for _, backend := range []poll.Backend{poll.BackendSelect, poll.BackendPoll, poll.BackendEpoll, Uring} {
		b.Run(string(backend), func(b *testing.B) {
			if err := Probe(backend); err != nil {
				b.Skip(err)
			}
			runtime.LockOSThread() // rings belong to threads
			defer runtime.UnlockOSThread()
			shared := NewShared(backend)
			defer shared.Close()
			trigger := Level
			if backend == poll.BackendEpoll {
				trigger = Edge
			}
			d, err := New(Config{Backend: backend, Trigger: trigger, ReadBudget: 256 << 10, MaxEvents: 256, BufferPool: 512 << 10, Shared: shared})
			if err != nil {
				b.Fatal(err)
			}
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(pair[1])
			for _, fd := range pair {
				if err := unix.SetNonblock(fd, true); err != nil {
					b.Fatal(err)
				}
			}
			s := &benchStream{drv: d}
			s.sock.Stream, s.sock.Handle = s, Handle(pair[0])
			if err := d.Open(&s.sock); err != nil {
				b.Fatal(err)
			}
			message := make([]byte, 64)
			step := func() {
				if _, err := d.Wait(0); err != nil {
					b.Fatal(err)
				}
				d.Dispatch()
			}
			step()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := unix.Write(pair[1], message); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < len(message); {
					step()
					got, err := unix.Read(pair[1], message)
					if err != nil && err != unix.EAGAIN {
						b.Fatal(err)
					}
					n += max(got, 0)
				}
			}
			b.StopTimer()
			d.Close(&s.sock, false)
			for range 3 {
				step()
			}
			if err := d.Release(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
