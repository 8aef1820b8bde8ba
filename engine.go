package epi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/seam"
	"github.com/epinet/epi/internal/sock"
)

// An Engine serves connections on a fixed number of loops. The zero value
// works: set the fields before the first call of a method and not afterwards.
// Of every number and duration, 0 chooses the default, and of every bound and
// timeout the largest value (math.MaxInt, math.MaxInt64) is no limit. Loops and
// Workers are no bounds: so many are made at once.
//
// Timeouts about peers count the time in which the loops look at their sockets
// ([Loop.Watched]): nobody is given up for a time in which the program was stopped
// or a callback held it up.
//
// The first Listen, Dial or Loop opens the descriptors that the loops need;
// they are freed when Run returns, so every engine should be Run.
type Engine struct {
	// Loops is the number of event loops, each with one goroutine. Default:
	// one per CPU that the process may use (GOMAXPROCS). More of them than
	// GOMAXPROCS wait for each other. One processor more than loops, set by
	// runtime.GOMAXPROCS or the environment, saves CPU time where messages are
	// few, also on a single CPU.
	Loops int
	// Workers, when positive, is the number of goroutines that run the
	// handlers instead of the loops, so that these may block. Each connection
	// is with one worker at a time. Default: 0, callbacks on the loop.
	Workers int
	// Driver is how I/O is done. Default: the best that the system has.
	Driver Driver
	// Trigger is how the poller is asked. Default: edge on epoll, else level.
	// Workers always use one-shot.
	Trigger Trigger
	// Wait is what loops do without work. Default: Block.
	Wait WaitPolicy
	// LockOSThread ties each loop to an operating-system thread of its own:
	// less switching for the loops, more for other goroutines. Default: yes
	// while the loops run the callbacks and do not spin, and always with
	// io_uring, whose rings belong to threads.
	LockOSThread Choice
	// ReusePort gives each loop a listening socket of its own (SO_REUSEPORT),
	// over which the kernel spreads connections. It also lets another process
	// of the same user listen on the same port. Default: one socket for all
	// loops; one of them is woken for each connection.
	ReusePort bool

	// MaxConns bounds the open connections; more are accepted and closed at
	// once (Stats.Shed). Default: the limit of open files.
	MaxConns int
	// MaxConnsPerIP bounds the open connections that one client has made, all
	// listeners together. A client is one IPv4 address, or one IPv6 network of 64
	// bits. More are accepted and closed at once (Stats.ShedPerIP). Behind a PROXY
	// header it is the address that this says, and the connection is refused when
	// it has come (ErrTooManyPerIP); connections that proxies make for themselves
	// are not counted. Nor are those of Unix sockets, which have no address.
	// Default: no bound.
	MaxConnsPerIP int
	// ReadBudget bounds the bytes read from one connection in one turn; the
	// rest waits for the next. What Pipe moves without a copy counts as a quarter.
	// Default: 256 KiB.
	ReadBudget int
	// HighWater is the number of queued bytes above which a connection is not
	// read from until its queue has fallen to LowWater. A write that was refused
	// (MaxQueued) has the same effect. Default: 256 KiB, at most half of MaxQueued.
	HighWater int
	// LowWater is the queue length at which reading resumes; see HighWater. Default: 64 KiB, at most half of HighWater.
	LowWater int
	// MaxQueued bounds the queued bytes of one connection: a write that would
	// exceed it fails with ErrQueueFull (Stats.QueueFull). What TLS adds to the 64 KiB
	// that are encrypted ahead, less than 2 KiB, may come on top. Default: 16 MiB, at
	// least twice HighWater.
	MaxQueued int
	// CloseOnFull resets a connection whose queue is full, with that cause,
	// besides failing the write. Default: false.
	CloseOnFull bool
	// MaxUnread bounds the bytes that a handler leaves unread; more close the
	// connection with ErrUnreadFull. Default: 1 MiB.
	MaxUnread int
	// MaxMemory bounds the bytes that all connections hold together, queued, unread
	// or with handlers that say so by Conn.Hold (Stats.Held): above it those that hold
	// most are reset (ErrMemory), until the rest is not too much. A connection is
	// looked at when its turn has ended, so more may be held for a moment. Package ws
	// counts the parts of messages so. Not counted are tasks (MaxTasks), timers
	// (Stats.TimersWaiting, which have no bound), datagrams (PacketQueue for each
	// socket), PacketSessions (their Max), TLS handshakes (MaxHandshakes), and what
	// handlers keep without a word. Default: no limit.
	MaxMemory int
	// AcceptBudget bounds the connections that one loop accepts from one
	// listener in one turn. Default: 64.
	AcceptBudget int
	// MaxEvents bounds the events of one wait; 65,536 is the most. Default: 256.
	MaxEvents int
	// BufferPool is the number of bytes of each loop that the kernel receives
	// into, for all its connections (the uring driver only). It is rounded down
	// to a power of two, at least 128 KiB. Default: 512 KiB.
	BufferPool int
	// MaxDatagram bounds the bytes of one datagram: longer ones that arrive are
	// dropped (Stats.PacketsDropped), and WriteTo refuses them with
	// ErrPacketTooLong. 1 MiB is the most. Default: 64 KiB, more than UDP can
	// carry.
	MaxDatagram int
	// PacketBatch bounds what one socket for datagrams receives in one turn: so
	// many datagrams, or, where the kernel hands over those of one sender
	// together (UDP_GRO), so many times 64 KiB of them. Each loop that has such
	// sockets holds room for one batch. 1,024 is the most. Default: 32.
	PacketBatch int
	// PacketQueue bounds the bytes of the datagrams that wait to be sent by one
	// socket, each counted with 128 bytes besides: one that would exceed it is
	// dropped, with ErrQueueFull (Stats.PacketsDropped). A Unix peer that
	// does not read may hold at most a quarter of it, and all such peers together
	// three quarters; the rest is dropped, too.
	// Default: 4 MiB.
	PacketQueue int
	// TaskBudget bounds the tasks run in one turn. Default: 1,024.
	TaskBudget int
	// MaxTasks bounds the tasks that wait for one loop; Loop.Do refuses more
	// with ErrTooManyTasks. Default: 1,048,576.
	MaxTasks int

	// IdleTimeout closes a connection (ErrIdle) on which no bytes moved for so
	// long: nothing arrived, and the peer's host acknowledged nothing. A connection
	// that the program has paused is not idle; after Resume the time begins anew.
	// Where bytes are on their way that are never acknowledged it can take twice
	// as long. Default: none.
	IdleTimeout time.Duration
	// ReadTimeout closes a connection (ErrReadTimeout) from which nothing arrived
	// for so long, whatever is sent to it. Time in which it is not read from,
	// because of Pause or HighWater, does not count. Default: none.
	ReadTimeout time.Duration
	// WriteTimeout resets a connection (ErrWriteStalled) whose peer has taken
	// none of the queued bytes for so long. Default: none.
	WriteTimeout time.Duration
	// MessageTimeout closes a connection (ErrUnfinished) whose peer has begun a
	// message and not finished it for so long: bytes that OnData leaves unread
	// without consuming any, a TLS record, and what Conn.MessagePending reports.
	// Time in which it is not read from does not count. Default: none.
	MessageTimeout time.Duration
	// Linger bounds how long Close tries to deliver what is queued while the
	// peer takes nothing of it. Default: 5 s.
	Linger time.Duration
	// LeastRate is how many bytes a second the peer of a connection that is closing
	// must take, on the average of the time behind the first Linger; else it is
	// reset (ErrLinger). So one that takes a byte now and then cannot hold for ever
	// what is queued for it. 1 is practically no limit. Default: 16 KiB.
	LeastRate int
	// DrainTimeout bounds how long Run waits for connections to close once its
	// context has ended. Default: 10 s.
	DrainTimeout time.Duration

	// TLS is the default configuration for tls:// listeners and dials;
	// ListenOptions.TLS and DialOptions.TLS override it. It must not be changed
	// once the engine has it; [Certificate] is for certificates that change.
	// Default: none, and dialling trusts what the system trusts.
	TLS *tls.Config
	// MaxHandshakes bounds the TLS handshakes under way; each has a goroutine and
	// about 31 KiB. One is under way when the client has sent its
	// ClientHello as a whole. More wait for their turn; when one has waited for
	// its client for a fifth of HandshakeTimeout, it gives way to another
	// (Stats.HandshakesCut). Default: 4,096.
	MaxHandshakes int
	// MaxHandshakesPerIP bounds the handshakes of one client address, or of one
	// IPv6 network of 64 bits: another is refused (ErrTooManyHandshakes).
	// With a PROXY header the address is the one in it. Default: no bound, as
	// many clients may share an address.
	MaxHandshakesPerIP int
	// HandshakeTimeout bounds the time for a PROXY header and the TLS handshake
	// (ErrHandshakeTimeout), waiting because of MaxHandshakes included.
	// Default: 10 s.
	HandshakeTimeout time.Duration

	// Logger receives log records, at these levels:
	//
	//	Error  a fault of the program or of the system: a panic in a callback,
	//	       with its stack; a system call that must not fail and did
	//	Warn   resources lacking: connections are shed, accepting pauses
	//	Info   the life of listeners; peers that are refused, and why
	//	Debug  connections opening, and closing with the cause
	//
	// Warnings that could repeat without end are logged once, or rate-limited; what
	// a peer can cause at Info, at most ten times in ten seconds. Stats counts all
	// of it. Default: slog.Default().
	Logger *slog.Logger

	once     sync.Once
	startErr error
	cfg      *config
	loops    []*Loop
	workers  *workerPool // nil when callbacks run on the loops
	shared   *driver.Shared
	context  context.Context // ends when the engine begins to drain
	cancel   context.CancelFunc

	undrained atomic.Int64 // connections that did not drain in time
	stopping  atomic.Bool

	// All loops write this for each connection. It is apart from what they read
	// for each message.
	_         cpu.CacheLinePad
	admission admission
	_         cpu.CacheLinePad

	handshakes handshakes
	memory     memory // fixed when the loops are made, but for its own atomics

	mu        sync.Mutex
	phase     phase       // guarded by mu
	tap       *Tap        // guarded by mu; nil while nobody looks
	listeners []io.Closer // guarded by mu
}

