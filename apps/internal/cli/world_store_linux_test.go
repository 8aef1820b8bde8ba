package cli

import (
	"context"
	"flag"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/apps/world/bots"
	"github.com/epinet/epi/internal/epitest"
)

var worldKills = flag.Int("world-kills", 2, "how often TestWorldKilledIsWhole kills a world under load")

// TestWorldKilledIsWhole kills a world again and again while players come and walk: its
// audit is clean and it starts again. At last it drains, and a copy of it is whole, too.
func TestWorldKilledIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, copied := filepath.Join(dir, "world.db"), filepath.Join(dir, "copy.db")
	begin := func() *process {
		return start(t, "world", "--listen", "ws://127.0.0.1:0", "--set", "store.address="+file, "--json")
	}
	audit := func(store string) {
		t.Helper()
		if code, stdout, stderr := call("world", "audit", store); code != 0 || !strings.Contains(stdout, "one owner") {
			t.Errorf("audit of %s: exit code %d, %s%s", store, code, stdout, stderr)
		}
	}
	for range *worldKills {
		p := begin()
		target := await[startEvent](p, "start").Listen[0] + worldPath
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = bots.Run(ctx, bots.Config{Target: target, Players: 20, Moving: 60, Warmup: time.Hour, Duration: time.Hour})
		}()
		time.Sleep(300 * time.Millisecond) // somewhere in their play; nothing depends on where
		p.signal(syscall.SIGKILL)
		p.end(-1)
		cancel()
		epitest.Receive(t, ended)
		audit(file)
	}
	p := begin()
	await[startEvent](p, "start")
	if code, _, stderr := call("world", "backup", file, copied); code != 0 {
		t.Errorf("backup of a world that serves: exit code %d, %s", code, stderr)
	}
	p.signal(syscall.SIGTERM)
	p.end(0)
	audit(file)
	audit(copied)
	for _, args := range [][]string{
		{"world", "audit", filepath.Join(dir, "none.db")},
		{"world", "audit", "/dev/null"},
		{"world", "backup", file, copied},
	} {
		if code, _, stderr := call(args...); code != exitFailed || stderr == "" {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
}
