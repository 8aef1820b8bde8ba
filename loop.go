package epi

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/epinet/epi/internal/buffer"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/wheel"
	"github.com/epinet/epi/poll"
)

// A Loop serves a share of an engine's connections from one goroutine.
type Loop struct {
	engine       *Engine
	cfg          *config
	id           int
	drv          driver.Driver
	lender       driver.Lender       // drv, where workers take sockets in hand; else nil
	direct       driver.DirectSender // drv, where the loop may send within Conn.Write; else nil
	scratch      scratch             // of the loop goroutine
	pipes        driver.Pipes        // likewise
	pool         buffer.Pool
	packetQueues packetQueues
	count        counters
	lag          lagMeter
	notebook     atomic.Pointer[notebook] // of the engine's tap; nil while there is none
	looks        lookMeter                // of the loop goroutine
	thread       atomic.Int64             // the thread that runs nothing but the loop; 0 while there is none
	watch        watch
	refusals     spate

	// live counts connections from their acceptance or Dial to the end of
	// OnClose, and packet sockets likewise. The loop does not end before it is 0.
	// Other loops write it; it is apart from what this one reads in every turn.
	_    cpu.CacheLinePad
	live atomic.Int64
	_    cpu.CacheLinePad
	// work says which of the queues below have something in them, so that a
	// phase without work takes no lock. Set under mu.
	work atomic.Uint32
	// nextTimer is the earliest deadline, math.MaxInt64 when there is none.
	// Set under mu.
	nextTimer atomic.Int64
	// groupTasks counts the tasks of groups that wait.
	groupTasks atomic.Int64

	mu        mutex
	tasks     []func()              // guarded by mu; tasks[:firstTask] were taken
	firstTask int                   // guarded by mu
	dirty     turnList[*Conn]       // connections whose turn it is
	concluded turnList[*Conn]       // connections to be closed
	packets   turnList[*PacketConn] // packet sockets whose turn it is
	wheel     wheel.Wheel           // guarded by mu
	passings  map[*Conn][]*Conn     // guarded by mu; connections that Pipe was given, and where to
	deadlines int                   // guarded by mu; timers in the wheel that are about peers
	asleep    bool                  // guarded by mu; somebody must wake the loop
	stopped   bool                  // guarded by mu; the loop takes no more tasks
	done      chan struct{}         // closed with stopped

	// waking guards freed: wakers read-lock it and free locks it, since a waker may
	// come after the driver was freed.
	waking sync.RWMutex
	freed  bool // guarded by waking

	// Of the loop goroutine.
	batch            []func()                 // tasks of this turn
	visited          int                      // members of groups that they visited
	memberships      map[*Conn]*membership    // of the connections that are in groups
	packetConns      map[*PacketConn]struct{} // packet sockets that are open
	concludedPackets []*PacketConn            // and those that this turn closes
	listening        int                      // listening sockets that this loop watches
	turning          bool                     // a turn is under way, or was broken off
	attempts         int                      // sockets that take part in a race, or have lost it and are not closed yet
	draining         bool                     // the engine is shutting down
	aborted          bool                     // and its drain timeout is over
	unwatched        throttle                 // the driver cannot open connections
	owesYield        bool                     // handshakes were given something to do, and the loop has not made way for them
	quietSince       int64                    // when the loop last ran out of work; 0 while it has some
}

// A mutex is a sync.Mutex whose steps can be seen. What happens between two of
// them, others find done as a whole or not at all, so whoever decides who goes on
// at each step can try all orders.
type mutex struct {
	sync.Mutex
	step func() // before locking and after unlocking; nil but in tests
}

func (m *mutex) Lock() {
	if m.step != nil {
		m.step()
	}
	m.Mutex.Lock()
}

func (m *mutex) Unlock() {
	m.Mutex.Unlock()
	if m.step != nil {
		m.step()
	}
}

// bits of Loop.work.
const (
	hasTasks uint32 = 1 << iota
	hasDirty
	hasConcluded
	hasPackets
)

