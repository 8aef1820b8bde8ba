package epi

import (
	"errors"
	"iter"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/seam"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHunt27_TwoChoicesKeepLoopsEven places many connections on many loops. By
// chance alone the fullest would have about 30 more than its share.
func TestHunt27_TwoChoicesKeepLoopsEven(t *testing.T) {
	const loops, share, most = 64, 100, 20
	e := &Engine{cfg: &config{Seams: seam.System()}}
	for range loops {
		e.loops = append(e.loops, &Loop{engine: e})
	}
	for range loops * share {
		e.lighterLoop().live.Add(1)
	}
	for i, l := range e.loops {
		if n := l.live.Load(); n > share+most {
			t.Errorf("loop %d has %d connections, its share is %d", i, n, share)
		}
	}
}

// Of two loops the lighter one is always found.
func TestHunt27_TwoLoopsAreBothLookedAt(t *testing.T) {
	e := &Engine{cfg: &config{Seams: seam.System()}}
	for range 2 {
		e.loops = append(e.loops, &Loop{engine: e})
	}
	e.loops[0].live.Store(1)
	for range 100 {
		if e.lighterLoop() != e.loops[1] {
			t.Fatal("the fuller loop was chosen")
		}
	}
}

// A connection that is gone is no reason to shed another: neither if it noted once more
// what it holds before it went, nor if it gives that back while it is shed.
func TestHostile05_WhatIsGoneShedsNobody(t *testing.T) {
	const large, small, limit = 1000, 50, 100
	for name, noted := range map[string]int64{"noted once more": large, "gives back": 0} {
		l := &Loop{cfg: &config{}}
		l.engine = &Engine{cfg: l.cfg, memory: memory{limit: limit, loops: []*Loop{l}}}
		shed, stays := &Conn{loop: l}, &Conn{loop: l}
		shed.set(aborting)
		shed.held.Store(noted)
		stays.held.Store(small)
		l.count.held.Add(large + small) // who gives back clears its own figure first
		s := &shedding{memory: &l.engine.memory, over: large + small - limit, found: []holder{{stays, small}, {shed, large}}}
		s.shed()
		if stays.state.Load()&gone != 0 {
			t.Errorf("%s: the small one was shed", name)
		}
		if held := l.engine.memory.held(); held != small+large-noted {
			t.Errorf("%s: %d bytes are held, want %d", name, held, small+large-noted)
		}
	}
}

// A look before sleeping is left out after some that found nothing, until sleeping
// turns out to be short.
func TestHunt24_LooksInVainAreLeftOut(t *testing.T) {
	m := lookMeter{costs: true}
	for i := range 2 * looksInVain {
		if m.inVain() != (i >= looksInVain) {
			t.Fatalf("after %d looks in vain: %v", i, m.inVain())
		}
		m.found(false)
	}
	m.found(true)
	if m.inVain() {
		t.Error("a look that pays is left out")
	}
	free := lookMeter{}
	for range 2 * looksInVain {
		free.found(false)
	}
	if free.inVain() {
		t.Error("a look that costs nothing is left out")
	}
}

// TestWatch_ADriverThatIsBehind: what was ready at a look comes with one that is delay later, so
// peers are judged by the look before that; a pause in which the program may have been stopped
// counts for half of it.
func TestWatch_ADriverThatIsBehind(t *testing.T) {
	const ms = int64(time.Millisecond)
	w := watch{delay: 100 * ms}
	w.looked.Store(5000 * ms)
	for _, step := range []struct {
		at     int64 // of a look, in real time
		events int   // of 9 at most
		judged int64 // the time of the look that judges
	}{
		{at: 5000, judged: 0},
		{at: 9000, judged: 0}, // stopped for 4 s
		{at: 9010, judged: 0},
		{at: 9060, judged: 5000},
		{at: 9061, judged: 5000},
		{at: 9161, judged: 5000},            // a pause of 100 ms counts for 50
		{at: 9212, events: 9, judged: 5000}, // more may have come
		{at: 9213, events: 8, judged: 9061},
	} {
		w.look(step.at * ms)
		w.brought(step.events, 9, 100)
		want := step.judged * ms
		if step.judged > 9000 {
			want -= w.lost.Load()
		}
		if got := w.judged.Load(); got != want {
			t.Fatalf("at %d ms peers are judged by the look at %d ms, want %d", step.at, got/ms, want/ms)
		}
	}
}

func TestSpate(t *testing.T) {
	var s spate
	at := func(d time.Duration, wantYes bool, wantSuppressed uint64) {
		t.Helper()
		if yes, suppressed := s.say(int64(d)); yes != wantYes || suppressed != wantSuppressed {
			t.Errorf("at %v: %v, %d suppressed, want %v, %d", d, yes, suppressed, wantYes, wantSuppressed)
		}
	}
	for range linesAtOnce {
		at(time.Second, true, 0)
	}
	at(2*time.Second, false, 0)
	at(time.Second+sayAgain-1, false, 0)
	at(time.Second+sayAgain, true, 2)
	for range linesAtOnce - 1 {
		at(time.Second+sayAgain, true, 0)
	}
	at(time.Second+sayAgain, false, 0)
	at(time.Hour, true, 1)
}

// A scripted connection takes so many bytes of each write, and then times out.
type scripted struct {
	net.Conn
	takes []int
}

func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

func (s *scripted) Write(p []byte) (int, error) {
	n := s.takes[0]
	s.takes = s.takes[1:]
	if n < len(p) {
		return n, os.ErrDeadlineExceeded
	}
	return len(p), nil
}

// WriteTimeout is for a peer that takes nothing, not for one that takes little; the
// user's own deadline is for both.
func TestHunt11_DetachedWritesEndWithoutProgress(t *testing.T) {
	const size = 10
	for _, row := range []struct {
		name     string
		takes    []int
		patience time.Duration
		deadline time.Time
		n        int
		fails    bool
	}{
		{"all at once", []int{size}, time.Hour, time.Time{}, size, false},
		{"a little each time", []int{3, 3, 3, size}, time.Hour, time.Time{}, size, false},
		{"a little, then nothing", []int{3, 0}, time.Hour, time.Time{}, 3, true},
		{"nothing", []int{0}, time.Hour, time.Time{}, 0, true},
		{"a little, up to the user's deadline", []int{3}, time.Hour, time.Now(), 3, true},
		{"no timeout", []int{3}, 0, time.Time{}, 3, true},
	} {
		d := &detached{Conn: &scripted{takes: row.takes}, patience: row.patience, deadline: row.deadline}
		n, err := d.Write(make([]byte, size))
		if n != row.n || (err != nil) != row.fails {
			t.Errorf("%s: Write returns %d, %v", row.name, n, err)
		}
	}
}

// TestHunt20_NetworksInEitherForm: what an address is, not how it is written,
// decides whether it is in a network.
func TestHunt20_NetworksInEitherForm(t *testing.T) {
	for _, row := range []struct {
		network, peer string
		in            bool
	}{
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true},
		{"::ffff:10.0.0.0/104", "11.1.2.3", false},
		{"::ffff:0:0/96", "10.1.2.3", true},
		{"fe80::/10", "fe80::1%eth0", true},
		{"fe80::1/128", "fe80::1%3", true},
		{"fe80::1/128", "fe80::2%3", false},
		{"::/0", "10.1.2.3", false},
		{"0.0.0.0/0", "2001:db8::1", false},
	} {
		p, err := (&ListenOptions{ProxyFrom: []netip.Prefix{netip.MustParsePrefix(row.network)}}).proxies()
		if err != nil {
			t.Fatal(err)
		}
		if in := p.HasNetwork(netip.MustParseAddr(row.peer)); in != row.in {
			t.Errorf("that %s is in %s: %v", row.peer, row.network, in)
		}
		if p.HasNetwork(netip.Addr{}) {
			t.Errorf("nobody is in %s", row.network)
		}
	}
}

