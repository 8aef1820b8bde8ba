package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// A chatServer is epi chat as a process of its own.
type chatServer struct {
	irc, web string // host:port of IRC and of IRC over WebSocket
}

// build builds the binary.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "epi")
	build := exec.Command("go", "build", "-o", path, "./epi")
	build.Dir = filepath.Join("..", "..", "apps")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build epi: %v: %s", err, out)
	}
	return path
}

// startChat starts the server for the time of the test.
func startChat(t *testing.T) chatServer {
	t.Helper()
	out := startProgram(t, exec.Command(build(t), "chat", "--json", "--listen", "irc://127.0.0.1:0", "--listen", "ws://127.0.0.1:0/")).out
	var started struct{ Listen []string }
	line := out.line(t, `"listen"`)
	if err := json.Unmarshal([]byte(line), &started); err != nil || len(started.Listen) != 2 {
		t.Fatalf("the server says %q: %v", line, err)
	}
	_, irc, _ := strings.Cut(started.Listen[0], "://")
	_, web, _ := strings.Cut(started.Listen[1], "://")
	web, _, _ = strings.Cut(web, "/")
	return chatServer{irc, web}
}

// A transcript is the lines that a program has written so far.
type transcript struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

func (r *transcript) read(from io.Reader) {
	for s := bufio.NewScanner(from); s.Scan(); {
		r.mu.Lock()
		r.lines = append(r.lines, s.Text())
		r.mu.Unlock()
	}
}

// line waits for a line that has all texts in it, and returns it.
func (r *transcript) line(t *testing.T, texts ...string) (found string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Logf("what was seen:\n%s", strings.Join(r.lines, "\n"))
		}
	}()
	epitest.WaitUntil(t, fmt.Sprintf("a line with %q", texts), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, line := range r.lines {
			if hasAll(line, texts) {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

func hasAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// A running is a program that reads and writes lines.
type running struct {
	in  io.Writer
	out *transcript
}

// startProgram starts a program for the time of the test.
func startProgram(t *testing.T, cmd *exec.Cmd) running {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := running{in, &transcript{}}
	read := make(chan struct{})
	go func() { r.out.read(out); close(read) }()
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait() // it was killed
	})
	return r
}

func (r running) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(r.in, line); err != nil {
		t.Fatal(err)
	}
}

// need skips the test where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed; scripts/install-test-tools installs it", p)
		}
	}
}

// A raw is somebody who speaks the protocol by hand, with nc.
type raw struct {
	t *testing.T
	running
}

// startRaw connects somebody who is in #room.
func startRaw(t *testing.T, server chatServer, nick string) raw {
	t.Helper()
	need(t, "nc")
	host, port, _ := net.SplitHostPort(server.irc)
	r := raw{t, startProgram(t, exec.Command("nc", host, port))}
	r.say("NICK " + nick)
	r.say("USER " + nick + " 0 * :" + nick)
	r.sees(" 001 " + nick)
	r.say("JOIN #room")
	r.sees(" 366 " + nick + " #room")
	return r
}

func (r raw) say(line string) {
	r.t.Helper()
	r.running.say(r.t, line+"\r\n")
}

func (r raw) sees(texts ...string) {
	r.t.Helper()
	r.out.line(r.t, texts...)
}

// A chatter is a client under test.
type chatter interface {
	// do has it join, say, nick, topic or part, in #room.
	do(action, argument string)
	// sees waits until it shows all texts, in a line.
	sees(texts ...string)
}

// converse has a client, which has registered, and somebody else in a channel, who
// each see what the other does.
func converse(t *testing.T, server chatServer, nick string, client chatter) {
	t.Helper()
	peer := startRaw(t, server, "peer")
	client.do("join", "")
	peer.sees(":"+nick+"!", " JOIN #room")

	peer.say("PRIVMSG #room :welcome, 어서오세요")
	client.sees("peer", "welcome, 어서오세요")
	client.do("say", "thanks, 고마워요")
	peer.sees(":"+nick+"!", " PRIVMSG #room :thanks, 고마워요")

	client.do("nick", "renamed")
	peer.sees(":"+nick+"!", " NICK renamed")
	peer.say("NICK host")
	client.sees("peer", "host")

	peer.say("MODE #room +o renamed")
	peer.sees(" MODE #room +o renamed")
	client.do("topic", "their topic")
	peer.sees(":renamed!", " TOPIC #room :their topic")
	peer.say("TOPIC #room :our topic")
	client.sees("our topic")

	client.do("part", "")
	peer.sees(":renamed!", " PART #room")
}

func TestChatByHand(t *testing.T) {
	server := startChat(t)
	one, two := startRaw(t, server, "one"), startRaw(t, server, "two")
	one.sees(":two!", " JOIN #room")
	one.say("PRIVMSG #room :hello")
	two.sees(":one!", "PRIVMSG #room :hello")
	two.say("QUIT :bye")
	two.sees("ERROR :")
	one.sees(":two!", " QUIT :Quit: bye")
}

// A framework is a client made with irc-framework, in Node.
type framework struct {
	t *testing.T
	running
}

func (f framework) do(action, argument string) {
	f.t.Helper()
	words := []string{action, "#room", argument}
	if action == "nick" {
		words = []string{action, argument}
	}
	f.say(f.t, strings.Join(words, " ")+"\n")
}

func (f framework) sees(texts ...string) {
	f.t.Helper()
	f.out.line(f.t, texts...)
}

func TestChatWithIRCFramework(t *testing.T) {
	dir := node(t)
	for _, way := range []string{"tcp", "ws"} {
		t.Run(way, func(t *testing.T) {
			server := startChat(t)
			address := map[string]string{"tcp": server.irc, "ws": server.web}[way]
			host, port, _ := net.SplitHostPort(address)
			client := exec.Command("node", "irc.js", way, host, port, "frame")
			client.Dir = dir
			f := framework{t, startProgram(t, client)}
			f.sees("registered")
			converse(t, server, "frame", f)
		})
	}
}
