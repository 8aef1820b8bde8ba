package interop

import (
	"encoding/json"
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
	server := startProgram(t, exec.Command(build(t), "chat", "--json", "--data", t.TempDir(),
		"--listen", "irc://127.0.0.1:0", "--listen", "ws://127.0.0.1:0", "--set", "passwords.cost=4"))
	line := server.out.line(t, `"listen"`)
	var started struct{ Listen, Links []string }
	if err := json.Unmarshal([]byte(line), &started); err != nil || len(started.Links) != 1 {
		t.Fatalf("the server says %q: %v", line, err)
	}
	script := exec.CommandContext(t.Context(), "node", "browser.mjs", started.Links[0], strings.TrimPrefix(started.Listen[0], "irc://"), browser, pictures)
	script.Dir = dir
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	comparePictures(t, pictures)
}
