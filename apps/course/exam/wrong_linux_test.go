package exam

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A wrong server is an echo server, or another of the course, with one fault: those
// that were found in the systems that the deck points at.
type wrongServer struct {
	fault           string
	epoll, listener int
	mode            uint32 // EPOLLET, or 0 for level
	sessions        map[int]*wrongSession
	replies         chan wrongReply // to the worker
	buf             []byte
	threads         int
	records         []int
}

type wrongSession struct {
	in, out []byte
}

type wrongReply struct {
	fd   int
	text []byte
}

// serveWrongly runs the server with a fault on a port.
func serveWrongly(args []string) error {
	port, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	w := &wrongServer{fault: args[0], mode: unix.EPOLLET, sessions: map[int]*wrongSession{}, replies: make(chan wrongReply, 1<<16), buf: make([]byte, 16<<10)}
	if w.epoll, err = unix.EpollCreate1(0); err != nil {
		return err
	}
	if w.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0); err != nil {
		return err
	}
	if err := unix.Bind(w.listener, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.Listen(w.listener, 1024); err != nil {
		return err
	}
	timeout := -1
	switch w.fault {
	case "the peer's close loops", "an incomplete frame spins", "a broadcast visits everybody", "reading starves writing":
		w.mode = 0
	case "the wait is clamped":
		timeout = 10
	case "the worker spins":
		go w.spin()
	case "a thread per event":
		w.buf = w.buf[:64]
	}
	go w.work()
	if err := w.control(unix.EPOLL_CTL_ADD, w.listener, unix.EPOLLIN); err != nil {
		return err
	}
	if w.fault == "each wait hands over all" {
		return w.serveByPoll()
	}
	for events := make([]unix.EpollEvent, 64); ; {
		n, err := unix.EpollWait(w.epoll, events, timeout)
		if err == unix.EINTR && w.fault != "EINTR ends the server" {
			continue
		}
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, e := range events[:n] {
			if int(e.Fd) == w.listener {
				w.accept()
			} else {
				w.ready(int(e.Fd), e.Events)
			}
		}
	}
}