// A scratch is what one goroutine needs to move bytes.
type scratch struct {
	buf  []byte   // workers: room for one read
	vec  [][]byte // the buffers of one send
	turn *Conn    // whose callbacks may run now
}

// drop ends the turn under way, whose callback has ended the goroutine, and asks
// for another.
func (s *scratch) drop() {
	if c := s.turn; c != nil {
		s.turn = nil
		c.loop.enqueue(c)
	}
}

// counters are what one loop counts besides its driver. They are added to by
// whoever does the work and may be read at any time.
type counters struct {
	turns         atomic.Uint64
	sleeps        atomic.Uint64
	wakes         atomic.Uint64
	tasks         atomic.Uint64
	tasksRefused  atomic.Uint64
	timers        atomic.Uint64
	panics        atomic.Uint64
	accepted      atomic.Uint64
	acceptErrors  atomic.Uint64
	shed          atomic.Uint64
	shedPerIP     atomic.Uint64
	shedUnknown   atomic.Uint64
	closed        atomic.Uint64
	bytesIn       atomic.Uint64
	bytesOut      atomic.Uint64
	queueFull     atomic.Uint64
	stalls        atomic.Uint64
	handshakes    atomic.Uint64
	handshakesCut atomic.Uint64
	refused       atomic.Uint64
	detached      atomic.Uint64
	held          atomic.Int64
	causes        causeCounters

	packetsIn      atomic.Uint64
	packetsOut     atomic.Uint64
	packetsDropped atomic.Uint64
	packetErrors   atomic.Uint64
	packetsCrowded atomic.Uint64
}

func newLoop(e *Engine, id int) (*Loop, error) {
	drv, err := e.cfg.NewDriver(driver.Config{
		Backend:      e.cfg.backend,
		Trigger:      e.cfg.trigger,
		Lend:         e.cfg.workers > 0,
		ReadBudget:   e.cfg.readBudget,
		AcceptBudget: e.cfg.acceptBudget,
		MaxEvents:    e.cfg.maxEvents,
		BufferPool:   e.cfg.bufferPool,
		MaxDatagram:  e.cfg.maxDatagram,
		PacketBatch:  e.cfg.packetBatch,
		Shared:       e.shared,
	})
	if err != nil {
		return nil, err
	}
	l := &Loop{engine: e, cfg: e.cfg, id: id, drv: drv, packetConns: map[*PacketConn]struct{}{}, passings: map[*Conn][]*Conn{}, done: make(chan struct{})}
	if e.cfg.workers > 0 {
		l.lender = drv.(driver.Lender)
	}
	if e.cfg.workers == 0 {
		l.pipes.Splicer, _ = drv.(driver.Splicer)
	}
	if e.cfg.lockThread && e.cfg.workers == 0 {
		l.direct, _ = drv.(driver.DirectSender)
	}
	switch e.cfg.backend {
	case poll.BackendSelect, poll.BackendPoll, poll.BackendEpoll:
		l.looks.costs = true
	}
	l.dirty.bit, l.concluded.bit, l.packets.bit = hasDirty, hasConcluded, hasPackets
	l.scratch.vec = make([][]byte, 0, e.cfg.maxVector)
	l.nextTimer.Store(math.MaxInt64)
	now := l.cfg.Clock()
	l.wheel.Advance(now)
	l.watch.looked.Store(now)
	l.watch.judged.Store(now)
	if d, ok := drv.(driver.Delayed); ok {
		l.watch.delay = int64(d.Delay())
	}
	return l, nil
}

// Index returns the loop's number, with which Engine.Loop returns it: from 0 to
// one less than the engine has loops (len(Stats.Loops)). It may be called from any
// goroutine.
//
// It is for state that each loop has for itself, such as a slice with an element
// for each loop: only callbacks of its connections, tasks and timers run on a
// loop, one at a time, so such state needs no lock. With Engine.Workers the
// callbacks of connections run elsewhere, and it does.
func (l *Loop) Index() int { return l.id }

