package study

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/ringpoll"
	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

// A process is the state of a child: of a server its listener and its end of
// the connections, of a client its end of them.
type process struct {
	stop     stopper
	answer   func(result any, failed error) error
	low      int // a low descriptor, kept for what select itself needs
	listener int
	poller   poll.Poller // of accept, which is done in pieces
	conns    []int       // descriptors
}

func newProcess() (*process, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	low, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	return &process{stop: stopper(fd), low: low, listener: -1}, nil
}

// A stopper is an event descriptor that the loops watch besides the
// connections: the study has said stop.
type stopper int

// raise is the one thing that another goroutine does.
func (s stopper) raise() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(int(s), one[:]) // fails only when it is raised 2^64-2 times
}

func (s stopper) lower() {
	var count [8]byte
	_, _ = unix.Read(int(s), count[:]) // fails only when it is not raised
}

// stopToken is the token of the stopper, listenToken that of the listener.
const (
	stopToken   = 1 << 40
	listenToken = 1<<40 + 1
)

// A backend is a way to wait for descriptors, as the study compares them.
type backend struct {
	name string
	call poll.Backend
	mode poll.Mode
}

var backends = []backend{
	{"select", poll.BackendSelect, poll.Level},
	{"poll", poll.BackendPoll, poll.Level},
	{"epoll level", poll.BackendEpoll, poll.Level},
	{"epoll edge", poll.BackendEpoll, poll.Edge},
	{"epoll one-shot", poll.BackendEpoll, poll.OneShot},
	{ringLevel, backendRing, poll.Level},
	{ringEdge, backendRing, poll.Edge},
}

// backendRing stands for the poll operations of io_uring: readiness by another
// system call, and nothing of io_uring's own reading and writing. One-shot is
// what they are by nature: level differs from it only in who arms them again.
const (
	backendRing poll.Backend = "io_uring poll"

	ringLevel = "io_uring poll level" // armed again by the wait that follows
	ringEdge  = "io_uring poll edge"  // multishot
)

func backendNamed(name string) (backend, error) {
	for _, b := range backends {
		if b.name == name {
			return b, nil
		}
	}
	return backend{}, fmt.Errorf("there is no backend %q", name)
}

// selectMost is how many connections a process can have that watches with
// select: descriptors are below FD_SETSIZE, and some are for other things.
const selectMost = 950

// room is the most connections for a backend.
func (k backend) room() int {
	if k.call == poll.BackendSelect {
		return selectMost
	}
	return 1 << 30
}

// open makes a poller that watches the stopper.
func (k backend) open(p *process) (poll.Poller, error) {
	if k.call == poll.BackendSelect && p.low >= 0 {
		_ = unix.Close(p.low) // nothing was written to it
		p.low = -1
	}
	poller, err := k.poller()
	if err != nil {
		return nil, err
	}
	if err := poller.Add(int(p.stop), stopToken, poll.Readable, poll.Level); err != nil {
		return nil, errors.Join(err, poller.Close())
	}
	return poller, nil
}

func (k backend) poller() (poll.Poller, error) {
	if k.call == backendRing {
		return ringpoll.New()
	}
	return poll.New(k.call)
}

type listenResult struct{ Address string }

