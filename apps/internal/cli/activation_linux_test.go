package cli

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// handOver opens listening sockets for a process, as systemd does.
func handOver[T io.Closer](t *testing.T, listeners ...T) []*os.File {
	t.Helper()
	var files []*os.File
	for _, ln := range listeners {
		f, err := any(ln).(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close(); _ = ln.Close() })
		files = append(files, f)
	}
	return files
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// Sockets that were handed over are found by name and by number, serve who came
// before the program, and stay for the next one.
func TestSocketActivation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "echo.sock")
	web, local := listen(t, "tcp", "127.0.0.1:0"), listen(t, "unix", path)
	early := dial(t, "tcp://"+web.Addr().String())
	t.Setenv("SOCKETS", "web:local")
	p := startWith(t, "activated", handOver(t, web, local), "echo", "--json", "--listen", "fd://web", "--listen", "fd://4")
	begun := await[startEvent](p, "start")
	want := []string{"tcp://" + web.Addr().String(), "unix://" + path}
	if strings.Join(begun.Listen, " ") != strings.Join(want, " ") {
		t.Errorf("it listens on %v, want %v", begun.Listen, want)
	}
	epitest.RoundTrip(t, early, "early")
	epitest.RoundTrip(t, dial(t, want[1]), "local")
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
	_ = dial(t, want[0]) // systemd still listens
	_ = dial(t, want[1])
}

// What is spoken on a socket of systemd is what its scheme says.
func TestSocketActivationWithTLSAndWebSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "echo.sock")
	var listeners []net.Listener
	for range 4 {
		listeners = append(listeners, listen(t, "tcp", "127.0.0.1:0"))
	}
	listeners = append(listeners, listen(t, "unix", path))
	t.Setenv("SOCKETS", "plain:tls:ws:wss:local")
	p := startWith(t, "activated", handOver(t, listeners...), "echo", "--json", "--listen", "fd://plain",
		"--listen", "tls+fd://tls", "--listen", "ws+fd://ws/x", "--listen", "wss+fd://6/x", "--listen", "tls+fd://")
	begun := await[startEvent](p, "start")
	at := func(i int) string { return listeners[i].Addr().String() }
	want := []string{"tcp://" + at(0), "tls://" + at(1), "ws://" + at(2) + "/x", "wss://" + at(3) + "/x", "tls+unix://" + path}
	if !slices.Equal(begun.Listen, want) {
		t.Errorf("it listens on %v, want %v", begun.Listen, want)
	}
	epitest.RoundTrip(t, dial(t, "tcp://"+at(0)), "hello")
	secure, _ := dialTLS(t, "tls://"+at(1))
	epitest.RoundTrip(t, secure, "hello")
	expectMessageEcho(t, dial(t, "tcp://"+at(2)))
	secure, _ = dialTLS(t, "wss://"+at(3))
	expectMessageEcho(t, secure)
	secure = tls.Client(dial(t, "unix://"+path), &tls.Config{InsecureSkipVerify: true})
	epitest.RoundTrip(t, secure, "hello")
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
}

// Sockets for datagrams are taken by their own schemes, and stay for the next program.
func TestHunt18_SocketActivationWithDatagrams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "echo.sock")
	internet, local := listenPackets(t, "udp", "127.0.0.1:0"), listenPackets(t, "unixgram", path)
	t.Setenv("SOCKETS", "web:local")
	p := startWith(t, "activated", handOver(t, internet, local), "echo", "--json", "--listen", "udp+fd://web", "--listen", "unixgram+fd://")
	begun := await[startEvent](p, "start")
	want := []string{"udp://" + internet.LocalAddr().String(), "unixgram://" + path}
	if !slices.Equal(begun.Listen, want) {
		t.Errorf("it listens on %v, want %v", begun.Listen, want)
	}
	for i, own := range []net.Addr{nil, &net.UnixAddr{Name: path + ".client", Net: "unixgram"}} {
		network, where, _ := strings.Cut(want[i], "://")
		client, err := (&net.Dialer{LocalAddr: own}).Dial(network, where)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_ = client.SetDeadline(time.Now().Add(epitest.Patience))
		epitest.RoundTrip(t, client, "hello")
	}
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file of the socket is gone: %v", err)
	}
}

func listenPackets(t *testing.T, network, address string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestSocketActivationThatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		words []string
	}{
		{"unknown name", []string{"--listen", "fd://other"}, []string{"fd://other", "no such socket", "fd://3 (web)"}},
		{"unknown number", []string{"--listen", "fd://7"}, []string{"fd://7", "no such socket", "1 socket"}},
		{"as datagrams", []string{"--listen", "udp+fd://web"}, []string{"udp+fd://web", "ListenDatagram="}},
		{"twice", []string{"--listen", "fd://web", "--listen", "fd://3"}, []string{"fd://3", "is taken"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SOCKETS", "web")
			p := startWith(t, "activated", handOver(t, listen(t, "tcp", "127.0.0.1:0")), append([]string{"echo"}, c.args...)...)
			_, stderr := p.end(exitFailed)
			expectOneLine(t, stderr, c.words...)
		})
	}
	t.Run("no stream", func(t *testing.T) {
		t.Setenv("SOCKETS", "web")
		packets, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer packets.Close()
		f, err := packets.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, stderr := startWith(t, "activated", []*os.File{f}, "echo", "--listen", "fd://web").end(exitFailed)
		expectOneLine(t, stderr, "fd://web", "no listening stream socket", "ListenStream=")
	})
	t.Run("no socket", func(t *testing.T) {
		t.Setenv("SOCKETS", "web")
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, stderr := startWith(t, "activated", []*os.File{f}, "echo", "--listen", "fd://web").end(exitFailed)
		expectOneLine(t, stderr, "fd://web", "no socket", "ListenStream=")
	})
	t.Run("fewer than said", func(t *testing.T) {
		t.Setenv("SOCKETS", strings.Repeat(":", 99))
		_, stderr := startWith(t, "activated", handOver(t, listen(t, "tcp", "127.0.0.1:0")), "echo", "--listen", "fd://").end(exitFailed)
		expectOneLine(t, stderr, "LISTEN_FDS is 100", "bad file descriptor")
	})
	t.Run("unused", func(t *testing.T) {
		t.Setenv("SOCKETS", "web")
		p := startWith(t, "activated", handOver(t, listen(t, "tcp", "127.0.0.1:0")), "echo", "--listen", "tcp://127.0.0.1:0")
		p.line("listening on ")
		p.signal(syscall.SIGTERM)
		if _, stderr := p.end(exitDone); !strings.Contains(stderr, "level=WARN") || !strings.Contains(stderr, "web") {
			t.Errorf("the log says %q", stderr)
		}
	})
}

func TestSocketActivationOfAll(t *testing.T) {
	t.Setenv("SOCKETS", "a:b")
	one, two := listen(t, "tcp", "127.0.0.1:0"), listen(t, "tcp", "127.0.0.1:0")
	p := startWith(t, "activated", handOver(t, one, two), "echo", "--json", "--listen", "fd://")
	for i, address := range await[startEvent](p, "start").Listen {
		if want := "tcp://" + []net.Listener{one, two}[i].Addr().String(); address != want {
			t.Errorf("it listens on %s, want %s", address, want)
		}
		epitest.RoundTrip(t, dial(t, address), "hello")
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}
