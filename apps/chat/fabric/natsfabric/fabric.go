package natsfabric

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/member"
)

// maxBacklog is how many calls of the handler may wait before no more is received: what
// comes then waits in the connection, and is lost, and noticed, when that is full.
const maxBacklog = 4096

// maxOutgoing is how many frames may wait for the connection. More are lost, and noticed.
const maxOutgoing = 65536

// leaveTimeout is how long Close waits for the end of the lease to be written.
const leaveTimeout = time.Second

// retryAfter is the time between two tries to reach the store at the start.
const retryAfter = 250 * time.Millisecond

// askTimeout is how long NATS may take to make a stream; without a leader it does not answer.
const askTimeout = 2 * time.Second

// A Fabric is a node of a cluster that NATS joins. See fabric.Fabric.
type Fabric struct {
	config Config
	server *server.Server // nil: NATS is elsewhere
	conn   *nats.Conn
	stream jetstream.JetStream
	store  *store
	token  string        // for the own server
	began  time.Duration // the clock when the node began

	registry *registry

	connected chan struct{}            // closed when conn is there
	answerer  atomic.Pointer[answerer] // nil: the node answers no questions yet
	answering chan struct{}            // has room for the questions that are answered

	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup // goroutines, that end with life

	mu       sync.Mutex // guards what follows, and all of member but Valid
	member   *member.Member
	closed   bool
	trouble  string // why there is no store yet
	outgoing []outgoing
	counts   Counts
	calls    sync.Cond // calls of the handler were taken, or the node was closed

	toHandle chan struct{} // one token: there are calls of the handler
	toSend   chan struct{} // one token: there are frames
	history  chan struct{} // closed when the streams are there
}

// An outgoing frame is on its way to the connection.
type outgoing struct {
	subject string
	frame   []byte
}

// Counts are what a node has done since it began.
type Counts struct {
	Sent     uint64 // messages to other nodes
	Received uint64 // messages from other nodes
	Gaps     uint64 // gaps in those
	Fenced   uint64 // leases that have ended before Close
	Appended uint64 // records of the history
	Failed   uint64 // records that could not be appended
	Dropped  uint64 // frames for which the connection was too slow
}

// Status is a node as it is now.
type Status struct {
	Self    fabric.Member // epoch 0: no lease
	Valid   bool
	Members []fabric.Member // by name, the own one among them
	Waits   string          // what the node waits for, if it has no lease
	Claims  int             // nicks, accounts and channels that it owns
	Lease   time.Duration
	Counts  Counts

	Channels int // of the claims
}

var _ fabric.Fabric = (*Fabric)(nil)

// Open makes a node. A configuration that cannot be is an error.
func Open(config Config) (*Fabric, error) {
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	f := &Fabric{
		config:   config,
		began:    now(),
		token:    rand.Text(),
		toHandle: make(chan struct{}, 1),
		toSend:   make(chan struct{}, 1),
		history:  make(chan struct{}),

		connected: make(chan struct{}),
		answering: make(chan struct{}, maxAnswers),
	}
	f.calls.L = &f.mu
	f.registry = &registry{fabric: f, opened: make(chan struct{})}
	f.store = &store{fabric: f, room: make(chan struct{}, requests)}
	f.member = member.New(member.Config{
		Node:      config.Node,
		Version:   config.Version,
		Instance:  mathrand.Uint64(),
		Lease:     config.Lease,
		Margin:    config.Lease / marginsPerLease,
		Heartbeat: config.Lease / heartbeatsPerLease,
	}, f.store, wire{f}, f.clock)
	f.life, f.end = context.WithCancel(context.Background())
	if config.URL != "" {
		return f, nil
	}
	var err error
	if f.server, err = newServer(config, f.token); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return f, nil
}

// Start implements fabric.Fabric. It does not wait for NATS.
func (f *Fabric) Start(h fabric.Handler) error {
	if f.server != nil {
		f.work.Go(f.server.Start)
	}
	f.work.Go(func() { f.handle(h) })
	f.work.Go(f.run)
	return nil
}