// TestHostile_ClientsByAddress: an IPv6 client has all addresses of its network.
func TestHostile_ClientsByAddress(t *testing.T) {
	for _, row := range []struct{ addr, client string }{
		{"192.0.2.7", "192.0.2.7"},
		{"::ffff:192.0.2.7", "192.0.2.7"},
		{"2001:db8::7", "2001:db8::"},
		{"2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"},
		{"2001:db8:0:1::7", "2001:db8:0:1::"},
		{"fe80::1%eth0", "fe80::"},
	} {
		if client := clientOf(netip.MustParseAddr(row.addr)); client != netip.MustParseAddr(row.client) {
			t.Errorf("the client of %s is %s, want %s", row.addr, client, row.client)
		}
	}
}

// TestProgram10_PipeWhoseQueueDrainsMeanwhile has a Pipe pass on in parts what was
// refused as a whole, when there is room again or the other end has begun to close: that
// breaks nothing.
func TestProgram10_PipeWhoseQueueDrainsMeanwhile(t *testing.T) {
	for _, state := range []stateBits{0, closing} {
		for size := 1; size <= 3; size++ {
			l := &Loop{cfg: &config{marks: watermarks{queued: 1000, high: 500, low: 100}}}
			l.engine = &Engine{cfg: l.cfg, loops: []*Loop{l}}
			to, from := &Conn{loop: l, origin: &origin{}}, &Conn{loop: l, origin: &origin{}}
			to.set(scheduled | state) // its turn has been asked for
			from.unread = make([]byte, size)
			(&pipeEnd{to: to}).writeSome(from)
			want := size
			if state == closing {
				want = 0
			}
			if len(from.unread) != 0 || to.queued != want || from.state.Load() != 0 {
				t.Errorf("state %b: of %d bytes %d are left and %d queued; the other is in state %b", state, size, len(from.unread), to.queued, from.state.Load())
			}
		}
	}
}

