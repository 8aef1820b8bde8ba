// Command mqtt is a broker for MQTT 3.1.1: QoS 0 and 1, retained messages, wildcards,
// wills and sessions that outlast their connections, in memory, on one loop.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"log"
	"math/bits"
	"slices"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
)

// A client is a connection.
type client struct {
	*broker
	in   frame.Reader
	s    *session // nil before CONNECT
	will *message // nil: none
}

func (c *client) OnData(conn *epi.Conn) error {
	for p, err := range c.in.Messages(conn) {
		if err != nil {
			return err
		}
		_, n := binary.Uvarint(p[1:])
		if n > 4 || (p[0] == connect) != (c.s == nil) {
			return errMalformed
		}
		if p[0] == disconnect {
			c.will = nil
			return conn.Close()
		}
		if err := c.packet(conn, p[0], &fields{rest: p[1+n:]}); err != nil {
			return err
		}
	}
	return nil
}

// packet takes one that begins with first: its kind, and flags.
func (c *client) packet(conn *epi.Conn, first byte, f *fields) error {
	switch first {
	case connect:
		return c.connect(conn, f)
	case puback:
		c.acknowledge(c.s, uint16(f.number(2)))
		return f.end()
	case subscribe:
		return c.onSubscribe(conn, f)
	case unsubscribe:
		id := f.take(2)
		for more := true; more; more = len(f.rest) > 0 {
			c.unsubscribe(c.s, f.text())
		}
		return f.reply(conn, unsuback, id...)
	case pingreq:
		return f.reply(conn, pingresp)
	}
	if first&^(dupBit|qos1Bit|retainBit) != publish {
		return errMalformed // QoS 2, or what a server sends
	}
	return c.onPublish(conn, first, f)
}

// connect is section 3.1. Everybody may come in.
func (c *client) connect(conn *epi.Conn, f *fields) error {
	protocol, level, flags, keepAlive := f.text(), f.number(1), f.number(1), f.number(2)
	if protocol != "MQTT" || level != 4 {
		return errors.Join(errors.New("not MQTT 3.1.1"), reply(conn, connack, 0, 1))
	}
	id, clean, will := f.text(), flags&cleanBit != 0, (*message)(nil)
	if flags&willBit != 0 {
		will = &message{f.text(), slices.Clone(f.take(f.number(2))), byte(min(1, flags&willQoS)*qos1Bit | flags&willRetain>>5)}
		f.bad = f.bad || !isTopic(will.topic) || flags&willQoS == willQoS
		flags &^= willBit | willQoS | willRetain
	}
	for range bits.OnesCount(uint(flags & (login | password))) {
		f.take(f.number(2))
	}
	if f.end() != nil || flags&^(cleanBit|login|password) != 0 || flags&(login|password) == password {
		return errMalformed
	}
	if len(id) > maxName || id == "" && !clean {
		return errors.Join(errors.New("client identifier rejected"), reply(conn, connack, 0, 2))
	}
	if id == "" {
		id = "\x00" + conn.RemoteAddr().String() // no client can name itself so
	}
	s, present := c.session(id, clean)
	if s == nil {
		return errors.Join(errors.New("too many sessions"), reply(conn, connack, 0, 3))
	}
	conn.SetReadTimeout(time.Duration(keepAlive) * time.Second * 3 / 2)
	c.s, c.will, s.conn = s, will, conn
	if err := reply(conn, connack, present, 0); err != nil {
		return err
	}
	for i := range s.waiting {
		s.send(&s.waiting[i])
	}
	return nil
}

func (c *client) onPublish(conn *epi.Conn, flags byte, f *fields) error {
	topic, id := f.text(), f.take(int(flags&qos1Bit)) // which is 2, as many bytes as an id has
	m := &message{topic, slices.Clone(f.take(len(f.rest))), flags & (qos1Bit | retainBit)}
	if f.bad || !isTopic(topic) {
		return errMalformed
	}
	c.publish(m)
	if len(id) == 0 {
		return nil
	}
	return f.reply(conn, puback, id...)
}

func (c *client) onSubscribe(conn *epi.Conn, f *fields) error {
	var filters []string
	answer := f.take(2)
	for more := true; more; more = len(f.rest) > 0 {
		filter, wanted := f.text(), f.number(1)
		if f.bad || wanted > 2 {
			return errMalformed
		}
		qos := byte(min(1, wanted))
		if !c.subscribe(c.s, filter, qos*qos1Bit) {
			qos = refused
		}
		filters, answer = append(filters, filter), append(answer, qos)
	}
	if err := f.reply(conn, suback, answer...); err != nil {
		return err
	}
	for i, qos := range answer[2:] {
		if qos != refused {
			c.remind(c.s, filters[i], qos*qos1Bit)
		}
	}
	return nil
}

func (c *client) OnClose(conn *epi.Conn, _ error) {
	if s := c.s; s != nil && s.conn == conn {
		s.conn = nil
		if s.clean {
			c.forget(s)
		}
	}
	if c.will != nil {
		c.publish(c.will)
	}
}

func main() {
	listen := flag.String("listen", "tcp://127.0.0.1:1883", "`address` to listen on")
	flag.Parse()
	b := &broker{map[string]*session{}, map[string]subscribers{}, map[string]bool{}, map[string]*message{}, 0}
	e := epi.Engine{Loops: 1, MaxUnread: 2 * maxPacket, ReadTimeout: patience, WriteTimeout: time.Minute, MessageTimeout: time.Minute}
	_, err := e.Listen(*listen, func(*epi.Conn) epi.Handler {
		return &client{broker: b, in: frame.Reader{Framing: frame.LengthPrefix{Offset: 1, Whole: true}, Max: maxPacket}}
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.Run(context.Background()))
}
