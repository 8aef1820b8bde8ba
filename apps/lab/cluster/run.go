package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Fault is what can be done to a node.
type Fault string

// The faults. After each, the node has time to come back.
const (
	Kill   Fault = "kill"   // SIGKILL; it is started again
	Stop   Fault = "stop"   // SIGSTOP for longer than its lease, then SIGCONT
	Cut    Fault = "cut"    // from the other nodes: connections are cut, or packets vanish
	Freeze Fault = "freeze" // what nodes send to it and it to them waits, and comes at the end
	Crash  Fault = "crash"  // SIGKILL of all nodes at once; they are started again
	Leader Fault = "leader" // NATS chooses other leaders for all its streams
	// Slow: strace(1) keeps each fsync back for a fifth of a second. What is slow else, as
	// each system call stops for it, no disk is to blame for.
	Slow Fault = "slow"
	// Upgrade: SIGTERM; it is started again as the other one of two builds.
	Upgrade Fault = "upgrade"

	// Those of packets, between nodes in namespaces.

	OneWay Fault = "oneway" // what it sends vanishes, or what is sent to it: to one other node, or all
	Split  Fault = "split"  // packets between it and one other vanish; both reach the rest
	Loss   Fault = "loss"   // some of its packets vanish, and some come late
	Delay  Fault = "delay"  // its packets take 100 to 300 ms each
)

// Faults are all of them.
var Faults = []Fault{Kill, Stop, Cut, Freeze, Crash, Leader, Slow, Upgrade, OneWay, Split, Loss, Delay}

// Possible returns those that can be done here: with another build or without one, to nodes in
// namespaces or behind proxies.
func Possible(twoBuilds, namespaces bool) []Fault {
	return slices.DeleteFunc(slices.Clone(Faults), func(f Fault) bool {
		switch f {
		case Slow:
			return !canSlow()
		case Upgrade:
			return !twoBuilds
		case Freeze:
			return namespaces
		case OneWay, Split, Loss, Delay:
			return !namespaces
		}
		return false
	})
}

// A Place is where a node is.
type Place struct {
	Name      string
	IRC       string // address
	Admin     string // address of its admin server
	Listen    string // for other nodes
	Advertise string
	Peers     []string
	Old       bool // it is of the build that is to be replaced

	// Dial connects to its addresses.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Config is a run.
type Config struct {
	Nodes   int
	Clients int           // on each node
	For     time.Duration // of faults; before and after it there are none
	Lease   time.Duration // of the nodes
	Faults  []Fault       // which there are; empty: none
	Seed    uint64
	// Two: there is an old build, which all nodes begin with.
	Two bool
	// Namespaces: each node is in a network namespace of its own, not behind proxies.
	Namespaces bool
	// Command returns what serves a node. It is called again after a kill.
	Command func(Place) *exec.Cmd
	// Ready waits until a node is a member of the network with all the others.
	Ready func(ctx context.Context, p Place) error
	// StepDown has a node ask NATS for other leaders.
	StepDown func(ctx context.Context, p Place) error
	// Logf prints a line about what happens.
	Logf func(format string, args ...any)
}

// A Result is what a run has shown.
type Result struct {
	Faults   []string // what was not as it must be
	Said     int
	Echoed   int
	Refused  int
	Shown    int // messages, to all clients together
	Injected map[Fault]int
	Longest  time.Duration // without an echo at any client
}

// settle is how long all nodes may take to come together.
const settle = 5 * time.Minute

// A node is one process.
type node struct {
	Place
	cmd *exec.Cmd
}

// Wires are what is between the nodes.
type wires interface {
	// place gives the nodes their addresses.
	place(nodes []*node) error
	// at has fn run where a node is: what that starts and dials is there. It waits for fn.
	at(n *node, fn func() error) error
	// disturb does a fault to what goes between a node and others, until mend is called. The
	// ways are those from node to node that it is done to, in words.
	disturb(f Fault, n *node, random *rand.Rand) (ways string, mend func(), err error)
	end()
}

// Run starts nodes and clients, injects faults, and judges.
func Run(ctx context.Context, c Config) (*Result, error) {
	r := &run{Config: c, wires: &proxies{}, random: rand.New(rand.NewPCG(c.Seed, c.Seed))}
	if c.Namespaces {
		r.wires = &namespaces{}
	}
	if c.Logf == nil {
		r.Logf = func(string, ...any) {}
	}
	defer r.end()
	if err := r.start(); err != nil {
		return nil, err
	}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	injected, longest, err := r.inject(ctx)
	if err != nil {
		return nil, err
	}
	r.Logf("the faults have ended; waiting for the nodes")
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	r.silence()
	rosters, err := r.members(ctx)
	if err != nil {
		return nil, err
	}
	r.stopClients()
	evidence, err := r.collect(ctx)
	if err != nil {
		return nil, err
	}
	evidence.Rosters = rosters
	return r.result(evidence, injected, longest), nil
}

type run struct {
	Config
	wires
	random  *rand.Rand
	nodes   []*node
	clients []*client
	talk    sync.WaitGroup
	silence context.CancelFunc // ends what clients do
	away    context.CancelFunc // ends the clients
	echoes  echoes
	silent  bool // nobody got an echo for as long as settle after a fault
	judges  int  // clients that have asked for what nodes have
}

// channels are those in which all clients are.
var channels = []string{"#one", "#two", "#three", "#four"}

func (r *run) start() error {
	for i := range r.Nodes {
		n := &node{Place: Place{Name: string(rune('a' + i)), Old: r.Two}}
		n.Dial = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			err = r.at(n, func() (err error) {
				var d net.Dialer
				conn, err = d.DialContext(ctx, network, address)
				return err
			})
			return conn, err
		}
		r.nodes = append(r.nodes, n)
	}
	if err := r.place(r.nodes); err != nil {
		return err
	}
	return r.launchAll()
}

