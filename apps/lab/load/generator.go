package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/lab/proc"
)

const (
	// dialWindow is how many connections are on their way at the same time, in
	// all processes: as many as keep a server busy, and fewer than its backlog.
	// A server that accepts more slowly than the kernel establishes connections
	// still sees its backlog overflow, which costs a second (a lost SYN is sent
	// again after that) and shows in the set-up times.
	dialWindow = 128
	// chatWindow is dialWindow for IRC servers: some have a backlog of
	// 10. A client leaves it when the server says something, which some do a
	// second after they have accepted it, for all at once.
	chatWindow = 8
	// interruptedPatience is how long outstanding answers are waited for after
	// an interruption.
	interruptedPatience = time.Second
	// frameOverhead is at least what the frame around a message takes: 14 bytes
	// of WebSocket's header (RFC 6455, section 5.2).
	frameOverhead = 16
	// packetCost is what the engine counts a datagram with besides its bytes
	// (epi.PacketConn.Queued).
	packetCost = 128
)

// Why a measurement is partial.
const (
	interrupted = "interrupted"
	deserted    = "every active connection has ended"
)

// A generator makes one share of the load in this process.
type generator struct {
	share  share
	engine *epi.Engine
	lanes  map[*epi.Loop]*lane // fixed
	chat   []*chatter          // clients of IRC servers by their number in the share; fixed
	trust  *tls.Config         // without a server's name
	epoch  time.Time

	ended  chan struct{} // the engine's Run has returned
	result error         // of Run; to be read after ended
	cancel context.CancelFunc

	dialling   chan struct{}   // a token for each connection on its way
	connecting context.Context // ends when dialling is given up
	dialled    int64           // wall clock of the first Dial
	opened     atomic.Int64    // connections that were established
	failures   atomic.Int64    // those that were not
	firstError atomic.Pointer[error]
	enrolling  atomic.Int64  // clients of IRC servers that are not yet in their channel
	complete   chan struct{} // enrolling has fallen to 0
	alive      atomic.Int64  // active connections that are open
	empty      chan struct{} // alive has fallen to 0

	phase atomic.Value // string, for the progress
	cpu   time.Duration
	begun time.Duration // CPU time used before measuring
	used  proc.Usage    // by the server within the measured time
	fresh proc.Usage    // by the server before the connections
	setup proc.Usage    // by the server for them
	from  int64
	to    int64
	part  string // why the measurement is partial
}

