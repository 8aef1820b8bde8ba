package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstallPrints: where nothing may be written the files are to be seen.
func TestInstallPrints(t *testing.T) {
	p := start(t, "chat", "install", "chat.example.org", "--dry-run", "--program", "/usr/local/bin/epi", "--email", "me@example.org")
	stdout, _ := p.end(exitDone)
	for _, want := range []string{
		"# /etc/systemd/system/epi-chat.service", "ExecStart=/usr/local/bin/epi chat --config /etc/epi-chat/chat.toml --data /var/lib/epi-chat\n", "DynamicUser=yes",
		"# /etc/epi-chat/chat.toml", `hosts = ["chat.example.org"]`, `email = "me@example.org"`, `redirect = ":80"`,
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
}

// TestInstallKeepsSettings: a second time the unit is written anew, and what somebody
// has configured stays. The configuration is one that the chat can read.
func TestInstallKeepsSettings(t *testing.T) {
	root := t.TempDir()
	install := func(program string) {
		t.Helper()
		start(t, "chat", "install", "chat.example.org", "--dry-run=false", "--root", root, "--program", program).end(exitDone)
	}
	install("/opt/old/epi")
	settings := filepath.Join(root, settingsFile)
	if _, stderr := start(t, "chat", "--config", settings, "--listen", "irc://127.0.0.1:0").end(exitFailed); !strings.Contains(stderr, "--data") {
		t.Errorf("the configuration is refused otherwise than for want of --data: %s", stderr)
	}
	if err := os.WriteFile(settings, []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	install("/opt/new/epi")
	mine, _ := os.ReadFile(settings)
	unit, _ := os.ReadFile(filepath.Join(root, unitFile))
	if string(mine) != "# mine\n" || !strings.Contains(string(unit), "/opt/new/epi") {
		t.Errorf("the configuration is %q, the unit\n%s", mine, unit)
	}
}

// TestInstallRefuses what would make a service that does not start.
func TestInstallRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"localhost"}, {"chat.example.org/x"}, {"chat.example.org", "--program", "epi"}, {"chat.example.org", "--program", os.TempDir() + "/epi"},
		{"chat.example.org", "--program", "/usr/local/bin/epi", "--email", "a\"\n[mail]"},
	} {
		p := start(t, append([]string{"chat", "install"}, args...)...)
		if err := p.cmd.Wait(); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