// run serves. When a callback ends its goroutine, start begins another that goes
// on where this one was.
func (l *Loop) run(start func(func()), fail func(error)) {
	if l.cfg.lockThread {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	if l.direct != nil {
		l.thread.Store(l.direct.Thread())
		defer l.thread.Store(0)
	}
	if l.cfg.backend == driver.Uring {
		// Its ring belongs to this thread. But a goroutine that is ending runs its
		// deferred functions, and the loop can go on in one of them.
		start = func(again func()) { again() }
	}
	outlive(func() {
		if err := l.serve(); err != nil {
			fail(err)
		}
	}, func() {
		l.scratch.drop()
		start(func() { l.run(start, fail) })
	})
}

// isCaller reports whether the caller is the loop, and with it the holder of its
// connections. It is always false where the loop has no thread of its own.
func (l *Loop) isCaller() bool {
	return l.direct != nil && l.thread.Load() == l.direct.Thread()
}

// outlive calls run, and then again if run did not return because a callback has
// ended the goroutine (runtime.Goexit).
func outlive(run, again func()) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			panic(v) // a fault of the engine: those of callbacks do not get here
		}
		again()
	}()
	run()
	returned = true
}

// phases are what a turn does behind the wait.
var phases = [...]func(*Loop){
	PhaseDispatch: func(l *Loop) { l.drv.Dispatch() },
	PhaseTasks:    (*Loop).runTasks,
	PhaseTimers:   (*Loop).runTimers,
	PhaseFlush:    (*Loop).flush,
	PhaseClose:    (*Loop).close,
}

// serve is the loop: its phases, in order, until the engine has shut down and
// everything is closed. Each phase finds what it has not done yet, also when the
// turn was broken off.
func (l *Loop) serve() error {
	l.lag.begin(l.cfg.Clock())
	for {
		if !l.turning {
			if err := l.wait(); err != nil {
				return fmt.Errorf("epi: loop %d: %w", l.id, err)
			}
		}
		l.turning = true
		if n := l.notebook.Load(); n == nil {
			for _, phase := range phases[PhaseDispatch:] {
				phase(l)
			}
		} else {
			l.runNoted(n)
		}
		l.turning = false
		l.count.turns.Add(1)
		l.lag.end(l.cfg.Clock())
		if l.ended() {
			return nil
		}
	}
}

// runNoted is what serve does behind the wait, with looks at the clock in between. When
// a callback breaks it off, the time until the next run is that of its phase.
func (l *Loop) runNoted(n *notebook) {
	for p := PhaseDispatch; p < phaseCount; p++ {
		if !l.idle(p) {
			n.enter(p)
		}
		phases[p](l)
	}
	n.enter(PhaseWait)
	n.note(l.tally())
}

func (l *Loop) tally() tally {
	return tally{l.drv.Counters().Events.Load(), l.count.tasks.Load(), l.count.timers.Load()}
}

// idle reports whether a phase has nothing to do, so that no time need be taken.
func (l *Loop) idle(p Phase) bool {
	switch p {
	case PhaseTasks:
		return l.work.Load()&hasTasks == 0
	case PhaseTimers:
		return l.nextTimer.Load() == math.MaxInt64
	case PhaseClose:
		return l.work.Load()&hasConcluded == 0
	}
	return false
}

// wait looks for events, which is a cheap call, and sleeps only when there are
// none and no other work either. Where looks have found nothing for a while it
// sleeps without one.
func (l *Loop) wait() error {
	if l.looks.inVain() && l.work.Load() == 0 && !l.owesYield && l.cfg.wait.spin == 0 {
		return l.sleep()
	}
	l.watch.look(l.lag.began)
	n, err := l.drv.Wait(0)
	l.watch.brought(n, l.cfg.maxEvents, l.sockets())
	if err != nil || n > 0 || l.work.Load() != 0 {
		l.quietSince = 0
		return err
	}
	if l.owesYield || l.keepSpinning() {
		l.owesYield = false
		runtime.Gosched()
		return nil
	}
	l.looks.found(false)
	return l.sleep()
}

// sockets returns how many the loop watches at most, including the one of Wake.
func (l *Loop) sockets() int64 { return l.live.Load() + int64(l.listening+l.attempts) + 1 }