// faultsOnly is the engine's log. Why connections fail is in the report, once for
// each cause; a line for each of them would hide it.
func faultsOnly() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// startGenerator starts the loops; close ends them.
func startGenerator(s share) (*generator, error) {
	trust, err := s.Trust.config()
	if err != nil {
		return nil, err
	}
	flight := s.Depth * (s.Sizes.Largest() + frameOverhead)
	g := &generator{
		share: s,
		engine: &epi.Engine{
			Loops: s.Loops, Driver: s.Driver, Trigger: s.Trigger,
			// A generator that stopped reading because the server does not read
			// would wait for a server that stopped reading because of it.
			HighWater: max(flight, 1<<20), MaxQueued: max(flight, 16<<20),
			Linger: s.Patience, DrainTimeout: s.Patience,
			PacketQueue: max(s.Depth*packetCost+flight, 16<<20),
			Logger:      faultsOnly(),
		},
		lanes:    map[*epi.Loop]*lane{},
		trust:    trust,
		epoch:    time.Now(),
		ended:    make(chan struct{}),
		dialling: make(chan struct{}, s.Window),
		complete: make(chan struct{}, 1),
		empty:    make(chan struct{}, 1),
	}
	g.phase.Store("connecting")
	if s.Endpoints[0].Kind.isChat() {
		g.chat = newChatters(g)
	}
	for i := range s.Loops {
		loop, err := g.engine.Loop(i)
		if err != nil {
			return nil, err
		}
		g.lanes[loop] = newLane(g, loop, i)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() {
		defer close(g.ended)
		g.result = g.engine.Run(ctx)
	}()
	return g, nil
}

// clock returns the time in nanoseconds since the generator's start.
func (g *generator) clock() int64 { return int64(time.Since(g.epoch)) }

// wallClock is a time that other processes understand.
func wallClock() int64 { return time.Now().UnixNano() }

// connect opens the connections. When ctx ends it gives up those that are not
// open yet. Its error is one that all connections have in common.
func (g *generator) connect(ctx context.Context) error {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	g.connecting = ctx
	g.dialled = wallClock()
	g.fresh = g.serverUsage()
	err := g.dialAll(ctx)
	if err != nil {
		giveUp()
	}
	for range g.share.Window { // wait for those on their way
		select {
		case g.dialling <- struct{}{}:
		case <-g.ended:
			return g.result
		}
	}
	if err == nil {
		err = g.enrol(ctx)
	}
	return err
}

// enrol waits until all clients of an IRC server are in their channels, or have
// failed.
func (g *generator) enrol(ctx context.Context) error {
	for g.enrolling.Load() > 0 {
		select {
		case <-g.complete:
		case <-ctx.Done():
			return nil
		case <-g.ended:
			return g.result
		}
	}
	return nil
}

// enrolled notes that a client of an IRC server is in its channel, or has failed.
func (g *generator) enrolled() {
	if g.enrolling.Add(-1) > 0 {
		return
	}
	select {
	case g.complete <- struct{}{}:
	default:
	}
}

func (g *generator) dialAll(ctx context.Context) error {
	for i := range g.share.Conns {
		select {
		case g.dialling <- struct{}{}:
		case <-ctx.Done():
			return nil
		case <-g.ended:
			return g.result
		}
		if g.hopeless() {
			<-g.dialling
			return nil
		}
		if err := g.dial(ctx, i); err != nil {
			<-g.dialling
			return err
		}
	}
	return nil
}

// dial begins connection i of the share.
func (g *generator) dial(ctx context.Context, i int) error {
	number := g.share.First + i
	to := g.share.Endpoints[number%len(g.share.Endpoints)]
	ctx, cancel := context.WithTimeoutCause(ctx, g.share.Patience, errTooLong)
	settled := func() { cancel(); <-g.dialling }
	s := &session{gen: g, kind: to.Kind, id: uint64(number), active: i < g.share.Active, settled: settled, dialled: g.clock()}
	var err error
	switch to.Kind {
	case stream:
		err = g.dialStream(ctx, to, s, s)
	case chatStream:
		err = g.dialStream(ctx, to, s, chatLines{g.chatterOf(s, i)})
	case mqttStream:
		err = g.dialStream(ctx, to, s, &mqttClient{chatter: g.chatterOf(s, i)})
	case chatWebSocket:
		g.chatterOf(s, i)
		err = g.dialWebSocket(ctx, to, s)
	case webSocket:
		err = g.dialWebSocket(ctx, to, s)
	case datagrams:
		err = g.dialDatagrams(ctx, to, s)
	}
	if err != nil {
		cancel()
	}
	return err
}

// dialStream begins to connect s; h is what the engine sees of it.
func (g *generator) dialStream(ctx context.Context, to endpoint, s *session, h epi.Handler) error {
	_, err := g.engine.DialWith(ctx, to.Address, epi.DialOptions{Local: g.source(int(s.id), to), TLS: g.tlsFor(to)}, h)
	return err
}

// chatterOf makes s client i of an IRC server.
func (g *generator) chatterOf(s *session, i int) *chatter {
	c := g.chat[i]
	c.session, s.chat = s, c
	g.enrolling.Add(1)
	return c
}

// chatter returns the client with an id, or nil.
func (g *generator) chatter(id uint32) *chatter {
	i := int(id) - g.share.First
	if i < 0 || i >= len(g.chat) {
		return nil
	}
	return g.chat[i]
}

// source returns where connection number is dialled from.
func (g *generator) source(number int, to endpoint) netip.Addr {
	n := len(g.share.Sources)
	if !to.Spread || n == 0 {
		return netip.Addr{}
	}
	return g.share.Sources[number/len(g.share.Endpoints)%n]
}

// failed notes a connection that could not be established.
func (g *generator) failed(err error) {
	g.firstError.CompareAndSwap(nil, &err)
	g.failures.Add(1)
}

// hopeless reports whether enough attempts have failed, and none succeeded, to
// give up.
func (g *generator) hopeless() bool {
	return g.failures.Load() >= int64(g.share.Window) && g.opened.Load() == 0
}

// lost notes that an active connection has ended.
func (g *generator) lost() {
	if g.alive.Add(-1) > 0 {
		return
	}
	select {
	case g.empty <- struct{}{}:
	default:
	}
}

// measure makes the load: warm-up, measured time, then it waits for what is
// outstanding. When ctx ends it stops early.
func (g *generator) measure(ctx context.Context) {
	g.phase.Store("warming up")
	g.setup = g.serverUsage().Sub(g.fresh)
	start := g.clock()
	g.from = start + int64(g.share.Warmup)
	g.to = g.from + int64(g.share.Duration)
	g.begin(start)
	if g.sleep(ctx, g.from) {
		g.phase.Store("measuring")
		before := g.serverUsage()
		g.begun = proc.Own()
		g.sleep(ctx, g.to)
		g.cpu = proc.Own() - g.begun
		g.used = g.serverUsage().Sub(before)
	}
	if now := g.clock(); now < g.to {
		g.from, g.to = min(g.from, now), now
		g.onLoops(func(l *lane) { l.from, l.to = g.from, g.to })
	}
	g.phase.Store("finishing")
	g.onLoops((*lane).finish)
	g.awaitAnswers(ctx)
	g.onLoops((*lane).end)
}

// begin starts the load. In an open loop the messages of the lanes alternate:
// those of one lane are due between those of the others.
func (g *generator) begin(start int64) {
	busy := make([]bool, len(g.lanes)) // an element for each loop
	g.onLoops(func(l *lane) { busy[l.index] = l.alive > 0 })
	beats, next := make([]int64, len(busy)), start
	for i := range busy {
		beats[i] = next
		if busy[i] && g.share.Rate > 0 {
			next += nanoseconds(1e9 / g.share.Rate)
		}
	}
	g.onLoops(func(l *lane) { l.begin(beats[l.index], g.from, g.to) })
}

// serverUsage returns what the server has used so far, nothing when it is not
// to be watched or has ended.
func (g *generator) serverUsage() proc.Usage {
	if g.share.Server <= 0 {
		return proc.Usage{}
	}
	u, err := proc.Of(g.share.Server)
	if err != nil {
		return proc.Usage{}
	}
	return u
}

// sleep waits until a time of the generator's clock and reports whether it
// came. It does not when there is a reason to stop before.
func (g *generator) sleep(ctx context.Context, until int64) bool {
	timer := time.NewTimer(time.Duration(until - g.clock()))
	defer timer.Stop()
	for {
		if g.alive.Load() == 0 && g.share.Active > 0 {
			g.part = deserted
			return false
		}
		select {
		case <-timer.C:
			return true
		case <-g.empty:
		case <-ctx.Done():
			g.part = interrupted
			return false
		case <-g.ended:
			g.part = "the engine has ended"
			return false
		}
	}
}

// awaitAnswers waits until nothing is outstanding, but not for ever.
func (g *generator) awaitAnswers(ctx context.Context) {
	patience := g.share.Patience
	if ctx.Err() != nil {
		patience = min(patience, interruptedPatience)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	if g.await(ctx.Done(), timer) && g.chat != nil {
		g.awaitDeliveries(ctx.Done(), timer)
	}
}

// await waits until no lane has anything outstanding, and reports whether that
// came before the timer, which an interruption shortens, and the engine's end.
func (g *generator) await(done <-chan struct{}, timer *time.Timer) bool {
	for _, l := range g.lanes {
		for waiting := true; waiting; {
			select {
			case <-l.drained:
				waiting = false
			case <-done:
				done = nil
				timer.Reset(interruptedPatience)
			case <-timer.C:
				return false
			case <-g.ended:
				return false
			}
		}
	}
	return true
}

// deliveryLook is how often it is looked whether all members of the channels
// have got all lines.
const deliveryLook = 10 * time.Millisecond

// awaitDeliveries waits for the lines that members do not have yet when the
// senders have their copies, as long as the timer allows, which an interruption
// shortens.
func (g *generator) awaitDeliveries(done <-chan struct{}, timer *time.Timer) {
	ticks := time.NewTicker(deliveryLook)
	defer ticks.Stop()
	for g.undelivered() > 0 {
		select {
		case <-ticks.C:
		case <-done:
			done = nil
			timer.Reset(interruptedPatience)
		case <-timer.C:
			return
		case <-g.ended:
			return
		}
	}
}

// undelivered returns how many lines are still to come.
func (g *generator) undelivered() int64 {
	var n atomic.Int64
	g.onLoops(func(l *lane) { n.Add(int64(l.tally.Awaited) - int64(l.tally.Delivered)) })
	return n.Load()
}

// onLoops runs step for each lane on its loop and waits for all.
func (g *generator) onLoops(step func(l *lane)) {
	var steps sync.WaitGroup
	for loop, l := range g.lanes {
		steps.Add(1)
		if err := loop.Do(func() { defer steps.Done(); step(l) }); err != nil {
			steps.Done() // the engine has ended, and with it the load
		}
	}
	done := make(chan struct{})
	go func() { steps.Wait(); close(done) }()
	select {
	case <-done:
	case <-g.ended:
	}
}

// close closes the connections and returns what was counted.
func (g *generator) close() (*tally, error) {
	g.onLoops(func(l *lane) { l.ended = true })
	driver := g.engine.Stats().Driver
	g.cancel()
	<-g.ended
	total := newTally()
	for _, l := range g.lanes {
		total.merge(l.tally)
	}
	total.Dialled = g.dialled
	total.Driver = driver
	total.Seconds = time.Duration(g.to - g.from).Seconds()
	total.CPU = g.cpu
	total.Server = g.used
	total.Before = g.setup
	if total.Awaited > total.Delivered {
		total.Errors[lostLines] += total.Awaited - total.Delivered
	}
	total.Partial = g.part
	if err := g.result; err != nil && !errors.Is(err, epi.ErrDrainTimeout) {
		return total, fmt.Errorf("load: %w", err)
	}
	return total, nil
}

// progress reports how far the generator is.
func (g *generator) progress() Progress {
	p := Progress{Phase: g.phase.Load().(string), Conns: g.share.Conns, CPU: proc.Own()}
	for _, l := range g.lanes {
		p.Open += int(l.live.conns.Load())
		p.Requests += l.live.requests.Load()
		p.Bytes += l.live.bytes.Load()
		p.Errors += l.live.errors.Load()
	}
	return p
}
