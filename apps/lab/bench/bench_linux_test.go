package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/epinet/epi/apps/lab"
	"github.com/epinet/epi/internal/epitest"
)

// epi is the binary that plays server and load generator.
var epi string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bench-test-")
	if err != nil {
		panic(err)
	}
	epi = filepath.Join(dir, "epi")
	if out, err := exec.Command("go", "build", "-o", epi, "github.com/epinet/epi/apps/epi").CombinedOutput(); err != nil {
		panic(string(out))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) { _ = os.RemoveAll(dir); os.Exit(code) }))
}

// toy is a workload that is over at once.
var toy = Workload{Name: "toy", Title: "a toy", Conns: 5, Active: 3, Depth: 2, Size: 100}

// newToy returns a bench of toy size with the given servers.
func newToy(t *testing.T, servers ...Server) *bench {
	t.Helper()
	return &bench{
		Config:  Config{Self: epi, Rounds: 2, Duration: 300 * time.Millisecond, Conns: 20, Progress: func(string) {}, workloads: []Workload{toy}},
		servers: servers, serverCPU: -1, clientCPU: -1,
		samples: newSamples(), failures: map[string]string{}, result: &lab.Result{},
	}
}

// epiServer is epi itself with more flags.
func epiServer(name string, flags ...string) Server {
	return Server{Name: name, argv: append([]string{epi, "echo", "--listen", "tcp://" + addressMark}, flags...)}
}

// shell is a server made of a shell script, which finds its address in $1.
func shell(name, script string) Server {
	return Server{Name: name, argv: []string{"sh", "-c", script, "sh", addressMark}}
}

func TestTablesHaveTheirShape(t *testing.T) {
	b := newToy(t, epiServer("one"), Server{Name: "absent", Absent: "apt-get install it"})
	b.failures["absent"] = "apt-get install it"
	ctx := t.Context()
	b.checkEcho(ctx)
	for round := range b.Rounds {
		b.round(ctx, round, toy)
	}
	b.tables()
	b.measureMemory(ctx)
	if len(b.result.Tables) != 2 {
		t.Fatalf("%d tables, want 2; notes: %v", len(b.result.Tables), b.result.Notes)
	}
	for _, table := range b.result.Tables {
		one, absent := table.Rows[0], table.Rows[1]
		if len(one.Cells) != len(table.Columns) || one.Absent != "" {
			t.Errorf("table %s: %d cells in %d columns, absent %q", table.Name, len(one.Cells), len(table.Columns), one.Absent)
		}
		if absent.Absent != "apt-get install it" || absent.Cells != nil {
			t.Errorf("table %s: the absent server's row is %+v", table.Name, absent)
		}
	}
	for i, cell := range b.result.Tables[0].Rows[0].Cells[:3] {
		if len(cell.Samples) != b.Rounds || cell.Median <= 0 {
			t.Errorf("%s has the samples %v", figures[i].column.Name, cell.Samples)
		}
	}
}

func TestSystemCallsAreCounted(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed: apt-get install strace")
	}
	b := newToy(t, epiServer("one", "--loops", "1", "--driver", "epoll"))
	n, err := b.calls(t.Context(), b.servers[0])
	if err != nil || n < 1 {
		t.Errorf("%v calls per request, %v; a request needs two or more, or many in one", n, err)
	}
}

func TestServersThatFail(t *testing.T) {
	for _, test := range []struct {
		server Server
		why    string
	}{
		{shell("dies at once", "echo 'no such luck' >&2; exit 3"), "did not start: no such luck"},
		{shell("panics", "printf 'panic: no such luck\n\ngoroutine 1\n' >&2; exit 2"), "did not start: panic: no such luck"},
		{epiServer("cannot take a flag", "--driver", "quill"), `did not start: epi: --driver "quill"`},
		{shell("does not listen", "echo listening; exec sleep 60"), "no connection could be established"},
		{Server{Name: "missing", argv: []string{"/no/such/program"}}, "no such file"},
	} {
		b := newToy(t, test.server)
		b.checkEcho(t.Context())
		if got := b.failures[test.server.Name]; !strings.Contains(got, test.why) {
			t.Errorf("%s: the failure is %q, want it to tell %q", test.server.Name, got, test.why)
		}
		b.tables()
		if row := b.result.Tables[0].Rows[0]; row.Absent == "" {
			t.Errorf("%s: its row does not say why it is empty", test.server.Name)
		}
	}
}

