package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// toyChat is a chat that is over at once.
var toyChat = Workload{Name: "toy", Title: "a toy", Conns: 6, Active: 6, Depth: 2, Size: 100, Scheme: schemeIRC, Channels: 2}

func TestChatServersAreMeasured(t *testing.T) {
	for _, s := range chatServers(epi) {
		t.Run(s.Name, func(t *testing.T) {
			if s.Absent != "" {
				t.Skip(s.Absent)
			}
			b := newToy(t, s)
			b.workloads = []Workload{toyChat}
			b.checkEcho(t.Context())
			if why := b.failures[s.Name]; strings.Contains(why, "io_uring") {
				t.Skip(why)
			}
			b.round(t.Context(), 0, toyChat)
			b.tables()
			b.measureMemory(t.Context())
			b.measureCalls(t.Context())
			if len(b.result.Tables) != 2 {
				t.Fatalf("%d tables, want that of the load and that of memory", len(b.result.Tables))
			}
			for _, table := range b.result.Tables {
				if row := table.Rows[0]; row.Absent != "" || len(row.Cells) != len(table.Columns) {
					t.Errorf("table %s: %d cells in %d columns, absent %q", table.Name, len(row.Cells), len(table.Columns), row.Absent)
				}
			}
			if got := b.result.Tables[0].Columns[:2]; got[0].Unit != "µs/delivery" || got[1].Name != "deliveries" {
				t.Errorf("the columns are %+v", got)
			}
		})
	}
}

func TestOpenLoopOfChat(t *testing.T) {
	b := newToy(t, chatServers(epi)[1])
	w := toyChat
	w.Rate = 100
	if _, err := b.run(t.Context(), b.servers[0], w, 100*time.Millisecond); err != nil {
		t.Error(err)
	}
	if text := w.loop(); !strings.Contains(text, "Open loop, 100 messages/s") {
		t.Errorf("the load is described as %q", text)
	}
}

func TestPackagedServers(t *testing.T) {
	if s := packaged("None", schemeIRC, "no-such-server", "config"); !strings.Contains(s.Absent, "apt-get install no-such-server") {
		t.Errorf("absent %q", s.Absent)
	}
	s := Server{Name: "quiet", argv: []string{"sh", "-c", "echo no such luck >&2; exit 3"}, config: "at HOST:PORT in DIR", quiet: true}
	_, _, err := startServer(t.Context(), s, -1)
	if err == nil || !strings.Contains(err.Error(), "did not start: no such luck") {
		t.Errorf("a server that ends at once: %v", err)
	}
}

// TestServersHaveTheirFiles looks at what a server that reads a configuration
// finds, and at what is left of it.
func TestServersHaveTheirFiles(t *testing.T) {
	p := &process{dir: t.TempDir()}
	if err := p.configure(marks("127.0.0.1:6667", p.dir).Replace("HOST PORT ADDRESS DIR")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "config"))
	if want := "127.0.0.1 6667 127.0.0.1:6667 " + p.dir; err != nil || string(text) != want {
		t.Errorf("the configuration is %q, %v, want %q", text, err, want)
	}
	p.clean()
	if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}
