package cli

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/apps/world/bots"
	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/internal/epitest"
)

var long = flag.Bool("long", false, "stop a world for 10 s instead of 1 s")

// TestWorldStoppedAndReplayed: a world's process is stopped while players are in it,
// by SIGSTOP. When it goes on nobody has lost the connection, and no view is wrong; and
// the log of its inputs, the missing ticks included, replays to the same states.
func TestWorldStoppedAndReplayed(t *testing.T) {
	log := filepath.Join(t.TempDir(), "world.log")
	p := start(t, "world", "--listen", "ws://127.0.0.1:0", "--log-inputs", log, "--json")
	target := await[startEvent](p, "start").Listen[0] + worldPath
	type outcome struct {
		*bots.Result
		err error
	}
	entered, done := make(chan struct{}), make(chan outcome, 1)
	playing, enough := context.WithCancel(context.Background())
	defer enough()
	stopped := time.Second
	if *long {
		stopped = 10 * time.Second
	}
	go func() {
		r, err := bots.Run(playing, bots.Config{
			Target: target, Players: 50, Moving: 60, Talk: time.Second,
			Entered: func() { close(entered) }, Duration: time.Hour,
		})
		done <- outcome{r, err}
	}()
	epitest.Receive(t, entered)
	time.Sleep(time.Second) // somewhere in their play; nothing depends on where
	p.signal(syscall.SIGSTOP)
	time.Sleep(stopped)
	p.signal(syscall.SIGCONT)
	time.Sleep(time.Second) // likewise
	enough()
	o := epitest.Receive(t, done)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if o.Players != 50 || o.Wrong != 0 || o.Lost != 0 {
		t.Errorf("%+v", o.Result)
	}
	p.signal(syscall.SIGTERM)
	p.end(0)
	code, stdout, stderr := call("world", "replay", log)
	if code != 0 || !strings.Contains(stdout, "the same") || strings.Contains(stdout, "within a record") {
		t.Errorf("replay: exit code %d, %s%s", code, stdout, stderr)
	}
	if code, _, stderr := call("world", "replay", "/dev/null"); code != exitFailed || !strings.Contains(stderr, "no log of inputs") {
		t.Errorf("replay of nothing: exit code %d, %s", code, stderr)
	}
}

// TestWorldEndsWhenAnotherHasItsStore: the process does not stay, with nobody in it that
// could come in, and its exit code is that of a failure.
func TestWorldEndsWhenAnotherHasItsStore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "world.db")
	p := start(t, "world", "--listen", "ws://127.0.0.1:0", "--set", "store.address="+file, "--json")
	target := await[startEvent](p, "start").Listen[0] + worldPath
	seize(t, file)
	playing, enough := context.WithCancel(t.Context())
	played := make(chan struct{})
	go func() {
		defer close(played)
		_, _ = bots.Run(playing, bots.Config{Target: target, Players: 1, Duration: time.Hour}) // it does not come in
	}()
	_, stderr := p.end(exitFailed)
	if !strings.HasSuffix(stderr, "epi: another server has this store: end that one first, or name another store\n") {
		t.Error(stderr)
	}
	enough()
	epitest.Receive(t, played)
}

// seize makes a store another server's, as one does that begins when the claim is lost.
func seize(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() // the statement is committed
	if _, err := db.ExecContext(t.Context(), "UPDATE marks SET holder = holder - 1"); err != nil {
		t.Fatal(err)
	}
}

// TestWorldHasOneLoop, and no workers: see server.New.
func TestWorldHasOneLoop(t *testing.T) {
	for _, flag := range []string{"--loops", "--workers"} {
		code, _, stderr := call("world", "--listen", "ws://127.0.0.1:0", flag, "2")
		if code != exitUsage {
			t.Errorf("%s: exit code %d", flag, code)
		}
		expectOneLine(t, stderr, "--loops", "--workers", "second world")
	}
}

// TestWorldClientThatVanishes: a client whose host answers nothing any more, not even with a
// reset, is out of the world soon, and does not stand there until the system gives up.
func TestWorldClientThatVanishes(t *testing.T) {
	p := start(t, "world", "--listen", "tcp://127.0.0.1:0", "--set", "sessions.lost=1s", "--set", "sessions.grace=0s",
		"--admin", "127.0.0.1:0", "--json")
	begun := await[startEvent](p, "start")
	conn := dial(t, begun.Listen[0])
	hello := (&proto.Hello{Version: proto.Version, Name: "anna"}).Append([]byte{0, 0, 0})
	hello[2] = byte(len(hello) - 3)
	if _, err := conn.Write(hello); err != nil {
		t.Fatal(err)
	}
	players := func(n string) func() bool {
		return func() bool {
			_, metrics := get(t, begun.Admin+"/metrics")
			return strings.Contains(metrics, "\nepi_world_players "+n+"\n")
		}
	}
	epitest.WaitUntil(t, "somebody in the world", players("1"))
	vanish(t, conn)
	epitest.WaitUntil(t, "nobody in the world", players("0"))
	p.signal(syscall.SIGTERM)
	p.end(0)
}

// vanish has the system drop all that comes for a connection, as if its host were gone.
func vanish(t *testing.T, conn net.Conn) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	program := &unix.SockFprog{Len: uint16(len(nothing)), Filter: &nothing[0]}
	failed := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program)
	})
	if err := errors.Join(failed, err); err != nil {
		t.Fatal(err)
	}
}

// TestWorldKilledLeavesItsLog: what has changed the world until the kill can be made again,
// also after the next start with the same file.
func TestWorldKilledLeavesItsLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "world.log")
	begin := func() *process {
		p := start(t, "world", "--listen", "tcp://127.0.0.1:0", "--log-inputs", log, "--json")
		await[startEvent](p, "start")
		return p
	}
	replays := func(name string) {
		if code, stdout, stderr := call("world", "replay", name); code != 0 || !strings.Contains(stdout, "the same") {
			t.Errorf("replay of %s: exit code %d, %s%s", name, code, stdout, stderr)
		}
	}
	p := begin()
	epitest.WaitUntil(t, "a log", func() bool {
		info, err := os.Stat(log)
		return err == nil && info.Size() > 0
	})
	p.signal(syscall.SIGKILL)
	p.end(-1)
	replays(log)
	p = begin()
	p.signal(syscall.SIGTERM)
	p.end(0)
	replays(log)
	kept, err := filepath.Glob(log + "-*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("the first log is not there any more: %v, %v", kept, err)
	}
	replays(kept[0])
}

// TestWorldPaths: the page's link is right with the WebSocket's own path, and another one is
// refused.
func TestWorldPaths(t *testing.T) {
	p := start(t, "world", "--listen", "ws://127.0.0.1:0/world", "--json")
	links := await[startEvent](p, "start").Links
	if status, page := get(t, links[0]); status != http.StatusOK || !strings.Contains(page, "<canvas") {
		t.Errorf("%s: status %d", links[0], status)
	}
	p.signal(syscall.SIGTERM)
	p.end(0)
	code, _, stderr := call("world", "--listen", "ws://127.0.0.1:0/other")
	if code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	expectOneLine(t, stderr, "/other", worldPath)
}