// A phase of an Engine's life.
type phase uint8

const (
	fresh phase = iota
	running
	over
)

const (
	// abortGrace is how long Run waits, after it has aborted what did not
	// drain, for callbacks to return.
	abortGrace = time.Second
)

// start makes the loops, once.
func (e *Engine) start() error {
	e.once.Do(func() { e.startErr = e.makeLoops() })
	return e.startErr
}

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

// twice is 2n, or no limit where that is more than an int can be.
func twice(n int) int {
	if n > math.MaxInt/2 {
		return math.MaxInt
	}
	return 2 * n
}

// setLongestSleep sets how long a loop may sleep while something about peers is
// due, so that a time in which the program is stopped does not pass unnoticed as a
// part of its sleep.
func (c *config) setLongestSleep() {
	const part = 4 // of the shortest timeout
	shortest := min(c.timeouts.linger, c.timeouts.handshake)
	for _, d := range []time.Duration{c.timeouts.idle, c.timeouts.read, c.timeouts.write, c.timeouts.message} {
		if d > 0 {
			shortest = min(shortest, d)
		}
	}
	c.longestSleep = max(shortest/part, time.Duration(blink))
}

func (e *Engine) makeLoops() error {
	cfg, err := e.resolve()
	if err != nil {
		return err
	}
	return e.makeLoopsOf(cfg)
}

