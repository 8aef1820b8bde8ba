package load

import (
	"encoding/binary"
	"fmt"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
)

// Kinds of MQTT's packets (MQTT 3.1.1, section 2.2.1).
const (
	mqttConnect   = 1
	mqttConnack   = 2
	mqttPublish   = 3
	mqttSubscribe = 8
	mqttSuback    = 9
)

// mqttClean is the flag in CONNECT that no session is to last.
const mqttClean = 1 << 1

// mqttFraming cuts packets: a byte, the length of the rest, the rest.
var mqttFraming = frame.LengthPrefix{Offset: 1, Whole: true}

// An mqttClient is a chatter of MQTT's: its channel is a topic, to which it has
// subscribed and publishes with QoS 0. A publisher gets its own messages, too.
type mqttClient struct {
	*chatter
	in frame.Reader
}

// OnOpen begins the registration.
func (c *mqttClient) OnOpen(conn *epi.Conn) error {
	c.conn, c.wire, c.abort = conn, conn, func() { _ = conn.Abort() }
	c.in = frame.Reader{Framing: mqttFraming, Max: longestLine}
	c.enter(c.gen.lanes[conn.Loop()])
	p := mqttText(nil, "MQTT")
	p = append(p, 4, mqttClean, 0, 0) // version 3.1.1, no keep-alive
	c.send(mqttConnect, 0, mqttText(p, fmt.Sprintf("epi%d", c.id)))
	return nil
}

// OnData is the hot path: it takes the packets that are complete.
func (c *mqttClient) OnData(conn *epi.Conn) error {
	now := c.gen.clock()
	deliveries, had := uint64(0), len(conn.Unread())
	for p, err := range c.in.Messages(conn) {
		if err != nil {
			return err
		}
		_, n := binary.Uvarint(p[1:])
		if body := p[1+n:]; p[0]>>4 != mqttPublish {
			err = c.answered(p[0]>>4, body)
		} else if deliveries++; len(body) < 2 || c.stage != talking {
			err = errUnasked
		} else {
			topic := int(binary.BigEndian.Uint16(body))
			err = c.deliver(body[min(len(body), 2+topic):], now)
		}
		if err != nil {
			return err
		}
	}
	c.home.count(deliveries, had-len(conn.Unread()))
	return nil
}

func (c *mqttClient) OnClose(conn *epi.Conn, err error) { c.ended(conn.Loop(), err) }

// answered goes on with the registration.
func (c *mqttClient) answered(kind byte, body []byte) error {
	c.arrived = true
	c.accepted()
	switch {
	case kind == mqttConnack && c.stage == negotiating && len(body) == 2:
		if body[1] != 0 {
			return fmt.Errorf("the broker refuses: return code %d", body[1])
		}
		c.stage = joining
		c.send(mqttSubscribe, 1<<1, append(mqttText([]byte{0, 1}, c.channel.name), 0))
	case kind == mqttSuback && c.stage == joining && len(body) == 3:
		if body[2] != 0 {
			return fmt.Errorf("the broker refuses to subscribe: return code %d", body[2])
		}
		c.joined()
	default:
		return fmt.Errorf("the broker sends an unexpected packet of kind %d", kind)
	}
	return nil
}

// send writes one packet.
func (c *mqttClient) send(kind, flags byte, body []byte) {
	_, err := c.wire.Write(append(binary.AppendUvarint([]byte{kind<<4 | flags}, uint64(len(body))), body...))
	c.home.failedWrite(err)
}

// appendPublish appends the packet of a message.
func (c *chatter) appendPublish(dst []byte, h header, size int) []byte {
	dst = binary.AppendUvarint(append(dst, mqttPublish<<4), uint64(2+len(c.channel.name)+size))
	return appendText(mqttText(dst, c.channel.name), h, size)
}

// mqttText appends a string with its length.
func mqttText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}
