package epi

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"syscall"
	"time"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/seam"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// A Driver names how an engine performs I/O.
type Driver string

// The drivers.
const (
	// DriverAuto is the best one that the system has for this engine; Stats
	// says which and why.
	DriverAuto Driver = ""
	// DriverSelect uses select(2): at most 1,024 descriptors, and each
	// wait costs time for all of them.
	DriverSelect Driver = "select"
	// DriverPoll uses poll(2): each wait costs time for every descriptor.
	DriverPoll Driver = "poll"
	// DriverEpoll uses epoll(7): a wait costs time for what is ready.
	DriverEpoll Driver = "epoll"
	// DriverUring uses io_uring(7), Linux 6.1 or later: one system call does the
	// I/O of a whole turn. Each loop has a thread of its
	// own. Workers read and write by themselves, and io_uring is the poller.
	DriverUring Driver = "uring"
	// DriverPortable uses package net, and so what the Go runtime has on each
	// system: kqueue, IOCP, epoll. It costs a goroutine for each connection
	// and is the only driver of systems other than Linux.
	DriverPortable Driver = "portable"
)

// A Trigger says how a readiness driver asks for events.
type Trigger string

// The triggers of the pollers; io_uring and package net have none. Workers always use one-shot: it
// keeps a connection in one worker's hands.
const (
	// TriggerAuto is edge on epoll and level elsewhere.
	TriggerAuto Trigger = ""
	// TriggerLevel reports for as long as a condition holds.
	TriggerLevel Trigger = "level"
	// TriggerEdge reports changes; epoll only. No call is needed to start or
	// stop waiting for room to write.
	TriggerEdge Trigger = "edge"
	// TriggerOneShot reports once and is armed again after each turn: level
	// used like edge.
	TriggerOneShot Trigger = "oneshot"
)

// A WaitPolicy says what a loop does when it has nothing to do. The zero value
// is Block.
type WaitPolicy struct {
	spin  time.Duration // look again for so long before sleeping
	sleep time.Duration // sleep at most so long; 0: until there is work
}

// spinForever is the spin of a policy that never sleeps.
const spinForever = math.MaxInt64

// Block sleeps until there is something to do. This suits a chat server.
func Block() WaitPolicy { return WaitPolicy{} }

// WaitEvery sleeps at most d at a time. This suits a game, which goes on
// without input.
func WaitEvery(d time.Duration) WaitPolicy { return WaitPolicy{sleep: d} }

// Spin never sleeps: each loop keeps a CPU busy and answers soonest.
func Spin() WaitPolicy { return WaitPolicy{spin: spinForever} }

// SpinFor keeps looking for d after the last event, then sleeps like Block.
func SpinFor(d time.Duration) WaitPolicy { return WaitPolicy{spin: d} }

// String returns the policy as the --wait flag spells it.
func (w WaitPolicy) String() string {
	switch {
	case w.spin == spinForever:
		return "spin"
	case w.spin > 0:
		return "spin:" + w.spin.String()
	case w.sleep > 0:
		return w.sleep.String()
	}
	return "block"
}

// A Choice is yes, no, or left to the engine.
type Choice uint8

// The choices.
const (
	Auto Choice = iota
	Yes
	No
)

func (c Choice) or(auto bool) bool { return c == Yes || c == Auto && auto }

// Defaults of the Engine's fields.
const (
	defaultReadBudget   = 256 << 10
	defaultHighWater    = 256 << 10
	defaultLowWater     = 64 << 10
	defaultMaxQueued    = 16 << 20
	defaultMaxUnread    = 1 << 20
	defaultAcceptBudget = 64
	defaultTaskBudget   = 1024
	defaultMaxTasks     = 1 << 20
	defaultMaxEvents    = 256
	defaultBufferPool   = 512 << 10
	defaultMaxDatagram  = 64 << 10
	defaultPacketBatch  = 32
	defaultPacketQueue  = 4 << 20
	defaultLinger       = 5 * time.Second
	defaultDrainTimeout = 10 * time.Second

	defaultLeastRate = 16 << 10

	// mostEvents is more events than one wait brings for any use.
	mostEvents = 1 << 16
	// mostPackets is what one system call takes (UIO_MAXIOV, recvmmsg(2)).
	mostPackets = 1024
	// longestDatagram is above what a Unix socket sends, unless root has forced
	// its buffer beyond net.core.wmem_max.
	longestDatagram = 1 << 20

	defaultMaxHandshakes    = 4096
	defaultHandshakeTimeout = 10 * time.Second
)