// An explorer runs threads of one loop, one at a time, in every order of their
// steps: from one step of Loop.mu or call of the driver to the next, each runs
// alone. It is the loop's driver itself, with nothing but Wake to report.
//
//	loop:   Wait(0)  look  [lock asleep unlock]  Wait  [lock awake unlock]  each
//	giver:           [lock append give unlock]  Wake
type explorer struct {
	driver.Driver // what nothing here calls
	t             *testing.T
	taken         []int // which of those that could go on did, at each step
	choices       []int // how many could
	at            int
	seen          map[uint64]bool // states from which all orders were tried
	orders        int

	// Of one order.
	loop     *Loop
	threads  []*thread // the first is the loop
	running  *thread
	woken    bool   // Wake was called, and no Wait has returned since
	arrived  bool   // something has, and was not dispatched yet
	arrive   func() // what Dispatch calls then
	wakes    int
	released bool
	timeout  time.Duration // of the Wait under way
}

// A thread is a goroutine that runs when it is told to.
type thread struct {
	name   string
	resume func() (struct{}, bool)
	yield  func(struct{}) bool
	until  func() bool // it waits for this; nil: for nothing
	over   bool
	read   uint64 // hash of what all share at the beginning of each of its steps
}

// errTornDown ends the Wait of a loop that sleeps when an order ends.
var errTornDown = errors.New("torn down")

// explore runs scenario in all orders: it is called for each, and starts threads.
// At the end of each, when none can go on, check looks at what has become of it.
func explore(t *testing.T, most int, scenario func(x *explorer) (check func())) {
	x := &explorer{t: t, seen: map[uint64]bool{}}
	for more := true; more; more = x.next() {
		x.order(scenario)
		x.orders++
		if t.Failed() {
			t.Fatalf("order %d: %v", x.orders, x.taken)
		}
		if x.orders > most {
			t.Fatalf("there are more than %d orders", most)
		}
	}
	t.Logf("%d orders", x.orders)
}

// order runs one.
func (x *explorer) order(scenario func(*explorer) func()) {
	x.at, x.threads, x.woken, x.arrived, x.wakes, x.released, x.timeout = 0, nil, false, false, 0, false, 0
	e := &Engine{cfg: &config{Seams: seam.System()}}
	x.loop = &Loop{engine: e, cfg: &config{taskBudget: 1, maxTasks: 8, maxEvents: 1, knobs: defaultKnobs(), log: slog.New(slog.DiscardHandler), Seams: seam.System()}, drv: x, packets: turnList[*PacketConn]{bit: hasPackets}, done: make(chan struct{})}
	x.loop.nextTimer.Store(math.MaxInt64)
	x.loop.mu.step = x.step
	check := scenario(x)
	if x.goOn() {
		check()
	}
	for _, th := range x.threads {
		for !th.over {
			x.run(th)
		}
	}
}

