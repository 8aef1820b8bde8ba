package show

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
	"github.com/epinet/epi/uring"
)

const twinConns = 4

// A twin is the same echo server twice, by readiness and by completion. Each press of a
// button is one turn of both, and the page shows what they asked the kernel.
type twin struct {
	ready twinServer
	done  twinServer
	do    chan func() // run by the thread that the ring belongs to
	ended chan struct{}
}

// A twinServer is one of the two.
type twinServer interface {
	// turn is one look of the server, and what follows from it.
	turn(log *twinLog) error
	conns() []*twinConn
	close() error
}

type twinConn struct {
	server, client int
	buf            [64]byte
}

// A twinLog is what one server did in a turn.
type twinLog struct {
	Lines []string
	Calls int // system calls
}

func (l *twinLog) call(format string, args ...any) {
	l.Calls++
	l.say(format, args...)
}

func (l *twinLog) say(format string, args ...any) {
	l.Lines = append(l.Lines, fmt.Sprintf(format, args...))
}

func newTwin() (stage, error) {
	t := &twin{do: make(chan func()), ended: make(chan struct{})}
	go func() {
		defer close(t.ended)
		runtime.LockOSThread() // and never unlocked: the ring's thread ends with it
		for fn := range t.do {
			fn()
		}
	}()
	var err error
	t.run(func() {
		if t.ready, err = newReadyEcho(); err == nil {
			t.done, err = newDoneEcho()
		}
	})
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *twin) run(fn func()) {
	done := make(chan struct{})
	t.do <- func() { defer close(done); fn() }
	<-done
}

func (t *twin) close() (err error) {
	t.run(func() {
		for _, s := range []twinServer{t.ready, t.done} {
			if s != nil {
				err = errors.Join(err, s.close())
			}
		}
	})
	close(t.do)
	<-t.ended
	return err
}

// A TwinAnswer is what the page shows of one server.
type TwinAnswer struct {
	Name     string
	Log      []string
	Calls    int // system calls in this turn
	Answered int // bytes that have come back to the clients
}

// act: "write-N" has so many clients write, "turn" is a turn of both servers.
func (t *twin) act(name string) (answers any, err error) {
	t.run(func() { answers, err = t.actLocked(name) })
	return answers, err
}

func (t *twin) actLocked(name string) (any, error) {
	clients := 0
	if text, writes := strings.CutPrefix(name, "write-"); writes {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > twinConns {
			return nil, fmt.Errorf("%w: clients are from 1 to %d", errAsked, twinConns)
		}
		clients = n
	} else if name != "turn" {
		return nil, unknown(name)
	}
	var answers []TwinAnswer
	for _, s := range []struct {
		name   string
		server twinServer
	}{{"readiness: epoll", t.ready}, {"completion: io_uring", t.done}} {
		var log twinLog
		for _, c := range s.server.conns()[:clients] {
			if _, err := unix.Write(c.client, []byte("hello")); err != nil && err != unix.EAGAIN {
				return nil, fmt.Errorf("write: %w", err)
			}
		}
		if clients > 0 {
			log.say("%d clients have written", clients)
		} else if err := s.server.turn(&log); err != nil {
			return nil, err
		}
		a := TwinAnswer{Name: s.name, Log: log.Lines, Calls: log.Calls}
		for _, c := range s.server.conns() {
			var buf [4096]byte
			if n, err := unix.Read(c.client, buf[:]); err == nil {
				a.Answered += n
			}
		}
		answers = append(answers, a)
	}
	return answers, nil
}

func newTwinConns() (conns []*twinConn, err error) {
	for range twinConns {
		ends, err := socketPair()
		if err != nil {
			return conns, err
		}
		conns = append(conns, &twinConn{server: ends[0], client: ends[1]})
	}
	return conns, nil
}

func closeTwinConns(conns []*twinConn) (err error) {
	for _, c := range conns {
		err = errors.Join(err, unix.Close(c.server), unix.Close(c.client))
	}
	return err
}

