package cli

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// kills is how often TestKilledChat kills: go test -run TestKilledChat -kills 200.
var kills = flag.Int("kills", 8, "how often the chat is killed under load")

// remembering starts a chat that keeps what is said.
func remembering(t *testing.T, data string, more ...string) (*process, string) {
	t.Helper()
	p := start(t, append([]string{"chat", "--json", "--listen", "irc://127.0.0.1:0", "--data", data,
		"--set", "registration.enabled=true", "--set", "passwords.cost=4", "--set", "throttle.enabled=false"}, more...)...)
	return p, strings.TrimPrefix(await[startEvent](p, "start").Listen[0], "irc://")
}

// found makes a registered channel.
func found(t *testing.T, data, channel string) {
	t.Helper()
	p, address := remembering(t, data)
	alice := chatAs(t, address, "alice")
	alice.converse("NS REGISTER secret", "NOTICE alice :Account created")
	alice.converse("JOIN "+channel, " 366 ")
	alice.converse("CS REGISTER "+channel, " MODE "+channel+" +q alice")
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// TestKilledChat kills a chat under load, again and again: every message that somebody
// saw with its msgid is in the history, once, and the database is whole.
func TestKilledChat(t *testing.T) {
	data := t.TempDir()
	found(t, data, "#c")
	seen := map[string]string{} // text by msgid
	for round := range *kills {
		talkUntilKilled(t, data, round, seen)
	}
	p, address := remembering(t, data)
	reader := chatAs(t, address, "reader")
	reader.converse("CAP REQ :batch message-tags draft/chathistory", " ACK ")
	reader.converse("JOIN #c", " 366 ")
	kept := reader.history("#c")
	for id, text := range seen {
		if kept[id] != text {
			t.Errorf("message %s (%q) was seen, and is %q in the history", id, text, kept[id])
		}
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
	if code, stdout, stderr := call("chat", "check", "--data", data); code != exitDone {
		t.Errorf("check: exit code %d, %s%s", code, stdout, stderr)
	}
}

// talkUntilKilled lets three clients speak, and kills the chat when they have seen some
// messages.
func talkUntilKilled(t *testing.T, data string, round int, seen map[string]string) {
	t.Helper()
	p, address := remembering(t, data)
	var clients []*ircClient
	for i := range 3 {
		c := chatAs(t, address, fmt.Sprintf("n%d", i))
		c.converse("CAP REQ :echo-message message-tags draft/chathistory", " ACK ")
		c.converse("JOIN #c", " 366 ")
		clients = append(clients, c)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	count, enough := 0, 1+round*97%700
	for i, c := range clients {
		all.Go(func() { talk(c.conn, fmt.Sprintf("%d of %d:", round, i)) })
		all.Go(func() {
			for c.in.Scan() {
				id, text, ok := said(c.in.Text())
				if !ok {
					continue
				}
				mu.Lock()
				seen[id] = text
				count++
				if count == enough {
					_ = p.cmd.Process.Kill() // what was sent before is read to the end
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	_ = p.cmd.Wait() // it was killed
	p.ended = true
}

// wholeLines is bufio.ScanLines without a line that the end of the connection has cut.
func wholeLines(data []byte, _ bool) (advance int, token []byte, err error) {
	return bufio.ScanLines(data, false)
}

// talk says something new until the connection ends: more than is seen before the kill.
func talk(conn net.Conn, prefix string) {
	for n := range 1000 {
		if _, err := fmt.Fprintf(conn, "PRIVMSG #c :%s %d\r\n", prefix, n); err != nil {
			return
		}
	}
}

// said returns what a line says in #c.
func said(line string) (id, text string, ok bool) {
	tags, rest, _ := strings.Cut(line, " ")
	_, text, ok = strings.Cut(rest, " PRIVMSG #c :")
	for tag := range strings.SplitSeq(strings.TrimPrefix(tags, "@"), ";") {
		if value, found := strings.CutPrefix(tag, "msgid="); found {
			id = value
		}
	}
	return id, text, ok && id != ""
}

// history reads all that was said in a channel, by msgid.
func (c *ircClient) history(channel string) map[string]string {
	c.t.Helper()
	all := map[string]string{}
	after := "0000000000001"
	for {
		epitest.Say(c.t, c.conn, fmt.Sprintf("CHATHISTORY AFTER %s msgid=%s 1000\r\n", channel, after))
		page := 0
		for c.in.Scan() && !strings.Contains(c.in.Text(), "BATCH -") {
			id, text, ok := said(c.in.Text())
			if !ok {
				continue
			}
			if _, twice := all[id]; twice || id <= after {
				c.t.Errorf("message %s comes after %s, or twice", id, after)
			}
			all[id], after = text, id
			page++
		}
		if page == 0 {
			return all
		}
	}
}

// A full disk: senders read FAIL, reading goes on, and when there is room again, so does
// everything else, without a restart.
func TestChatOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a small file system")
	}
	data := t.TempDir()
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=1M"); err != nil {
		t.Skipf("no small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	found(t, data, "#c")
	p, address := remembering(t, data)
	ann := chatAs(t, address, "ann")
	ann.converse("CAP REQ :echo-message message-tags batch draft/chathistory", " ACK ")
	ann.converse("JOIN #c", " 366 ")
	ann.converse("PRIVMSG #c :before", "PRIVMSG #c :before")
	ballast := filepath.Join(data, "ballast")
	fill(t, ballast)
	ann.until("PRIVMSG #c :"+strings.Repeat("x", 400), "FAIL PRIVMSG MESSAGE_NOT_KEPT #c")
	ann.converse("CHATHISTORY LATEST #c * 1000", "PRIVMSG #c :before")
	ann.converse("PING still", "PONG")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	ann.until("PRIVMSG #c :there is room again", "PRIVMSG #c :there is room again")
	ann.converse("CHATHISTORY LATEST #c * 2", "PRIVMSG #c :there is room again")
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// A disk with errors, and a file system that has become read-only: as a full one. strace
// has the system calls fail that write to the database.
func TestChatOnABrokenDisk(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("it needs strace: scripts/install-test-tools")
	}
	data := t.TempDir()
	found(t, data, "#c")
	p, address := remembering(t, data)
	ann := chatAs(t, address, "ann")
	ann.converse("CAP REQ :echo-message message-tags batch draft/chathistory", " ACK ")
	ann.converse("JOIN #c", " 366 ")
	seen := []string{"before"}
	ann.converse("PRIVMSG #c :before", "PRIVMSG #c :before")
	for _, fault := range []struct{ calls, number string }{{"pwrite64", "EIO"}, {"fsync,fdatasync", "EIO"}, {"pwrite64,fsync,fdatasync,ftruncate", "EROFS"}} {
		mend := breakDisk(t, p, data, fault.calls, fault.number)
		ann.until("PRIVMSG #c :lost by "+fault.number, "FAIL PRIVMSG MESSAGE_NOT_KEPT #c")
		ann.converse("CHATHISTORY LATEST #c * 1000", "PRIVMSG #c :"+seen[len(seen)-1])
		ann.converse("PING still", "PONG")
		mend()
		text := "after " + fault.number + " in " + fault.calls
		ann.until("PRIVMSG #c :"+text, "PRIVMSG #c :"+text)
		seen = append(seen, text)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
	if code, stdout, stderr := call("chat", "check", "--data", data); code != exitDone {
		t.Errorf("check: exit code %d, %s%s", code, stdout, stderr)
	}
	p, address = remembering(t, data)
	reader := chatAs(t, address, "reader")
	reader.converse("CAP REQ :batch message-tags draft/chathistory", " ACK ")
	reader.converse("JOIN #c", " 366 ")
	kept := slices.Collect(maps.Values(reader.history("#c")))
	for _, text := range seen {
		if !slices.Contains(kept, text) {
			t.Errorf("%q was seen, and is not in the history", text)
		}
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// breakDisk has system calls of a process on its database fail, until what it returns is
// called.
func breakDisk(t *testing.T, p *process, data, calls, number string) (mend func()) {
	t.Helper()
	args := []string{"-f", "-p", strconv.Itoa(p.cmd.Process.Pid), "-o", os.DevNull, "-e", "trace=" + calls, "-e", "inject=" + calls + ":error=" + number}
	files, err := filepath.Glob(filepath.Join(data, "*.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		args = append(args, "-P", f)
	}
	cmd := exec.Command("strace", args...)
	says, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(says)
	attached := lines.Scan() && strings.Contains(lines.Text(), "attached")
	mend = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it detaches
		for lines.Scan() {
		}
		_ = cmd.Wait() // it ends by the signal
	})
	t.Cleanup(mend)
	if !attached {
		mend()
		t.Skipf("strace cannot look at the process: %s", lines.Text())
	}
	return mend
}

// until says something again and again, until it reads a line with a text.
func (c *ircClient) until(line, want string) {
	c.t.Helper()
	for end := time.Now().Add(epitest.Patience); time.Now().Before(end); {
		epitest.Say(c.t, c.conn, line+"\r\nPING next\r\n")
		for c.in.Scan() && !strings.Contains(c.in.Text(), "PONG") {
			if strings.Contains(c.in.Text(), want) {
				return
			}
		}
	}
	c.t.Fatalf("%q never gave %q", line, want)
}

// fill writes a file until there is no room.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // what counts is the room it takes
	w := bufio.NewWriterSize(f, 1)
	for {
		if _, err := w.Write(make([]byte, 512)); err != nil {
			return
		}
	}
}

// Backup and export work while the chat serves, and give what was said.
func TestChatBackupAndExport(t *testing.T) {
	data, out := t.TempDir(), t.TempDir()
	found(t, data, "#c")
	p, address := remembering(t, data)
	ann := chatAs(t, address, "ann")
	ann.converse("CAP REQ echo-message", " ACK ")
	ann.converse("JOIN #c", " 366 ")
	ann.converse("PRIVMSG #c :<b>bold & old</b>", "PRIVMSG #c :<b>")
	if code, _, stderr := call("chat", "backup", "--data", data, filepath.Join(out, "chat.db")); code != exitDone {
		t.Fatalf("backup: exit code %d: %s", code, stderr)
	}
	if code, _, stderr := call("chat", "backup", "--data", data, filepath.Join(out, "chat.db")); code != exitFailed {
		t.Errorf("a backup over another: exit code %d: %s", code, stderr)
	}
	ann.converse("PRIVMSG #c :after the backup", "PRIVMSG #c :after")
	if code, stdout, stderr := call("chat", "check", "--data", out); code != exitDone {
		t.Errorf("the backup is not whole: exit code %d: %s%s", code, stdout, stderr)
	}
	for name, source := range map[string]string{"old": out, "new": data} {
		if code, _, stderr := call("chat", "export", "--data", source, filepath.Join(out, name)); code != exitDone {
			t.Fatalf("export: exit code %d: %s", code, stderr)
		}
	}
	for _, test := range []struct{ file, has, lacks string }{
		{"old/history-%23c.jsonl", `"text":"\u003cb\u003ebold \u0026 old\u003c/b\u003e"`, "after"},
		{"new/history-%23c.jsonl", `"text":"after the backup"`, "\n\n"},
		{"new/history-%23c.html", "&lt;b&gt;bold &amp; old&lt;/b&gt;", "<b>bold"},
		{"new/index.html", `<a href="history-%2523c.html">#c</a>`, "#d"},
	} {
		text, err := os.ReadFile(filepath.Join(out, test.file))
		if err != nil || !strings.Contains(string(text), test.has) || strings.Contains(string(text), test.lacks) {
			t.Errorf("%s: %v\n%s", test.file, err, text)
		}
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// What cannot be used is refused with a clear line.
func TestChatDataThatCannotBeUsed(t *testing.T) {
	data := t.TempDir()
	code, _, stderr := call("chat", "check", "--data", data)
	if code != exitFailed {
		t.Errorf("nothing there: exit code %d: %s", code, stderr)
	}
	expectOneLine(t, stderr, chatDatabase)
	if err := os.WriteFile(filepath.Join(data, chatDatabase), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "audit", "export", "backup"} {
		args := []string{"chat", command, "--data", data, filepath.Join(t.TempDir(), "out")}
		if command == "check" || command == "audit" {
			args = args[:4]
		}
		code, _, stderr := call(args...)
		if code != exitFailed {
			t.Errorf("%s of a foreign file: exit code %d: %s", command, code, stderr)
		}
		expectOneLine(t, stderr, "no database of epi chat")
	}
}
