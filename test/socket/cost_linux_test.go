package socket_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// rearms says whether a mode arms the poller again for each event. One-shot
// does; select and poll do it in a table of their own, without a system call.
func rearms(m epitest.Mode) bool {
	return m.Driver != epi.DriverUring && (m.Trigger == epi.TriggerOneShot || m.Workers > 0)
}

// TestCost_NoAllocationPerEcho counts those of the whole process: the client
// is a blocking socket that allocates nothing.
func TestCost_NoAllocationPerEcho(t *testing.T) {
	const echoes = 200
	epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
		s := epitest.Start(t, m.Engine(), epitest.EchoHandler)
		c, err := epitest.DialRaw(s.Listener.Addr().(*net.TCPAddr), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		message := epitest.Pattern(64)
		got := make([]byte, len(message))
		failed := error(nil)
		if n := testing.AllocsPerRun(echoes, func() {
			if _, err := c.Write(message); err != nil {
				failed = err
			}
			for read := 0; read < len(got) && failed == nil; {
				n, err := c.Read(got[read:])
				read += n
				failed = err
			}
		}); n != 0 || failed != nil {
			t.Errorf("%v allocations per echo, %v", n, failed)
		}
	})
}

// TestCost_SystemCallsPerEcho counts one read and one write, and one change of
// the poller's interest where the mode arms it again; besides, over the life
// of one connection, the read of its end and two changes for it and for each
// loop's watch over the listener. Where the kernel does the I/O it is one
// operation to send; besides, one to receive everything, one to watch for the end, of
// which the later may have to be cancelled, and, for each loop, the wake-up, the accept
// and its end, which needs no operation where the accept has failed by itself when the
// listener was closed.
func TestCost_SystemCallsPerEcho(t *testing.T) {
	const echoes = 100
	epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		e := m.Engine()
		s := epitest.Start(t, e, epitest.EchoHandler)
		c := s.Dial()
		for range echoes {
			epitest.RoundTrip(t, c, "one request in flight")
		}
		epitest.CloseWrite(t, c)
		epitest.ExpectEOF(t, c)
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		want := epi.LoopStats{Reads: echoes + 1, Writes: echoes, Controls: uint64(2 * (1 + e.Loops))}
		if rearms(m) {
			want.Controls += echoes
		}
		if completes(m) {
			want = epi.LoopStats{Submits: uint64(echoes + 2 + 3*e.Loops)}
		}
		now := e.Stats()
		if completes(m) {
			want.Submits = min(max(now.Submits, want.Submits-uint64(e.Loops)), want.Submits+1)
		}
		got := epi.LoopStats{Reads: now.Reads, Writes: now.Writes, Controls: now.Controls, Submits: now.Submits}
		if got != want {
			t.Errorf("counted %+v\nwant    %+v", got, want)
		}
	})
}

// TestCost_SystemCallsSeenByTheKernel counts the same with strace, on the
// connection's descriptor, for a process with a server of every mode.
func TestCost_SystemCallsSeenByTheKernel(t *testing.T) {
	const echoes = 100
	// Where the kernel does the I/O there is nothing to be seen on a descriptor,
	// and where package net does it they are not ours.
	modes := slices.DeleteFunc(epitest.Modes(), func(m epitest.Mode) bool { return completes(m) || !m.Native() })
	s, trace := startTraced(t, "network,read,write,close,epoll_ctl", modes)
	for i := range modes {
		c := s.dial(i)
		for range echoes {
			epitest.RoundTrip(t, c, "one request in flight")
		}
		epitest.CloseWrite(t, c)
		epitest.ExpectEOF(t, c)
	}
	s.End()
	connections := trace.connections()
	if len(connections) != len(modes) {
		t.Fatalf("the trace shows %d connections", len(connections))
	}
	for i, m := range modes {
		want := map[string]int{"read": echoes + 1, "sendto": echoes, "close": 1}
		if m.Driver == epi.DriverEpoll {
			want["epoll_ctl"] = 2
			if rearms(m) {
				want["epoll_ctl"] += echoes
			}
		}
		if !maps.Equal(connections[i], want) {
			t.Errorf("%v: %v, want %v", m, connections[i], want)
		}
	}
}

