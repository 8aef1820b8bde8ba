package cli

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/epinet/epi/internal/epitest"
)

func TestHelpAndVersion(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "Available Commands:"},
		{[]string{"--help"}, "Available Commands:"},
		{[]string{"help"}, "Available Commands:"},
		{[]string{"help", "echo"}, "--drain-timeout"},
		{[]string{"echo", "--help"}, "--drain-timeout"},
		{[]string{"--version"}, "epi "},
	} {
		t.Run(describe(c.args), func(t *testing.T) {
			code, stdout, stderr := call(append([]string{}, c.args...)...)
			if code != 0 || stderr != "" || !strings.Contains(stdout, c.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestOutputThatIsLostExitsWith1(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"--version"}, {"help", "echo"}, {"load", "--help"}} {
		t.Run(describe(args), func(t *testing.T) {
			var stderr bytes.Buffer
			if code := Main(args, full{}, &stderr); code != exitFailed {
				t.Errorf("exit code %d", code)
			}
			expectOneLine(t, stderr.String(), "no space left", "output is lost")
		})
	}
}

// A server goes on when nobody reads its stdout any more.
func TestServerOutlivesItsReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "echo.sock")
	p := startAs(t, "unheard", "echo", "--listen", "unix://"+path, "--stats", "1ms")
	epitest.WaitUntil(t, "it listens", func() bool {
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	c := dial(t, "unix://"+path)
	epitest.RoundTrip(t, c, "hello")
	_ = c.Close()
	p.signal(syscall.SIGTERM)
	if _, stderr := p.end(exitDone); stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
}

func TestWrongCallsExitWith2(t *testing.T) {
	for _, c := range []struct {
		args  []string
		words []string // of the error: what, the value, the remedy
	}{
		{[]string{"bogus"}, []string{"command", "bogus", "epi --help"}},
		{[]string{"help", "bogus"}, []string{"command", "bogus", "epi --help"}},
		{[]string{"--bogus"}, []string{"flag", "--bogus", "epi --help"}},
		{[]string{"echo", "extra"}, []string{"argument", "extra", "flags only"}},
		{[]string{"echo", "--bogus"}, []string{"flag", "--bogus", "epi echo --help"}},
		{[]string{"echo", "-x"}, []string{"flag", "-x", "epi echo --help"}},
		{[]string{"echo", "--loops"}, []string{"argument", "--loops", "epi echo --help"}},
		{[]string{"echo", "--json=2"}, []string{"--json", `"2"`, "true or false"}},
		{[]string{"echo", "--loops", "x"}, []string{"--loops", `"x"`, "whole number"}},
		{[]string{"echo", "--loops", ""}, []string{"--loops", `""`, "whole number"}},
		{[]string{"echo", "--loops", "-1"}, []string{"--loops", `"-1"`, "from 0"}},
		{[]string{"echo", "--workers=-1"}, []string{"--workers", `"-1"`, "from 0"}},
		{[]string{"echo", "--max-conns=-5"}, []string{"--max-conns", `"-5"`, "from 0"}},
		{[]string{"echo", "--max-conns", "99999999999"}, []string{"--max-conns", `"99999999999"`, "2147483647"}},
		{[]string{"echo", "--driver", "kqueue"}, []string{"--driver", `"kqueue"`, "select, poll, epoll"}},
		{[]string{"echo", "--wait", "sleep"}, []string{"--wait", `"sleep"`, "block, spin"}},
		{[]string{"echo", "--wait", "0"}, []string{"--wait", `"0"`, "above 0"}},
		{[]string{"echo", "--wait", "-1s"}, []string{"--wait", `"-1s"`, "above 0"}},
		{[]string{"echo", "--wait", "spin:"}, []string{"--wait", `"spin:"`, "spin:DURATION"}},
		{[]string{"echo", "--wait", "spin:-1s"}, []string{"--wait", `"spin:-1s"`, "above 0"}},
		{[]string{"echo", "--idle-timeout", "5"}, []string{"--idle-timeout", `"5"`, "30s"}},
		{[]string{"echo", "--write-timeout=-5s"}, []string{"--write-timeout", `"-5s"`, "30s"}},
		{[]string{"echo", "--linger", "0"}, []string{"--linger", `"0"`, "above 0"}},
		{[]string{"echo", "--drain-timeout", "soon"}, []string{"--drain-timeout", `"soon"`, "30s"}},
		{[]string{"echo", "--stats", "often"}, []string{"--stats", `"often"`, "30s"}},
		{[]string{"echo", "--admin", "9090"}, []string{"--admin", `"9090"`, ":port"}},
		{[]string{"echo", "--admin", "localhost:x"}, []string{"--admin", `"localhost:x"`, "from 0 to 65535"}},
		{[]string{"echo", "--max-message", "0"}, []string{"--max-message", `"0"`, "16MiB"}},
		{[]string{"echo", "--max-message", "2GiB"}, []string{"--max-message", `"2GiB"`, "below 2GiB"}},
		{[]string{"echo", "--max-memory", "much"}, []string{"--max-memory", `"much"`, "4GiB"}},
		{[]string{"echo", "--max-memory", "-1"}, []string{"--max-memory", `"-1"`, "4GiB"}},
		{[]string{"echo", "--admin-host", "node1.example"}, []string{"--admin-host", "add --admin"}},
		{[]string{"echo", "--admin-write"}, []string{"--admin-write", "add --admin"}},
		{[]string{"echo", "--log-level", "loud"}, []string{"--log-level", `"loud"`, "debug, info"}},
		{[]string{"echo", "--proxy-from", "10.0.0.0/40"}, []string{"--proxy-from", `"10.0.0.0/40"`, "10.0.0.0/8"}},
		{[]string{"echo", "--cert", "x", "--listen", "tls://127.0.0.1:0"}, []string{"--cert", "--key", "both"}},
		{[]string{"echo", "--client-ca", "", "--listen", "tls://127.0.0.1:0"}, []string{"--client-ca", `""`, "name of a file"}},
		{[]string{"echo", "--proxy-from", "10.0.0.0/8", "--listen", "udp://127.0.0.1:0"}, []string{"--proxy-from", "connections", "--listen"}},
		{[]string{"load", "--server", "2147483647", "tcp://127.0.0.1:1"}, []string{"2147483647", "no such", "process"}},
		{[]string{"echo", "--client-ca", "x"}, []string{"--client-ca", "tls://", "--listen"}},
		{[]string{"echo", "--listen", "udp://127.0.0.1"}, []string{"listen", "udp", "missing port"}},
		{[]string{"echo", "--listen", ":7000"}, []string{"listen", ":7000", "tcp://host:port"}},
		{[]string{"echo", "--listen", ""}, []string{"listen", "no scheme", "tcp://host:port"}},
		{[]string{"echo", "--listen", "fd"}, []string{"listen", "no scheme", "fd://name"}},
		{[]string{"echo", "--listen", "http://127.0.0.1:0"}, []string{"listen", `"http"`, "ws://host:port/path", "udp://"}},
		{[]string{"echo", "--listen", "ws://127.0.0.1"}, []string{"listen ws://127.0.0.1: ", "missing port"}},
		{[]string{"echo", "--listen", "ws://127.0.0.1:0/a?b"}, []string{"listen", `"/a?b"`, "without escapes"}},
		{[]string{"echo", "--listen", "wss+fd://web/a%20b"}, []string{"listen", `"/a%20b"`, "without escapes"}},
		{[]string{"echo", "--listen", "tcp://127.0.0.1"}, []string{"listen", "tcp://127.0.0.1", "missing port"}},
		{[]string{"echo", "--listen", "tcp://127.0.0.1:65536"}, []string{"listen", "65536", "from 0 to 65535"}},
		{[]string{"echo", "--listen", "tcp4://[::1]:0"}, []string{"listen", "[::1]", "tcp4"}},
		{[]string{"echo", "--listen", "tcp://a\nb"}, []string{"listen", "missing port"}},
		{[]string{"echo", "--listen", "unix://"}, []string{"listen", "unix://", "unix:///path"}},
		{[]string{"echo", "--listen", "unix:///" + strings.Repeat("x", 200)}, []string{"listen", "201 bytes", "at most 107"}},
		{[]string{"echo", "--listen", "tcp://127.0.0.1:0", "--listen", "foo://x"}, []string{"listen", "foo", "tcp://host:port"}},
	} {
		t.Run(describe(c.args), func(t *testing.T) {
			code, stdout, stderr := call(c.args...)
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			expectOneLine(t, stderr, c.words...)
		})
	}
}

// A command offers the addresses that it serves, and no others.
func TestAddressesOfferedAreServed(t *testing.T) {
	for command, offered := range map[string][]string{
		"echo":  {"tcp://", "wss://", "ws+fd://", "udp://", "udp+fd://"},
		"chat":  {"irc://", "ircs://", "tcp://", "wss://", "ws+fd://"},
		"world": {"tcp://", "wss://", "ws+fd://"},
	} {
		for _, address := range []string{"nothing", "http://127.0.0.1:0"} {
			code, _, stderr := call(command, "--listen", address)
			if code != exitUsage {
				t.Errorf("epi %s --listen %s: exit code %d", command, address, code)
			}
			for _, scheme := range []string{"irc://", "ircs://", "tcp://", "wss://", "ws+fd://", "udp://", "udp+fd://"} {
				if want := slices.Contains(offered, scheme); strings.Contains(stderr, " "+scheme) != want {
					t.Errorf("epi %s --listen %s: %s", command, address, stderr)
				}
			}
		}
	}
}

func TestServerThatCannotStartExitsWith1(t *testing.T) {
	dir := t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	inUse := "tcp://" + taken.Addr().String()

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	served := filepath.Join(dir, "served")
	other, err := net.Listen("unix", served)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()

	limit := strconv.Itoa(maxCount)
	for _, c := range []struct {
		name  string
		args  []string
		words []string
	}{
		{"address in use", []string{"--listen", inUse}, []string{inUse, "in use", "choose another port"}},
		{"foreign address", []string{"--listen", "tcp://192.0.2.1:0"}, []string{"192.0.2.1", "this machine"}},
		{"unknown host", []string{"--listen", "tcp://host.invalid:0"}, []string{"host.invalid", "choose a name"}},
		{"stale socket", []string{"--listen", "unix://" + stale}, []string{stale, "stale", "rm " + stale}},
		{"served socket", []string{"--listen", "unix://" + served}, []string{served, "another server"}},
		{"regular file", []string{"--listen", "unix://" + file}, []string{file, "not a socket", "choose another path"}},
		{"no directory", []string{"--listen", "unix://" + dir + "/no/x"}, []string{"/no/x", "directory", "make it"}},
		{"too many connections", []string{"--max-conns", limit}, []string{"--max-conns", limit, "limit", "ulimit -n"}},
		{"select", []string{"--driver", "select", "--max-conns", "1024"}, []string{"--max-conns", "1024", "FD_SETSIZE", "--driver epoll"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"echo", "--listen", "unix://" + filepath.Join(dir, "first"), "--loops", "1"}, c.args...)
			code, stdout, stderr := call(args...)
			if code != exitFailed || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			expectOneLine(t, stderr, c.words...)
			if _, err := os.Lstat(filepath.Join(dir, "first")); err == nil {
				t.Error("the socket file that was made before stays behind")
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file has %q now (%v)", text, err)
	}
}

func TestPortWithoutPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become nobody: run the test as root")
	}
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if err != nil || strings.TrimSpace(string(text)) != "1024" {
		t.Skipf("every user may bind low ports here: set net.ipv4.ip_unprivileged_port_start=1024 (it is %q, %v)", text, err)
	}
	stdout, stderr := startAs(t, "nobody", "echo", "--listen", "tcp://127.0.0.1:1").end(exitFailed)
	expectOneLine(t, stderr, "tcp://127.0.0.1:1", "permission denied", "choose a higher one")
	if stdout != "" {
		t.Errorf("stdout %q", stdout)
	}
}

func TestTooManyLoops(t *testing.T) {
	_, stderr := startAs(t, "few files", "echo", "--listen", "tcp://127.0.0.1:0", "--loops", "1000").end(exitFailed)
	expectOneLine(t, stderr, "of 1000", "too many open files", "ulimit -n", "--loops")
}

func TestTooFewOpenFiles(t *testing.T) {
	_, stderr := startAs(t, "no files", "echo", "--listen", "tcp://127.0.0.1:0").end(exitFailed)
	expectOneLine(t, stderr, "open files", "16", "ulimit -n", "32")
}
