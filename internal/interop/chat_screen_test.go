package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

// A screen is a client that people use at a terminal, here one of tmux.
type screen struct {
	t      *testing.T
	socket string // of a tmux of its own
}

// startScreen runs a command at a terminal for the time of the test.
func startScreen(t *testing.T, command ...string) screen {
	t.Helper()
	s := screen{t, filepath.Join(t.TempDir(), "tmux")}
	t.Cleanup(s.end)
	args := append([]string{"new-session", "-d", "-x", "150", "-y", "50", "-s", "chat"}, command...)
	if out, err := s.tmux(args...).CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	return s
}

// end kills the client, which must write nothing any more when its directory is
// removed: tmux ends when it has seen the end of the client.
func (s screen) end() {
	out, err := s.tmux("display-message", "-p", "-t", "chat", "#{pane_pid}").Output()
	if err != nil {
		return // it has ended
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(out))); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may end by itself
	}
	epitest.WaitUntil(s.t, "the end of tmux", func() bool { return s.tmux("has-session", "-t", "chat").Run() != nil })
}

func (s screen) tmux(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-f", os.DevNull, "-S", s.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=screen-256color", "TMUX=")
	return cmd
}

// enter types a line.
func (s screen) enter(line string) {
	s.t.Helper()
	for _, keys := range [][]string{{"-l", line}, {"Enter"}} {
		if out, err := s.tmux(append([]string{"send-keys", "-t", "chat"}, keys...)...).CombinedOutput(); err != nil {
			s.t.Fatalf("tmux: %v: %s", err, out)
		}
	}
}

func (s screen) text() string {
	out, err := s.tmux("capture-pane", "-p", "-t", "chat").CombinedOutput()
	if err != nil {
		return fmt.Sprintf("tmux: %v: %s", err, out)
	}
	return string(out)
}

// do is what one types; the commands are alike in all clients.
func (s screen) do(action, argument string) {
	s.t.Helper()
	s.enter(map[string]string{
		"join": "/join #room", "say": argument, "nick": "/nick " + argument, "topic": "/topic " + argument, "part": "/part",
	}[action])
}

// sees waits for a line of the screen.
func (s screen) sees(texts ...string) {
	s.t.Helper()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the screen is\n%s", s.text())
		}
	}()
	epitest.WaitUntil(s.t, fmt.Sprintf("%q on the screen", texts), func() bool {
		for line := range strings.Lines(s.text()) {
			if hasAll(line, texts) {
				return true
			}
		}
		return false
	})
}

func TestChatWithIrssi(t *testing.T) {
	need(t, "irssi", "tmux")
	server := startChat(t)
	host, port, _ := net.SplitHostPort(server.irc)
	s := startScreen(t, "irssi", "--home="+t.TempDir(), "--nick=irssi", "--connect="+host, "--port="+port)
	s.sees("MOTD")
	converse(t, server, "irssi", s)
}

func TestChatWithWeeChat(t *testing.T) {
	need(t, "weechat", "tmux")
	server := startChat(t)
	add := "/server add epi " + strings.Replace(server.irc, ":", "/", 1) + " -nicks=wee"
	s := startScreen(t, "weechat", "--dir", t.TempDir(), "--run-command", add, "--run-command", "/connect epi")
	s.sees("MOTD")
	converse(t, server, "wee", s)
}
