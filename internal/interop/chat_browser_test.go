package interop

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// chromium is the browser's program, which has several names.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("chromium is not installed; scripts/install-test-tools installs it")
	return ""
}

// startWithPage starts the server for the time of the test. It returns the link that makes
// the administrator, and the address for IRC.
func startWithPage(t *testing.T) (link, irc string) {
	t.Helper()
	server := startProgram(t, exec.Command(build(t), "chat", "--json", "--data", t.TempDir(),
		"--listen", "irc://127.0.0.1:0", "--listen", "ws://127.0.0.1:0", "--set", "passwords.cost=4"))
	line := server.out.line(t, `"listen"`)
	var started struct{ Listen, Links []string }
	if err := json.Unmarshal([]byte(line), &started); err != nil || len(started.Links) != 1 {
		t.Fatalf("the server says %q: %v", line, err)
	}
	return started.Links[0], strings.TrimPrefix(started.Listen[0], "irc://")
}

// TestChatInBrowsers plays two people in browsers: they sign up by an invitation, talk,
// reply, react, lose the connection and come back, read on another device. Where
// CHAT_PICTURES names a directory, it gets a picture of each view; some are compared with
// those of the documentation.
func TestChatInBrowsers(t *testing.T) {
	browser := chromium(t)
	dir := node(t)
	pictures := os.Getenv("CHAT_PICTURES")
	if pictures == "" {
		pictures = t.TempDir()
	}
	pictures, err := filepath.Abs(pictures)
	if err != nil {
		t.Fatal(err)
	}
	link, irc := startWithPage(t)
	script := exec.CommandContext(t.Context(), "node", "browser.mjs", link, irc, browser, pictures)
	script.Dir = dir
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	comparePictures(t, pictures)
}

// TestChatPageAndIrssi: somebody with irssi and somebody with the page see the same
// conversation, each in the form that it can have.
func TestChatPageAndIrssi(t *testing.T) {
	need(t, "irssi", "tmux")
	browser, dir := chromium(t), node(t)
	link, irc := startWithPage(t)
	script := exec.Command("node", "together.mjs", link, browser)
	script.Dir = dir
	page := startProgram(t, script)
	page.out.line(t, "joined")

	host, port, _ := net.SplitHostPort(irc)
	irssi := startScreen(t, "irssi", "--home="+t.TempDir(), "--nick=irssi", "--connect="+host, "--port="+port)
	irssi.sees("MOTD")
	irssi.do("join", "")
	irssi.sees("ann") // who is in the channel
	page.say(t, "\n")
	page.out.line(t, "said two lines")
	irssi.sees("ann", "two lines:")
	irssi.sees("ann", "the second")
	irssi.do("say", "hello from the terminal")
	irssi.enter("/me waves from the terminal")
	page.say(t, "\n")
	page.out.line(t, "answered")
	irssi.sees("ann", "an answer")
	page.say(t, "\n")
	page.out.line(t, "edited")
	irssi.sees("ann nods")
	irssi.sees("ann", "a better answer") // a message more: irssi knows no edits
	page.say(t, "\n")
	page.out.line(t, "deleted") // irssi knows nothing of that
	irssi.do("say", "the last word")
	page.say(t, "\n")
	page.out.line(t, "seen all")
}