// A lookMeter says whether it pays to look for events before sleeping for them.
// The look is a call that does not sleep, so it bypasses Go's scheduler; where
// messages are few it finds nothing, and is made in vain each time.
type lookMeter struct {
	costs bool // a look is a system call
	vain  int  // looks in a row that found nothing
}

const (
	// looksInVain is how many looks may find nothing before they are left out.
	looksInVain = 16
	// shortSleep is what the call takes that sleeps when it need not, because
	// there are events already.
	shortSleep = 3 * time.Microsecond
)

func (m *lookMeter) inVain() bool { return m.costs && m.vain >= looksInVain }

// found notes what a look has found, or would have.
func (m *lookMeter) found(any bool) {
	if any {
		m.vain = 0
		return
	}
	m.vain++
}

func (l *Loop) keepSpinning() bool {
	spin := l.cfg.wait.spin
	if spin == 0 || spin == spinForever {
		return spin != 0
	}
	now := l.cfg.Clock()
	if l.quietSince == 0 {
		l.quietSince = now
	}
	return now-l.quietSince < int64(spin)
}

// sleep waits for events, tasks or the next timer. Whoever gives the loop work
// from now on finds it asleep and wakes it.
func (l *Loop) sleep() error {
	l.mu.Lock()
	if l.work.Load() != 0 {
		l.mu.Unlock()
		return nil
	}
	l.asleep = true
	timeout := l.untilTimer()
	l.mu.Unlock()

	l.count.sleeps.Add(1)
	l.watch.look(l.lag.began) // where it did not before
	l.watch.asleep.Store(true)
	n, err := l.drv.Wait(timeout)
	if slept := l.lag.begin(l.cfg.Clock()); slept < int64(shortSleep) {
		l.looks.found(true)
	}
	l.watch.woke(l.lag.began, timeout)
	l.watch.brought(n, l.cfg.maxEvents, l.sockets())

	l.mu.Lock()
	l.asleep = false
	l.mu.Unlock()
	return err
}

// untilTimer returns how long the loop may sleep. The caller holds mu.
func (l *Loop) untilTimer() time.Duration {
	timeout := time.Duration(-1)
	if l.cfg.wait.sleep > 0 {
		timeout = l.cfg.wait.sleep
	}
	next := l.nextTimer.Load()
	if next == math.MaxInt64 {
		return timeout
	}
	left := max(0, time.Duration(next-l.cfg.Clock()))
	if l.deadlines > 0 {
		left = min(left, l.cfg.longestSleep)
	}
	if timeout < 0 || left < timeout {
		return left
	}
	return timeout
}

// give marks work and reports whether the loop must be woken. The caller holds
// mu and calls wake after releasing it.
func (l *Loop) give(bit uint32) (sleeping bool) {
	l.work.Or(bit)
	sleeping = l.asleep
	l.asleep = false
	return sleeping
}

// wake makes the loop look at its queues. The loop may have seen to them by
// itself, and ended, by now.
func (l *Loop) wake() {
	l.waking.RLock()
	defer l.waking.RUnlock()
	if l.freed {
		return
	}
	l.count.wakes.Add(1)
	if err := l.drv.Wake(); err != nil {
		l.cfg.log.Error("waking a loop failed", "loop", l.id, "error", err)
	}
}

// free gives back what the driver holds, its descriptors above all: nobody may
// use their numbers from now on.
func (l *Loop) free() error {
	l.mu.Lock()
	l.stop()
	l.mu.Unlock()
	l.waking.Lock()
	defer l.waking.Unlock()
	l.freed = true
	l.pipes.Release()
	return l.drv.Release()
}

// Do runs fn on the loop's goroutine, soon and after the tasks given before by
// the same caller. It may be called from any goroutine and never runs fn
// itself. Tasks given before Engine.Run wait for it. The errors are ErrShutdown
// and ErrTooManyTasks.
func (l *Loop) Do(fn func()) error { return l.post(fn, l.cfg.maxTasks) }

// unbounded is no bound: the engine's own tasks are few.
const unbounded = math.MaxInt