// config is the Engine's fields with the defaults filled in, fixed when the
// engine is first used.
type config struct {
	loops, workers           int
	backend                  poll.Backend
	auto                     bool // backend was chosen by the engine
	trigger                  driver.Trigger
	reason                   string // why this driver was chosen
	wait                     WaitPolicy
	lockThread, reusePort    bool
	closeOnFull              bool
	maxConns, maxConnsPerIP  int
	readBudget               int
	marks                    watermarks
	maxMemory                int
	acceptBudget, taskBudget int
	maxTasks, maxEvents      int
	bufferPool               int
	maxDatagram, packetBatch int
	packetQueue              int
	timeouts                 timeouts
	drainTimeout             time.Duration
	leastRate                int
	longestSleep             time.Duration // while something about peers is due
	maxHandshakes            int
	maxHandshakesPerIP       int
	log                      *slog.Logger

	knobs
	seam.Seams
}

// knobs are bounds that no program sets. They are described where their values are.
// A simulation makes them tiny.
type knobs struct {
	sendBudget, maxSend, maxVector, leastDirect int
	sealBudget, maxHandshakeInput, slots        int
	beginSplicing, keepSplicing, pipeSize       int
	visitBudget, workerRead                     int
	imbalance                                   int64
}

func defaultKnobs() knobs {
	return knobs{
		sendBudget: sendBudget, maxSend: maxSend, maxVector: sock.MaxVectors, leastDirect: leastDirect,
		sealBudget: sealBudget, maxHandshakeInput: maxHandshakeInput, slots: slotsPerCPU * runtime.GOMAXPROCS(0),
		beginSplicing: beginSplicing, keepSplicing: keepSplicing, pipeSize: driver.PipeSize,
		visitBudget: visitBudget, workerRead: workerRead, imbalance: imbalance,
	}
}

