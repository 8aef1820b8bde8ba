package exam

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A dialect makes a message out of a text. Every server of the course sends it back.
type dialect func(text string) []byte

func stream(text string) []byte { return []byte(text) }
func lines(text string) []byte  { return []byte(text + "\n") }

func framed(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

// dial connects a client, which is closed with the subject.
func (s *subject) dial() (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp", s.address, dialTime)
	if err != nil {
		if dead := s.alive(); dead != nil {
			return nil, dead
		}
		return nil, err
	}
	s.clients = append(s.clients, c)
	return c.(*net.TCPConn), nil
}

// send writes all of p, or returns why it does not get rid of it.
func (s *subject) send(c net.Conn, p []byte) error {
	hope := patience{s: s}
	defer func() { _ = c.SetWriteDeadline(time.Time{}) }()
	for sent := 0; sent < len(p); {
		_ = c.SetWriteDeadline(time.Now().Add(sample))
		n, err := c.Write(p[sent:])
		if sent += n; n > 0 {
			hope = patience{s: s}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = hope.again()
		}
		if err != nil && sent < len(p) {
			return fmt.Errorf("it takes %d of %d bytes: %w", sent, len(p), s.reason(err))
		}
	}
	return nil
}

// receive reads until p is full. It returns how much came, and io.EOF at the end.
func (s *subject) receive(c net.Conn, p []byte) (got int, err error) {
	hope := patience{s: s}
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	for got < len(p) {
		_ = c.SetReadDeadline(time.Now().Add(sample))
		n, err := c.Read(p[got:])
		if got += n; n > 0 {
			hope = patience{s: s}
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = hope.again()
		}
		if err != nil {
			return got, s.reason(err)
		}
	}
	return got, nil
}

// reason prefers the death of the server to what the client sees of it: a process
// that ends closes its sockets first.
func (s *subject) reason(err error) error {
	if errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNREFUSED) {
		select {
		case <-s.ended:
		case <-time.After(5 * sample):
		}
	}
	if dead := s.alive(); dead != nil {
		return dead
	}
	return err
}

// expect reads exactly want.
func (s *subject) expect(c net.Conn, want []byte) error {
	got := make([]byte, len(want))
	n, err := s.receive(c, got)
	if err != nil {
		return fmt.Errorf("%d of %d bytes came back: %w", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		at := 0
		for got[at] == want[at] {
			at++
		}
		return fmt.Errorf("from byte %d on it sends %s instead of %s", at, clip(got[at:]), clip(want[at:]))
	}
	return nil
}

// expectEnd reads the end of the stream.
func (s *subject) expectEnd(c net.Conn) error {
	n, err := s.receive(c, make([]byte, 1))
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case n > 0:
		return errors.New("it sends more than it got")
	}
	return fmt.Errorf("it does not end the stream: %w", err)
}

// talk sends a message and awaits it.
func (s *subject) talk(c net.Conn, text string) error {
	message := s.dialect(text)
	if err := s.send(c, message); err != nil {
		return err
	}
	return s.expect(c, message)
}

func clip(p []byte) string {
	const most = 60
	if len(p) > most {
		return fmt.Sprintf("%q…", p[:most])
	}
	return fmt.Sprintf("%q", p)
}