// TestCost_UringSharesSystemCalls lets a hundred connections echo at once: what
// is submitted and what has completed goes through the same few calls.
func TestCost_UringSharesSystemCalls(t *testing.T) {
	const clients, rounds, size = 100, 20, 64
	modes := slices.DeleteFunc(epitest.Modes(), func(m epitest.Mode) bool { return !completes(m) })
	if len(modes) == 0 {
		t.Skip(epitest.UringMissing())
	}
	s, trace := startTraced(t, "network,read,write,epoll_wait,epoll_pwait,io_uring_enter", modes)
	text := string(epitest.Pattern(size))
	var conns []net.Conn
	for range clients {
		conns = append(conns, s.dial(0))
		epitest.RoundTrip(t, conns[len(conns)-1], text)
	}
	begin := time.Now()
	for range rounds {
		for _, c := range conns {
			epitest.Say(t, c, text)
		}
		for _, c := range conns {
			epitest.Expect(t, c, text)
		}
	}
	end := time.Now()
	s.End()
	calls := len(trace.between(begin, end))
	t.Logf("%d system calls for %d echoes", calls, clients*rounds)
	if calls > clients*rounds/2 {
		t.Errorf("%d system calls for %d echoes, want well under one for each", calls, clients*rounds)
	}
}

// A trace is a file that strace writes. It is complete when the child has ended.
type trace struct {
	t    *testing.T
	path string
}

// startTraced starts a server of each mode under strace.
func startTraced(t *testing.T, calls string, modes []epitest.Mode) (*serverChild, trace) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed: apt-get install strace")
	}
	tr := trace{t, filepath.Join(t.TempDir(), "trace")}
	cfg := serverConfig{Modes: modes}
	return startServer(t, cfg, strace, "-f", "-ttt", "-o", tr.path, "-e", "trace="+calls, "--"), tr
}

