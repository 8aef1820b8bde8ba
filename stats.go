package epi

// LoopStats are counters since the start, of one loop or summed over all
// loops.
type LoopStats struct {
	Conns         int64  // connections and packet sockets now, from acceptance or Dial to the end of OnClose
	Turns         uint64 // iterations of the loop
	Sleeps        uint64 // times that it slept
	Wakes         uint64 // times that another goroutine had to wake it
	Waits         uint64 // system calls that waited or looked for events
	Events        uint64 // events they brought
	Reads         uint64 // system calls that read
	Writes        uint64 // system calls that wrote
	Controls      uint64 // system calls that changed what the poller watches
	Submits       uint64 // operations handed to io_uring
	Stale         uint64 // events dropped because their connection was gone
	Starved       uint64 // receives that found the buffer pool empty and were begun again (io_uring)
	BytesIn       uint64 // bytes received
	BytesOut      uint64 // bytes that the kernel took
	Accepted      uint64 // connections accepted by this loop
	Closed        uint64 // connections closed
	Shed          uint64 // connections accepted and closed at once: MaxConns, no descriptors, or a peer without an address
	ShedUnknown   uint64 // connections in Shed whose address the system did not give, as for a peer that has reset
	ShedPerIP     uint64 // connections accepted and closed at once, or refused: MaxConnsPerIP
	AcceptErrors  uint64 // pauses of accepting
	QueueFull     uint64 // writes refused: MaxQueued, PacketQueue
	Stalls        uint64 // connections reset: WriteTimeout
	Handshakes    uint64 // TLS handshakes that succeeded
	HandshakesCut uint64 // TLS handshakes ended for their silence while others waited: MaxHandshakes
	Refused       uint64 // connections closed for their TLS handshake or their PROXY header; CauseRefused is something else
	Detached      uint64 // connections given away by Detach
	Held          int64  // bytes that connections hold now, queued or unread: see MaxMemory
	Tasks         uint64 // tasks run
	TasksRefused  uint64 // tasks refused: MaxTasks
	Timers        uint64 // timers run
	Panics        uint64 // panics in callbacks
	TimersWaiting int    // timers that wait now, of connections or not: some 100 bytes each, and what their functions hold
	TasksWaiting  int    // tasks that wait now, the engine's own among them
	Causes        Causes // Closed by cause
	Lag           Lag    // Turns by how long they took

	PacketsIn      uint64 // datagrams received
	PacketsOut     uint64 // datagrams that the kernel took
	PacketsDropped uint64 // datagrams lost here: too long, refused by a full queue, or impossible to send
	PacketErrors   uint64 // errors of packet sockets that ended nothing
	PacketsCrowded uint64 // times that a datagram was held back because peers that do not read fill the send buffer (Unix)
}

// Stats are the counters of an Engine at one moment.
type Stats struct {
	LoopStats // of all loops added up

	Driver  string      // such as epoll-edge
	Reason  string      // why this driver
	Workers int         // goroutines that run handlers; 0: callbacks on the loops
	Waiting int         // connections that wait for a worker
	Loops   []LoopStats // one for each loop
}

// Stats returns the engine's counters. It may be called from any goroutine and
// at any time; counters read at one moment need not fit together exactly: what the
// kernel has just done is counted a moment later, when its peer may know of it already.
func (e *Engine) Stats() Stats {
	if e.start() != nil {
		return Stats{}
	}
	s := Stats{Driver: e.cfg.driverName(), Reason: e.cfg.reason, Workers: e.cfg.workers}
	if e.workers != nil {
		s.Waiting = e.workers.waiting()
	}
	for _, l := range e.loops {
		ls := l.stats()
		s.Loops = append(s.Loops, ls)
		s.LoopStats.add(ls)
	}
	return s
}

func (l *Loop) stats() LoopStats {
	d := l.drv.Counters()
	return LoopStats{
		Conns:         l.live.Load(),
		Turns:         l.count.turns.Load(),
		Sleeps:        l.count.sleeps.Load(),
		Wakes:         l.count.wakes.Load(),
		Waits:         d.Waits.Load(),
		Events:        d.Events.Load(),
		Reads:         d.Reads.Load(),
		Writes:        d.Writes.Load(),
		Controls:      d.Controls.Load(),
		Submits:       d.Submits.Load(),
		Stale:         d.Stale.Load(),
		Starved:       d.Starved.Load(),
		BytesIn:       l.count.bytesIn.Load(),
		BytesOut:      l.count.bytesOut.Load(),
		Accepted:      l.count.accepted.Load(),
		Closed:        l.count.closed.Load(),
		Shed:          l.count.shed.Load(),
		ShedUnknown:   l.count.shedUnknown.Load(),
		ShedPerIP:     l.count.shedPerIP.Load(),
		AcceptErrors:  l.count.acceptErrors.Load(),
		QueueFull:     l.count.queueFull.Load(),
		Stalls:        l.count.stalls.Load(),
		Handshakes:    l.count.handshakes.Load(),
		HandshakesCut: l.count.handshakesCut.Load(),
		Refused:       l.count.refused.Load(),
		Detached:      l.count.detached.Load(),
		Held:          l.count.held.Load(),
		Tasks:         l.count.tasks.Load(),
		TasksRefused:  l.count.tasksRefused.Load(),
		Timers:        l.count.timers.Load(),
		Panics:        l.count.panics.Load(),
		TimersWaiting: l.waitingTimers(),
		TasksWaiting:  l.waitingTasks(),
		Causes:        l.count.causes.causes(),
		Lag:           l.lag.lag(),

		PacketsIn:      l.count.packetsIn.Load(),
		PacketsOut:     l.count.packetsOut.Load(),
		PacketsDropped: l.count.packetsDropped.Load(),
		PacketErrors:   l.count.packetErrors.Load(),
		PacketsCrowded: l.count.packetsCrowded.Load(),
	}
}

func (s *LoopStats) add(o LoopStats) {
	s.Conns += o.Conns
	s.Turns += o.Turns
	s.Sleeps += o.Sleeps
	s.Wakes += o.Wakes
	s.Waits += o.Waits
	s.Events += o.Events
	s.Reads += o.Reads
	s.Writes += o.Writes
	s.Controls += o.Controls
	s.Submits += o.Submits
	s.Stale += o.Stale
	s.Starved += o.Starved
	s.BytesIn += o.BytesIn
	s.BytesOut += o.BytesOut
	s.Accepted += o.Accepted
	s.Closed += o.Closed
	s.Shed += o.Shed
	s.ShedUnknown += o.ShedUnknown
	s.ShedPerIP += o.ShedPerIP
	s.AcceptErrors += o.AcceptErrors
	s.QueueFull += o.QueueFull
	s.Stalls += o.Stalls
	s.Handshakes += o.Handshakes
	s.HandshakesCut += o.HandshakesCut
	s.Refused += o.Refused
	s.Detached += o.Detached
	s.Held += o.Held
	s.Tasks += o.Tasks
	s.TasksRefused += o.TasksRefused
	s.Timers += o.Timers
	s.Panics += o.Panics
	s.TimersWaiting += o.TimersWaiting
	s.TasksWaiting += o.TasksWaiting
	s.Causes.add(o.Causes)
	s.Lag.add(o.Lag)
	s.PacketsIn += o.PacketsIn
	s.PacketsOut += o.PacketsOut
	s.PacketsDropped += o.PacketsDropped
	s.PacketErrors += o.PacketErrors
	s.PacketsCrowded += o.PacketsCrowded
}
