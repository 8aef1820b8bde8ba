package study

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// The names of the programs over poll(2). The others have the names of the
// backends.
const (
	pollAsPrinted = "poll as printed"
	pollAsMeant   = "poll as meant"
)

// The ways to find the record of a connection that is ready.
const (
	lookupSlot   = "slot"   // the event says it
	lookupMap    = "map"    // the event says the descriptor: a Go map
	lookupLinear = "linear" // the event says the descriptor: look at all records
)

// program returns the loop that serves s until the stopper is raised. The loop
// calls ready when all connections are watched.
func (p *process) program(s *service) (func(ready func() error) error, error) {
	switch s.Program {
	case pollAsPrinted, pollAsMeant:
		return func(ready func() error) error { return s.scan(p.stop, ready) }, nil
	}
	kind, err := backendNamed(s.Program)
	if err != nil {
		return nil, err
	}
	find, err := s.finder()
	if err != nil {
		return nil, err
	}
	return func(ready func() error) error { return s.react(p, kind, find, ready) }, nil
}

// scan is the deck's poll program. The index of a descriptor in the array is
// that of its record: nothing has to be looked up, but all are looked at.
//
// As printed, the program looks at the events by
//
//	if (pfds[i].revents & (POLLIN|POLLOUT) == 0) continue;
//
// which C reads as revents & ((POLLIN|POLLOUT) == 0), so revents & 0: it never
// skips a descriptor, and calls read for the idle ones, too.
func (s *service) scan(stop stopper, ready func() error) error {
	const stopFlag = unix.POLLIN
	fds := make([]unix.PollFd, len(s.records)+1)
	conns := fds[:len(s.records)]
	for i := range s.records {
		conns[i] = unix.PollFd{Fd: int32(s.records[i].fd), Events: unix.POLLIN}
	}
	fds[len(conns)] = unix.PollFd{Fd: int32(stop), Events: stopFlag}
	if err := ready(); err != nil {
		return err
	}
	defer s.done()
	skips := s.Program == pollAsMeant
	for {
		n, err := unix.Ppoll(fds, nil, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("poll %d descriptors: %w", len(fds), err)
		}
		s.waits++
		s.events += n
		for i := range conns {
			if skips && conns[i].Revents&(unix.POLLIN|unix.POLLOUT) == 0 {
				continue
			}
			r := &s.records[i]
			if err := s.turn(r, false); err != nil {
				return err
			}
			conns[i].Events = unix.POLLIN
			if r.full {
				conns[i].Events |= unix.POLLOUT
			}
		}
		if fds[len(conns)].Revents&stopFlag != 0 {
			return nil
		}
	}
}

// A finder finds the record that an event is about.
type finder struct {
	token func(i int) uint64
	find  func(token uint64) *record
}

func (s *service) finder() (finder, error) {
	bySlot := func(i int) uint64 { return uint64(i) }
	byFD := func(i int) uint64 { return uint64(s.records[i].fd) }
	switch s.Lookup {
	case lookupSlot:
		return finder{bySlot, func(token uint64) *record { return &s.records[token] }}, nil
	case lookupMap:
		places := make(map[uint64]*record, len(s.records))
		for i := range s.records {
			places[byFD(i)] = &s.records[i]
		}
		return finder{byFD, func(token uint64) *record { return places[token] }}, nil
	case lookupLinear:
		return finder{byFD, func(token uint64) *record {
			// As the deck has it: for (j = 0; info[j].sock != ev.data.fd; j++)
			j := 0
			for s.records[j].fd != int(token) {
				j++
			}
			return &s.records[j]
		}}, nil
	}
	return finder{}, fmt.Errorf("lookup %q: there are slot, map and linear", s.Lookup)
}

// react serves the connections that a poller reports.
func (s *service) react(p *process, kind backend, by finder, ready func() error) error {
	poller, err := kind.open(p)
	if err != nil {
		return err
	}
	defer poller.Close()
	watched := poll.Readable
	if kind.mode == poll.Edge {
		watched |= poll.Writable // never to be changed
	}
	for i := range s.records {
		if err := poller.Add(s.records[i].fd, by.token(i), watched, kind.mode); err != nil {
			return err
		}
	}
	events := make([]poll.Event, eventsPerWait)
	if err := settled(poller, events); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	defer s.done() // before the poller is closed
	for {
		n, err := poller.Wait(events, -1)
		if err != nil {
			return err
		}
		s.waits++
		s.events += n
		for _, e := range events[:n] {
			if e.Token == stopToken {
				return nil
			}
			r := by.find(e.Token)
			was := r.full
			if err := s.turn(r, kind.mode == poll.Edge); err != nil {
				return err
			}
			if err := s.rewatch(poller, kind.mode, r, e.Token, was); err != nil {
				return err
			}
		}
	}
}

// settled takes the events that are there before any request: every connection
// is writable, and the edge reports it once.
func settled(poller poll.Poller, events []poll.Event) error {
	for {
		n, err := poller.Wait(events, 0)
		if n == 0 || err != nil {
			return err
		}
	}
}

// rewatch asks for room to write while a reply does not fit, where that has to
// be asked for, and arms a one-shot again.
func (s *service) rewatch(poller poll.Poller, mode poll.Mode, r *record, token uint64, was bool) error {
	if mode == poll.Edge || mode == poll.Level && r.full == was {
		return nil
	}
	interest := poll.Readable
	if r.full {
		interest |= poll.Writable
	}
	s.controls++
	return poller.Modify(r.fd, token, interest, mode)
}
