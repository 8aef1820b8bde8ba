package show

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

const (
	trapRead    = 1024 // bytes of one read
	trapMessage = 4 * trapRead
	trapClients = 3  // that connect at once
	trapBacklog = 64 // of the listening socket
)

// traps are three servers: the first one forgets that an edge comes once.
var traps = []struct {
	name  string
	mode  poll.Mode
	drain bool // reads, and accepts, until EAGAIN
}{
	{"edge, one read for each event", poll.Edge, false},
	{"edge, until EAGAIN", poll.Edge, true},
	{"level, one read for each event", poll.Level, false},
}

// A trapServer has one connection and one listening socket.
type trapServer struct {
	name           string
	drain          bool
	poller         poll.Poller
	server, client int
	listener       int
	dialled        []int // clients of the listening socket
	accepted       int
}

const (
	trapConn uint64 = iota
	trapListener
)

// A trap is the three of them.
type trap struct{ servers []*trapServer }

func newTrap() (stage, error) {
	t := &trap{}
	for _, kind := range traps {
		s, err := newTrapServer(kind.name, kind.mode, kind.drain)
		if err != nil {
			return nil, errors.Join(err, t.close())
		}
		t.servers = append(t.servers, s)
	}
	return t, nil
}

func (t *trap) close() (err error) {
	for _, s := range t.servers {
		err = errors.Join(err, s.close())
	}
	t.servers = nil
	return err
}

func newTrapServer(name string, mode poll.Mode, drain bool) (*trapServer, error) {
	poller, err := poll.New(poll.BackendEpoll)
	if err != nil {
		return nil, err
	}
	s := &trapServer{name: name, drain: drain, poller: poller, server: -1, client: -1, listener: -1}
	ends, err := socketPair()
	if err == nil {
		s.server, s.client = ends[0], ends[1]
		err = poller.Add(s.server, trapConn, poll.Readable, mode)
	}
	if err == nil {
		err = s.listen(mode)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *trapServer) listen(mode poll.Mode) (err error) {
	if s.listener, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(s.listener, &unix.SockaddrUnix{}); err != nil { // the kernel chooses a name (unix(7), autobind)
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(s.listener, trapBacklog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return s.poller.Add(s.listener, trapListener, poll.Readable, mode)
}

func (s *trapServer) close() error {
	err := s.poller.Close()
	for _, fd := range append(s.dialled, s.server, s.client, s.listener) {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}

// A TrapAnswer is what one server has done until its next wait would sleep.
type TrapAnswer struct {
	Name     string
	Log      []string
	Unread   int // bytes that it has not read
	Stranded int // clients that it has not accepted
}

// act: the clients "send" a message of 4 KiB or one byte ("nudge"), or "connect"; "again"
// begins anew.
func (t *trap) act(name string) (any, error) {
	var do func(*trapServer) error
	switch name {
	case "send":
		do = func(s *trapServer) error { return s.send(trapMessage) }
	case "nudge":
		do = func(s *trapServer) error { return s.send(1) }
	case "connect":
		do = (*trapServer).connect
	case "again":
		fresh, err := newTrap()
		if err != nil {
			return nil, err
		}
		if err := t.close(); err != nil {
			return nil, errors.Join(err, fresh.close())
		}
		t.servers = fresh.(*trap).servers
		do = func(*trapServer) error { return nil }
	default:
		return nil, unknown(name)
	}
	var answers []TrapAnswer
	for _, s := range t.servers {
		if err := do(s); err != nil {
			return nil, err
		}
		a, err := s.serve()
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func (s *trapServer) send(n int) error {
	_, err := unix.Write(s.client, make([]byte, n))
	if err == unix.EAGAIN {
		return fmt.Errorf("%w: the server has left so much unread that the socket is full: begin again", errAsked)
	}
	return err
}

// connect has more clients come. Over a Unix socket they wait to be accepted as soon as
// connect has returned.
func (s *trapServer) connect() error {
	if len(s.dialled) > trapBacklog/2 {
		return fmt.Errorf("%w: these are enough clients: begin again", errAsked)
	}
	address, err := unix.Getsockname(s.listener)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	for range trapClients {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		s.dialled = append(s.dialled, fd)
		if err := unix.Connect(fd, address); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
	}
	return nil
}

// serve runs the server until its wait has nothing for it.
func (s *trapServer) serve() (a TrapAnswer, err error) {
	a.Name = s.name
	for events := make([]poll.Event, 2); ; {
		n, err := s.poller.Wait(events, 0)
		if err != nil {
			return a, err
		}
		if n == 0 {
			break
		}
		for _, e := range events[:n] {
			handle := s.read
			if e.Token == trapListener {
				handle = s.accept
			}
			said, err := handle()
			if err != nil {
				return a, err
			}
			a.Log = append(a.Log, said)
		}
	}
	if a.Unread, err = unix.IoctlGetInt(s.server, unix.TIOCINQ); err != nil {
		return a, fmt.Errorf("FIONREAD: %w", err)
	}
	a.Stranded = len(s.dialled) - s.accepted
	return a, nil
}

func (s *trapServer) read() (string, error) {
	for all := 0; ; {
		n, err := unix.Read(s.server, make([]byte, trapRead))
		if err == unix.EAGAIN {
			return fmt.Sprintf("event: read %d, then EAGAIN", all), nil
		}
		if err != nil {
			return "", fmt.Errorf("read: %w", err)
		}
		if all += n; !s.drain {
			return fmt.Sprintf("event: read %d", all), nil
		}
	}
}

func (s *trapServer) accept() (string, error) {
	for all := 0; ; {
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_CLOEXEC)
		if err == unix.EAGAIN {
			return fmt.Sprintf("event: accepted %d, then EAGAIN", all), nil
		}
		if err != nil {
			return "", fmt.Errorf("accept4: %w", err)
		}
		if err := unix.Close(fd); err != nil {
			return "", fmt.Errorf("close: %w", err)
		}
		s.accepted++
		if all++; !s.drain {
			return fmt.Sprintf("event: accepted %d", all), nil
		}
	}
}