// makeLoopsOf makes the loops as cfg says.
func (e *Engine) makeLoopsOf(cfg *config) error {
	e.cfg = cfg
	startRuntimePoller()
	e.shared = driver.NewShared(cfg.backend)
	e.admission.most, e.admission.perIP.most = cfg.maxConns, cfg.maxConnsPerIP
	e.handshakes.init(cfg)
	e.context, e.cancel = context.WithCancel(context.Background())
	if cfg.workers > 0 {
		e.workers = newWorkerPool(cfg)
	}
	for asked := cfg.maxEvents; ; {
		err := e.tryLoops()
		if err == nil {
			e.memory.limit, e.memory.loops = cfg.maxMemory, e.loops
			return nil
		}
		if !cfg.takeLess(err) {
			e.free()
			return fmt.Errorf("epi: %w", err)
		}
		if cfg.backend != driver.Uring {
			cfg.maxEvents = asked
		}
		cfg.log.Info("the loops are made with less", "driver", cfg.driverName(), "maxEvents", cfg.maxEvents, "error", err)
		time.Sleep(ringPause)
	}
}

// ringPause is how long the kernel may need to give back the memory of a ring that
// was closed: it does so in the background, within milliseconds.
const ringPause = 50 * time.Millisecond

// tryLoops makes the loops, or none.
func (e *Engine) tryLoops() error {
	for id := range e.cfg.loops {
		l, err := newLoop(e, id)
		if err != nil {
			e.freeLoops()
			e.loops = nil
			return fmt.Errorf("make loop %d of %d: %w", id+1, e.cfg.loops, err)
		}
		e.loops = append(e.loops, l)
	}
	return nil
}

// startRuntimePoller lets the Go runtime open the descriptors of its own poller,
// which it does for the first timer. When it gets to that with no descriptor
// left, it ends the program.
func startRuntimePoller() { time.AfterFunc(time.Hour, func() {}).Stop() }

