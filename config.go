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

// check refuses what is none of the choices; field is where it was set.
func (c Choice) check(field string) error {
	if c > No {
		return fmt.Errorf("%s is %d: choose epi.Auto, epi.Yes or epi.No", field, c)
	}
	return nil
}

func (c Choice) or(auto bool) bool { return c == Yes || c == Auto && auto }

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

// knobs are bounds that no program sets, with the values of the constants below. A
// simulation makes them tiny.
type knobs struct {
	sendBudget, maxSend, maxVector, leastDirect int
	sealBudget, maxHandshakeInput, slots        int
	beginSplicing, keepSplicing, pipeSize       int
	visitBudget, workerRead                     int
	imbalance                                   int64
}

const (
	// maxSend bounds one send, so that the raw system call does not hold up
	// the garbage collector for long.
	maxSend = 256 << 10
	// sendBudget bounds what one connection sends in one turn.
	sendBudget = 1 << 20
	// leastDirect is the length from which a write is worth a system call of its own:
	// it is sent while it is in the cache, and not copied.
	leastDirect = 16 << 10
	// sealBudget bounds the plain bytes that are encrypted before they are sent.
	sealBudget = 64 << 10
	// maxHandshakeInput is how much of what has arrived waits for a handshake at most,
	// which takes it record by record. Beyond it the connection is not read from.
	maxHandshakeInput = 32 << 10
	// slotsPerCPU bounds the handshakes that compute at once. More would gain
	// nothing, and the loops would have to share the CPUs with all of them.
	slotsPerCPU = 4
	// beginSplicing is the size of a piece after which the next ones go through pipes,
	// and keepSplicing that below which they do not any more. Messages of 16 KiB cost
	// the same either way, of 32 KiB less when they are copied, since after each
	// the socket is asked in vain for more, and of 64 KiB less when they are
	// spliced (measured here). A stream comes in pieces of all sizes: it is not to
	// change its way at each.
	beginSplicing = 48 << 10
	keepSplicing  = 16 << 10
	// visitBudget bounds the members of groups that the tasks of one turn visit.
	visitBudget = 1 << 16
	// workerRead is the size of a worker's reads, the same as a loop's: 64 KiB, and
	// some more, so that a short read shows that nothing is left.
	workerRead = 64<<10 + 4<<10
	// imbalance is how many connections more than a lighter loop a loop may have
	// before it gives new ones away.
	imbalance = 8
)

func defaultKnobs() knobs {
	return knobs{
		sendBudget: sendBudget, maxSend: maxSend, maxVector: sock.MaxVectors, leastDirect: leastDirect,
		sealBudget: sealBudget, maxHandshakeInput: maxHandshakeInput, slots: slotsPerCPU * runtime.GOMAXPROCS(0),
		beginSplicing: beginSplicing, keepSplicing: keepSplicing, pipeSize: driver.PipeSize,
		visitBudget: visitBudget, workerRead: workerRead, imbalance: imbalance,
	}
}

// choose picks the driver, its trigger and whether loops have threads.
func (c *config) choose(d Driver, t Trigger, lock Choice) error {
	if err := lock.check("epi: Engine.LockOSThread"); err != nil {
		return err
	}
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

// timeouts are what a connection's peer is given time for. 0 is no limit, but for linger
// and handshake, which have one. They do not change: who sets another one replaces
// them all.
type timeouts struct{ idle, read, write, message, linger, handshake time.Duration }

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
