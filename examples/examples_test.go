// Package examples tests the programs in the directories below it.
package examples

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/epinet/epi/internal/epitest"
)

// patience bounds what is waited for; nothing is measured with it.
const patience = 3 * time.Minute

// TestExamplesServe builds each program, with a free port instead of its own,
// and talks to it.
func TestExamplesServe(t *testing.T) {
	for _, example := range []struct {
		name    string
		network string
		talk    func(t *testing.T, c net.Conn)
	}{
		{"echo", "tcp", func(t *testing.T, c net.Conn) { ask(t, c, "hello\n", "hello\n") }},
		{"tls", "tcp", func(t *testing.T, c net.Conn) {
			ask(t, tls.Client(c, &tls.Config{InsecureSkipVerify: true}), "hello\n", "hello\n")
		}},
		{"websocket", "tcp", talkWebSocket},
		{"lines", "tcp", func(t *testing.T, c net.Conn) { ask(t, c, "one\r\ntwo\nquit\n", "ONE\nTWO\n") }},
		{"chat", "tcp", talkChat},
		{"open", "tcp", func(t *testing.T, c net.Conn) {
			ask(t, tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"lines"}}), "one\r\ntwo\n", "one\ntwo\n")
		}},
		{"blocking", "tcp", func(t *testing.T, c net.Conn) {
			ask(t, c, "127.0.0.1\n127.0.0.2\n", "1 [127.0.0.1]\n2 [127.0.0.2]\n")
		}},
		{"relay", "tcp", func(t *testing.T, c net.Conn) { ask(t, c, "hello\n", "hello\n") }},
		{"balancer", "tcp", func(t *testing.T, c net.Conn) { ask(t, c, "hello\n", "hello\n") }},
		{"udp", "udp", func(t *testing.T, c net.Conn) { ask(t, c, "a", "1 a"); ask(t, c, "b", "2 b") }},
	} {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			args := []string{}
			switch example.name {
			case "relay":
				args = append(args, "tcp://"+echoServer(t))
			case "balancer": // to a server that is down, and one that is not
				args = append(args, "tcp://127.0.0.1:1", "tcp://"+echoServer(t))
			}
			c, err := net.Dial(example.network, serve(t, example.name, args...))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			example.talk(t, c)
		})
	}
}

// ask sends something and awaits the answer.
func ask(t *testing.T, c net.Conn, text, want string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("the answer is %q, %v; want %q", got, err, want)
	}
}

// talkChat comes second into the room, and gets the first one's goodbye.
func talkChat(t *testing.T, c net.Conn) {
	first, err := net.Dial("tcp", c.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_ = first.SetDeadline(time.Now().Add(patience))
	ask(t, first, "ann\n", "ann is here\n")
	ask(t, c, "bob\x1b[2J\nhello\n", "bob[2J is here\nbob[2J: hello\n")
	ask(t, first, "bye\n", "bob[2J is here\nbob[2J: hello\nann: bye\n")
	_ = first.Close()
	ask(t, c, "", "ann: bye\nann has left\n")
}

func talkWebSocket(t *testing.T, c net.Conn) {
	d := gobwas.Dialer{NetDial: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	if _, _, _, err := d.Dial(t.Context(), "ws://example.com/"); err != nil {
		t.Fatal(err)
	}
	if err := wsutil.WriteClientText(c, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	p, err := wsutil.ReadServerText(c)
	if err != nil || string(p) != "hello" {
		t.Fatalf("the answer is %q, %v", p, err)
	}
}

// echoServer is what the relay passes connections on to.
func echoServer(t *testing.T) string { return serve(t, "echo") }

var (
	fixedPort = regexp.MustCompile(`(tcp|tls|udp)://127\.0\.0\.1:\d+`)
	listening = regexp.MustCompile(`listening .*://(\S+)`)
)

// serve runs a program until the test ends and returns its address, which it
// logs.
func serve(t *testing.T, name string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	writeCertificate(t, dir)
	files, err := filepath.Glob(filepath.Join(name, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "server")
	build := []string{"build", "-o", binary}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		file = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(file, fixedPort.ReplaceAll(source, []byte("$1://127.0.0.1:0")), 0o600); err != nil {
			t.Fatal(err)
		}
		build = append(build, file)
	}
	if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := exec.CommandContext(t.Context(), binary, args...)
	server.Dir = dir
	log, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	return address(t, log)
}

// address reads the log until it has the address.
func address(t *testing.T, log io.Reader) string {
	t.Helper()
	var said strings.Builder
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if found := listening.FindStringSubmatch(lines.Text()); found != nil {
			go func() { _, _ = io.Copy(io.Discard, log) }() // ends with the server
			return found[1]
		}
		said.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("the server has ended:\n%s", said.String())
	return ""
}

// writeCertificate makes the files that the TLS server wants.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	config, _, err := epitest.SelfSigned("localhost")
	if err != nil {
		t.Fatal(err)
	}
	cert := config.Certificates[0]
	pkcs8, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
