package study

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/sock"
	"github.com/epinet/epi/poll"
)

type connectArgs struct {
	Address string
	Count   int
	Pace    time.Duration // between two connections
}

type connectResult struct {
	At    []time.Duration // monotonic, when connect began
	Open  int             // connections now
	Limit string          // what does not allow more
}

// connect opens Count connections more. What it leaves behind at the end are
// resets, so that no port stays in TIME_WAIT.
func (p *process) connect(args connectArgs) (any, error) {
	to, err := netip.ParseAddrPort(args.Address)
	if err != nil {
		return nil, err
	}
	if !to.Addr().IsLoopback() {
		return nil, fmt.Errorf("%v is not an address of this machine", to)
	}
	var result connectResult
	for range args.Count {
		if args.Pace > 0 {
			time.Sleep(args.Pace)
		}
		at, fd, err := connectFrom(len(p.conns)%sourceAddresses, to)
		if err != nil {
			result.Limit = fmt.Sprintf("connection %d: %v", len(p.conns)+1, err)
			p.makeRoom()
			break
		}
		if args.Pace > 0 {
			result.At = append(result.At, at)
		}
		p.conns = append(p.conns, fd)
	}
	result.Open = len(p.conns)
	return result, nil
}

func connectFrom(source int, to netip.AddrPort) (at time.Duration, fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, -1, fmt.Errorf("socket: %w; raise the limit of open files with ulimit -n or use a lower --max", err)
	}
	local := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + source)}}
	err = errors.Join(
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		// The port is chosen by connect, so one may serve for several servers.
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, local))
	at = monotonic()
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, -1, fmt.Errorf("connect to %v: %w", to, err)
	}
	return at, fd, nil
}

type loadArgs struct {
	Conns      int           // of those that are open
	Iterations int           // requests on each
	Buffer     int           // bytes that a socket takes before they are read; 0: what the system allows
	InFlight   int           // requests at a time, at most one on each connection at first
	Request    int           // bytes
	Reply      int           // bytes
	Pause      time.Duration // after each reply
	Limit      time.Duration // then no more requests are made
	Latency    bool
}

type loadResult struct {
	Done    int // requests that were answered
	Elapsed time.Duration
	Median  time.Duration // latency, if asked for
}

// A caller is the client's side of a connection.
type caller struct {
	fd      int
	unsent  int           // bytes
	awaited int           // bytes
	began   time.Duration // the request
}

// A load makes requests round robin and awaits the replies.
type load struct {
	loadArgs
	callers   []caller
	asked     int
	start     time.Time
	in, out   []byte
	latencies []time.Duration
	result    loadResult
}

// load makes Conns × Iterations requests, or fewer if the time ends before.
func (p *process) load(args loadArgs) (any, error) {
	l := &load{loadArgs: args, start: time.Now(), in: make([]byte, readSize), out: make([]byte, writeSize)}
	poller, err := poll.New(poll.BackendEpoll)
	if err != nil {
		return nil, err
	}
	defer poller.Close()
	for i, fd := range p.conns[:args.Conns] {
		l.callers = append(l.callers, caller{fd: fd})
		if args.Buffer > 0 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, args.Buffer); err != nil {
				return nil, fmt.Errorf("set SO_RCVBUF to %d: %w", args.Buffer, err)
			}
		}
		if err := poller.Add(fd, uint64(i), poll.Readable|poll.Writable, poll.Edge); err != nil {
			return nil, err
		}
	}
	for range min(args.InFlight, args.Conns) {
		if err := l.ask(); err != nil {
			return nil, err
		}
	}
	events := make([]poll.Event, eventsPerWait)
	for l.result.Done < l.asked {
		n, err := poller.Wait(events, args.Limit+replyLimit)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, fmt.Errorf("%d of %d requests are not answered for %v", l.asked-l.result.Done, l.asked, args.Limit+replyLimit)
		}
		for _, e := range events[:n] {
			if err := l.react(&l.callers[e.Token]); err != nil {
				return nil, err
			}
		}
	}
	l.result.Elapsed = l.now()
	if len(l.latencies) > 0 {
		slices.Sort(l.latencies)
		l.result.Median = l.latencies[len(l.latencies)/2]
	}
	return l.result, nil
}

// now is the time since the load began.
func (l *load) now() time.Duration { return time.Since(l.start) }

// replyLimit is what the server may take for a reply beyond a load's own limit.
const replyLimit = 20 * time.Second

// ask makes the next request, if there is one.
func (l *load) ask() error {
	if l.asked == l.Conns*l.Iterations || l.now() >= l.Limit {
		return nil
	}
	c := &l.callers[l.asked%l.Conns]
	l.asked++
	c.unsent += l.Request
	c.awaited += l.Reply
	if l.Latency {
		c.began = l.now()
	}
	return l.send(c)
}

func (l *load) send(c *caller) error {
	for c.unsent > 0 {
		n, err := sock.Write(c.fd, [][]byte{l.out[:min(c.unsent, len(l.out))]})
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return fmt.Errorf("send a request: %w", err)
		}
		c.unsent -= n
	}
	return nil
}

func (l *load) react(c *caller) error {
	if err := l.send(c); err != nil {
		return err
	}
	for c.awaited > 0 {
		n, err := sock.Read(c.fd, l.in)
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return fmt.Errorf("await a reply: %w", err)
		}
		if n > c.awaited {
			return fmt.Errorf("%d bytes came where %d were due", n, c.awaited)
		}
		before := (c.awaited + l.Reply - 1) / l.Reply
		c.awaited -= n
		for range before - (c.awaited+l.Reply-1)/l.Reply {
			if err := l.answered(c); err != nil {
				return err
			}
		}
		if n < len(l.in) {
			return nil
		}
	}
	return nil
}

func (l *load) answered(c *caller) error {
	l.result.Done++
	if l.Latency {
		l.latencies = append(l.latencies, l.now()-c.began)
	}
	if l.Pause > 0 {
		time.Sleep(l.Pause)
	}
	return l.ask()
}
