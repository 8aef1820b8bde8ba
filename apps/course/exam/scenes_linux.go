package exam

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// greet: one client, two messages.
func greet(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	for _, text := range []string{"hello", "are you there?"} {
		if err := s.talk(c, text); err != nil {
			return err
		}
	}
	return nil
}

// greetAnother is whether it still serves.
func greetAnother(s *subject, after string) error {
	if err := greet(s); err != nil {
		return fmt.Errorf("%s: %w", after, err)
	}
	return nil
}

// The limit of open files that withFewFiles sets, and how many clients come.
const (
	files = 256
	crowd = 300
)

func withFewFiles(command []string) ([]string, error) {
	return append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, files), "sh"}, command...), nil
}

// fillDescriptors:
//
//	clients  1 … 300 connect; the server may open 256
//	         the first leave
//	         the last is served
func fillDescriptors(s *subject) error {
	for range crowd {
		if _, err := s.dial(); err != nil {
			return fmt.Errorf("with more clients than descriptors: %w", err)
		}
	}
	waiting := s.clients[crowd-1]
	if err := s.send(waiting, s.dialect("the last")); err != nil {
		return fmt.Errorf("with more clients than descriptors: %w", err)
	}
	if err := s.quiet("with more clients than descriptors"); err != nil {
		return err
	}
	for _, c := range s.clients[:crowd/2] {
		_ = c.Close()
	}
	return greetAnother(s, "when clients have left and descriptors are free")
}

// keepsTail:
//
//	server   stopped ........ continued
//	client   bytes, FIN               all the bytes, and the end
func keepsTail(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	if err := s.talk(c, "first"); err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	message := s.dialect(strings.Repeat("tail", 4<<10))
	_, err = c.Write(message)
	if err := errors.Join(err, c.CloseWrite(), s.resume()); err != nil {
		return err
	}
	if err := s.expect(c, message); err != nil {
		return fmt.Errorf("when the end comes together with the bytes before it: %w", err)
	}
	return s.expectEnd(c)
}

