package study

import (
	"fmt"
	"time"

	"github.com/epinet/epi/apps/lab"
)

const (
	edgeOutConns   = 10
	edgeOutRequest = 64 // bytes
	edgeOutLimit   = 5 * time.Second
	edgeOutBuffer  = 64 << 10 // bytes; the system takes up to twice as many
)

// edgeOut compares EPOLLOUT added and removed by hand with the edge, which is
// asked for it once.
func (b *bench) edgeOut() error {
	calls, cpu := newChart(), newChart()
	about := fmt.Sprintf("%d connections ask for replies that may not fit into the sockets (SO_SNDBUF and SO_RCVBUF are %d bytes). Level asks for room (EPOLLOUT) when a reply does not fit "+
		"and takes that back when it did; one-shot asks again after each turn; edge was asked for both from the beginning.", edgeOutConns, edgeOutBuffer)
	x := lab.Axis{Label: "size of a reply", Unit: "B", Log: true}
	defer func() {
		b.publish(calls, lab.Experiment{
			Name: "edge_out", Title: "EPOLLOUT by hand and by edge: calls of epoll_ctl", About: about,
			Finding: "Edge: EPOLLOUT need not be added and removed by hand.",
			X:       x, Y: lab.Axis{Label: "calls of epoll_ctl per reply"},
		}, observeLast)
		b.publish(cpu, lab.Experiment{
			Name: "edge_out-cpu", Title: "EPOLLOUT by hand and by edge: CPU time", About: about,
			X: x, Y: lab.Axis{Label: "CPU time of the server per reply", Unit: "s", Log: true},
		}, observeLast)
	}()
	return b.pair(b.serverCPU(), b.clientCPU(), b.fit(edgeOutConns), func(s *session) error {
		for round := range b.sizes.rounds {
			for _, size := range b.sizes.replies {
				for _, mode := range []string{"epoll level", "epoll edge", "epoll one-shot"} {
					b.progress("round %d of %d: replies of %d bytes, %s", round+1, b.sizes.rounds, size, mode)
					served, loaded, err := s.serve(serveArgs{
						Program: mode, Lookup: lookupSlot, Conns: s.conns, Request: edgeOutRequest, Reply: size, Whole: true, Buffer: edgeOutBuffer,
					}, loadArgs{Conns: s.conns, Iterations: max(1, b.sizes.replyCount/s.conns), InFlight: s.conns, Limit: edgeOutLimit, Buffer: edgeOutBuffer})
					if err != nil {
						return err
					}
					calls.add(mode, float64(size), float64(served.Controls)/float64(loaded.Done))
					cpu.add(mode, float64(size), served.CPU.Seconds()/float64(loaded.Done))
				}
			}
		}
		return nil
	})
}
