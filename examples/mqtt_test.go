package examples

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// mosquitto is a command of Debian's mosquitto-clients that speaks to address.
func mosquitto(t *testing.T, name, address string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), epitest.Patience)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, path, append([]string{"-h", host, "-p", port}, args...)...)
}

// send publishes by mosquitto_pub, which with QoS 1 awaits the acknowledgement.
func send(t *testing.T, address string, args ...string) {
	t.Helper()
	if out, err := mosquitto(t, "mosquitto_pub", address, args...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub %q: %v\n%s", args, err, out)
	}
}

// A subscriber is mosquitto_sub.
type subscriber struct{ lines *bufio.Scanner }

// The message "ready" is retained: who gets it has subscribed.
const ready = "ready"

// serveMQTT runs the broker.
func serveMQTT(t *testing.T) (address string) {
	t.Helper()
	address = serve(t, "mqtt")
	send(t, address, "-q", "1", "-r", "-t", ready, "-m", "x")
	return address
}

// subscriberOf returns a mosquitto_sub that has subscribed, and the end of it.
func subscriberOf(t *testing.T, address string, args ...string) (s *subscriber, kill func()) {
	t.Helper()
	cmd := mosquitto(t, "mosquitto_sub", address, append(args, "-t", ready, "-F", "%q %r %t %p")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(kill)
	s = &subscriber{bufio.NewScanner(out)}
	s.lines.Buffer(nil, 1<<20)
	return s, kill
}

// next returns QoS, whether it was retained, topic and payload of a message.
func (s *subscriber) next(t *testing.T) string {
	t.Helper()
	if !s.lines.Scan() {
		t.Fatalf("mosquitto_sub has ended: %v", s.lines.Err())
	}
	return s.lines.Text()
}

// await reads up to a message.
func (s *subscriber) await(t *testing.T, message string) {
	t.Helper()
	for s.next(t) != message {
	}
}

// subscribed waits until the messages to come are for s.
func (s *subscriber) subscribed(t *testing.T) *subscriber {
	t.Helper()
	for !strings.HasSuffix(s.next(t), " 1 ready x") {
	}
	return s
}

// expect reads messages, all but "ready".
func (s *subscriber) expect(t *testing.T, want ...string) {
	t.Helper()
	for i, w := range want {
		got := s.next(t)
		for strings.HasSuffix(got, " 1 ready x") {
			got = s.next(t)
		}
		if got != w {
			t.Errorf("message %d is %.99q, want %.99q", i, got, w)
		}
	}
}

// TestMQTT has mosquitto's clients talk through examples/mqtt.
func TestMQTT(t *testing.T) {
	t.Parallel()
	address := serveMQTT(t)
	subscribe := func(args ...string) *subscriber {
		s, _ := subscriberOf(t, address, args...)
		return s.subscribed(t)
	}
	all := subscribe("-q", "1", "-t", "#")
	rooms := subscribe("-q", "0", "-t", "house/+/temperature")
	send(t, address, "-q", "1", "-r", "-t", "house/kitchen/temperature", "-m", "21.5")
	send(t, address, "-q", "0", "-t", "house/kitchen/light", "-m", "on")
	send(t, address, "-q", "1", "-t", "house/attic/temperature", "-m", "8")
	send(t, address, "-q", "1", "-t", "$own", "-m", "for no wildcard")
	send(t, address, "-q", "1", "-t", "house", "-n")
	rooms.expect(t, "0 0 house/kitchen/temperature 21.5", "0 0 house/attic/temperature 8")
	all.expect(t, "1 0 house/kitchen/temperature 21.5", "0 0 house/kitchen/light on", "1 0 house/attic/temperature 8", "1 0 house ")
	late, _ := subscriberOf(t, address, "-q", "1", "-t", "house/#")
	late.await(t, "1 1 house/kitchen/temperature 21.5")
	long := strings.Repeat("long ", 20_000)
	send(t, address, "-q", "1", "-r", "-t", "house/kitchen/temperature", "-n") // none is kept
	send(t, address, "-q", "1", "-t", "house", "-m", long)
	late.expect(t, "1 0 house/kitchen/temperature ", "1 0 house "+long)
}

// TestMQTT_Will is published when a client ends without a word, and not else.
func TestMQTT_Will(t *testing.T) {
	t.Parallel()
	address := serveMQTT(t)
	wills, _ := subscriberOf(t, address, "-q", "1", "-t", "will/+")
	wills.subscribed(t)
	will := func(name string) []string {
		return []string{"-q", "1", "-t", "x", "--will-topic", "will/" + name, "--will-payload", "gone", "--will-qos", "1", "--will-retain"}
	}
	send(t, address, append(will("orderly"), "-m", "m")...)
	s, kill := subscriberOf(t, address, will("killed")...)
	s.subscribed(t)
	kill()
	wills.expect(t, "1 0 will/killed gone")
	late, _ := subscriberOf(t, address, "-q", "1", "-t", "will/#")
	late.await(t, "1 1 will/killed gone")
}

// TestMQTT_Session keeps what comes for a client that is away, unless it wants to
// begin anew.
func TestMQTT_Session(t *testing.T) {
	t.Parallel()
	address := serveMQTT(t)
	once := func(args ...string) { // subscribes, and is gone
		if out, err := mosquitto(t, "mosquitto_sub", address, append(args, "-E")...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_sub %q: %v\n%s", args, err, out)
		}
	}
	lasting := []string{"-q", "1", "-t", "news", "-i", "reader", "-c"}
	once(lasting...)
	for _, m := range []string{"one", "two", "three"} {
		send(t, address, "-q", "1", "-t", "news", "-m", m)
	}
	send(t, address, "-q", "0", "-t", "news", "-m", "nobody is there")
	back, _ := subscriberOf(t, address, lasting...)
	back.expect(t, "1 0 news one", "1 0 news two", "1 0 news three")
	// The same client again ends the other connection. What that has not acknowledged
	// may come once more.
	again, _ := subscriberOf(t, address, lasting...)
	again.subscribed(t)
	send(t, address, "-q", "1", "-t", "news", "-m", "four")
	again.await(t, "1 0 news four")
	once("-q", "1", "-t", "other", "-i", "reader")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	ask(t, c, connectPacket("reader", 0), "\x20\x02\x00\x00") // no session is present
}

func packet(first byte, fields ...any) string {
	var p strings.Builder
	for _, f := range fields {
		switch f := f.(type) {
		case string: // with its length
			p.WriteString(string([]byte{byte(len(f) >> 8), byte(len(f))}) + f)
		case int:
			p.WriteByte(byte(f))
		}
	}
	return string([]byte{first, byte(p.Len())}) + p.String()
}

func connectPacket(id string, flags int) string {
	return packet(0x10, "MQTT", 4, flags, 0, 0, id)
}

// TestMQTT_Wire has packets of its own: what is wrong ends the connection.
func TestMQTT_Wire(t *testing.T) {
	t.Parallel()
	address := serve(t, "mqtt")
	const clean = 2
	hello, welcome := connectPacket("", clean), "\x20\x02\x00\x00"
	for name, c := range map[string]struct{ sent, want string }{
		"ping":               {hello + packet(0xc0), welcome + "\xd0\x00"},
		"goodbye":            {hello + packet(0xe0) + packet(0xc0), welcome},
		"nothing before":     {packet(0xc0), ""},
		"twice":              {hello + hello, welcome},
		"version 5":          {packet(0x10, "MQTT", 5, clean, 0, 0, 0, ""), "\x20\x02\x00\x01"},
		"another protocol":   {packet(0x10, "MQIsdp", 4, clean, 0, 0, ""), "\x20\x02\x00\x01"},
		"no name to keep":    {connectPacket("", 0), "\x20\x02\x00\x02"},
		"reserved bit":       {connectPacket("a", clean|1), ""},
		"will bits alone":    {connectPacket("a", clean|8), ""},
		"will to a wildcard": {packet(0x10, "MQTT", 4, clean|4, 0, 0, "a", "#", "x"), ""},
		"will of QoS 3":      {packet(0x10, "MQTT", 4, clean|4|0x18, 0, 0, "a", "b", "x"), ""},
		"password alone":     {packet(0x10, "MQTT", 4, clean|0x40, 0, 0, "a", "password"), ""},
		"will missing":       {connectPacket("a", clean|4), ""},
		"too much":           {packet(0x10, "MQTT", 4, clean, 0, 0, "a", 0), ""},
		"login":              {packet(0x10, "MQTT", 4, clean|0xc0, 0, 0, "a", "user", "password"), welcome},
		"filters":            {hello + packet(0x82, 0, 7, "a/#/b", 0, "a+", 0, "", 0, "#", 2, "+/+", 0, "#a", 1), welcome + "\x90\x08\x00\x07\x80\x80\x80\x01\x00\x80"},
		"bad flags":          {hello + packet(0x80, 0, 7, "a", 0), welcome},
		"no filter":          {hello + packet(0x82, 0, 7), welcome},
		"QoS 3":              {hello + packet(0x82, 0, 7, "a", 3), welcome},
		"unsubscribe":        {hello + packet(0xa2, 0, 8, "never", "a/#"), welcome + "\xb0\x02\x00\x08"},
		"unsubscribe nobody": {hello + packet(0xa2, 0, 8), welcome},
		"publish to all":     {hello + packet(0x30, "a/+"), welcome},
		"publish to nobody":  {hello + packet(0x30, ""), welcome},
		"NUL":                {hello + packet(0x30, "a\x00"), welcome},
		"not UTF-8":          {hello + packet(0x30, "a\xff"), welcome},
		"QoS 2":              {hello + packet(0x34, "a", 0, 1), welcome},
		"acknowledged":       {hello + packet(0x32, "a", 1, 2), welcome + "\x40\x02\x01\x02"},
		"no identifier":      {hello + packet(0x32, "a", 1), welcome},
		"unknown kind":       {hello + packet(0xf0), welcome},
		"long length":        {hello + "\x30\x83\x80\x80\x80\x00\x00\x01a", welcome},
		"too long":           {hello + "\x30\xff\xff\xff\x7f", welcome},
	} {
		t.Run(name, func(t *testing.T) {
			c1, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c1.Close()
			_ = c1.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(c1, c.sent); err != nil {
				t.Fatal(err)
			}
			_ = c1.(*net.TCPConn).CloseWrite()
			if got, err := io.ReadAll(c1); err != nil || string(got) != c.want {
				t.Errorf("the answer is %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// TestMQTT_Matching is section 4.7 of MQTT 3.1.1 with its examples.
func TestMQTT_Matching(t *testing.T) {
	t.Parallel()
	c, err := net.Dial("tcp", serve(t, "mqtt"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	ask(t, c, connectPacket("", 2), "\x20\x02\x00\x00")
	for _, m := range []struct {
		filter  string
		matches []string
		others  []string
	}{
		{"sport/tennis/player1/#", []string{"sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"}, []string{"sport/tennis/player10"}},
		{"sport/tennis/+", []string{"sport/tennis/player1", "sport/tennis/"}, []string{"sport/tennis/player1/ranking", "sport/tennis"}},
		{"sport/+", []string{"sport/"}, []string{"sport"}},
		{"+/+", []string{"/finance"}, []string{"finance", "a/b/c"}},
		{"/+", []string{"/finance"}, []string{"a/finance"}},
		{"+", []string{"finance"}, []string{"/finance"}},
		{"#", []string{"a", "/", "a/b"}, []string{"$SYS", "$SYS/monitor"}},
		{"+/monitor/Clients", nil, []string{"$SYS/monitor/Clients"}},
		{"$SYS/#", []string{"$SYS/", "$SYS"}, []string{"a"}},
		{"a", []string{"a"}, []string{"A", "a/", "/a"}},
	} {
		ask(t, c, packet(0x82, 0, 1, m.filter, 0), "\x90\x03\x00\x01\x00")
		var sent, want strings.Builder
		for _, topic := range slices.Concat(m.others, m.matches) {
			sent.WriteString(packet(0x30, topic))
		}
		for _, topic := range m.matches {
			want.WriteString(packet(0x30, topic))
		}
		ask(t, c, sent.String()+packet(0xa2, 0, 2, m.filter), fmt.Sprint(want.String(), "\xb0\x02\x00\x02"))
	}
}
