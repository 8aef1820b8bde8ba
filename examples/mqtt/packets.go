package main

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/epinet/epi"
)

// First bytes of packets (MQTT 3.1.1, section 2.2), and bits of flags (3.1.2, 3.3.1).
const (
	connect, connack, publish, puback        = 0x10, 0x20, 0x30, 0x40
	subscribe, suback, unsubscribe, unsuback = 0x82, 0x90, 0xa2, 0xb0
	pingreq, pingresp, disconnect            = 0xc0, 0xd0, 0xe0

	retainBit, qos1Bit, dupBit  = 1 << 0, 1 << 1, 1 << 3 // of PUBLISH
	cleanBit, willBit, willQoS  = 1 << 1, 1 << 2, 3 << 3 // of CONNECT
	willRetain, password, login = 1 << 5, 1 << 6, 1 << 7
	refused                     = 0x80 // instead of a QoS granted
)

var errMalformed = errors.New("malformed packet")

// A message was published. It does not change.
type message struct {
	topic   string
	payload []byte
	flags   byte // as in PUBLISH
}

// packet returns m as PUBLISH, with id if the flags say QoS 1.
func (m *message) packet(flags byte, id uint16) []byte {
	size := 2 + len(m.topic) + int(flags&qos1Bit) + len(m.payload)
	p := binary.AppendUvarint(append(make([]byte, 0, 5+size), publish|flags), uint64(size))
	p = append(binary.BigEndian.AppendUint16(p, uint16(len(m.topic))), m.topic...)
	if flags&qos1Bit != 0 {
		p = binary.BigEndian.AppendUint16(p, id)
	}
	return append(p, m.payload...)
}

// cost is what m takes in memory, about.
func (m *message) cost() int { return len(m.topic) + len(m.payload) + 128 }

// fields reads the fields of a packet. A missing one makes it bad.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.rest) {
		f.bad, f.rest = true, nil
		return nil
	}
	p := f.rest[:n:n]
	f.rest = f.rest[n:]
	return p
}

func (f *fields) number(size int) (n int) {
	for _, b := range f.take(size) {
		n = n<<8 | int(b)
	}
	return n
}

func (f *fields) text() string {
	s := string(f.take(f.number(2)))
	f.bad = f.bad || !utf8.ValidString(s) || strings.Contains(s, "\x00")
	return s
}

// end returns an error unless all fields were there, and nothing else.
func (f *fields) end() error {
	if f.bad || len(f.rest) > 0 {
		return errMalformed
	}
	return nil
}

// reply answers a packet, if that was right to its end.
func (f *fields) reply(conn *epi.Conn, first byte, p ...byte) error {
	if err := f.end(); err != nil {
		return err
	}
	return reply(conn, first, p...)
}

func reply(conn *epi.Conn, first byte, p ...byte) error {
	_, err := conn.Writev(binary.AppendUvarint([]byte{first}, uint64(len(p))), p)
	return err
}

func isTopic(s string) bool { return s != "" && len(s) <= maxName && !isWild(s) }

func isWild(filter string) bool { return strings.ContainsAny(filter, "+#") }

// isFilter is section 4.7.1: a wildcard is a level by itself, and # the last one.
func isFilter(s string) bool {
	levels := strings.Split(s, "/")
	for i, level := range levels {
		if isWild(level) && level != "+" && (level != "#" || i < len(levels)-1) {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

// matches is section 4.7: + is one level, # is all that follow and the one before;
// neither is a first level with $.
func matches(filter, topic string) bool {
	if topic[0] == '$' && filter[0] != '$' {
		return false
	}
	for filter != "#" {
		level, rest, more := strings.Cut(filter, "/")
		name, names, deeper := strings.Cut(topic, "/")
		if level != "+" && level != name {
			return false
		}
		if !more || !deeper {
			return more == deeper || rest == "#"
		}
		filter, topic = rest, names
	}
	return true
}
