package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/epitest"
)

// Two chats with one directory would give out the same numbers, and each would not know
// what the other has kept.
func TestSecondChatOfADirectoryIsRefused(t *testing.T) {
	data := t.TempDir()
	first, _ := remembering(t, data)
	second := start(t, "chat", "--listen", "irc://127.0.0.1:0", "--data", data)
	second.end(exitFailed)
	for _, word := range []string{"another chat serves", data, "--data"} {
		if !strings.Contains(second.stderr.String(), word) {
			t.Errorf("the error does not say %q: %s", word, second.stderr.String())
		}
	}
	if code, _, stderr := call("chat", "check", "--data", data); code != exitDone {
		t.Errorf("check, while a chat serves: exit code %d, %s", code, stderr)
	}
	_ = first.cmd.Process.Kill()
	if err := unix.Waitid(unix.P_PID, first.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	third, _ := remembering(t, data) // that the first was killed does not keep it out
	_ = first.cmd.Wait()
	first.ended = true
	third.signal(syscall.SIGTERM)
	third.end(exitDone)
}

// The number of a node that was killed may be that of any other program by now.
func TestDrainEndsNoOtherProgram(t *testing.T) {
	data := t.TempDir()
	p, _ := remembering(t, data) // a chat has been here
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
	other := exec.Command("sleep", fmt.Sprint(2*epitest.Patience.Seconds()))
	if err := other.Start(); err != nil {
		t.Skip(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- other.Wait() }()
	if err := os.WriteFile(filepath.Join(data, nodeFile), fmt.Appendln(nil, other.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := call("chat", "drain", "--data", data, "--timeout", "1s")
	if code != exitFailed || !strings.Contains(stderr, "is not there any more") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	_ = other.Process.Kill()
	if err := <-ended; err == nil || err.Error() != "signal: killed" {
		t.Errorf("the other program was ended: %v", err)
	}
}

// A start on a disk that is full leaves nothing that keeps the next one from starting.
func TestStartAfterADiskWasFull(t *testing.T) {
	data := t.TempDir()
	full := startAs(t, "full disk", "chat", "--listen", "irc://127.0.0.1:0", "--data", data)
	full.end(exitFailed)
	p, _ := remembering(t, data)
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// Commands about what was kept name what is missing, or in the way, and the remedy.
func TestCommandsAboutDataNameTheRemedy(t *testing.T) {
	data, none := t.TempDir(), t.TempDir()
	p, _ := remembering(t, data)
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
	copied := filepath.Join(none, "copy.db")
	if err := os.WriteFile(copied, []byte("of last month"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args  []string
		words []string
	}{
		{[]string{"chat", "check", "--data", none}, []string{none, "chat.db", "--data"}},
		{[]string{"chat", "backup", "--data", data, copied}, []string{copied, "exists", "choose another name"}},
		{[]string{"world", "audit", filepath.Join(none, "world.db")}, []string{"world.db", "store.address"}},
	} {
		code, _, stderr := call(test.args...)
		if code != exitFailed {
			t.Errorf("%q: exit code %d", test.args, code)
		}
		expectOneLine(t, stderr, test.words...)
	}
	if kept, err := os.ReadFile(copied); err != nil || string(kept) != "of last month" {
		t.Errorf("the file that was in the way is %q, %v", kept, err)
	}
}
