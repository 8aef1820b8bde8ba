package cli

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

func TestRoomChecksMaxConns(t *testing.T) {
	for _, c := range []struct {
		room     room
		maxConns int
		words    []string // of the error; none when it fits
	}{
		{room{limit: 64, open: 14, of: ofOpenFiles}, 0, nil},
		{room{limit: 64, open: 14, of: ofOpenFiles}, 50, nil},
		{room{limit: 64, open: 14, of: ofOpenFiles}, 51, []string{"--max-conns 51", "room for 50", "limit 64", "ulimit -n 65"}},
		{room{limit: 64, open: 70, of: ofOpenFiles}, 1, []string{"room for 0"}},
		{room{limit: 1024, open: 24, of: ofSelect}, 1001, []string{"--max-conns 1001", "room for 1000", "FD_SETSIZE", "--driver epoll"}},
	} {
		err := c.room.check(c.maxConns)
		if (err != nil) != (c.words != nil) {
			t.Errorf("%+v, %d connections: %v", c.room, c.maxConns, err)
		}
		for _, word := range c.words {
			if !strings.Contains(fmt.Sprint(err), word) {
				t.Errorf("the error %q does not say %q", err, word)
			}
		}
	}
}

func TestRoomIsWhatTheDriverAllows(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	r, err := measureRoom("epoll-edge")
	if err != nil || uint64(r.limit) != min(files.Cur, maxCount) || r.open < 3 || r.of != ofOpenFiles {
		t.Errorf("the room for epoll is %+v, %v", r, err)
	}
	r, err = measureRoom("select")
	if err != nil || uint64(r.limit) != min(files.Cur, 1024) {
		t.Errorf("the room for select is %+v, %v", r, err)
	}
}

func TestSoftLimitIsRaised(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	p := startAs(t, "soft limit", "echo", "--json", "--listen", "tcp://127.0.0.1:0")
	if e := await[startEvent](p, "start"); uint64(e.Limit) != min(files.Max, maxCount) {
		t.Errorf("the limit is %d, want %d", e.Limit, files.Max)
	}
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}

// Of 200 clients some fill up the descriptors; the others are closed at once.
// While it is full, the server rests; when some leave, it serves others.
func TestMoreClientsThanDescriptors(t *testing.T) {
	const clients = 200
	p := startAs(t, "few files", "echo", "--json", "--stats", "50ms", "--loops", "1", "--listen", "tcp://127.0.0.1:0")
	begun := await[startEvent](p, "start")
	if begun.Limit != fewFiles || begun.Room >= fewFiles || begun.Room < 1 {
		t.Errorf("the start reports %+v", begun)
	}
	var all, served []net.Conn
	for range clients {
		all = append(all, dial(t, begun.Listen[0]))
	}
	for _, c := range all {
		if echoes(c) {
			served = append(served, c)
		}
	}
	if len(served) == 0 || len(served) > begun.Room {
		t.Errorf("%d clients are served, there is room for %d", len(served), begun.Room)
	}

	// 20 lines are a second: a loop that spins uses about 100 ticks of it.
	before := ticksOf(t, p.cmd.Process.Pid)
	for range 20 {
		await[statsEvent](p, "stats")
	}
	if used := ticksOf(t, p.cmd.Process.Pid) - before; used > 30 {
		t.Errorf("the full server used %d ticks in about a second", used)
	}

	for _, c := range served {
		if !echoes(c) {
			t.Fatal("a client that was served is not any more")
		}
	}
	for _, c := range served[:len(served)/2] {
		_ = c.Close()
	}
	epitest.WaitUntil(t, "serving another client", func() bool { return echoes(dial(t, begun.Listen[0])) })

	p.signal(syscall.SIGTERM)
	totals := await[totalsEvent](p, "totals")
	if totals.Shed < uint64(clients-len(served)) || totals.Accepted != totals.Closed {
		t.Errorf("of %d clients %d were served; the totals are %+v", clients, len(served), totals)
	}
	p.end(exitDone)
}

// echoes reports whether a byte comes back.
func echoes(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(epitest.Patience))
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	n, _ := c.Read(make([]byte, 1))
	return n == 1
}

// ticksOf returns the CPU time of a process: utime and stime of proc(5).
func ticksOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skipf("mount /proc for this test: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may have blanks
	fields := strings.Fields(rest)
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		t.Fatalf("cannot read %q", text)
	}
	return user + system
}

// A server at its limit of open files, which clients reach again and again, says
// so once in ten seconds, not each time.
func TestLackOfOpenFilesIsToldOnce(t *testing.T) {
	began := time.Now()
	p := startAs(t, "few files", "echo", "--json", "--loops", "1", "--listen", "tcp://127.0.0.1:0")
	address := await[startEvent](p, "start").Listen[0]
	served := func() (c net.Conn, ok bool) {
		c = dial(t, address)
		_, _ = c.Write([]byte("x")) // fails where the server has closed already
		_, err := c.Read(make([]byte, 1))
		return c, err == nil
	}
	for range 5 {
		var all []net.Conn
		epitest.WaitUntil(t, "a client is served", func() bool {
			c, ok := served()
			all = append(all, c)
			return ok
		})
		for ok := true; ok; {
			var c net.Conn
			c, ok = served()
			all = append(all, c)
		}
		for _, c := range all {
			_ = c.Close()
		}
	}
	p.signal(syscall.SIGTERM)
	_, stderr := p.end(exitDone)
	most := 1 + int(time.Since(began)/(10*time.Second))
	if n := strings.Count(stderr, "accepting pauses"); n < 1 || n > most || !strings.Contains(stderr, "ulimit -n") {
		t.Errorf("the log says so %d times, want 1 to %d: %q", n, most, stderr)
	}
}