// free gives back what makeLoops opened.
func (e *Engine) free() {
	e.freeLoops()
	e.shared.Close()
	e.cancel()
}

func (e *Engine) freeLoops() {
	for _, l := range e.loops {
		if err := l.free(); err != nil {
			e.cfg.log.Error("freeing a loop failed", "loop", l.id, "error", err)
		}
	}
}

// Run serves until ctx ends, then drains: listeners close, every connection is
// closed after what is queued for it was delivered, and Run returns when all
// OnClose calls have returned. After Engine.DrainTimeout it resets what is
// left and returns an error that wraps ErrDrainTimeout; callbacks that block
// may then still be running. An engine runs once.
//
// In profiles the loops' goroutines, and those that callbacks start, have the
// labels epi_loop, the loop's number, and epi_driver; workers have epi_worker.
func (e *Engine) Run(ctx context.Context) error {
	if err := e.start(); err != nil {
		return err
	}
	if err := e.advance(running); err != nil {
		return err
	}
	if ctx.Err() == nil {
		e.logStart()
	}
	if e.workers != nil {
		e.workers.start(e.cfg.workers)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, len(e.loops))
	fail := func(err error) { failed <- err; stop() }
	loops := seam.NewCrew(e.cfg.Spawn)
	for _, l := range e.loops {
		loops.Go(func() {
			pprof.Do(e.context, pprof.Labels(l.labels()...), func(context.Context) {
				l.run(loops.Go, fail)
			})
		})
	}
	e.cfg.Await(ctx.Done(), -1)
	err := e.drain(loops.Complete())
	select {
	case first := <-failed:
		return errors.Join(first, err)
	default:
		return err
	}
}

// logStart says what runs, and what GOMAXPROCS should be: while a loop sleeps in
// the kernel, Go's scheduler takes its processor back, for which it wakes a thread
// each time, unless another processor is free.
func (e *Engine) logStart() {
	procs := runtime.GOMAXPROCS(0)
	about := []any{"driver", e.cfg.driverName(), "loops", e.cfg.loops, "gomaxprocs", procs}
	if e.cfg.loops > procs {
		e.cfg.log.Warn("there are more loops than processors, so that they wait for each other: raise GOMAXPROCS, or lower Engine.Loops", about...)
		return
	}
	if e.cfg.loops == procs {
		about = append(about, "advice", fmt.Sprintf("GOMAXPROCS=%d takes less CPU time while messages are few", procs+1))
	}
	e.cfg.log.Info("serving", about...)
}

// labels are what profiles call the goroutine of the loop.
func (l *Loop) labels() []string {
	return []string{"epi_loop", strconv.Itoa(l.id), "epi_driver", l.cfg.driverName()}
}

// advance moves on to the next phase.
func (e *Engine) advance(to phase) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case to == running && e.phase == running:
		return ErrRunning
	case to == running && e.phase == over:
		return ErrShutdown
	}
	e.phase = to
	return nil
}

// drain ends the engine. ended is closed when all loops have.
func (e *Engine) drain(ended <-chan struct{}) error {
	e.stopping.Store(true)
	e.mu.Lock()
	e.phase = over
	listeners := slices.Clone(e.listeners)
	e.mu.Unlock()
	e.cancel()
	for _, ln := range listeners {
		_ = ln.Close()
	}
	e.postAll((*Loop).drain)

	if !e.waitFor(ended, e.cfg.drainTimeout) {
		e.postAll((*Loop).abort)
		if !e.waitFor(ended, abortGrace) {
			e.cfg.Spawn(func() { e.cfg.Await(ended, -1); e.finish() }) // when the callbacks return after all
			return fmt.Errorf("epi: %w: callbacks have not returned after %v", ErrDrainTimeout, e.cfg.drainTimeout+abortGrace)
		}
	}
	e.finish()
	if n := e.undrained.Load(); n > 0 {
		return fmt.Errorf("epi: %w: %d connections were reset after %v", ErrDrainTimeout, n, e.cfg.drainTimeout)
	}
	return nil
}

// finish ends the workers, and frees the loops, which have ended.
func (e *Engine) finish() {
	if e.workers != nil {
		e.workers.stop()
		e.cfg.Await(e.workers.crew.Complete(), -1)
	}
	e.waitFor(e.handshakes.running.Complete(), abortGrace) // a function of the tls.Config may block for longer
	e.free()
}

