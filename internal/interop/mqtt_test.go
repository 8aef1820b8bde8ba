package interop

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/epinet/epi/internal/epitest"
)

// startBroker runs examples/mqtt for the time of the test and returns its address.
func startBroker(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "mqtt")
	build := exec.Command("go", "build", "-o", program, "./examples/mqtt")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build examples/mqtt: %v: %s", err, out)
	}
	// It logs where it listens.
	out := startProgram(t, exec.Command("sh", "-c", `exec "$0" -listen tcp://127.0.0.1:0 2>&1`, program)).out
	return regexp.MustCompile(`tcp://\S+`).FindString(out.line(t, "listening"))
}

// done waits for what was asked of a paho client.
func done(t *testing.T, what string, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(epitest.Patience) {
		t.Fatalf("%s: no answer", what)
	}
	if err := token.Error(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestPaho has two of Eclipse's clients talk through examples/mqtt.
func TestPaho(t *testing.T) {
	address := startBroker(t)
	had := map[string]bool{} // by the listener, which is one client at a time
	connect := func(id string, clean bool, got chan<- string) mqtt.Client {
		o := mqtt.NewClientOptions().AddBroker(address).SetClientID(id).SetCleanSession(clean).SetAutoReconnect(false)
		o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			text := fmt.Sprintf("%s %s %d %v", m.Topic(), m.Payload(), m.Qos(), m.Retained())
			// QoS 1 is at least once: Disconnect may end the client before the PUBACK
			// of what its handler has had, and the broker then sends that again.
			if !m.Duplicate() || !had[text] {
				had[text] = true
				got <- text
			}
		})
		c := mqtt.NewClient(o)
		done(t, "connect "+id, c.Connect())
		return c
	}
	expect := func(from <-chan string, want ...string) {
		t.Helper()
		for _, w := range want {
			if got := epitest.Receive(t, from); got != w {
				t.Errorf("got %q, want %q", got, w)
			}
		}
	}
	const room = 16 // more than comes
	heard := make(chan string, room)
	speaker := connect("speaker", true, nil)
	defer speaker.Disconnect(0)
	say := func(topic string, qos byte, retain bool, text string) {
		t.Helper()
		done(t, "publish "+topic, speaker.Publish(topic, qos, retain, text))
	}
	say("house/kitchen", 1, true, "21")
	listener := connect("listener", false, heard)
	done(t, "subscribe", listener.Subscribe("house/+", 1, nil))
	expect(heard, "house/kitchen 21 1 true")
	say("house/attic", 0, false, "8")
	say("house/attic", 1, false, "9")
	expect(heard, "house/attic 8 0 false", "house/attic 9 1 false")
	listener.Disconnect(0)
	say("house/attic", 1, false, "10")
	listener = connect("listener", false, heard)
	defer listener.Disconnect(0)
	expect(heard, "house/attic 10 1 false")
	done(t, "unsubscribe", listener.Unsubscribe("house/+"))
	done(t, "subscribe", listener.Subscribe("end", 0, nil))
	say("house/attic", 1, false, "11")
	say("end", 1, false, "")
	expect(heard, "end  0 false")
}
