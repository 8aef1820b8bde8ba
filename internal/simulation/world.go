// Package simulation runs engines in a world that is made of one seed: the kernel, the
// network and the clock are in memory (driver.World), and what would be goroutines are
// coroutines: one goes on at a time, until it waits or comes to a place where another
// may go on. It is for tests.
package simulation

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/epinet/epi/internal/address"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/internal/seam"
)

// A World is everything beside the engines in it. It belongs to one goroutine, whose
// coroutines the engines are.
type World struct {
	driver.World
	Run *schedule.Run
	// Pauses says that another goes on at one place of so many.
	Pauses int
	// Between, when it is set, is called at such a place where nobody else goes on.
	Between func()
	// Network carries what is on its way, and reports whether it has moved anything: Turn
	// calls it when nobody can go on. It may be nil.
	Network func() bool
	// Names are the addresses of names.
	Names func(name string) ([]net.Addr, error)

	routines []*Routine
	can      []*Routine // what Ready returns
	idle     *carriers
	current  *Routine
	alarms   []*alarm
	watches  []*watch
	ended    bool
	routine  int64 // how many there have been
}

// A Routine is one coroutine.
type Routine struct {
	*carrier
	number  int64
	run     func()
	done    bool
	exited  bool        // by runtime.Goexit: its coroutine is parked for good
	blocked bool        // it waits
	until   func() bool // for this, while it is blocked
	when    int64       // and for the time at most, or -1
}

// New returns a world whose choices are the run's.
func New(r *schedule.Run) *World {
	w := &World{Run: r, Pauses: 8, idle: carriersOf(r)}
	w.World = driver.World{Chance: r, Now: int64(time.Second), Point: w.Point, Wait: w.Wait, Thread: w.thread}
	return w
}

// Seams are what an engine of the world is given.
func (w *World) Seams() seam.Seams {
	return seam.Seams{
		Clock:     func() int64 { return w.Now },
		NewDriver: func(c driver.Config) (driver.Driver, error) { return driver.NewSimulated(&w.World, c), nil },
		Spawn:     w.Spawn,
		Condition: func(l sync.Locker) seam.Condition { return &condition{world: w, lock: l} },
		After:     func(d time.Duration, ring func()) seam.Alarm { return w.after(d, ring) },
		AfterDone: w.afterDone,
		Await:     w.await,
		Lookup:    w.lookup,
		Pick:      w.Choose,
	}
}

func (w *World) thread() int64 {
	if w.current == nil {
		return -1
	}
	return w.current.number
}

// errOver is what coroutines are ended with.
var errOver = errors.New("the simulation is over")

// Spawn runs a function in a coroutine of its own, later.
func (w *World) Spawn(run func()) {
	w.routine++
	c := &Routine{number: w.routine, run: run, carrier: w.idle.take()}
	c.carries = func() { w.body(c) }
	w.routines = append(w.routines, c)
}

// body is a coroutine. One that ends by runtime.Goexit is parked: iter would end the
// goroutine that has resumed it, too.
func (w *World) body(c *Routine) {
	returned := false
	defer func() {
		c.done = true
		switch v := recover(); {
		case returned, v == errOver:
		case v != nil:
			w.Run.Fail("panic: %v\n%s", v, debug.Stack())
		case !w.ended:
			c.exited = true
			c.yield(struct{}{})
		}
	}()
	c.run()
	returned = true
}

// Point is a place where others may go on.
func (w *World) Point() {
	switch {
	case w.current == nil:
		return
	case w.ended:
		panic(errOver)
	}
	if w.Choose(w.Pauses) == 0 {
		w.pause()
	}
	if w.Between != nil && w.Choose(w.Pauses) == 0 {
		w.Between()
	}
}

func (w *World) pause() {
	if w.ended || !w.current.yield(struct{}{}) || w.ended {
		panic(errOver)
	}
}

// Wait lets others go on until something is so, or the time has come: -1 is never.
func (w *World) Wait(until func() bool, when int64) {
	c := w.current
	if c == nil {
		w.Failf("something waits that is no coroutine")
	}
	if until() {
		return
	}
	c.blocked, c.until, c.when = true, until, when
	w.pause()
	c.blocked = false
}

// Sleep waits for a time.
func (w *World) Sleep(d time.Duration) {
	w.Wait(func() bool { return false }, w.Now+int64(d))
}