// A readyEcho asks who is ready, and does the reading and writing itself.
type readyEcho struct {
	poller poll.Poller
	all    []*twinConn
}

func newReadyEcho() (twinServer, error) {
	poller, err := poll.New(poll.BackendEpoll)
	if err != nil {
		return nil, err
	}
	s := &readyEcho{poller: poller}
	s.all, err = newTwinConns()
	for i, c := range s.all {
		err = errors.Join(err, poller.Add(c.server, uint64(i), poll.Readable, poll.Level))
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *readyEcho) conns() []*twinConn { return s.all }

func (s *readyEcho) close() error { return errors.Join(s.poller.Close(), closeTwinConns(s.all)) }

func (s *readyEcho) turn(log *twinLog) error {
	events := make([]poll.Event, twinConns)
	n, err := s.poller.Wait(events, 0)
	if err != nil {
		return err
	}
	if n == 0 {
		log.call("epoll_wait = 0: nobody is ready")
		return nil
	}
	log.call("epoll_wait = %d ready; nothing has been read yet", n)
	for _, e := range events[:n] {
		c := s.all[e.Token]
		n, err := unix.Read(c.server, c.buf[:])
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		log.call("read(%d) = %d", e.Token, n)
		if n, err = unix.Write(c.server, c.buf[:n]); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		log.call("write(%d) = %d", e.Token, n)
	}
	return nil
}

// A doneEcho says what it wants, and gets a completion when the kernel has done it.
type doneEcho struct {
	ring     *uring.Ring
	all      []*twinConn
	prepared []string
	begun    bool
}

func newDoneEcho() (twinServer, error) {
	ring, err := uring.New(uring.Config{Entries: 2 * twinConns, Setup: uring.SingleIssuer | uring.DeferTaskrun})
	if err != nil {
		return nil, fmt.Errorf("io_uring: %w", err)
	}
	s := &doneEcho{ring: ring}
	if s.all, err = newTwinConns(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *doneEcho) conns() []*twinConn { return s.all }

// close ends the ring first, and with it what the kernel still does for it.
func (s *doneEcho) close() error { return errors.Join(s.ring.Close(), closeTwinConns(s.all)) }

// sends marks the completions of sends; the others are of receives.
const sends = 1 << 32

func (s *doneEcho) receive(i int) {
	entry := s.ring.SQE()
	entry.Recv(s.all[i].server, s.all[i].buf[:], 0)
	entry.UserData = uint64(i)
	s.prepared = append(s.prepared, fmt.Sprintf("recv(%d)", i))
}

func (s *doneEcho) send(i, n int) {
	entry := s.ring.SQE()
	entry.Send(s.all[i].server, s.all[i].buf[:n], 0)
	entry.UserData = sends | uint64(i)
	s.prepared = append(s.prepared, fmt.Sprintf("send(%d)", i))
}

// turn is one system call: it hands over what was prepared in the turn before, and
// brings what is done.
func (s *doneEcho) turn(log *twinLog) error {
	if !s.begun {
		s.begun = true
		for i := range s.all {
			s.receive(i)
		}
	}
	if err := s.ring.Submit(); err != nil {
		return fmt.Errorf("io_uring_enter: %w", err)
	}
	said := "nothing"
	if len(s.prepared) > 0 {
		said = strings.Join(s.prepared, " ")
	}
	log.call("io_uring_enter hands over %s", said)
	s.prepared = nil
	for {
		done, ok := s.ring.Next()
		if !ok {
			return nil
		}
		if err := done.Err(); err != nil {
			return fmt.Errorf("completion: %w", err)
		}
		i := int(done.UserData &^ sends)
		if done.UserData&sends != 0 {
			log.say("done: send(%d) = %d; prepare recv(%d)", i, done.Res, i)
			s.receive(i)
			continue
		}
		log.say("done: recv(%d) = %d, the bytes are here; prepare send(%d)", i, done.Res, i)
		s.send(i, int(done.Res))
	}
}
