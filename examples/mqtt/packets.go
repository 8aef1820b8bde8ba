package main

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/epinet/epi"
)

// Kinds of packets (MQTT 3.1.1, section 2.2.1), and bits of their flags (3.1.2, 3.3.1).
const (
	connect, connack, publish, puback        = 1, 2, 3, 4
	subscribe, suback, unsubscribe, unsuback = 8, 9, 10, 11
	pingreq, pingresp, disconnect            = 12, 13, 14

	retainBit, qos1Bit, qosBits, dupBit = 1 << 0, 1 << 1, 3 << 1, 1 << 3

	reservedBit, cleanBit, willBit     = 1 << 0, 1 << 1, 1 << 2
	willQoS, willRetain, passwd, login = 3 << 3, 1 << 5, 1 << 6, 1 << 7
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
	p := binary.AppendUvarint(append(make([]byte, 0, 5+size), publish<<4|flags), uint64(size))
	p = append(binary.BigEndian.AppendUint16(p, uint16(len(m.topic))), m.topic...)
	if flags&qos1Bit != 0 {
		p = binary.BigEndian.AppendUint16(p, id)
	}
	return append(p, m.payload...)
}

// cost is what m takes in memory, about.
func (m *message) cost() int { return len(m.topic) + len(m.payload) + 128 }

func reply(conn *epi.Conn, kind byte, p ...byte) error {
	_, err := conn.Writev(binary.AppendUvarint([]byte{kind << 4}, uint64(len(p))), p)
	return err
}

// fixedFlags are those of a packet that is not PUBLISH (section 2.2.2).
func fixedFlags(kind byte) byte {
	if kind == subscribe || kind == unsubscribe {
		return 1 << 1
	}
	return 0
}

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

// end reports whether all fields were there, and nothing else.
func (f *fields) end() bool { return !f.bad && len(f.rest) == 0 }

func isTopic(s string) bool { return s != "" && len(s) <= maxName && !isWild(s) }

func isWild(filter string) bool { return strings.ContainsAny(filter, "+#") }

// isFilter is section 4.7.1: a wildcard is a level by itself, and # the last one.
func isFilter(s string) bool {
	head, ok := strings.CutSuffix("/"+s, "/#")
	for level := range strings.SplitSeq(head, "/") {
		if level != "+" && isWild(level) {
			return false
		}
	}
	return s != "" && len(s) <= maxName && (ok || head != "")
}

// matches is section 4.7: + is one level, # is all that follow and the one before;
// neither is a first level with $.
func matches(filter, topic string) bool {
	if topic[0] == '$' && filter[0] != '$' {
		return false
	}
	for more := true; more; {
		var level, name string
		var deeper bool
		level, filter, more = strings.Cut(filter, "/")
		name, topic, deeper = strings.Cut(topic, "/")
		if level == "#" {
			return true
		}
		if level != "+" && level != name {
			return false
		}
		if more != deeper {
			return more && filter == "#"
		}
	}
	return true
}
