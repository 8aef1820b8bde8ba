package load

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/ws"
)

// A damage changes an answer before it is sent; nil: none.
type damage func(p []byte) []byte

// flipLast changes the last byte.
func flipLast(p []byte) []byte {
	p = bytes.Clone(p)
	p[len(p)-1]++
	return p
}

// messageEcho sends every message back.
type messageEcho struct{ damage damage }

func (e messageEcho) OnMessage(c *ws.Conn, op ws.Opcode, p []byte) error {
	if e.damage != nil {
		p = e.damage(p)
	}
	return c.Write(op, p)
}

func (messageEcho) OnClose(*ws.Conn, error) {}

// packetEcho sends every datagram back, but drops one of drop, if that is
// above 0, and sends one of twice two times.
type packetEcho struct {
	damage      damage
	drop, twice int
	heard       int
}

func (e *packetEcho) OnPacket(c *epi.PacketConn, p []byte, from epi.PacketAddr) {
	e.heard++
	if e.drop > 0 && e.heard%e.drop == 0 {
		return
	}
	if e.damage != nil {
		p = e.damage(p)
	}
	_ = c.WriteTo(p, from) // what is refused is lost, as a datagram may be
	if e.twice > 0 && e.heard%e.twice == 0 {
		_ = c.WriteTo(p, from)
	}
}

func (*packetEcho) OnClose(*epi.PacketConn, error) {}

// certificate makes one for this machine: for servers, and as a PEM file.
func certificate(t *testing.T) (config *tls.Config, file, fingerprint string) {
	t.Helper()
	config, _, err := epitest.SelfSigned("localhost")
	if err != nil {
		t.Fatal(err)
	}
	der := config.Certificates[0].Certificate[0]
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return config, file, hex.EncodeToString(sum[:])
}

// echoOn starts an echo server for a scheme and returns its address.
func echoOn(t *testing.T, scheme string, config *tls.Config, damage damage) string {
	t.Helper()
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog(), TLS: config, MaxQueued: 64 << 20}
	handler := func(*epi.Conn) epi.Handler {
		return &epitest.Funcs{Data: func(c *epi.Conn) error {
			if damage == nil {
				return epitest.Echo(c)
			}
			_, err := c.Write(damage(c.Unread()))
			c.Discard(len(c.Unread()))
			return err
		}}
	}
	switch scheme {
	case "ws", "wss":
		s := &ws.Server{Handler: func(*ws.Conn, *http.Request) ws.Handler { return messageEcho{damage} }, MaxMessage: 1 << 20}
		t.Cleanup(func() { _ = s.Close() })
		below := map[string]string{"ws": "tcp", "wss": "tls"}[scheme]
		_, rest, _ := strings.Cut(epitest.StartOn(t, e, below+"://127.0.0.1:0", s.Serve).Listener.String(), "://")
		return scheme + "://" + rest + "/echo"
	case "udp", "unixgram":
		return echoPackets(t, scheme, &packetEcho{damage: damage})
	case "unix":
		return epitest.StartOn(t, e, "unix://"+filepath.Join(t.TempDir(), "s"), handler).Listener.String()
	}
	return epitest.StartOn(t, e, scheme+"://127.0.0.1:0", handler).Listener.String()
}

func echoPackets(t *testing.T, scheme string, h epi.PacketHandler) string {
	t.Helper()
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	address := scheme + "://127.0.0.1:0"
	if scheme == "unixgram" {
		address = "unixgram://" + filepath.Join(t.TempDir(), "d")
	}
	ln, err := e.ListenPacket(address, func(*epi.PacketConn) epi.PacketHandler { return h })
	if err != nil {
		t.Fatal(err)
	}
	// The stream beside it only runs the engine and ends it with the test.
	epitest.StartOn(t, e, "unix://"+filepath.Join(t.TempDir(), "s"), epitest.EchoHandler)
	return scheme + "://" + ln.Addr().String()
}

var everyScheme = []string{"tcp", "unix", "tls", "ws", "wss", "udp", "unixgram"}

func TestEverySchemeEchoes(t *testing.T) {
	config, ca, fingerprint := certificate(t)
	for _, scheme := range everyScheme {
		target := echoOn(t, scheme, config, nil)
		for _, c := range []struct {
			name   string
			config Config
		}{
			{"closed", Config{Conns: 6, Active: 4, Depth: 3, Sizes: sizes(t, "uniform:16-3000"), Trust: Trust{CA: ca}}},
			{"open", Config{Conns: 4, Rate: 500, Sizes: sizes(t, "1KiB"), Trust: Trust{Fingerprint: fingerprint}}},
			{"large", Config{Conns: 2, Sizes: sizes(t, "20KiB"), Trust: Trust{Insecure: true}}},
		} {
			t.Run(scheme+" "+c.name, func(t *testing.T) {
				c.config.Targets, c.config.Verify, c.config.Duration = []string{target}, true, short
				c.config.Patience, c.config.LostAfter = epitest.Patience, epitest.Patience
				checkReport(t, mustRun(t, c.config), c.config.withDefaults())
			})
		}
	}
}