// goOn lets threads run until none can. It returns false when it comes to a state
// that another order has come to: from there on everything was tried.
func (x *explorer) goOn() bool {
	for {
		can := x.canGoOn()
		if len(can) == 0 {
			return true
		}
		if x.at == len(x.taken) {
			state := x.state()
			if x.seen[state] {
				return false
			}
			x.seen[state] = true
		}
		th := can[x.choose(len(can))]
		th.read = mix(th.read, x.shared())
		x.run(th)
	}
}

func (x *explorer) run(th *thread) {
	x.running = th
	th.resume()
	x.running = nil
}

// state returns a hash of what all share, and of what each thread has seen of it:
// what a thread does next follows from that.
func (x *explorer) state() uint64 {
	h := x.shared()
	for _, th := range x.threads {
		h = mix(h, th.read)
	}
	return h
}

// shared returns a hash of what the threads share.
func (x *explorer) shared() uint64 {
	l := x.loop
	h := mix(0, uint64(l.work.Load()))
	for _, n := range []int{len(l.tasks), l.firstTask, len(l.packets.waiting), l.wheel.Len(), minutes(l.nextTimer.Load()), int(l.live.Load()), x.wakes, int(x.timeout.Round(time.Minute))} {
		h = mix(h, uint64(n))
	}
	for _, b := range []bool{l.asleep, l.stopped, l.draining, x.woken, x.arrived, x.released} {
		h = mix(h, 0)
		if b {
			h++
		}
	}
	return h
}

// minutes returns how many are left until a deadline: that is the same each time.
func minutes(deadline int64) int {
	return int(time.Duration(deadline - seam.System().Clock()).Round(time.Minute).Minutes())
}

// mix adds v to a hash (the finalizer of splitmix64).
func mix(h, v uint64) uint64 {
	h = (h ^ v) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	return h ^ h>>27
}

func (x *explorer) canGoOn() (can []*thread) {
	for _, th := range x.threads {
		if !th.over && (th.until == nil || th.until()) {
			can = append(can, th)
		}
	}
	return can
}

// choose returns the number of the thread to go on: that of the order before, up to
// the last choice that has not been made in all ways.
func (x *explorer) choose(n int) int {
	if x.at == len(x.taken) {
		x.taken, x.choices = append(x.taken, 0), append(x.choices, n)
	}
	x.at++
	if x.choices[x.at-1] != n {
		x.t.Fatalf("choice %d is of %d, in the order before it was of %d", x.at, n, x.choices[x.at-1])
	}
	return x.taken[x.at-1]
}

// next goes on to the order after this one, and reports whether there is one.
func (x *explorer) next() bool {
	for i := len(x.taken) - 1; i >= 0; i-- {
		if x.taken[i]++; x.taken[i] < x.choices[i] {
			x.taken, x.choices = x.taken[:i+1], x.choices[:i+1]
			return true
		}
	}
	return false
}

func (x *explorer) start(name string, run func()) *thread {
	th := &thread{name: name}
	th.resume, _ = iter.Pull(func(yield func(struct{}) bool) {
		th.yield = yield
		run()
		th.over = true
	})
	x.threads = append(x.threads, th)
	return th
}

// step lets others go on.
func (x *explorer) step() {
	if x.running != nil {
		x.running.yield(struct{}{})
	}
}

// wait lets others go on until something holds.
func (x *explorer) wait(until func() bool) {
	x.running.until = until
	x.step()
	x.running.until = nil
}

// maxOrders bounds the orders of a scenario.
const maxOrders = 200_000

func (x *explorer) Wait(timeout time.Duration) (int, error) {
	if timeout == 0 {
		x.step()
		return x.look(), nil
	}
	x.timeout = timeout
	x.wait(func() bool { return x.woken || x.arrived })
	x.timeout = 0
	if !x.woken && !x.arrived {
		return 0, errTornDown
	}
	return x.look(), nil
}

func (x *explorer) look() (events int) {
	x.woken = false
	if x.arrived {
		return 1
	}
	return 0
}

func (x *explorer) Wake() error {
	if x.running == x.threads[0] {
		x.t.Error("the loop wakes itself")
	}
	if x.released {
		x.t.Error("Wake of a driver that was released")
	}
	x.woken = true
	x.wakes++
	return nil
}

// event starts a peer, of whom something arrives at some time: Dispatch calls arrive.
func (x *explorer) event(arrive func()) {
	x.arrive = arrive
	x.start("peer", func() { x.arrived = true })
}

func (x *explorer) Dispatch() {
	if x.arrived {
		x.arrived = false
		x.arrive()
	}
}

