// Package seam is where an engine depends on what is beside it: the time, goroutines,
// the kernel, chance. A simulation gives an engine others than the system's, and then
// all that happens in it follows from the simulation's choices.
package seam

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/epinet/epi/internal/address"
	"github.com/epinet/epi/internal/driver"
)

// Seams are what an engine is given. All functions may be called from any goroutine.
type Seams struct {
	// Clock returns the monotonic time in nanoseconds.
	Clock func() int64
	// NewDriver makes the driver of one loop.
	NewDriver func(driver.Config) (driver.Driver, error)
	// Spawn runs a function in a goroutine of its own.
	Spawn func(func())
	// Condition makes a sync.Cond.
	Condition func(sync.Locker) Condition
	// After calls a function in a goroutine of its own when the time has passed.
	After func(time.Duration, func()) Alarm
	// AfterDone is context.AfterFunc.
	AfterDone func(context.Context, func()) (stop func() bool)
	// Await waits until done is closed, for d at most, negative for as long as that
	// takes, and reports whether it was closed.
	Await func(done <-chan struct{}, d time.Duration) bool
	// Lookup finds the addresses of a name.
	Lookup func(address.Address, context.Context, *net.Resolver) ([]net.Addr, error)
	// Pick returns a number from 0 to n-1 by chance.
	Pick func(n int) int
}

// A Condition is a sync.Cond.
type Condition interface {
	Wait()
	Signal()
	Broadcast()
}

// An Alarm is a time.Timer that calls a function.
type Alarm interface {
	Reset(time.Duration) bool
}

// Epoch is the moment from which all engines count time.
var Epoch = time.Now()

// System returns what an engine has outside of simulations.
func System() Seams {
	return Seams{
		Clock:     func() int64 { return int64(time.Since(Epoch)) },
		NewDriver: driver.New,
		Spawn:     func(run func()) { go run() },
		Condition: func(l sync.Locker) Condition { return sync.NewCond(l) },
		After:     func(d time.Duration, ring func()) Alarm { return time.AfterFunc(d, ring) },
		AfterDone: context.AfterFunc,
		Await:     await,
		Lookup:    address.Address.Lookup,
		Pick:      rand.IntN,
	}
}

func await(done <-chan struct{}, d time.Duration) bool {
	if d < 0 {
		<-done
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// given are those of simulated engines that have not started.
var given sync.Map

// Give lets an engine that has not started have these.
func Give(engine any, s Seams) { given.Store(engine, s) }

// Of returns what an engine that starts is to have.
func Of(engine any) Seams {
	if s, ok := given.LoadAndDelete(engine); ok {
		return s.(Seams)
	}
	return System()
}

// A Crew is goroutines; each may start others.
type Crew struct {
	spawn func(func())

	mu      sync.Mutex
	running int           // guarded by mu; one more before Complete
	over    bool          // guarded by mu
	ended   chan struct{} // closed, once, when the last has ended, after Complete
}

// NewCrew returns one without goroutines. spawn is Seams.Spawn.
func NewCrew(spawn func(func())) *Crew {
	return &Crew{spawn: spawn, running: 1, ended: make(chan struct{})}
}

// Go runs a function in a goroutine of the crew.
func (c *Crew) Go(run func()) {
	c.mu.Lock()
	c.running++
	c.mu.Unlock()
	c.spawn(func() {
		defer c.leave()
		run()
	})
}

func (c *Crew) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running--; c.running == 0 && !c.over {
		c.over = true
		close(c.ended)
	}
}

// Complete says that only goroutines of the crew start others from now on. The channel
// is closed when the last has ended. It is called once.
func (c *Crew) Complete() <-chan struct{} {
	c.leave()
	return c.ended
}
