// Command redis speaks enough of the Redis protocol for redis-cli and
// redis-benchmark: strings, in memory, on one loop.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"strconv"
	"strings"

	"github.com/epinet/epi"
)

const (
	maxValue  = 8 << 20   // bytes of one argument
	maxArgs   = 1024      // of one command
	maxStored = 256 << 20 // bytes of all keys and values
	keptRoom  = 1 << 20   // bytes of room for answers that is used again
	highWater = 256 << 10 // bytes of answers that wait, beyond which commands wait, too
)

// A store is all there is. It belongs to the one loop.
type store struct {
	values map[string][]byte
	size   int    // bytes of keys and values
	out    []byte // answers of the callback that runs
}

// set copies value, into the place of the one before it where there is room: answers
// hold no value.
func (s *store) set(key string, value []byte) bool {
	old, known := s.values[key]
	grows := len(value) - len(old)
	if !known {
		grows += len(key)
	}
	if s.size+grows > maxStored {
		return false
	}
	s.size += grows
	if cap(old) > 2*len(value) {
		old = nil // its room would be wasted
	}
	s.values[key] = append(old[:0], value...)
	return true
}

func (s *store) remove(key string) bool {
	value, known := s.values[key]
	if known {
		s.size -= len(key) + len(value)
		delete(s.values, key)
	}
	return known
}

// A session is one client.
type session struct{ store *store }

func (s *session) OnData(c *epi.Conn) error {
	quit, out := false, s.store.out[:0]
	for !quit && c.Queued() <= highWater {
		args, n, err := parse(c.Unread())
		if err != nil {
			_ = s.flush(c, fmt.Appendf(out, "-ERR Protocol error: %s\r\n", err))
			return err
		}
		if n > len(c.Unread()) {
			if err := s.flush(c, out); err != nil {
				return err
			}
			return c.Expect(n)
		}
		if len(args) > 0 {
			out, quit = s.store.do(out, args)
		}
		c.Discard(n)
		if len(out) >= 64<<10 || quit || len(c.Unread()) == 0 {
			if err := s.flush(c, out); err != nil {
				return err
			}
			out = s.store.out
		}
		if len(c.Unread()) == 0 {
			break
		}
	}
	if quit {
		return c.Close()
	}
	if c.Queued() > highWater {
		c.Pause() // the rest when this client has read: see OnDrain
	}
	return s.flush(c, out)
}

func (s *session) OnDrain(c *epi.Conn) { c.Resume() }

func (s *session) OnClose(*epi.Conn, error) {}

// flush writes the answers. The room for them is the next callback's.
func (s *session) flush(c *epi.Conn, out []byte) error {
	s.store.out = out[:0]
	if cap(out) > keptRoom {
		s.store.out = nil
	}
	if len(out) == 0 {
		return nil
	}
	_, err := c.Write(out)
	return err
}

// parse reads one command of p, and returns how many bytes it takes. When that is
// more than there are, so many are needed to go on.
func parse(p []byte) (args [][]byte, n int, err error) {
	if len(p) == 0 {
		return nil, 1, nil
	}
	if p[0] != '*' {
		return parseInline(p)
	}
	count, n, err := number(p, 0, '*', maxArgs)
	if err != nil || n > len(p) {
		return nil, n, err
	}
	for range count {
		size, begin, err := number(p, n, '$', maxValue)
		if err != nil || begin > len(p) {
			return nil, begin, err
		}
		if n = begin + size + 2; n > len(p) {
			return nil, n, nil
		}
		args = append(args, p[begin:begin+size])
	}
	return args, n, nil
}

// number reads a line with a sign and a number, which begins at p[at], and returns
// where the next begins.
func number(p []byte, at int, sign byte, bound int) (value, next int, err error) {
	const longest = 16
	if at >= len(p) {
		return 0, at + 1, nil
	}
	if p[at] != sign {
		return 0, 0, fmt.Errorf("expected '%c'", sign)
	}
	end := bytes.Index(p[at:min(len(p), at+longest)], []byte("\r\n"))
	if end < 0 {
		if len(p)-at >= longest {
			return 0, 0, errors.New("too big a number")
		}
		return 0, len(p) + 1, nil
	}
	value, err = strconv.Atoi(string(p[at+1 : at+end]))
	if err != nil || value < 0 || value > bound {
		return 0, 0, fmt.Errorf("a number from 0 to %d was expected", bound)
	}
	return value, at + end + 2, nil
}

func parseInline(p []byte) ([][]byte, int, error) {
	const longest = 4 << 10
	end := bytes.IndexByte(p[:min(len(p), longest)], '\n')
	if end >= 0 {
		return bytes.Fields(p[:end]), end + 1, nil
	}
	if len(p) >= longest {
		return nil, 0, errors.New("too big inline request")
	}
	return nil, len(p) + 1, nil
}

// do runs a command, appends its answer to out, and reports whether it was the last.
func (s *store) do(out []byte, args [][]byte) (answer []byte, quit bool) {
	name := strings.ToUpper(string(args[0]))
	key := ""
	if len(args) > 1 {
		key = string(args[1])
	}
	switch {
	case name == "QUIT":
		return append(out, "+OK\r\n"...), true
	case name == "PING" && len(args) == 1:
		return append(out, "+PONG\r\n"...), false
	case (name == "PING" || name == "ECHO") && len(args) == 2:
		return bulk(out, args[1]), false
	case name == "GET" && len(args) == 2:
		value, known := s.values[key]
		if !known {
			return append(out, "$-1\r\n"...), false
		}
		return bulk(out, value), false
	case name == "SET" && len(args) == 3:
		if !s.set(key, args[2]) {
			return append(out, "-OOM the store is full\r\n"...), false
		}
		return append(out, "+OK\r\n"...), false
	case name == "INCR" && len(args) == 2:
		return s.increment(out, key), false
	case name == "DEL" && len(args) > 1:
		removed := 0
		for _, arg := range args[1:] {
			if s.remove(string(arg)) {
				removed++
			}
		}
		return integer(out, int64(removed)), false
	case name == "DBSIZE":
		return integer(out, int64(len(s.values))), false
	case name == "COMMAND", name == "CONFIG": // what clients ask at their start
		return append(out, "*0\r\n"...), false
	}
	return fmt.Appendf(out, "-ERR unknown command %.40q with %d arguments\r\n", name, len(args)-1), false
}

func (s *store) increment(out []byte, key string) []byte {
	value, err := int64(0), error(nil)
	if old, known := s.values[key]; known {
		value, err = strconv.ParseInt(string(old), 10, 64)
	}
	if err != nil || value == 1<<63-1 {
		return append(out, "-ERR value is not an integer or out of range\r\n"...)
	}
	value++
	if !s.set(key, strconv.AppendInt(nil, value, 10)) {
		return append(out, "-OOM the store is full\r\n"...)
	}
	return integer(out, value)
}

func bulk(out, value []byte) []byte {
	out = append(strconv.AppendInt(append(out, '$'), int64(len(value)), 10), "\r\n"...)
	return append(append(out, value...), "\r\n"...)
}

func integer(out []byte, value int64) []byte {
	return append(strconv.AppendInt(append(out, ':'), value, 10), "\r\n"...)
}

func main() {
	listen := flag.String("listen", "tcp://127.0.0.1:6380", "`address` to listen on")
	flag.Parse()
	s := &store{values: map[string][]byte{}}
	e := epi.Engine{Loops: 1, MaxUnread: 2 * maxValue, MaxQueued: 4 * maxValue, HighWater: highWater}
	if _, err := e.Listen(*listen, func(*epi.Conn) epi.Handler { return &session{store: s} }); err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
