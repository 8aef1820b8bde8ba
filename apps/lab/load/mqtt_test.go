package load

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/frame"
	"github.com/epinet/epi/internal/epitest"
)

// A broker is an MQTT broker that knows what the load needs, on one loop: it passes
// each packet on to all who have subscribed to its topic. The answers to CONNECT and
// SUBSCRIBE, and what becomes of PUBLISH, can be others.
type broker struct {
	connack, suback string
	spoil           func(p []byte) []byte
	topics          map[string][]*epi.Conn
}

type brokerClient struct {
	broker *broker
	in     frame.Reader
}

func (c *brokerClient) OnData(conn *epi.Conn) error {
	for p, err := range c.in.Messages(conn) {
		if err != nil {
			return err
		}
		_, n := binary.Uvarint(p[1:])
		if err := c.packet(conn, p, p[1+n:]); err != nil {
			return err
		}
	}
	return nil
}

func (c *brokerClient) packet(conn *epi.Conn, p, body []byte) error {
	var answer string
	switch p[0] >> 4 {
	case mqttConnect:
		answer = c.broker.connack
	case mqttSubscribe:
		topic := string(body[4 : 4+binary.BigEndian.Uint16(body[2:])])
		c.broker.topics[topic] = append(c.broker.topics[topic], conn)
		answer = c.broker.suback
	case mqttPublish:
		p = c.broker.spoil(p)
		for _, to := range c.broker.topics[string(body[2:2+binary.BigEndian.Uint16(body)])] {
			_, _ = to.Write(p) // one that has ended gets nothing
		}
	}
	_, err := conn.Write([]byte(answer))
	return err
}

func (*brokerClient) OnClose(*epi.Conn, error) {}

// start runs the broker and returns its address.
func (b *broker) start(t *testing.T, scheme string) string {
	t.Helper()
	b.topics = map[string][]*epi.Conn{}
	if b.connack == "" {
		b.connack = "\x20\x02\x00\x00"
	}
	if b.suback == "" {
		b.suback = "\x90\x03\x00\x01\x00"
	}
	if b.spoil == nil {
		b.spoil = func(p []byte) []byte { return p }
	}
	e := &epi.Engine{Loops: 1}
	below := "tcp"
	if scheme == "mqtts" {
		config, _, err := epitest.SelfSigned("localhost")
		if err != nil {
			t.Fatal(err)
		}
		e.TLS, below = config, "tls"
	}
	handler := func(*epi.Conn) epi.Handler { return &brokerClient{broker: b, in: frame.Reader{Framing: mqttFraming}} }
	s := epitest.StartOn(t, e, below+"://127.0.0.1:0", handler)
	_, rest, _ := strings.Cut(s.Listener.String(), "://")
	return scheme + "://" + rest
}

func TestMQTT(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts"} {
		for name, c := range map[string]Config{
			"one topic": {Conns: 5, Verify: true},
			"deep":      {Conns: 4, Channels: 2, Depth: 5, Sizes: sizes(t, "uniform:29-400"), Verify: true},
			"echo":      {Conns: 4, Channels: 2, Await: AwaitEcho, Depth: 2},
			"open":      {Conns: 6, Channels: 2, Rate: 500, Verify: true, Loops: 2},
		} {
			t.Run(scheme+" "+name, func(t *testing.T) {
				t.Parallel()
				c.Targets, c.Duration, c.Patience, c.Trust.Insecure = []string{new(broker).start(t, scheme)}, short, epitest.Patience, true
				r := mustRun(t, c)
				checkReport(t, r, c)
				if r.Chat == nil || r.Chat.Lost > 0 || r.Chat.OutOfOrder > 0 {
					t.Errorf("of the topics: %+v", r.Chat)
				}
			})
		}
	}
}

// TestMQTTCountsDeliveries has a topic of five, who get their own messages, too.
func TestMQTTCountsDeliveries(t *testing.T) {
	endpoints := []endpoint{{Address: strings.Replace(new(broker).start(t, "mqtt"), "mqtt", "tcp", 1), Kind: mqttStream}}
	s := share{Endpoints: endpoints, Conns: 5, Active: 2, Window: 2, Depth: 2, Sizes: defaultSizes,
		Patience: epitest.Patience, Loops: 2, Channels: 1, Await: AwaitLast}
	total := mustShare(t, s)
	if total.Awaited != total.Delivered || total.Delivered == 0 || total.Delivered%5 != 0 {
		t.Errorf("%d deliveries of %d, in groups of 5", total.Delivered, total.Awaited)
	}
}

func TestMQTTRefused(t *testing.T) {
	for want, b := range map[string]broker{
		"the broker refuses: return code 5":                {connack: "\x20\x02\x00\x05"},
		"the broker refuses to subscribe: return code 128": {suback: "\x90\x03\x00\x01\x80"},
		"an unexpected packet of kind 13":                  {connack: "\xd0\x00"},
		"an unexpected packet of kind 9":                   {connack: "\x90\x00"},
		errUnasked.Error():                                 {connack: "\x30\x00"},
	} {
		_, err := Run(t.Context(), Config{Targets: []string{b.start(t, "mqtt")}, Conns: 3, Patience: epitest.Patience}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, should tell %q", err, want)
		}
	}
}

func TestMQTTSpoiled(t *testing.T) {
	for cause, spoil := range map[string]func(p []byte) []byte{
		errMismatch.Error(): func(p []byte) []byte { p[len(p)-1] ^= 1; return p },
		errUnasked.Error():  func([]byte) []byte { return []byte{mqttPublish << 4, 4, 0, 9, 'a', 'b'} },
		outOfOrder:          func(p []byte) []byte { return append(p, p...) },
	} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			target := (&broker{spoil: spoil}).start(t, "mqtt")
			runSpoiled(t, Config{Targets: []string{target}, Conns: 2, Active: 1, Verify: true, Patience: epitest.Patience}, cause)
		})
	}
}