func TestServersThatFailDoNotEndTheRun(t *testing.T) {
	b := newToy(t, shell("fails", "echo 'no such luck' >&2; exit 3"), epiServer("works"))
	b.checkEcho(t.Context())
	b.round(t.Context(), 0, toy)
	b.tables()
	rows := b.result.Tables[0].Rows
	if !strings.Contains(rows[0].Absent, "no such luck") || len(rows[1].Cells) == 0 {
		t.Errorf("the rows are %+v and %+v, want the second one measured", rows[0], rows[1])
	}
}

func TestCProgramsEcho(t *testing.T) {
	sources, err := FindSources("")
	if err != nil {
		t.Fatal(err)
	}
	build := build{sources, t.TempDir()}
	for _, p := range cPrograms {
		t.Run(p.name, func(t *testing.T) {
			s := build.c(t.Context(), p.name, p.source, p.library, p.pkg)
			if s.Absent != "" {
				t.Skip(s.Absent)
			}
			server, address, err := startServer(t.Context(), s, -1)
			if err != nil && strings.Contains(err.Error(), "io_uring_queue_init_params") {
				t.Skipf("the kernel does not give io_uring: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer server.end()
			if _, err := newToy(t).load(t.Context(), address, server.pid(), toy, 500*time.Millisecond, "--verify"); err != nil {
				t.Error(err)
			}
			checkSlowReader(t, address)
		})
	}
}

// checkSlowReader expects a server to give back everything, in order, to a
// client that does not read while it writes, and to serve others meanwhile:
//
//	client:  write … until nothing moves         read …
//	others:                               echo
func checkSlowReader(t *testing.T, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // it cannot fail
	if err := c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Write(data)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	other, err := echoOnce(t.Context(), schemeTCP, address, 0)
	if err != nil {
		t.Fatalf("while a client does not read: %v", err)
	}
	defer other.Close()
	if err := c.SetReadDeadline(time.Now().Add(epitest.Patience)); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, n)
	if got, err := io.ReadFull(c, back); err != nil || !bytes.Equal(back, data[:n]) {
		t.Errorf("%d bytes came back of %d, %v; equal: %v", got, n, err, bytes.HasPrefix(data, back[:got]))
	}
}

func TestInterruptedRunIsPartial(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := Config{Self: epi, Sources: t.TempDir(), Servers: []string{"epi epoll-edge"}, workloads: []Workload{toy}, Conns: 10}
	c.Progress = func(string) { cancel() }
	r, err := Run(ctx, c)
	if err != nil || r.Partial == "" {
		t.Errorf("an interrupted run gives %v, partial %q", err, r.Partial)
	}
}

func TestNamesAreChecked(t *testing.T) {
	if err := (Config{Only: []string{"huge"}}).Check(); err == nil || !strings.Contains(err.Error(), "small") {
		t.Errorf("an unknown workload: %v; want the known ones", err)
	}
	_, err := Run(t.Context(), Config{Self: epi, Sources: t.TempDir(), Servers: []string{"apache"}})
	if err == nil || !strings.Contains(err.Error(), Reference) {
		t.Errorf("an unknown server: %v; want the known ones", err)
	}
}

func TestPeersThatCannotBeBuiltAreAbsent(t *testing.T) {
	for _, s := range Servers(t.Context(), epi, t.TempDir(), t.TempDir()) {
		if s.config != "" {
			continue // the system has it or not
		}
		if ours := strings.HasPrefix(s.Name, "epi "); ours != (s.Absent == "") {
			t.Errorf("%s: absent %q", s.Name, s.Absent)
		}
	}
}

func TestSourcesAreFoundFromBelow(t *testing.T) {
	dir, err := FindSources("")
	if err != nil || filepath.Base(dir) != "peers" {
		t.Errorf("the sources are in %q, %v", dir, err)
	}
	for _, named := range []string{dir, filepath.Join(dir, "..", "..", "..")} {
		if got, err := FindSources(named); err != nil || got != dir {
			t.Errorf("the sources are in %q, %v, when %s is named", got, err, named)
		}
	}
	t.Chdir(t.TempDir())
	if dir, err := FindSources(""); err == nil {
		t.Errorf("sources are found in %s, far from the clone", dir)
	}
}

func TestTotalCalls(t *testing.T) {
	const summary = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 57.81    0.001000           1       700           sendto
 42.19    0.000730           1       690         3 read
------ ----------- ----------- --------- --------- ----------------
100.00    0.001730           1      1390         3 total
`
	if n, err := totalCalls(summary); n != 1390 || err != nil {
		t.Errorf("%v calls, %v", n, err)
	}
	if _, err := totalCalls("nothing"); err == nil {
		t.Error("no summary is no error")
	}
}