// post is Do with another bound; the engine's own tasks have none, because
// there are no more of them than connections and listeners.
func (l *Loop) post(fn func(), bound int) error {
	sleeping, err := l.submit(fn, bound)
	if sleeping {
		l.wake()
	}
	return err
}

// submit is post, but for waking the loop, which the caller has to do if it
// sleeps.
func (l *Loop) submit(fn func(), bound int) (sleeping bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false, ErrShutdown
	}
	if len(l.tasks)-l.firstTask >= bound {
		return false, l.refuseTask(bound)
	}
	l.tasks = append(l.tasks, fn)
	return l.give(hasTasks), nil
}

func (l *Loop) refuseTask(bound int) error {
	l.count.tasksRefused.Add(1)
	return fmt.Errorf("%w: %d", ErrTooManyTasks, bound)
}

// runTasks runs what was posted before the phase began, at most the budgets.
func (l *Loop) runTasks() {
	if l.work.Load()&hasTasks == 0 {
		return
	}
	l.takeTasks()
	ran := 0
	defer func() { l.returnTasks(ran) }() // also when a task ends its goroutine
	for ran < len(l.batch) && l.visited < l.cfg.visitBudget {
		fn := l.batch[ran]
		ran++
		l.guard("task", fn)
	}
}

// takeTasks fills the batch of this turn.
func (l *Loop) takeTasks() {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := min(len(l.tasks)-l.firstTask, l.cfg.taskBudget)
	waiting := l.tasks[l.firstTask:][:count]
	l.batch = append(l.batch[:0], waiting...)
	l.visited = 0
	clear(waiting)
	l.firstTask += count
}

// returnTasks puts those behind the first ran, which were not run, back to where
// they were.
func (l *Loop) returnTasks(ran int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.batch[ran:]
	l.firstTask -= len(rest)
	copy(l.tasks[l.firstTask:], rest)
	l.compactTasks()
	clear(l.batch)
	l.count.tasks.Add(uint64(ran))
}

// waitingTasks returns the number of tasks that wait for their turn.
func (l *Loop) waitingTasks() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tasks) - l.firstTask
}

// compactTasks frees the room of tasks that were taken, so that the queue does
// not grow while it is never empty. The caller holds mu.
func (l *Loop) compactTasks() {
	left := len(l.tasks) - l.firstTask
	if left == 0 {
		l.work.And(^hasTasks)
	}
	if left > l.firstTask {
		return
	}
	copy(l.tasks, l.tasks[l.firstTask:])
	clear(l.tasks[left:])
	l.tasks = l.tasks[:left]
	l.firstTask = 0
}

// guard runs a task or timer; its panic ends nothing but itself.
func (l *Loop) guard(what string, fn func()) {
	returned := false
	defer func() {
		if !returned {
			l.panicked(what, recover())
		}
	}()
	fn()
	returned = true
}

// panicked counts and logs a callback that did not return. Without a value it has
// ended its goroutine.
func (l *Loop) panicked(what string, v any) *PanicError {
	if v == nil {
		v = ErrGoexit
	}
	l.count.panics.Add(1)
	stack := debug.Stack()
	l.cfg.log.Error("callback panicked", "in", what, "loop", l.id, "value", v, "stack", string(stack))
	return &PanicError{Value: v, Stack: stack}
}

// enqueue gives connections their turns: on the loop in the next flush phase, or
// by workers.
func (l *Loop) enqueue(conns ...*Conn) {
	if l.engine.workers != nil {
		for _, c := range conns {
			l.engine.workers.push(c)
		}
		return
	}
	l.dirty.put(l, conns...)
}

// A turnList is connections, or packet sockets, that wait for a phase of the
// loop.
type turnList[T any] struct {
	bit     uint32 // of Loop.work
	waiting []T    // guarded by Loop.mu
	batch   []T    // the loop's; those of this iteration: batch[:next] were served
	next    int    // the loop's
}

// put adds to the list, which is of l, and wakes the loop if it sleeps.
func (list *turnList[T]) put(l *Loop, conns ...T) {
	if len(conns) == 0 {
		return
	}
	l.mu.Lock()
	list.waiting = append(list.waiting, conns...)
	sleeping := l.give(list.bit)
	l.mu.Unlock()
	if sleeping {
		l.wake()
	}
}