// serveByPoll is serve with poll, whose question is asked anew each time.
func (w *wrongServer) serveByPoll() error {
	w.mode = 0
	for {
		asked := []unix.PollFd{{Fd: int32(w.listener), Events: unix.POLLIN}}
		for fd := range w.sessions {
			asked = append(asked, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		if _, err := unix.Poll(asked, -1); err != nil && err != unix.EINTR {
			return fmt.Errorf("poll: %w", err)
		}
		for _, a := range asked {
			switch {
			case a.Revents == 0:
			case int(a.Fd) == w.listener:
				w.accept()
			default:
				w.ready(int(a.Fd), unix.EPOLLIN)
				if s := w.sessions[int(a.Fd)]; s != nil {
					w.flush(int(a.Fd), s)
				}
			}
		}
	}
}

// search finds a session as the deck's program does, record by record, and by who it
// is of.
func (w *wrongServer) search(fd int) {
	who, _ := unix.Getpeername(fd)
	for _, record := range w.records {
		if other, _ := unix.Getpeername(record); record == fd && other != who {
			return
		}
	}
}

func (w *wrongServer) control(op, fd int, events uint32) error {
	return unix.EpollCtl(w.epoll, op, fd, &unix.EpollEvent{Events: events | w.mode, Fd: int32(fd)})
}

func (w *wrongServer) accept() {
	for {
		fd, _, err := unix.Accept4(w.listener, unix.SOCK_NONBLOCK)
		if err != nil {
			return
		}
		if w.fault == "descriptors have a highest number" && fd >= setSize {
			continue // no bit of its set is this one's
		}
		w.sessions[fd] = &wrongSession{}
		events := uint32(unix.EPOLLIN)
		if w.mode != 0 {
			events |= unix.EPOLLOUT | unix.EPOLLRDHUP
		}
		_ = w.control(unix.EPOLL_CTL_ADD, fd, events)
		if w.fault == "the record is searched" {
			w.records = append(w.records, fd)
		}
		if w.fault == "one accept per edge" {
			return
		}
	}
}

func (w *wrongServer) ready(fd int, events uint32) {
	s := w.sessions[fd]
	if w.fault == "the record is searched" {
		w.search(fd)
	}
	switch {
	case s == nil:
		return
	case w.fault == "RDHUP closes before the tail" && events&unix.EPOLLRDHUP != 0:
		w.close(fd)
		return
	case w.mode == 0 && events&unix.EPOLLIN == 0: // level: either, or
		w.flush(fd, s)
		return
	}
	for w.flush(fd, s) {
		n, err := unix.Read(fd, w.buf)
		if err == unix.EAGAIN {
			return
		}
		if n <= 0 {
			if w.fault != "the peer's close loops" {
				w.close(fd)
			}
			return
		}
		w.take(fd, s, w.buf[:n])
		if w.mode == 0 {
			return
		}
	}
}

// take answers what came from a session.
func (w *wrongServer) take(fd int, s *wrongSession, p []byte) {
	switch w.fault {
	case "a reply to a reused descriptor", "an incomplete frame spins":
		w.replies <- wrongReply{fd, bytes.Clone(p)}
	case "a thread per event":
		w.threads++
		go func(piece []byte, first bool) {
			if first {
				time.Sleep(20 * time.Millisecond) // it has something to do
			}
			_, _ = unix.Write(fd, piece)
		}(bytes.Clone(p), w.threads%3 == 1)
	case "a broadcast visits everybody":
		s.in = append(s.in, p...)
		for line, rest, ok := bytes.Cut(s.in, []byte("\n")); ok; line, rest, ok = bytes.Cut(s.in, []byte("\n")) {
			s.in = rest
			if room, ok := bytes.CutPrefix(line, []byte("/join ")); ok {
				s.out = fmt.Appendf(s.out, "joined %s\n", room)
				w.flush(fd, s)
				continue
			}
			for member, session := range w.sessions {
				session.out = fmt.Appendf(session.out, "%s\n", line)
				w.flush(member, session)
			}
		}
	case "reading starves writing":
		s.out = append(s.out, p...)
		_ = w.control(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN|unix.EPOLLOUT)
	default:
		s.out = append(s.out, p...)
	}
}

// flush writes what waits and reports whether nothing is left.
func (w *wrongServer) flush(fd int, s *wrongSession) bool {
	if w.fault == "reading starves writing" && len(s.out) > 0 && moreComes(fd) {
		return true
	}
	for len(s.out) > 0 {
		n, err := unix.Write(fd, s.out)
		switch {
		case err == unix.EAGAIN && w.fault == "EAGAIN drops the message":
			s.out = nil
		case err != nil:
			return false
		case n < len(s.out) && w.fault == "a short send loses data":
			s.out = nil
		default:
			s.out = s.out[n:]
		}
	}
	if w.mode == 0 {
		_ = w.control(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN)
	}
	return true
}

// moreComes waits a while for something to read. It outlasts the moments in which the
// client has to wait for a CPU.
func moreComes(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 500)
	return err == nil && n > 0
}

func (w *wrongServer) close(fd int) {
	delete(w.sessions, fd)
	_ = unix.Close(fd)
}

// work is the worker, that knows a descriptor and not whose it is.
func (w *wrongServer) work() {
	frames := map[int][]byte{}
	for r := range w.replies {
		if w.fault == "a reply to a reused descriptor" {
			time.Sleep(20 * time.Millisecond) // it has something to do
			_, _ = unix.Write(r.fd, r.text)
			continue
		}
		frame := append(frames[r.fd], r.text...)
		frames[r.fd] = frame
		if len(frame) < 4 || len(frame) < 4+int(binary.BigEndian.Uint32(frame)) {
			w.replies <- wrongReply{fd: r.fd} // not whole: look again
			continue
		}
		delete(frames, r.fd)
		_, _ = unix.Write(r.fd, frame)
	}
}

// spin is a worker that looks into an empty ring.
func (w *wrongServer) spin() {
	for len(w.replies) == 0 {
	}
}

func serveWronglyAsChild() {
	if err := serveWrongly(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