// postAll posts a step of the shutdown to all loops; those that have ended need none.
func (e *Engine) postAll(step func(*Loop)) {
	for _, l := range e.loops {
		_ = l.post(func() { step(l) }, unbounded)
	}
}

// waitFor waits for d at most and reports whether ended was closed. It waits in short
// steps: when one takes longer, the process was stopped, and the rest does not count.
func (e *Engine) waitFor(ended <-chan struct{}, d time.Duration) bool {
	step := time.Duration(blink)
	for begun := e.cfg.Clock(); ; {
		if e.cfg.Await(ended, min(d, step)) {
			return true
		}
		now := e.cfg.Clock()
		d -= min(time.Duration(now-begun), 2*step)
		if d <= 0 {
			return false
		}
		begun = now
	}
}

// Loop returns loop i of Engine.Loops, counted from 0, for tasks and timers
// that belong to no connection.
func (e *Engine) Loop(i int) (*Loop, error) {
	if err := e.start(); err != nil {
		return nil, err
	}
	if i < 0 || i >= len(e.loops) {
		return nil, fmt.Errorf("epi: there is no loop %d: the engine has loops 0 to %d", i, len(e.loops)-1)
	}
	return e.loops[i], nil
}

// Conns returns the connections that are there now, those that are opening or
// closing among them, for an administrator's list. It asks every loop and waits
// for the answers, so it must not be called on a loop: not in a callback, but
// with workers, nor in a task or timer. Before Run it waits, and when the engine
// has ended there are none. The error is that of ctx, or ErrTooManyTasks.
func (e *Engine) Conns(ctx context.Context) ([]*Conn, error) {
	if err := e.start(); err != nil {
		return nil, err
	}
	answers := make(chan []*Conn, len(e.loops))
	asked := 0
	for _, l := range e.loops {
		err := l.Do(func() { answers <- l.conns() })
		if errors.Is(err, ErrShutdown) {
			continue // its connections have ended before
		}
		if err != nil {
			return nil, err
		}
		asked++
	}
	var all []*Conn
	for range asked {
		select {
		case conns := <-answers:
			all = append(all, conns...)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return all, nil
}

// lighterLoop returns a loop with few connections: of two that it picks at
// random, the one that has fewer. That keeps loops nearly as even as looking at
// all of them would, whose counters every other loop writes.
func (e *Engine) lighterLoop() *Loop {
	n := len(e.loops)
	if n == 1 {
		return e.loops[0]
	}
	first := e.cfg.Pick(n)
	a, b := e.loops[first], e.loops[(first+1+e.cfg.Pick(n-1))%n]
	if b.live.Load() < a.live.Load() {
		return b
	}
	return a
}

// addListener makes ln known, which begin lets the loops watch. When the engine is over
// it does neither, and reports that.
func (e *Engine) addListener(ln io.Closer, begin func()) (added bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase == over {
		return false
	}
	e.listeners = append(e.listeners, ln)
	begin()
	return true
}

func (e *Engine) removeListener(ln io.Closer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.Index(e.listeners, ln); i >= 0 {
		e.listeners = slices.Delete(e.listeners, i, i+1)
	}
}

// A Tap notes what the loops of its engine do, turn by turn, while it is open.
// While there is none it costs one comparison a turn. Its methods may be called
// from any goroutine.
type Tap struct {
	engine    *Engine
	notebooks []*notebook // one for each loop
}

// mostTurns bounds the turns that a Tap keeps of each loop.
const mostTurns = 1 << 16

// Tap opens a tap that keeps so many turns of each loop, the last ones; 65,536 are
// the most. An engine has one at a time: the error is ErrTapped when there is one,
// which those who look then share.
func (e *Engine) Tap(turns int) (*Tap, error) {
	if err := e.start(); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tap != nil {
		return nil, ErrTapped
	}
	t := &Tap{engine: e}
	for _, l := range e.loops {
		n := newNotebook(l.cfg.Clock, max(1, min(turns, mostTurns)), l.tally())
		t.notebooks = append(t.notebooks, n)
		l.notebook.Store(n)
	}
	e.tap = t
	return t, nil
}

// Close ends the tap. Closing it again changes nothing.
func (t *Tap) Close() {
	e := t.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tap != t {
		return
	}
	e.tap = nil
	for _, l := range e.loops {
		l.notebook.Store(nil)
	}
}

// Loop returns what was noted of loop i (Loop.Index): with those of its turns that
// are younger than the one of the number after, so many at most, the youngest.
func (t *Tap) Loop(i int, after uint64, most int) LoopNotes { return t.notebooks[i].read(after, most) }