// run finds NATS and the store, and then does what is due.
func (f *Fabric) run() {
	for {
		err := f.prepare()
		f.mu.Lock()
		f.trouble = ""
		if err != nil {
			f.trouble = err.Error()
		}
		f.mu.Unlock()
		if err == nil {
			break
		}
		if !f.sleep(jitter()) {
			return
		}
	}
	f.work.Go(f.send)
	f.work.Go(f.openHistory)
	f.work.Go(f.registry.find)
	f.enter(f.member.Start)
	for f.sleep(f.config.Lease / heartbeatsPerLease / 4) {
		f.enter(f.member.Tick)
	}
}

// jitter is retryAfter, more or less, so that nodes that begin together do not make the
// same streams at the same time: NATS answers one of them.
func jitter() time.Duration { return retryAfter/2 + mathrand.N(retryAfter) }

// sleep returns false at once when the node is closed.
func (f *Fabric) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-f.life.Done():
		return false
	}
}

// prepare makes sure that there is a connection and the bucket. It is called again after
// an error.
func (f *Fabric) prepare() error {
	if f.server != nil && !f.server.ReadyForConnections(retryAfter) {
		return errors.New("the node's own NATS server waits for those of the other nodes")
	}
	if f.conn == nil {
		if err := f.connect(); err != nil {
			return fmt.Errorf("connect to NATS: %w", err)
		}
	}
	if err := f.store.open(f.life); err != nil {
		return fmt.Errorf("the bucket of leases and names: %w", err)
	}
	return nil
}

func (f *Fabric) connect() (err error) {
	options := []nats.Option{
		nats.Name("epi chat, node " + string(f.config.Node)),
		nats.NoEcho(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(retryAfter),
		nats.ReconnectBufSize(-1), // what cannot be sent now is lost, and noticed
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			f.config.Logger.Warn("cluster: NATS", "error", err)
		}),
	}
	if f.server != nil {
		options = append(options, nats.InProcessServer(f.server), nats.Token(f.token))
	}
	if f.config.Credentials != "" {
		options = append(options, nats.UserCredentials(f.config.Credentials))
	}
	conn, err := nats.Connect(f.config.URL, options...)
	if err != nil {
		return err
	}
	for _, subject := range []string{f.config.subjectOf(f.config.Node), f.config.subjectOfAll()} {
		if _, err := conn.Subscribe(subject, func(m *nats.Msg) { f.receive(m.Data) }); err != nil {
			conn.Close()
			return err
		}
	}
	if _, err := conn.Subscribe(f.config.subjectOfQuestions(f.config.Node), f.asked); err != nil {
		conn.Close()
		return err
	}
	if f.stream, err = jetstream.New(conn); err != nil {
		conn.Close()
		return err
	}
	f.conn = conn
	close(f.connected)
	return nil
}

func (f *Fabric) clock() time.Duration { return now() - f.began }

// enter does something with the member.
func (f *Fabric) enter(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.enterLocked(do)
}

func (f *Fabric) enterLocked(do func()) {
	if f.closed {
		return
	}
	do()
	if f.member.Waiting() > 0 {
		give(f.toHandle)
	}
	if len(f.outgoing) > 0 {
		give(f.toSend)
	}
}

func give(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default:
	}
}

// receive takes a frame, and waits while the handler is too far behind.
func (f *Fabric) receive(frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.awaitHandler()
	f.enterLocked(func() { f.member.Receive(frame) })
}

// awaitHandler waits until few calls of the handler wait.
func (f *Fabric) awaitHandler() {
	for f.member.Waiting() > maxBacklog && !f.closed {
		f.calls.Wait()
	}
}

// handle calls the handler for as long as the node lives.
func (f *Fabric) handle(h fabric.Handler) {
	h = counting{h, f}
	for {
		select {
		case <-f.toHandle:
		case <-f.life.Done():
			return
		}
		f.mu.Lock()
		calls := f.member.Calls()
		f.calls.Broadcast()
		f.mu.Unlock()
		for _, call := range calls {
			if f.life.Err() != nil {
				return
			}
			call(h)
		}
	}
}