// survivesClosing: clients leave in every way that there is.
func survivesClosing(s *subject) error {
	const clients = 12
	for i := range clients {
		c, err := s.dial()
		if err != nil {
			return err
		}
		if err := s.talk(c, "hello"); err != nil {
			return err
		}
		if i%3 == 0 {
			_ = c.SetLinger(0) // a reset
		}
		if i%3 == 1 {
			message := s.dialect("and goodbye")
			_, _ = c.Write(message[:len(message)-1]) // not whole: nobody else gets it
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	if err := s.quiet("after clients have left"); err != nil {
		return err
	}
	return greetAnother(s, "after clients have left")
}

// survivesSignals: a wait that ends by EINTR (signal(7): after SIGCONT).
func survivesSignals(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.talk(c, "hello"); err != nil {
			return fmt.Errorf("after SIGSTOP and SIGCONT: %w", err)
		}
		time.Sleep(sample / 5) // that it waits again; if it does not yet, the next round finds it so
		if err := errors.Join(s.stop(), s.resume()); err != nil {
			return err
		}
	}
	if err := s.talk(c, "hello"); err != nil {
		return fmt.Errorf("after SIGSTOP and SIGCONT: %w", err)
	}
	return greetAnother(s, "after SIGSTOP and SIGCONT")
}

// isIdle: a client that says nothing any more.
func isIdle(s *subject) error {
	if err := greet(s); err != nil {
		return err
	}
	return s.quiet("while a client says nothing")
}

// takesBacklog:
//
//	server   stopped ............... continued
//	clients  connect, one by one               each is served
func takesBacklog(s *subject) error {
	const clients = 50
	if err := s.stop(); err != nil {
		return err
	}
	var waiting []net.Conn
	for i := range clients {
		limit := dialTime
		if i >= 2 {
			limit = time.Second
		}
		c, err := net.DialTimeout("tcp", s.address, limit)
		if err != nil && i >= 2 {
			break // a short backlog: those that are in it will do
		}
		if err != nil {
			return errors.Join(err, s.resume())
		}
		s.clients = append(s.clients, c)
		waiting = append(waiting, c)
	}
	if err := s.resume(); err != nil {
		return err
	}
	for i, c := range waiting {
		if err := s.talk(c, "hello"); err != nil {
			return fmt.Errorf("of %d clients that connected while it was stopped, number %d: %w", len(waiting), i+1, err)
		}
	}
	return nil
}

// bulk is what keepsAll sends: more than the kernel's buffers hold.
const bulk = 8 << 20

// keepsAll: a client sends on and reads only when it gets rid of no more.
func keepsAll(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	var messages bytes.Buffer
	for i := 0; messages.Len() < bulk; i++ {
		messages.Write(s.dialect(fmt.Sprintf("%07d%s", i, strings.Repeat("x", 993))))
	}
	want := messages.Bytes()
	var sent atomic.Int64
	written := make(chan error, 1)
	go func() {
		for rest := want; len(rest) > 0; {
			n, err := c.Write(rest[:min(len(rest), 32<<10)])
			sent.Add(int64(n))
			if rest = rest[n:]; err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for last := int64(-1); last != sent.Load() && sent.Load() < int64(len(want)); time.Sleep(sample) {
		last = sent.Load() // goes on until it stands still
	}
	if err := s.expect(c, want); err != nil {
		_ = c.Close()
		<-written
		return fmt.Errorf("to a client that sends %d bytes and reads late: %w", len(want), err)
	}
	return <-written
}

// keepsOrder: many small messages in a row.
func keepsOrder(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	var want []byte
	for i := range 1000 {
		message := s.dialect(fmt.Sprintf("message %04d", i))
		if err := s.send(c, message); err != nil {
			return err
		}
		want = append(want, message...)
	}
	return s.expect(c, want)
}

// keepsApart:
//
//	a  says something and is gone
//	b  connects, has a's descriptor perhaps, and gets what is its own
func keepsApart(s *subject) error {
	for i := range 40 {
		a, err := s.dial()
		if err != nil {
			return err
		}
		if err := s.send(a, s.dialect("for a and nobody else")); err != nil {
			return err
		}
		if err := a.Close(); err != nil {
			return err
		}
		b, err := s.dial()
		if err != nil {
			return err
		}
		if err := s.talk(b, fmt.Sprintf("for b, round %d", i)); err != nil {
			return fmt.Errorf("to a client that came when another had left: %w", err)
		}
		if err := b.Close(); err != nil {
			return err
		}
	}
	return nil
}

// flood is how much a client sends without a pause: more than the kernel keeps between
// the two, which is the receiver's buffer (tcp(7), tcp_rmem) and the sender's, which
// is made small.
func flood() int {
	const more = 8 << 20
	limits, err := os.ReadFile("/proc/sys/net/ipv4/tcp_rmem")
	fields := strings.Fields(string(limits))
	if err != nil || len(fields) == 0 {
		return 2 * more
	}
	most, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return 2 * more
	}
	return most + more
}

// writesWhileReading:
//
//	server   stopped ............ continued
//	client   sends, sends, sends, sends ..., and something comes back meanwhile
//
// It is tried more than once: where the client has to wait for a CPU, the server may
// find nothing to read for a moment, and write.
func writesWhileReading(s *subject) error {
	for range 3 {
		if err := s.sendWithoutPause(); err != nil {
			return err
		}
	}
	return nil
}

func (s *subject) sendWithoutPause() error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := errors.Join(c.SetWriteBuffer(64<<10), s.stop()); err != nil {
		return errors.Join(err, s.resume())
	}
	piece, stopped := s.dialect(strings.Repeat("x", 32<<10)), true
	most := flood()
	for sent := 0; sent < most; {
		if n, err := unread(c); n > 0 || err != nil {
			return err
		}
		_ = c.SetWriteDeadline(time.Now().Add(sample))
		n, err := c.Write(piece)
		if sent += n; errors.Is(err, os.ErrDeadlineExceeded) {
			err = s.alive()
			if stopped { // all that there is room for is on its way
				err, stopped = s.resume(), false
			}
		}
		if err != nil {
			return s.reason(err)
		}
	}
	if n, err := unread(c); n > 0 || err != nil {
		return err
	}
	return fmt.Errorf("a client has sent %d bytes without a pause and nothing has come back", most)
}

// unread returns how many bytes a client could read.
func unread(c *net.TCPConn) (n int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	ctl := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n, errors.Join(err, ctl)
}

// holds: "hold" keeps a session, and it alone, until another says "free".
func holds(s *subject) error {
	a, err := s.dial()
	if err != nil {
		return err
	}
	b, err := s.dial()
	if err != nil {
		return err
	}
	if err := s.send(a, lines("hold")); err != nil {
		return err
	}
	for range 20 {
		if err := s.talk(b, "I do not wait"); err != nil {
			return fmt.Errorf("to a client, while another's session is on hold: %w", err)
		}
	}
	_ = a.SetReadDeadline(time.Now().Add(sample))
	if n, err := a.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("a session on hold is answered before anybody has said free (%v)", err)
	}
	if err := s.talk(b, "free"); err != nil {
		return err
	}
	return s.expect(a, lines("hold"))
}

// joinsPieces: frames byte by byte, and many at once.
func joinsPieces(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	if err := c.SetNoDelay(true); err != nil {
		return err
	}
	one := framed("in pieces")
	for i := range one {
		if err := s.send(c, one[i:i+1]); err != nil {
			return err
		}
	}
	if err := s.expect(c, one); err != nil {
		return fmt.Errorf("a frame in pieces: %w", err)
	}
	many := bytes.Repeat(append(framed(""), framed("one of many")...), 100)
	if err := s.send(c, many); err != nil {
		return err
	}
	return s.expect(c, many)
}

// waitsForRest: half a frame is nothing to do.
func waitsForRest(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	frame := framed("the second half comes late")
	for _, part := range [][]byte{frame[:2], frame[2:9]} {
		if err := s.send(c, part); err != nil {
			return err
		}
		if err := s.quiet("with half a frame"); err != nil {
			return err
		}
	}
	if err := greetAnother(s, "while another's frame is not whole"); err != nil {
		return err
	}
	if err := s.send(c, frame[9:]); err != nil {
		return err
	}
	return s.expect(c, frame)
}

// refusesLong: 4 GiB are promised.
func refusesLong(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	if err := s.send(c, []byte("\xff\xff\xff\xffx")); err != nil {
		return err
	}
	n, err := s.receive(c, make([]byte, 1))
	if reset := errors.Is(err, unix.ECONNRESET); n > 0 || !reset && !errors.Is(err, io.EOF) {
		return fmt.Errorf("a frame of 4 GiB does not end the connection: %w", err)
	}
	return greetAnother(s, "after a frame that was too long")
}
