package examples

import (
	"context"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// runClient runs a program of Redis against the server and returns what it prints.
func runClient(t *testing.T, name, address string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), epitest.Patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestRedis has Redis' own clients talk to examples/redis.
func TestRedis(t *testing.T) {
	t.Parallel()
	address := serve(t, "redis")
	for _, c := range []struct{ command, want string }{
		{"PING", "PONG"},
		{"SET greeting hello", "OK"},
		{"GET greeting", "hello"},
		{"GET nothing", ""},
		{"INCR n", "1"},
		{"INCR n", "2"},
		{"INCR greeting", "ERR value is not an integer or out of range"},
		{"DBSIZE", "2"},
		{"DEL greeting n nothing", "2"},
		{"DBSIZE", "0"},
		{"FLY away", `ERR unknown command "FLY" with 1 arguments`},
	} {
		if got := runClient(t, "redis-cli", address, strings.Fields(c.command)...); got != c.want {
			t.Errorf("%s: %q, want %q", c.command, got, c.want)
		}
	}
	for _, args := range []string{"-q -n 2000 -P 16 -t ping,set,get,incr", "-q -n 20 -c 2 -d 1000000 -t set,get"} {
		out := runClient(t, "redis-benchmark", address, strings.Fields(args)...)
		if !regexp.MustCompile(`GET: [0-9.]+ requests per second`).MatchString(out) {
			t.Errorf("redis-benchmark %s:\n%s", args, out)
		}
	}
}

// TestRedis_Protocol says what is wrong, and closes.
func TestRedis_Protocol(t *testing.T) {
	t.Parallel()
	address := serve(t, "redis")
	for sent, want := range map[string]string{
		"*1\r\n$-1\r\n":                "-ERR Protocol error: a number from 0 to 8388608 was expected\r\n",
		"*2000\r\n":                    "-ERR Protocol error: a number from 0 to 1024 was expected\r\n",
		"*1\r\n:1\r\n":                 "-ERR Protocol error: expected '$'\r\n",
		"*1" + strings.Repeat("0", 20): "-ERR Protocol error: too big a number\r\n",
	} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		ask(t, c, sent, want)
		epitest.ExpectEOF(t, c)
	}
}