// send gives frames to the connection, at the end the last ones.
func (f *Fabric) send() {
	for more := true; more; {
		select {
		case <-f.toSend:
		case <-f.life.Done():
			more = false
		}
		f.mu.Lock()
		frames := f.outgoing
		f.outgoing = nil
		f.mu.Unlock()
		for _, o := range frames {
			if f.conn.Publish(o.subject, o.frame) != nil {
				f.mu.Lock()
				f.counts.Dropped++
				f.mu.Unlock()
			}
		}
	}
	_ = f.conn.FlushTimeout(leaveTimeout) // the others see the end of the lease, at the latest
}

// A wire carries the member's frames: they wait for the sender.
type wire struct{ fabric *Fabric }

// Send implements member.Wire.
func (w wire) Send(to fabric.Node, frame []byte) { w.publish(w.fabric.config.subjectOf(to), frame) }

// Publish implements member.Wire.
func (w wire) Publish(frame []byte) { w.publish(w.fabric.config.subjectOfAll(), frame) }

func (w wire) publish(subject string, frame []byte) {
	if len(w.fabric.outgoing) >= maxOutgoing {
		w.fabric.counts.Dropped++
		return
	}
	w.fabric.outgoing = append(w.fabric.outgoing, outgoing{subject, frame})
}

// Self implements fabric.Fabric.
func (f *Fabric) Self() fabric.Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.member.Self()
}

// Valid implements fabric.Fabric.
func (f *Fabric) Valid() bool { return f.member.Valid() }

// Send implements fabric.Fabric.
func (f *Fabric) Send(to fabric.Node, data []byte) (err error) {
	f.enter(func() {
		if err = f.member.Send(to, data); err == nil {
			f.counts.Sent++
		}
	})
	return err
}

// Broadcast implements fabric.Fabric.
func (f *Fabric) Broadcast(data []byte) (err error) {
	f.enter(func() {
		var sent int
		sent, err = f.member.Broadcast(data)
		f.counts.Sent += uint64(sent)
	})
	return err
}

// Claim implements fabric.Fabric.
func (f *Fabric) Claim(key fabric.Key, done func(fabric.Claim, error)) {
	f.enter(func() { f.member.Claim(key, done) })
}

// Release implements fabric.Fabric.
func (f *Fabric) Release(c fabric.Claim) { f.enter(func() { f.member.Release(c) }) }

// Drain implements fabric.Fabric.
func (f *Fabric) Drain() { f.enter(f.member.Drain) }

// Status is the node as it is now.
func (f *Fabric) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{
		Self:    f.member.Self(),
		Valid:   f.member.Valid(),
		Members: f.member.Members(),
		Waits:   f.member.Waits(),
		Lease:   f.config.Lease,
		Counts:  f.counts,
	}
	for kind, n := range f.member.Claims() {
		s.Claims += n
		if kind == fabric.Channel {
			s.Channels = n
		}
	}
	if f.trouble != "" {
		s.Waits = f.trouble
	}
	return s
}

// Close implements fabric.Fabric.
func (f *Fabric) Close() error {
	left := make(chan struct{})
	f.enter(func() { f.member.Leave(func() { close(left) }) })
	select {
	case <-left:
	case <-time.After(leaveTimeout): // the others see the end of the lease
	}
	f.mu.Lock()
	f.closed = true
	f.calls.Broadcast()
	f.mu.Unlock()
	f.end()
	f.work.Wait()
	if f.conn != nil {
		f.conn.Close()
	}
	if f.server != nil {
		stopServer(f.server)
	}
	return nil
}

// A counting handler counts what its handler is called for.
type counting struct {
	fabric.Handler
	fabric *Fabric
}

func (c counting) count(what *uint64) {
	c.fabric.mu.Lock()
	*what++
	c.fabric.mu.Unlock()
}

func (c counting) Received(from fabric.Member, data []byte) {
	c.count(&c.fabric.counts.Received)
	c.Handler.Received(from, data)
}

func (c counting) Gap(from fabric.Member) {
	c.count(&c.fabric.counts.Gaps)
	c.Handler.Gap(from)
}

func (c counting) Fenced() {
	c.count(&c.fabric.counts.Fenced)
	c.Handler.Fenced()
}