// lines are "pid time call".
func (tr trace) lines() []string {
	tr.t.Helper()
	text, err := os.ReadFile(tr.path)
	if err != nil {
		tr.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

var (
	acceptedLine = regexp.MustCompile(`accept4.* = (\d+)$`)
	callLine     = regexp.MustCompile(`^\d+ +[\d.]+ (\w+)\((?:\d+, EPOLL_CTL_\w+, )?(\d+)`)
)

// connections counts, for each accepted connection, the system calls on its
// descriptor by name.
func (tr trace) connections() []map[string]int {
	tr.t.Helper()
	var all []map[string]int
	open := map[string]map[string]int{} // by descriptor
	for _, line := range tr.lines() {
		if accepted := acceptedLine.FindStringSubmatch(line); accepted != nil {
			calls := map[string]int{}
			all = append(all, calls)
			open[accepted[1]] = calls
			continue
		}
		call := callLine.FindStringSubmatch(line)
		if call == nil || open[call[2]] == nil {
			continue
		}
		open[call[2]][call[1]]++
		if call[1] == "close" {
			delete(open, call[2])
		}
	}
	return all
}

// between returns the lines of a time span.
func (tr trace) between(begin, end time.Time) []string {
	tr.t.Helper()
	var found []string
	for _, line := range tr.lines() {
		fields := strings.Fields(line)
		seconds, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			tr.t.Fatalf("strange line in the trace: %s", line)
		}
		if at := time.UnixMicro(int64(seconds * 1e6)); at.After(begin) && at.Before(end) {
			found = append(found, line)
		}
	}
	return found
}

// idleWindow is how long an engine is watched that has nothing to do, and idleWindows how
// often, until it does nothing: a machine that is busy with other things may not have let
// it come to rest. What an engine does again and again is in each window.
const (
	idleWindow  = 3 * time.Second
	idleWindows = 10
)

// TestCost_IdleEngineTakesNoTurn watches an engine of every mode at once, each
// with idle connections.
func TestCost_IdleEngineTakesNoTurn(t *testing.T) {
	const clients = 10
	var engines []*epi.Engine
	for _, m := range epitest.Modes() {
		e := m.Engine()
		s := epitest.Start(t, e, epitest.EchoHandler)
		for range clients {
			epitest.RoundTrip(t, s.Dial(), "x")
		}
		engines = append(engines, e)
	}
	var busy []string
	for range idleWindows {
		if busy = watchIdle(t, engines); len(busy) == 0 {
			return
		}
	}
	t.Error(strings.Join(busy, "\n"))
}

// watchIdle returns what engines, one of each mode, do in a window.
func watchIdle(t *testing.T, engines []*epi.Engine) (busy []string) {
	t.Helper()
	var before []epi.Stats
	for _, e := range engines {
		before = append(before, settled(t, e))
	}
	time.Sleep(idleWindow)
	for i, e := range engines {
		if now := e.Stats(); now.Turns != before[i].Turns || now.Waits != before[i].Waits || now.Sleeps != before[i].Sleeps {
			busy = append(busy, fmt.Sprintf("%v: %d turns, %d waits, %d sleeps of an idle engine", epitest.Modes()[i],
				now.Turns-before[i].Turns, now.Waits-before[i].Waits, now.Sleeps-before[i].Sleeps))
		}
	}
	return busy
}

// settled returns the counters of an engine whose loops sleep.
func settled(t *testing.T, e *epi.Engine) epi.Stats {
	t.Helper()
	epitest.Settled(t, "the engine", func() uint64 { now := e.Stats(); return now.Turns + now.Waits })
	return e.Stats()
}

// TestCost_IdleEngineMakesNoSystemCall watches a process with an engine of
// every mode, each with idle connections. What the Go runtime does before it
// comes to rest does not count.
func TestCost_IdleEngineMakesNoSystemCall(t *testing.T) {
	var calls []string
	for range idleWindows {
		if calls = callsOfIdle(t); len(calls) == 0 {
			return
		}
	}
	t.Errorf("%d system calls of idle engines:\n%s", len(calls), strings.Join(calls[:min(len(calls), 20)], "\n"))
}

// callsOfIdle returns the system calls that such a process makes in a window.
func callsOfIdle(t *testing.T) []string {
	t.Helper()
	const clients, rest = 10, time.Second
	s, trace := startTraced(t, "all", epitest.Modes())
	for i := range epitest.Modes() {
		for range clients {
			epitest.RoundTrip(t, s.dial(i), "x")
		}
	}
	time.Sleep(rest)
	begin := time.Now()
	time.Sleep(idleWindow)
	end := time.Now()
	s.End()
	if len(trace.between(begin.Add(-time.Minute), begin)) == 0 {
		t.Error("the trace shows nothing before, either")
	}
	return trace.between(begin, end)
}

// TestCost_IdleConnection bounds the Go heap of one that has echoed and is now
// idle: its Conn, its slot in the driver and in the poller. The handler, which
// is the user's, is shared. A buffer would be at least 512 bytes, a goroutine
// 2 KiB.
func TestCost_IdleConnection(t *testing.T) {
	const most = 320 // bytes
	clients := startCrowd(t)
	epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
		number := 2_000
		switch {
		case m.Trigger == epi.TriggerEdge:
			number = 10_000 // the other triggers keep the same
		case m.Driver == epi.DriverSelect:
			number = 900 // see TestR03_TenThousandAtOnce
		}
		shared := &epitest.Funcs{Data: epitest.Echo}
		e := m.Engine()
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return shared })
		clients.connect(s.Addr(), 100, 1, 1) // what a first connection and its echo leave behind
		clients.close()
		epitest.WaitUntil(t, "all have left", func() bool { return e.Stats().Conns == 0 })
		heap, goroutines := epitest.HeapInUse(), runtime.NumGoroutine()

		clients.connect(s.Addr(), number, 2, 1)
		settled(t, e)
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines more for %d connections", n-goroutines, number)
		}
		perConn := float64(epitest.HeapInUse()-heap) / float64(number)
		t.Logf("%.0f bytes per idle connection", perConn)
		if perConn > most {
			t.Errorf("%.0f bytes per idle connection, want at most %d", perConn, most)
		}
		clients.close()
	})
}

// TestCost_WriteTimeout has connections with a WriteTimeout hold no more than others
// once all they were sent has left: neither a timer nor when a send began.
func TestCost_WriteTimeout(t *testing.T) {
	const number, most = 2_000, 320 // bytes
	clients := startCrowd(t)
	epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
		if m.Driver != epi.DriverUring {
			return // elsewhere no send waits here
		}
		shared := &epitest.Funcs{Data: epitest.Echo}
		e := m.Engine()
		e.WriteTimeout = 200 * time.Millisecond
		s := epitest.Start(t, e, func(*epi.Conn) epi.Handler { return shared })
		clients.connect(s.Addr(), 100, 1, 1)
		clients.close()
		epitest.WaitUntil(t, "all have left", func() bool { return e.Stats().Conns == 0 })
		heap := epitest.HeapInUse()

		clients.connect(s.Addr(), number, 2, 1)
		epitest.WaitUntil(t, "no timer is left", func() bool { return e.Stats().TimersWaiting == 0 })
		perConn := float64(epitest.HeapInUse()-heap) / number
		t.Logf("%.0f bytes per idle connection", perConn)
		if perConn > most {
			t.Errorf("%.0f bytes per idle connection, want at most %d", perConn, most)
		}
		clients.close()
	})
}