func (w *World) await(done <-chan struct{}, d time.Duration) bool {
	closed := func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	when := int64(-1)
	if d >= 0 {
		when = w.Now + int64(d)
	}
	w.Wait(closed, when)
	return closed()
}

// Ready returns the coroutines that would go on, until it is called again, and when the
// next of the others does: -1 is never.
func (w *World) Ready() (can []*Routine, next int64) {
	next = w.ring()
	can = w.can[:0]
	kept := w.routines[:0]
	for _, c := range w.routines {
		if c.done && !c.exited {
			continue
		}
		kept = append(kept, c)
		switch {
		case c.done:
		case !c.blocked || c.until() || c.when >= 0 && c.when <= w.Now:
			can = append(can, c)
		case c.when >= 0 && (next < 0 || c.when < next):
			next = c.when
		}
	}
	clear(w.routines[len(kept):])
	w.routines, w.can = kept, can
	return can, next
}

// Resume lets a coroutine go on, until it waits or another is to go on.
func (w *World) Resume(c *Routine) {
	w.current = c
	c.resume()
	w.current = nil
	if c.done && !c.exited {
		w.idle.put(c.carrier)
	}
	w.Run.Failed()
}

// Turn lets one of all coroutines go on that can, or else the network, or else the time
// pass, and reports whether anything could.
func (w *World) Turn() bool {
	can, next := w.Ready()
	switch {
	case len(can) > 0:
		w.Resume(can[w.Choose(len(can))])
	case w.Network != nil && w.Network():
	case next >= 0:
		w.Now = max(w.Now, next)
	default:
		return false
	}
	return true
}

// Release ends all coroutines, also those of a run that has failed in the middle.
func (w *World) Release() {
	w.ended = true
	for i := 0; i < len(w.routines); i++ { // there may be more of them meanwhile
		c := w.routines[i]
		if c.done && !c.exited {
			continue
		}
		w.current = c
		c.abandon()
	}
	w.current = nil
	if w.Run.Bench() == nil {
		_ = w.idle.Close()
	}
}

// A condition is a sync.Cond.
type condition struct {
	world   *World
	lock    sync.Locker
	waiting []*bool // of who waits: whether it need not any more
}

func (c *condition) Wait() {
	woken := false
	c.waiting = append(c.waiting, &woken)
	c.lock.Unlock()
	defer c.lock.Lock()
	c.world.Wait(func() bool { return woken }, -1)
}

func (c *condition) Signal() {
	if len(c.waiting) > 0 {
		*c.waiting[0] = true
		c.waiting = c.waiting[1:]
	}
}

func (c *condition) Broadcast() {
	for len(c.waiting) > 0 {
		c.Signal()
	}
}

// An alarm is a time.Timer.
type alarm struct {
	world *World
	fn    func()
	when  int64 // -1: it does not ring
}

func (w *World) after(d time.Duration, fn func()) *alarm {
	a := &alarm{world: w, fn: fn, when: w.Now + int64(d)}
	w.alarms = append(w.alarms, a)
	return a
}

func (a *alarm) Reset(d time.Duration) bool {
	before := a.when >= 0
	a.when = a.world.Now + int64(d)
	return before
}

// A watch is over a context.
type watch struct {
	ctx context.Context
	fn  func() // nil when it has run, or was stopped
}

func (w *World) afterDone(ctx context.Context, fn func()) func() bool {
	x := &watch{ctx, fn}
	w.watches = append(w.watches, x)
	return func() bool {
		stopped := x.fn != nil
		x.fn = nil
		return stopped
	}
}

// ring spawns what is due, and returns when the next alarm is, or -1.
func (w *World) ring() (next int64) {
	next = -1
	for _, a := range w.alarms {
		if a.when >= 0 && a.when <= w.Now {
			a.when = -1
			w.Spawn(a.fn)
		}
		if a.when >= 0 && (next < 0 || a.when < next) {
			next = a.when
		}
	}
	for _, x := range w.watches {
		if x.fn != nil && x.ctx.Err() != nil {
			w.Spawn(x.fn)
			x.fn = nil
		}
	}
	return next
}

// lookup asks Names, some time later.
func (w *World) lookup(a address.Address, ctx context.Context, _ *net.Resolver) ([]net.Addr, error) {
	w.Wait(func() bool { return ctx.Err() != nil }, w.Now+int64(w.Choose(3))*int64(20*time.Millisecond))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if w.Names == nil {
		return nil, errors.New("no such host")
	}
	return w.Names(a.Host)
}