func (x *explorer) Release() error              { x.released = true; return nil }
func (x *explorer) Sockets(func(driver.Stream)) {}

// asleep reports whether the loop waits for a Wake that is not on its way.
func (x *explorer) asleep() bool { return x.timeout != 0 && !x.woken && !x.arrived }

// checkWakes holds Wake to once a sleep at most; nobody has ended the one under way.
func (x *explorer) checkWakes() {
	sleeps := int(x.loop.count.sleeps.Load())
	if x.asleep() {
		sleeps--
	}
	if x.wakes > sleeps {
		x.t.Errorf("%d wakes for %d sleeps", x.wakes, sleeps)
	}
}

// serve runs the loop until it ends.
func (x *explorer) serve() {
	if err := x.loop.serve(); err != nil && !errors.Is(err, errTornDown) {
		x.t.Error(err)
	}
}

// Tasks are run, each giver's in order, by a loop that goes to sleep meanwhile.
func TestSim_Sleep_TasksAreRun(t *testing.T) {
	for _, givers := range [][]int{{2}, {1, 1}} {
		explore(t, maxOrders, func(x *explorer) func() {
			accepted, ran := make([]int, len(givers)), make([]int, len(givers))
			begun := 0
			x.start("loop", x.serve)
			for g, tasks := range givers {
				x.start("giver", func() {
					begun++
					for i := range tasks {
						if x.loop.Do(func() {
							if ran[g] != i {
								x.t.Errorf("task %d of giver %d ran behind %d", i, g, ran[g])
							}
							ran[g]++
						}) == nil {
							accepted[g]++
						}
					}
				}).until = func() bool { return begun >= g } // they are alike: the first begins first
			}
			return func() {
				if !slices.Equal(ran, givers) || !slices.Equal(accepted, givers) || !x.asleep() {
					t.Errorf("of %v tasks %v were accepted and %v ran; the loop sleeps: %v", givers, accepted, ran, x.asleep())
				}
				x.checkWakes()
			}
		})
	}
}

// What is put on a list is served, also by a loop that sleeps without a look
// before, and while it serves the rest.
func TestSim_Sleep_ListsAreServed(t *testing.T) {
	for _, look := range []bool{true, false} {
		explore(t, maxOrders, func(x *explorer) func() {
			l, served := x.loop, 0
			again := []*PacketConn{{}}
			serve := func(*PacketConn) {
				x.step()
				served++
				l.packets.put(l, again...)
				again = nil
			}
			x.start("loop", func() {
				sleep := l.sleep
				if look {
					sleep = l.wait
				}
				for sleep() == nil {
					x.Dispatch()
					l.packets.each(l, serve)
				}
			})
			x.start("giver", func() { l.packets.put(l, &PacketConn{}) })
			x.event(func() { l.packets.put(l, &PacketConn{}) })
			return func() {
				if served != 3 || !x.asleep() {
					t.Errorf("%d of 3 were served; the loop sleeps: %v", served, x.asleep())
				}
				x.checkWakes()
			}
		})
	}
}

// The loop sleeps until the earliest deadline, whoever sets it, and when.
func TestSim_Sleep_DeadlinesAreKept(t *testing.T) {
	deadlines := map[string]func(*Loop, *Timer){
		"a new timer":      func(l *Loop, _ *Timer) { l.After(time.Minute, func() {}) },
		"a timer set anew": func(_ *Loop, timer *Timer) { timer.Reset(time.Minute) },
		"a connection's":   func(l *Loop, timer *Timer) { l.schedule(&timer.timer, l.cfg.Clock()+int64(time.Minute)) },
	}
	for what, set := range deadlines {
		explore(t, maxOrders, func(x *explorer) func() {
			timer := x.loop.After(2*time.Hour, func() {})
			x.start("loop", x.serve)
			x.start("giver", func() { set(x.loop, timer) })
			x.start("another giver", func() { x.loop.After(time.Hour, func() {}) })
			return func() {
				if x.timeout <= 0 || x.timeout > time.Minute {
					t.Errorf("%s is due in a minute, and the loop sleeps for %v", what, x.timeout)
				}
				x.checkWakes()
			}
		})
	}
}