func TestEverySchemeDetectsAWrongEcho(t *testing.T) {
	config, _, _ := certificate(t)
	for _, scheme := range everyScheme {
		t.Run(scheme, func(t *testing.T) {
			target := echoOn(t, scheme, config, flipLast)
			var r *Report
			longer(func(d time.Duration) bool { // a datagram that comes late is lost, and not looked at
				r = mustRun(t, Config{Targets: []string{target}, Conns: 1, Sizes: sizes(t, "1000"), Verify: true, Trust: Trust{Insecure: true},
					Duration: d, LostAfter: d, Patience: epitest.Patience})
				return strings.Contains(r.Mismatch, "message 0, ")
			})
			if count(r, errMismatch.Error()) == 0 || !strings.Contains(r.Mismatch, "message 0, byte 999") {
				t.Errorf("errors %v, mismatch %q", r.Errors, r.Mismatch)
			}
		})
	}
}

func TestEverySchemeHasChildren(t *testing.T) {
	config, ca, _ := certificate(t)
	for _, scheme := range []string{"tls", "wss", "udp"} {
		c := Config{Targets: []string{echoOn(t, scheme, config, nil)}, Conns: 20, Verify: true, Trust: Trust{CA: ca},
			Child: func() *exec.Cmd { return as("child") }, Patience: epitest.Patience, LostAfter: epitest.Patience}
		var r *Report
		longer(func(d time.Duration) bool {
			var err error
			c.Duration = d
			if r, err = runChildren(t.Context(), t, c); err != nil {
				t.Fatal(err)
			}
			return r.Requests > 0
		})
		if r.Failed() || r.Processes < 2 || r.Setup.Opened != 20 || r.Requests == 0 {
			t.Errorf("%s: %+v", scheme, r)
		}
	}
}

func TestLostDatagramsAreCounted(t *testing.T) {
	for _, rate := range []float64{0, 2000} {
		target := echoPackets(t, "udp", &packetEcho{drop: 10, twice: 7})
		var r *Report
		longer(func(d time.Duration) bool {
			r = mustRun(t, Config{Targets: []string{target}, Conns: 2, Depth: 4, Rate: rate, Verify: true,
				Duration: 4 * d, LostAfter: d / 5, Patience: epitest.Patience})
			return r.Lost > 0 && r.Stray > 0 && r.Requests > 0 && !r.Failed() // it has, where all answers of one connection were too late
		})
		if r.Failed() || r.Lost == 0 || r.Stray == 0 || r.Requests == 0 || r.Partial != "" {
			t.Errorf("rate %g: errors %v, %d lost, %d stray, %d requests, partial %q", rate, r.Errors, r.Lost, r.Stray, r.Requests, r.Partial)
		}
	}
}

func TestDatagramsThatNobodyAnswers(t *testing.T) {
	silent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r := mustRun(t, Config{Targets: []string{"udp://" + silent.LocalAddr().String()}, Conns: 2, Depth: 2,
		Duration: short, LostAfter: short / 5, Patience: epitest.Patience})
	if count(r, noDatagram) != r.Lost || r.Lost < 4 || r.Requests != 0 {
		t.Errorf("errors %v, %d lost", r.Errors, r.Lost)
	}
}

func TestRefusedCertificates(t *testing.T) {
	config, _, _ := certificate(t)
	_, otherCA, otherFingerprint := certificate(t)
	for _, scheme := range []string{"tls", "wss"} {
		target := echoOn(t, scheme, config, nil)
		for _, c := range []struct {
			trust Trust
			word  string
		}{
			{Trust{}, "--insecure"},
			{Trust{CA: otherCA}, "certificate is refused: x509"},
			{Trust{Fingerprint: otherFingerprint}, "not the one with the given fingerprint"},
		} {
			_, err := Run(t.Context(), Config{Targets: []string{target}, Conns: 2, Trust: c.trust}, nil)
			if err == nil || !strings.Contains(err.Error(), c.word) || !strings.Contains(err.Error(), target) {
				t.Errorf("%s, %+v: %v", target, c.trust, err)
			}
		}
	}
}

func TestTrustThatCannotBe(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		trust Trust
		word  string
	}{
		{Trust{CA: "/no/such/file"}, "/no/such/file"},
		{Trust{CA: empty}, "no certificate"},
		{Trust{Fingerprint: "12:34"}, "64 hexadecimal digits"},
		{Trust{Insecure: true, CA: empty}, "exclude each other"},
	} {
		err := Config{Targets: []string{"tls://127.0.0.1:1"}, Trust: c.trust}.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%+v: %v, want %q", c.trust, err, c.word)
		}
	}
	for _, size := range []string{"15", "65508"} {
		err := Config{Targets: []string{"udp://127.0.0.1:1"}, Sizes: sizes(t, size)}.Check(t.Context())
		if err == nil || !strings.Contains(err.Error(), "16 to 65507 bytes") {
			t.Errorf("%s bytes: %v", size, err)
		}
	}
}

// A server that is no WebSocket's refuses the upgrade.
func TestWebSocketRefused(t *testing.T) {
	s := &ws.Server{Handler: func(*ws.Conn, *http.Request) ws.Handler { return messageEcho{} }, Path: "/here"}
	t.Cleanup(func() { _ = s.Close() })
	e := &epi.Engine{Loops: 1, Logger: epitest.NoLog()}
	address := epitest.Start(t, e, s.Serve).Addr()
	if _, err := Run(t.Context(), Config{Targets: []string{"ws://" + address + "/there"}, Conns: 3}, nil); err == nil || !strings.Contains(err.Error(), "refuses") {
		t.Errorf("%v", err)
	}
}