// resolve checks the fields and fills in the defaults.
func (e *Engine) resolve() (*config, error) {
	c := &config{
		wait:        e.Wait,
		reusePort:   e.ReusePort,
		closeOnFull: e.CloseOnFull,
		log:         e.Logger,
		knobs:       defaultKnobs(),
		Seams:       seam.Of(e),
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	// Of MaxQueued, HighWater and LowWater, those not given follow the others.
	highWater := e.HighWater
	if highWater == 0 {
		highWater = defaultHighWater
		if e.MaxQueued > 0 {
			highWater = min(highWater, e.MaxQueued/2) // with room above it, so that a queue can get there
		}
		highWater = max(highWater, e.LowWater)
	}
	lowWater := min(defaultLowWater, highWater/2)
	maxQueued := max(defaultMaxQueued, twice(highWater))
	for _, f := range []struct {
		name     string
		value    int
		fallback int
		to       *int
	}{
		{"Loops", e.Loops, runtime.GOMAXPROCS(0), &c.loops},
		{"Workers", e.Workers, 0, &c.workers},
		{"MaxConns", e.MaxConns, sock.OpenFiles(), &c.maxConns},
		{"MaxConnsPerIP", e.MaxConnsPerIP, noLimitPerIP, &c.maxConnsPerIP},
		{"ReadBudget", e.ReadBudget, defaultReadBudget, &c.readBudget},
		{"HighWater", e.HighWater, highWater, &c.marks.high},
		{"LowWater", e.LowWater, lowWater, &c.marks.low},
		{"MaxQueued", e.MaxQueued, maxQueued, &c.marks.queued},
		{"MaxUnread", e.MaxUnread, defaultMaxUnread, &c.marks.unread},
		{"MaxMemory", e.MaxMemory, math.MaxInt, &c.maxMemory},
		{"AcceptBudget", e.AcceptBudget, defaultAcceptBudget, &c.acceptBudget},
		{"TaskBudget", e.TaskBudget, defaultTaskBudget, &c.taskBudget},
		{"MaxTasks", e.MaxTasks, defaultMaxTasks, &c.maxTasks},
		{"MaxEvents", e.MaxEvents, defaultMaxEvents, &c.maxEvents},
		{"BufferPool", e.BufferPool, defaultBufferPool, &c.bufferPool},
		{"MaxHandshakes", e.MaxHandshakes, defaultMaxHandshakes, &c.maxHandshakes},
		{"MaxHandshakesPerIP", e.MaxHandshakesPerIP, noLimitPerIP, &c.maxHandshakesPerIP},
		{"MaxDatagram", e.MaxDatagram, defaultMaxDatagram, &c.maxDatagram},
		{"PacketBatch", e.PacketBatch, defaultPacketBatch, &c.packetBatch},
		{"PacketQueue", e.PacketQueue, defaultPacketQueue, &c.packetQueue},
		{"LeastRate", e.LeastRate, defaultLeastRate, &c.leastRate},
	} {
		if f.value < 0 {
			return nil, fmt.Errorf("epi: Engine.%s is %d: it cannot be negative; 0 chooses the default", f.name, f.value)
		}
		*f.to = f.value
		if f.value == 0 {
			*f.to = f.fallback
		}
	}
	for _, f := range []struct {
		name     string
		value    time.Duration
		fallback time.Duration
		to       *time.Duration
	}{
		{"IdleTimeout", e.IdleTimeout, 0, &c.timeouts.idle},
		{"ReadTimeout", e.ReadTimeout, 0, &c.timeouts.read},
		{"WriteTimeout", e.WriteTimeout, 0, &c.timeouts.write},
		{"MessageTimeout", e.MessageTimeout, 0, &c.timeouts.message},
		{"Linger", e.Linger, defaultLinger, &c.timeouts.linger},
		{"DrainTimeout", e.DrainTimeout, defaultDrainTimeout, &c.drainTimeout},
		{"HandshakeTimeout", e.HandshakeTimeout, defaultHandshakeTimeout, &c.timeouts.handshake},
		{"Wait", min(e.Wait.spin, e.Wait.sleep), 0, new(time.Duration)},
	} {
		if f.value < 0 {
			return nil, fmt.Errorf("epi: Engine.%s is %v: it cannot be negative; 0 chooses the default", f.name, f.value)
		}
		*f.to = f.value
		if f.value == 0 {
			*f.to = f.fallback
		}
	}
	if err := c.agree(e); err != nil {
		return nil, err
	}
	c.setLongestSleep()
	return c, c.choose(e.Driver, e.Trigger, e.LockOSThread)
}

// agree refuses bounds that contradict each other, and cuts those for which the
// engine holds room to what can come.
func (c *config) agree(e *Engine) error {
	if err := c.marks.agree("epi: Engine"); err != nil {
		return err
	}
	c.maxEvents = min(c.maxEvents, mostEvents)
	c.packetBatch = min(c.packetBatch, mostPackets)
	c.maxDatagram = min(c.maxDatagram, longestDatagram)
	switch least := c.maxDatagram + packetRecord; {
	case e.PacketQueue == 0:
		c.packetQueue = max(c.packetQueue, 4*least) // a Unix peer has a quarter
	case e.MaxDatagram > 0 && c.packetQueue < least:
		return fmt.Errorf("epi: Engine.MaxDatagram is %d, which with the %d bytes that each datagram costs besides is above PacketQueue, which is %d", c.maxDatagram, packetRecord, c.packetQueue)
	}
	return nil
}

// twice is 2n without overflow.
func twice(n int) int { return min(n, math.MaxInt/2) * 2 }

// choose picks the driver, its trigger and whether loops have threads.
func (c *config) choose(d Driver, t Trigger, lock Choice) error {
	switch d {
	case DriverAuto:
		c.auto = true
		c.backend, c.reason = c.best(t, lock)
	case DriverSelect, DriverPoll, DriverEpoll, DriverUring, DriverPortable:
		c.backend, c.reason = poll.Backend(d), "as asked for"
	default:
		return fmt.Errorf("epi: unknown driver %q: choose select, poll, epoll, uring or portable", d)
	}
	// A thread of its own is no gain for a loop that sleeps in a channel.
	c.lockThread = lock.or(c.workers == 0 && c.wait.spin == 0 && c.backend != driver.Portable)
	switch c.backend {
	case driver.Uring:
		return c.chooseUring(t, lock)
	case driver.Portable:
		return choosePortable(t)
	}
	if err := driver.Probe(c.backend); err != nil {
		return fmt.Errorf("epi: choose auto or portable: %w", err)
	}
	return c.chooseTrigger(t)
}

// best returns the fastest driver that can be had, and why.
func (c *config) best(t Trigger, lock Choice) (backend poll.Backend, reason string) {
	if err := driver.Probe(poll.BackendEpoll); err != nil {
		return driver.Portable, err.Error()
	}
	switch {
	case c.workers > 0:
		return poll.BackendEpoll, "the best for workers"
	case t != TriggerAuto:
		return poll.BackendEpoll, "the best that has triggers"
	case lock == No:
		return poll.BackendEpoll, "the best whose loops need no threads of their own"
	}
	if err := driver.Probe(driver.Uring); err != nil {
		return poll.BackendEpoll, "no io_uring: " + err.Error()
	}
	return driver.Uring, "the best that this system has"
}

func (c *config) chooseUring(t Trigger, lock Choice) error {
	switch {
	case t != TriggerAuto:
		return fmt.Errorf("epi: the uring driver has no trigger, and %q was asked for: choose epoll", t)
	case lock == No:
		return errors.New("epi: the uring driver needs a thread for each loop: LockOSThread cannot be No; choose epoll")
	}
	c.lockThread = true
	if err := driver.Probe(driver.Uring); err != nil {
		return fmt.Errorf("epi: the uring driver cannot be had; choose auto or epoll: %w", err)
	}
	return nil
}

// leastEvents is how many events a wait can have at least where memory for the
// rings is short: they are sized by it.
const leastEvents = 16

// takeLess answers that the loops could not be made: it changes the configuration
// to one that needs less, and reports whether there is any. The rings of io_uring
// count for what all programs of the user may lock; and that the kernel has given
// one ring does not say that it gives another.
func (c *config) takeLess(err error) bool {
	switch {
	case c.backend != driver.Uring:
		return false
	case errors.Is(err, syscall.ENOMEM) && c.maxEvents > leastEvents:
		c.maxEvents = max(c.maxEvents/4, leastEvents)
		return true
	case !c.auto:
		return false
	}
	c.backend, c.trigger, c.reason = poll.BackendEpoll, driver.Edge, "no io_uring: "+err.Error()
	return true
}

func choosePortable(t Trigger) error {
	if t != TriggerAuto {
		return fmt.Errorf("epi: the portable driver has no trigger, and %q was asked for: choose epoll, on Linux", t)
	}
	return nil
}

func (c *config) chooseTrigger(t Trigger) error {
	switch t {
	case TriggerAuto:
		c.trigger = driver.Level
		if c.backend == poll.BackendEpoll {
			c.trigger = driver.Edge
		}
	case TriggerLevel:
		c.trigger = driver.Level
	case TriggerEdge:
		if c.backend != poll.BackendEpoll {
			return fmt.Errorf("epi: the %s driver cannot be edge triggered: only epoll reports edges", c.backend)
		}
		c.trigger = driver.Edge
	case TriggerOneShot:
		c.trigger = driver.OneShot
	default:
		return fmt.Errorf("epi: unknown trigger %q: choose level, edge or oneshot", t)
	}
	if c.workers == 0 {
		return nil
	}
	c.trigger = driver.OneShot
	if t == TriggerLevel || t == TriggerEdge {
		c.reason = "workers need one-shot"
	}
	return nil
}

// driverName is the driver and its trigger as the --driver flag spells them.
func (c *config) driverName() string {
	switch {
	case c.backend == poll.BackendEpoll:
		return "epoll-" + c.trigger.String()
	case c.backend == driver.Uring && c.workers > 0:
		return "uring-poll"
	}
	return string(c.backend)
}

// watermarks bound what waits for a connection's peer, and for its handler. They do
// not change.
type watermarks struct {
	high, low int // HighWater, LowWater
	queued    int // MaxQueued
	unread    int // MaxUnread
}

// agree refuses those that contradict each other.
func (w *watermarks) agree(whose string) error {
	for _, pair := range []struct {
		lower, upper           string
		lowerValue, upperValue int
	}{
		{"LowWater", "MaxQueued", w.low, w.queued},
		{"LowWater", "HighWater", w.low, w.high},
		{"HighWater", "MaxQueued", w.high, w.queued},
	} {
		if pair.lowerValue > pair.upperValue {
			return fmt.Errorf("%s.%s is %d, above %s, which is %d", whose, pair.lower, pair.lowerValue, pair.upper, pair.upperValue)
		}
	}
	return nil
}

// watermarksOf returns those of a listener, nil where they are the engine's. Of those
// for the queue, the ones not given follow the others, as the engine's do.
func (c *config) watermarksOf(o *ListenOptions) (*watermarks, error) {
	if o.HighWater == 0 && o.LowWater == 0 && o.MaxQueued == 0 && o.MaxUnread == 0 {
		return nil, nil
	}
	w := c.marks
	if o.MaxQueued > 0 {
		w.high = min(w.high, o.MaxQueued/2)
	}
	for _, f := range []struct {
		name  string
		value int
		to    *int
	}{
		{"HighWater", o.HighWater, &w.high},
		{"LowWater", o.LowWater, &w.low},
		{"MaxQueued", o.MaxQueued, &w.queued},
		{"MaxUnread", o.MaxUnread, &w.unread},
	} {
		if f.value < 0 {
			return nil, fmt.Errorf("ListenOptions.%s is %d: it cannot be negative; 0 chooses the engine's", f.name, f.value)
		}
		if f.value > 0 {
			*f.to = f.value
		}
	}
	if o.HighWater == 0 {
		w.high = max(w.high, o.LowWater)
	}
	if o.LowWater == 0 {
		w.low = min(w.low, w.high/2)
	}
	if o.MaxQueued == 0 {
		w.queued = max(w.queued, twice(w.high))
	}
	return &w, w.agree("ListenOptions")
}

// marks returns those that the connection has.
func (c *Conn) marks() *watermarks {
	if own := c.origin.marks; own != nil {
		return own
	}
	return &c.loop.cfg.marks
}