// A loop ends when the last connection has, runs what it was given before, and
// nobody wakes it when its driver is gone.
func TestSim_Sleep_TheLoopEnds(t *testing.T) {
	for _, live := range []int64{0, 1} {
		explore(t, maxOrders, func(x *explorer) func() {
			l, accepted, ran := x.loop, 0, 0
			l.engine.stopping.Store(true)
			l.live.Store(live)
			l.drain()
			serving := x.start("loop", x.serve)
			x.start("engine", func() {
				if err := l.free(); err != nil {
					t.Error(err)
				}
			}).until = func() bool { return serving.over }
			if live > 0 {
				x.start("connection", l.retire)
			} else {
				x.start("giver", func() {
					if l.Do(func() { ran++ }) == nil {
						accepted++
					}
				})
			}
			x.event(func() {})
			return func() {
				if !serving.over || !x.released || ran != accepted {
					t.Errorf("the loop has ended: %v; the driver is released: %v; %d tasks were accepted, %d ran", serving.over, x.released, accepted, ran)
				}
				x.checkWakes()
			}
		})
	}
}

// TestImpossibleStatesPanic: a fault of the engine ends the program where it is noticed.
func TestImpossibleStatesPanic(t *testing.T) {
	e := &Engine{}
	l := &Loop{engine: e, cfg: &config{Seams: seam.System()}, done: make(chan struct{})}
	open := func(state stateBits) *Conn {
		c := newConn(l, &origin{}, driver.NoHandle, netip.AddrPort{})
		c.state.Store(state)
		return c
	}
	for name, fault := range map[string]func(){
		"concluded outside its turn": func() { open(0).conclude() },
		"concluded twice":            func() { open(scheduled | closed).conclude() },
		"retired twice":              func() { l.retire() },
		"sent without being queued":  func() { open(scheduled).unqueue(1) },
		"closed twice": func() {
			c := open(scheduled | closed)
			c.todo = doClose
			c.socketClosed()
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if text, _ := recover().(string); !strings.Contains(text, "fault of the engine") {
					t.Errorf("it ends with %q", text)
				}
			}()
			fault()
		})
	}
}

// number gives every number within v another value, from next on, and returns what is next
// then.
func number(v reflect.Value, next uint64) uint64 {
	v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem() // also if it is unexported
	switch at := v.Addr().Interface().(type) {
	case *atomic.Uint64:
		at.Store(next)
		return next + 1
	case *atomic.Int64:
		at.Store(int64(next))
		return next + 1
	}
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			next = number(v.Field(i), next)
		}
		return next
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			next = number(v.Index(i), next)
		}
		return next
	case v.CanInt():
		v.SetInt(int64(next))
	default:
		v.SetUint(next)
	}
	return next + 1
}

// numbers are those within v.
func numbers(v reflect.Value) (all []uint64) {
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			all = append(all, numbers(v.Field(i))...)
		}
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			all = append(all, numbers(v.Index(i))...)
		}
	case v.CanInt():
		all = append(all, uint64(v.Int()))
	default:
		all = append(all, v.Uint())
	}
	return all
}

// A counting is a driver that has counters, and nothing else.
type counting struct {
	driver.Driver
	counters driver.Counters
}

func (d *counting) Counters() *driver.Counters { return &d.counters }

// Each counter is written down in four places. None is forgotten in one of them, and none
// is there twice.
func TestStats_MissNoCounter(t *testing.T) {
	t.Parallel()
	d := new(counting)
	l := &Loop{drv: d}
	const first = 1000 // larger than what else the statistics of an idle loop have
	next := number(reflect.ValueOf(&l.count).Elem(), first)
	next = number(reflect.ValueOf(&d.counters).Elem(), next)
	times := map[uint64]int{}
	for _, n := range numbers(reflect.ValueOf(l.stats())) {
		times[n]++
	}
	for n := uint64(first); n < next; n++ {
		if times[n] != 1 {
			t.Errorf("counter %d of %d is %d times in the statistics", n-first, next-first, times[n])
		}
	}

	var o, sum LoopStats
	number(reflect.ValueOf(&o).Elem(), 1)
	sum.add(o)
	sum.add(o)
	once, twice := numbers(reflect.ValueOf(o)), numbers(reflect.ValueOf(sum))
	for i := range once {
		if twice[i] != 2*once[i] {
			t.Errorf("number %d of %d is not added up: %d and %d are %d", i, len(once), once[i], once[i], twice[i])
		}
	}
}