func (p *process) listen(struct{}) (any, error) {
	fd, err := sock.Listen("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, sock.StreamOptions{})
	if err != nil {
		return nil, fmt.Errorf("listen on 127.0.0.1: %w", err)
	}
	p.listener = fd
	return listenResult{sock.LocalAddr(fd).String()}, nil
}

type gatherArgs struct{ Count int }

type gatherResult struct {
	Open  int    // connections now
	Limit string // what does not allow more
}

// gatherLimit bounds the time without a connection while they are opened.
const gatherLimit = 20 * time.Second

// gather accepts until Count connections are open, or it is stopped because no
// more will come. It is not measured.
func (p *process) gather(args gatherArgs) (any, error) {
	for len(p.conns) < args.Count {
		fd, _, err := sock.Accept(p.listener)
		if err == unix.EAGAIN {
			more, err := p.awaitConnection()
			if err != nil {
				return nil, fmt.Errorf("%w of %d connections", err, args.Count)
			}
			if !more {
				break
			}
			continue
		}
		if err != nil {
			limit := acceptError(p, err).Error()
			p.makeRoom()
			return gatherResult{len(p.conns), limit}, nil
		}
		p.conns = append(p.conns, fd)
	}
	return gatherResult{Open: len(p.conns)}, nil
}

// awaitConnection reports whether there is one, or a stop instead.
func (p *process) awaitConnection() (bool, error) {
	fds := []unix.PollFd{{Fd: int32(p.listener), Events: unix.POLLIN}, {Fd: int32(p.stop), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(gatherLimit.Milliseconds()))
	switch {
	case err == unix.EINTR:
		return true, nil
	case err != nil:
		return false, fmt.Errorf("poll: %w", err)
	case n == 0:
		return false, fmt.Errorf("none came for %v after %d", gatherLimit, len(p.conns))
	case fds[0].Revents == 0:
		p.stop.lower()
		return false, nil
	}
	return true, nil
}

// makeRoom closes the last connections, where the limit of open files was
// reached: serving the others needs a few descriptors.
func (p *process) makeRoom() {
	const room = 8
	keep := max(0, len(p.conns)-room)
	for _, fd := range p.conns[keep:] {
		_ = unix.Close(fd) // nobody counts on it
	}
	p.conns = p.conns[:keep]
}

func acceptError(p *process, err error) error {
	return fmt.Errorf("accept connection %d: %w; raise the limit of open files with ulimit -n or use a lower --max", len(p.conns)+1, err)
}

type acceptArgs struct {
	Backend string
	Count   int
}

type acceptResult struct{ At []time.Duration } // monotonic, when accept returned

// accept is the conn experiment's program: listener and connections are in one
// set. It goes on with the connections that it has.
func (p *process) accept(args acceptArgs) (any, error) {
	kind, err := backendNamed(args.Backend)
	if err != nil {
		return nil, err
	}
	if p.poller == nil {
		if p.poller, err = kind.open(p); err != nil {
			return nil, err
		}
		if err := p.poller.Add(p.listener, listenToken, poll.Readable, kind.mode); err != nil {
			return nil, err
		}
	}
	if err := p.answer(nil, nil); err != nil {
		return nil, err
	}
	result := acceptResult{At: make([]time.Duration, 0, args.Count)}
	events := make([]poll.Event, eventsPerWait)
	for len(result.At) < args.Count {
		n, err := p.poller.Wait(events, -1)
		if err != nil {
			return nil, err
		}
		for _, e := range events[:n] {
			switch e.Token {
			case stopToken:
				p.stop.lower()
				return nil, fmt.Errorf("stopped after %d of %d connections", len(result.At), args.Count)
			case listenToken:
				if err := p.acceptAll(kind, &result); err != nil {
					return nil, err
				}
			default:
				return nil, fmt.Errorf("connection %d is not silent: %v", e.Token, e.Ready)
			}
		}
	}
	return result, nil
}

// acceptAll accepts what waits, as the edge demands it.
func (p *process) acceptAll(kind backend, result *acceptResult) error {
	for {
		fd, _, err := sock.Accept(p.listener)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return acceptError(p, err)
		}
		result.At = append(result.At, monotonic())
		if err := p.poller.Add(fd, uint64(len(p.conns)), poll.Readable, kind.mode); err != nil {
			return err
		}
		p.conns = append(p.conns, fd)
	}
}

// A record is the state of one connection. It has a place for pending data, as
// programs have it that collect whole messages: a linear scan passes over those
// of all the records before the right one.
type record struct {
	fd       int
	received int         // bytes of a request that is not complete
	owed     int         // bytes of replies that are not sent
	full     bool        // the socket has no room: it is watched for that
	held     atomic.Bool // a worker has it
	pending  [pendingSize]byte
}

// pendingSize is the first bytes of a request that a record keeps.
const pendingSize = 1024

// A service is what the server programs do for a ready connection: they answer
// requests of one size with replies of one size.
type service struct {
	records []record
	serveArgs
	in, out []byte

	began, beganCPU time.Duration
	cpu             time.Duration // that serving has used
	got             int           // bytes
	marks           []mark
	waits           int
	events          int
	controls        int // changes of what is watched for
}

type serveArgs struct {
	Program string // see programs
	Lookup  string // slot, map or linear
	Conns   int    // of those that are open
	Request int    // bytes
	Reply   int    // bytes
	Whole   bool   // reply to complete requests; else echo whatever arrives
	Step    int    // bytes between two marks; 0: none
	Buffer  int    // bytes that a socket takes to send; 0: what the system allows
}

// A mark is how long it took to get so many bytes.
type mark struct{ Elapsed, CPU time.Duration }

type serveResult struct {
	CPU      time.Duration // of the program's thread
	Bytes    int           // received
	Marks    []mark
	Waits    int
	Events   int
	Controls int
}

const (
	eventsPerWait = 1024
	readSize      = 64 << 10
	writeSize     = 256 << 10
)

// serve runs a program on the open connections until it is stopped.
func (p *process) serve(args serveArgs) (any, error) {
	s := &service{serveArgs: args, in: make([]byte, readSize), out: make([]byte, writeSize), records: make([]record, args.Conns)}
	for i, fd := range p.conns[:args.Conns] {
		s.records[i].fd = fd
		if args.Buffer == 0 {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, args.Buffer); err != nil {
			return nil, fmt.Errorf("set SO_SNDBUF to %d: %w", args.Buffer, err)
		}
	}
	run, err := p.program(s)
	if err != nil {
		return nil, err
	}
	defer p.stop.lower()
	if err := run(func() error {
		s.beganCPU = threadCPU()
		return p.answer(nil, nil)
	}); err != nil {
		return nil, err
	}
	return serveResult{s.cpu, s.got, s.marks, s.waits, s.events, s.controls}, nil
}

// done ends the measured time.
func (s *service) done() { s.cpu = threadCPU() - s.beganCPU }

// turn reads what has arrived and answers it. With drain it goes on until the
// socket is empty, which a short read proves, epoll(7); else it reads once
// and leaves the rest to the next event.
func (s *service) turn(r *record, drain bool) error {
	for {
		n, err := sock.Read(r.fd, s.in)
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			return lost(r, err)
		}
		s.count(n)
		s.owe(r, s.in[:n])
		if !drain || n < len(s.in) {
			break
		}
	}
	return s.send(r)
}

// owe notes what the bytes received oblige to.
func (s *service) owe(r *record, in []byte) {
	if !s.Whole {
		r.owed += len(in)
		return
	}
	copy(r.pending[min(r.received, pendingSize):], in)
	r.received += len(in)
	r.owed += r.received / s.Request * s.Reply
	r.received %= s.Request
}

func (s *service) send(r *record) error {
	r.full = false
	for r.owed > 0 {
		n, err := sock.Write(r.fd, [][]byte{s.out[:min(r.owed, len(s.out))]})
		if err == unix.EAGAIN {
			r.full = true
			return nil
		}
		if err != nil {
			return lost(r, err)
		}
		r.owed -= n
	}
	return nil
}

func lost(r *record, err error) error {
	if err == io.EOF {
		err = errors.New("the client closed it")
	}
	return fmt.Errorf("connection on descriptor %d: %w", r.fd, err)
}

// count sets the marks.
func (s *service) count(n int) {
	if s.got == 0 {
		s.began = monotonic()
	}
	s.got += n
	if s.Step > 0 && s.got >= (len(s.marks)+1)*s.Step {
		s.marks = append(s.marks, mark{monotonic() - s.began, threadCPU() - s.beganCPU})
	}
}
