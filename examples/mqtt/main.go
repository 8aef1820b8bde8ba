// Command mqtt is a broker for MQTT 3.1.1: QoS 0 and 1, retained messages, wildcards,
// wills and sessions that outlast their connections, in memory, on one loop.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"log"
	"slices"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
)

const (
	maxPacket     = 1 << 20   // bytes
	maxName       = 1 << 10   // bytes of a topic, a filter, a client identifier
	maxFilters    = 64        // of one session
	maxWildcards  = 4096      // filters with wildcards: each message is compared with all
	maxSessions   = 100_000   // those of clients that are away included
	maxWaiting    = 1024      // messages that one client has not acknowledged
	maxWaitingAll = 256 << 20 // bytes of them, of all clients
	maxRetained   = 4 << 20   // bytes: a filter is compared with all
	patience      = 10 * time.Second
)

// A client is a connection.
type client struct {
	*broker
	in   frame.Reader
	id   string
	s    *session // nil before CONNECT
	will *message // nil: none
}

func (c *client) OnData(conn *epi.Conn) error {
	for p, err := range c.in.Messages(conn) {
		if err != nil {
			return err
		}
		_, n := binary.Uvarint(p[1:])
		kind, f := p[0]>>4, &fields{rest: p[1+n:]}
		if n > 4 || (kind == connect) != (c.s == nil) || kind != publish && p[0]&15 != fixedFlags(kind) {
			return errMalformed
		}
		if kind == disconnect {
			c.will = nil
			return conn.Close()
		}
		if err := c.packet(conn, kind, p[0]&15, f); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) packet(conn *epi.Conn, kind, flags byte, f *fields) error {
	switch kind {
	case connect:
		return c.connect(conn, f)
	case publish:
		return c.onPublish(conn, flags, f)
	case puback:
		id := uint16(f.number(2))
		if !f.end() {
			return errMalformed
		}
		c.acknowledge(c.s, id)
	case subscribe:
		return c.onSubscribe(conn, f)
	case unsubscribe:
		id := f.take(2)
		f.bad = f.bad || len(f.rest) == 0
		for len(f.rest) > 0 {
			c.unsubscribe(c.s, f.text())
		}
		if !f.end() {
			return errMalformed
		}
		return reply(conn, unsuback, id...)
	case pingreq:
		return reply(conn, pingresp)
	default:
		return errMalformed // QoS 2, or what a server sends
	}
	return nil
}

// connect is section 3.1. Everybody may come in.
func (c *client) connect(conn *epi.Conn, f *fields) error {
	protocol, level, flags, keepAlive := f.text(), f.number(1), f.number(1), f.number(2)
	if protocol != "MQTT" || level != 4 {
		return errors.Join(errors.New("not MQTT 3.1.1"), reply(conn, connack, 0, 1))
	}
	id, will := f.text(), (*message)(nil)
	if flags&willBit != 0 {
		will = &message{f.text(), slices.Clone(f.take(f.number(2))), byte(flags & willRetain >> 5)}
		if flags&willQoS > 0 {
			will.flags |= qos1Bit
		}
		f.bad = f.bad || !isTopic(will.topic)
	}
	for _, bit := range []int{login, passwd} {
		if flags&bit != 0 {
			f.take(f.number(2))
		}
	}
	if !f.end() || flags&reservedBit != 0 || flags&(willBit|willQoS|willRetain) > 0 && will == nil {
		return errMalformed
	}
	clean := flags&cleanBit != 0
	if len(id) > maxName || id == "" && !clean {
		return errors.Join(errors.New("client identifier rejected"), reply(conn, connack, 0, 2))
	}
	conn.SetReadTimeout(time.Duration(keepAlive) * time.Second * 3 / 2)
	c.will = will
	return c.resume(conn, id, clean)
}

// resume finds the client's session or begins one, and ends its other connection.
func (c *client) resume(conn *epi.Conn, id string, clean bool) error {
	if id == "" {
		id = "\x00" + conn.RemoteAddr().String() // no client can name itself so
	}
	s, present := c.sessions[id]
	if present && s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
	if present && (clean || s.clean) {
		c.forget(id, s)
		present = false
	}
	if !present {
		if len(c.sessions) >= maxSessions {
			return errors.Join(errors.New("too many sessions"), reply(conn, connack, 0, 3))
		}
		s = &session{clean: clean, filters: map[string]bool{}}
		c.sessions[id] = s
	}
	c.id, c.s, s.conn = id, s, conn
	if err := reply(conn, connack, map[bool]byte{true: 1}[present], 0); err != nil {
		return err
	}
	for i := range s.waiting {
		s.send(&s.waiting[i])
	}
	return nil
}

func (c *client) onPublish(conn *epi.Conn, flags byte, f *fields) error {
	topic, id := f.text(), []byte(nil)
	switch flags & qosBits {
	case 0:
	case qos1Bit:
		id = f.take(2)
	default:
		return errors.New("QoS 2 is not there")
	}
	if f.bad || !isTopic(topic) {
		return errMalformed
	}
	c.publish(&message{topic, slices.Clone(f.take(len(f.rest))), flags & (qos1Bit | retainBit)})
	if id == nil {
		return nil
	}
	return reply(conn, puback, id...)
}

func (c *client) onSubscribe(conn *epi.Conn, f *fields) error {
	granted := map[string]byte{}
	answer := f.take(2)
	f.bad = f.bad || len(f.rest) == 0
	for len(f.rest) > 0 {
		filter, wanted := f.text(), f.number(1)
		if f.bad || wanted > 2 {
			return errMalformed
		}
		qos := min(1, wanted)
		if !c.subscribe(c.s, filter, byte(qos)*qos1Bit) {
			answer = append(answer, 0x80)
			continue
		}
		answer = append(answer, byte(qos))
		granted[filter] = byte(qos) * qos1Bit
	}
	if !f.end() {
		return errMalformed
	}
	if err := reply(conn, suback, answer...); err != nil {
		return err
	}
	for filter, bit := range granted {
		c.remind(c.s, filter, bit)
	}
	return nil
}

func (c *client) OnClose(conn *epi.Conn, _ error) {
	if s := c.s; s != nil && s.conn == conn {
		s.conn = nil
		if s.clean {
			c.forget(c.id, s)
		}
	}
	if c.will != nil {
		c.publish(c.will)
	}
}

func main() {
	listen := flag.String("listen", "tcp://127.0.0.1:1883", "`address` to listen on")
	flag.Parse()
	b := newBroker()
	e := epi.Engine{Loops: 1, MaxUnread: 2 * maxPacket, ReadTimeout: patience, WriteTimeout: time.Minute, MessageTimeout: time.Minute}
	_, err := e.Listen(*listen, func(*epi.Conn) epi.Handler {
		return &client{broker: b, in: frame.Reader{Framing: frame.LengthPrefix{Offset: 1, Whole: true}, Max: maxPacket}}
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