func (r *run) launchAll() error {
	for _, n := range r.nodes {
		if err := r.launch(n); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) launch(n *node) error {
	n.cmd = r.Command(n.Place)
	if err := r.at(n, n.cmd.Start); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

func (r *run) end() {
	r.sendAway()
	for _, n := range r.nodes {
		if n.cmd != nil && n.cmd.Process != nil {
			_ = n.cmd.Process.Kill()
			_ = n.cmd.Wait()
		}
	}
	r.talk.Wait() // who waits for an answer waits no more
	r.wires.end()
}

// ready waits until all nodes are members.
func (r *run) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for _, n := range r.nodes {
		if err := r.Ready(ctx, n.Place); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	return nil
}

// inject starts the clients, and faults one after the other. It fails when the nodes do not come
// together again after one.
func (r *run) inject(ctx context.Context) (injected map[Fault]int, longest time.Duration, err error) {
	there, away := context.WithCancel(ctx)
	talking, silence := context.WithCancel(there)
	r.silence, r.away = silence, away
	for _, n := range r.nodes {
		for i := range r.Clients {
			c := &client{
				name: fmt.Sprintf("%s%d", n.Name, i), place: n.Place, channels: channels, nicks: []string{"king", "queen"},
				random: rand.New(rand.NewPCG(r.Seed, r.random.Uint64())), echoes: &r.echoes,
			}
			r.clients = append(r.clients, c)
			r.talk.Go(func() { c.run(there, talking) })
		}
	}
	r.echoes.note()
	injected = map[Fault]int{}
	for end := time.Now().Add(r.For); time.Now().Before(end) && ctx.Err() == nil; {
		wait(ctx, 2*time.Second)
		if len(r.Faults) == 0 {
			continue
		}
		f, n := r.Faults[r.random.IntN(len(r.Faults))], r.nodes[r.random.IntN(len(r.nodes))]
		where := "node " + n.Name
		if f == Crash {
			where = "all nodes"
		}
		r.Logf("%s %s", f, where)
		if err := r.do(ctx, f, n); err != nil {
			r.Logf("%s %s: %v", f, where, err)
		} else {
			injected[f]++
		}
		if err := r.ready(ctx); err != nil {
			return nil, 0, fmt.Errorf("after %s of %s: %w", f, where, err)
		}
		if !r.talks(ctx) {
			r.silent = ctx.Err() == nil
			break
		}
	}
	wait(ctx, time.Second)
	return injected, r.echoes.longest(), nil
}

// talks waits until somebody gets an echo: without that, faults that come one after the other
// would find nobody who says anything.
func (r *run) talks(ctx context.Context) bool {
	before := r.echoes.number()
	for end := time.Now().Add(settle); r.echoes.number() == before; wait(ctx, 100*time.Millisecond) {
		if time.Now().After(end) || ctx.Err() != nil {
			return false
		}
	}
	return true
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// do does a fault to a node, and mends it.
func (r *run) do(ctx context.Context, f Fault, n *node) error {
	away := r.Lease/2 + time.Duration(r.random.Int64N(int64(r.Lease))) // some end before the lease does
	switch f {
	case Kill:
		return r.kill(ctx, away/4, n)
	case Crash:
		return r.kill(ctx, away/4, r.nodes...)
	case Stop:
		return r.stopProcess(ctx, n, away)
	case Leader:
		return r.StepDown(ctx, n.Place)
	case Slow:
		return r.slowDisk(ctx, n, away)
	case Upgrade:
		return r.upgrade(n)
	}
	// Who goes on after its lease must have time in which another one has what it had.
	away = r.Lease/2 + time.Duration(r.random.Int64N(int64(2*r.Lease)))
	ways, mend, err := r.disturb(f, n, r.random)
	if err != nil {
		return err
	}
	if ways != "" {
		r.Logf("  %s, for %.1f s", ways, away.Seconds())
	}
	wait(ctx, away)
	mend()
	return nil
}

// kill kills nodes, all before any has ended, and starts them again after a time.
func (r *run) kill(ctx context.Context, d time.Duration, nodes ...*node) error {
	for _, n := range nodes {
		if err := n.cmd.Process.Kill(); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		_ = n.cmd.Wait()
	}
	wait(ctx, d)
	for _, n := range nodes {
		if err := r.launch(n); err != nil {
			return err
		}
	}
	return nil
}

// drainWithin is how long a node may take to hand over what it has, and end.
const drainWithin = time.Minute

// upgrade ends a node as an operator does, and starts it again as the other build.
func (r *run) upgrade(n *node) error {
	if !r.Two {
		return errors.New("there is no other build")
	}
	if err := terminate(n.cmd.Process); err != nil {
		return err
	}
	tooLong := time.AfterFunc(drainWithin, func() {
		r.Logf("node %s has not ended after %v, and is killed", n.Name, drainWithin)
		_ = n.cmd.Process.Kill()
	})
	_ = n.cmd.Wait()
	tooLong.Stop()
	n.Old = !n.Old
	return r.launch(n)
}

func (r *run) stopClients() {
	r.sendAway()
	r.talk.Wait()
}

// sendAway has the clients end, if there are some.
func (r *run) sendAway() {
	if r.away != nil {
		r.silence()
		r.away()
	}
}

// caughtUp is how long nodes that were away may take to get what they have missed.
const caughtUp = 5 * time.Minute

// collect takes what clients know, and asks the nodes for their histories until those
// are equal, or will not be.
func (r *run) collect(ctx context.Context) (e Evidence, err error) {
	for end := time.Now().Add(caughtUp); ; wait(ctx, time.Second) {
		e = Evidence{}
		err := r.histories(ctx, &e)
		if err == nil && len(e.Judge()) == 0 {
			break
		}
		if time.Now().After(end) || ctx.Err() != nil {
			if err != nil {
				return e, err
			}
			break
		}
	}
	for _, c := range r.clients {
		e.Said = append(e.Said, c.evidence.Said...)
		e.Sessions = append(e.Sessions, c.evidence.Sessions...)
		e.Holds = append(e.Holds, c.evidence.Holds...)
		e.PutOut = append(e.PutOut, c.evidence.PutOut...)
	}
	return e, nil
}

// members asks the nodes who is in the channels, while the clients are there, until that is
// what the clients know, or will not be.
func (r *run) members(ctx context.Context) (rosters []Roster, err error) {
	for end := time.Now().Add(caughtUp); ; wait(ctx, time.Second) {
		rosters, err = r.rosters(ctx)
		if err == nil && len((&Evidence{Rosters: rosters}).Judge()) == 0 {
			return rosters, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return rosters, err
		}
	}
}

func (r *run) rosters(ctx context.Context) (all []Roster, err error) {
	err = r.askAll(ctx, "members at", func(c *client, node, channel string) error {
		shown, err := c.names(channel)
		if err != nil {
			return err
		}
		slices.Sort(shown)
		all = append(all, Roster{Node: node, Channel: channel, Shown: shown, Members: r.who(channel)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// askAll calls ask for every channel at every node, with a client of its own there.
func (r *run) askAll(ctx context.Context, what string, ask func(c *client, node, channel string) error) error {
	for _, n := range r.nodes {
		c := r.judge(n)
		err := c.connect(ctx)
		for _, channel := range channels {
			if err == nil {
				err = ask(c, n.Name, channel)
			}
		}
		c.leave()
		if err != nil {
			return fmt.Errorf("%s node %s: %w", what, n.Name, err)
		}
	}
	return nil
}

// who are the clients in a channel, by nick.
func (r *run) who(channel string) (nicks []string) {
	for _, c := range r.clients {
		if nick, is := c.isIn(channel); is {
			nicks = append(nicks, nick)
		}
	}
	slices.Sort(nicks)
	return nicks
}

// judge is what the names of those begin with who ask for what nodes have.
const judge = "judge"

// judge returns a client that asks for what a node has. The name of the last one may not be
// free yet.
func (r *run) judge(n *node) *client {
	r.judges++
	return &client{name: fmt.Sprint(judge, r.judges, n.Name), place: n.Place, channels: channels, echoes: &echoes{}}
}

func (r *run) histories(ctx context.Context, e *Evidence) error {
	return r.askAll(ctx, "history of", func(c *client, node, channel string) error {
		messages, err := c.history(channel)
		if err == nil {
			e.Histories = append(e.Histories, History{Node: node, Channel: channel, Messages: messages})
		}
		return err
	})
}

func (r *run) result(e Evidence, injected map[Fault]int, longest time.Duration) *Result {
	result := &Result{Said: len(e.Said), Injected: injected, Longest: longest}
	for _, s := range e.Said {
		if s.ID != "" {
			result.Echoed++
		}
		if s.Refused {
			result.Refused++
		}
	}
	for _, s := range e.Sessions {
		result.Shown += len(s.Seen)
	}
	result.Faults = e.Judge()
	if r.silent {
		result.Faults = append(result.Faults, fmt.Sprintf("nobody got an answer for %v after a fault had ended", settle))
	}
	return result
}

// ParseFaults reads words with commas between them; "all" is all that are possible, "none" none.
func ParseFaults(text string, possible []Fault) (faults []Fault, err error) {
	switch text {
	case "all":
		return possible, nil
	case "none":
		return nil, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		if !slices.Contains(possible, Fault(word)) {
			return nil, fmt.Errorf("there is no fault %q, or not here: write some of %v, with commas, or all, or none", word, possible)
		}
		faults = append(faults, Fault(word))
	}
	return faults, nil
}

// echoes notes how long nobody has got an answer.
type echoes struct {
	mu    sync.Mutex
	count int
	last  time.Time
	most  time.Duration
}

func (e *echoes) note() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.count++
	now := time.Now()
	if !e.last.IsZero() {
		e.most = max(e.most, now.Sub(e.last))
	}
	e.last = now
}

func (e *echoes) number() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.count
}

func (e *echoes) longest() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most
}
