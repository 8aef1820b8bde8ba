package study

import (
	"slices"
	"time"
)

// spareFiles are open files that a child needs for itself: the standard
// streams, the listener, pollers, and what the Go runtime opens.
const spareFiles = 64

// sourceAddresses are the addresses from 127.0.0.1 on from which a client
// connects, in turn, so that ports suffice.
const sourceAddresses = 4

// A shape is what the deck's send and receive programs are called with.
type shape struct{ conns, iterations, bytes int }

// sizes are the figures of a Size.
type sizes struct {
	rounds int

	conn     []int         // connections already open
	connects int           // measured at each
	pace     time.Duration // between two of them

	lookups      func(program string) []string
	performance  []shape
	performance2 []shape
	serveLimit   time.Duration // for one run of a program

	idle       []int         // idle connections
	idleEvents int           // at each, at most
	idleLimit  time.Duration // for them

	pairs     []int // socket pairs
	pairsRuns int   // a sample is their median

	workers  func(cores int) []int
	workTime time.Duration
	waiters  []int
	wakes    int // events for them

	replies    []int // bytes
	replyCount int
}

var sizesOf = map[Size]sizes{
	Toy: {
		rounds: 2,
		conn:   []int{0, 20}, connects: 3, pace: 100 * time.Microsecond,
		lookups:      allLookups,
		performance:  []shape{{30, 4, 256}},
		performance2: []shape{{30, 4, 256}},
		serveLimit:   5 * time.Second,
		idle:         []int{0, 40}, idleEvents: 20, idleLimit: time.Second,
		pairs: []int{10, 20}, pairsRuns: 2,
		workers: fewWorkers, workTime: 10 * time.Millisecond,
		waiters: []int{1, 2}, wakes: 2,
		replies: []int{1 << 10, 1 << 20}, replyCount: 10,
	},
	Quick: {
		rounds: 5,
		conn:   []int{0, 900, 5000, 10000}, connects: 10, pace: 3 * time.Millisecond,
		lookups:      someLookups,
		performance:  []shape{{1000, 10, 1024}, {10000, 3, 1024}},
		performance2: []shape{{10000, 3, 1024}},
		serveLimit:   5 * time.Second,
		idle:         []int{0, 100, 900, 5000, 18000}, idleEvents: 1000, idleLimit: 100 * time.Millisecond,
		pairs: []int{100, 400, 1000, 4000, 9900}, pairsRuns: 3,
		workers: someWorkers, workTime: 100 * time.Millisecond,
		waiters: []int{1, 2, 4, 8}, wakes: 5,
		replies: []int{16 << 10, 256 << 10, 4 << 20}, replyCount: 40,
	},
	Normal: {
		rounds: 5,
		conn:   []int{0, 500, 900, 2000, 4000, 6000, 8000, 10000}, connects: 40, pace: 3 * time.Millisecond,
		lookups:      allLookups,
		performance:  []shape{{1000, 100, 1024}, {10000, 10, 1024}, {10000, 10, 10240}},
		performance2: []shape{{10000, 2, 102400}, {10000, 10, 1024}},
		serveLimit:   20 * time.Second,
		idle:         []int{0, 100, 300, 900, 3000, 6000, 10000, 14000, 18000}, idleEvents: 3000, idleLimit: 300 * time.Millisecond,
		pairs: []int{100, 250, 400, 1000, 2500, 5000, 7500, 9900}, pairsRuns: 5,
		workers: manyWorkers, workTime: 300 * time.Millisecond,
		waiters: []int{1, 2, 4, 8, 16}, wakes: 30,
		replies: []int{1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}, replyCount: 100,
	},
	Full: {
		rounds: 5,
		conn:   []int{0, 500, 900, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000, 12000, 14000, 16000, 18000}, connects: 100, pace: 3 * time.Millisecond,
		lookups:      allLookups,
		performance:  []shape{{1000, 1000, 1024}, {10000, 100, 1024}, {10000, 100, 10240}, {10000, 1000, 1024}},
		performance2: []shape{{10000, 100, 102400}, {10000, 1000, 1024}},
		serveLimit:   10 * time.Minute,
		idle:         []int{0, 100, 300, 900, 2000, 3000, 4000, 6000, 8000, 10000, 12000, 14000, 16000, 18000}, idleEvents: 10000, idleLimit: 2 * time.Second,
		pairs: []int{100, 250, 400, 1000, 2500, 5000, 7500, 9900}, pairsRuns: 25,
		workers: manyWorkers, workTime: time.Second,
		waiters: []int{1, 2, 4, 8, 16, 32}, wakes: 100,
		replies: []int{1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}, replyCount: 1000,
	},
}

// The numbers of workers: 1 to 4 times the cores, and a few more than cores.

func fewWorkers(cores int) []int { return distinct(1, cores, cores+1) }

func someWorkers(cores int) []int {
	return distinct(1, cores, cores+1, cores+2, 4*cores)
}

func manyWorkers(cores int) []int {
	return distinct(1, (cores+1)/2, cores, cores+1, cores+2, cores+3, 2*cores, 3*cores, 4*cores)
}

func distinct(numbers ...int) []int {
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// The ways to find a record with a program.

func allLookups(string) []string { return []string{lookupLinear, lookupMap, lookupSlot} }

func someLookups(program string) []string {
	switch program {
	case "epoll level":
		return allLookups(program)
	case "epoll edge":
		return []string{lookupLinear, lookupSlot}
	}
	return []string{lookupSlot}
}