// each serves the connections that are on a list now. Those that are put on it
// meanwhile wait for the next turn.
func (list *turnList[T]) each(l *Loop, serve func(T)) {
	if list.next == len(list.batch) {
		if l.work.Load()&list.bit == 0 {
			return
		}
		l.mu.Lock()
		list.batch, list.waiting, list.next = list.waiting, list.batch[:0], 0
		l.work.And(^list.bit)
		l.mu.Unlock()
	}
	for list.next < len(list.batch) {
		c := list.batch[list.next]
		list.next++
		serve(c)
	}
	clear(list.batch)
}

// flush is the flush phase: each connection that has something to send,
// or any other thing to do, gets its turn, and so does each packet socket.
func (l *Loop) flush() {
	l.dirty.each(l, func(c *Conn) { c.turn(&l.scratch) })
	l.packets.each(l, (*PacketConn).turn)
}

// close is the last phase, the only one that closes descriptors: no
// event that was reported before can meet a number that is used again.
func (l *Loop) close() {
	l.concluded.each(l, func(c *Conn) {
		l.leaveGroups(c)
		c.closeSocket()
	})
	for i, c := range l.concludedPackets {
		l.concludedPackets[i] = nil
		c.closeSocket()
	}
	l.concludedPackets = l.concludedPackets[:0]
}

// conns returns the connections of the loop. Loop only.
func (l *Loop) conns() (conns []*Conn) {
	l.drv.Sockets(func(s driver.Stream) {
		if own, ok := s.(*stream); ok {
			conns = append(conns, (*Conn)(own))
		}
	})
	return conns
}

// connOf returns the connection that s is part of: as its socket, or as one of the
// attempts to get one.
func connOf(s driver.Stream) *Conn {
	if own, ok := s.(*stream); ok {
		return (*Conn)(own)
	}
	return s.(contender).dialled()
}

// A contender is a socket that may become that of a dialled connection.
type contender interface{ dialled() *Conn }

// drain closes every connection in order. New ones are closed as they come.
func (l *Loop) drain() {
	l.draining = true
	l.drv.Sockets(func(s driver.Stream) { connOf(s).closeForShutdown() })
	for c := range l.packetConns {
		_ = c.end(ErrShutdown)
	}
}

// abort ends what drain did not within its time. A Dial that has no socket at
// this moment, because it is to try again, finds out by itself.
func (l *Loop) abort() {
	l.aborted = true
	l.drv.Sockets(func(s driver.Stream) {
		_, own := s.(*stream)
		if c := connOf(s); own || c.state.Load()&(opening|aborting) == opening {
			l.abortConn(c)
		}
	})
	for c := range l.packetConns {
		l.engine.undrained.Add(1)
		c.abort(ErrShutdown)
	}
}

func (l *Loop) abortConn(c *Conn) {
	l.engine.undrained.Add(1)
	_ = c.end(aborting|resetting, ErrShutdown)
}

// ended reports whether the loop may stop, and lets nothing in from then on.
func (l *Loop) ended() bool {
	if !l.draining || l.live.Load() > 0 || l.listening > 0 || l.attempts > 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.work.Load() == 0 {
		l.stop()
	}
	return l.stopped
}

// stop lets nothing in any more. The caller holds mu.
func (l *Loop) stop() {
	if !l.stopped {
		l.stopped = true
		close(l.done)
	}
}

// Done is closed when the loop has ended, as it does when its engine is shut down:
// no task and no timer runs any more.
func (l *Loop) Done() <-chan struct{} { return l.done }

// retire uncounts a connection, or packet socket, after OnClose.
func (l *Loop) retire() {
	live := l.live.Add(-1)
	must(live >= 0, "a connection is retired twice")
	if live == 0 && l.engine.stopping.Load() {
		// The loop may be asleep and has nothing else to wait for. It cannot
		// be stopped: this connection kept it alive.
		_ = l.post(func() {}, unbounded)
	}
}
