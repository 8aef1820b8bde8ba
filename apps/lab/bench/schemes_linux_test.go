package bench

import (
	"strings"
	"testing"
	"time"
)

func TestEpiEchoesOnEverySchemeOfTheTables(t *testing.T) {
	b := newToy(t, epiSchemes(epi)...)
	for _, w := range []Workload{
		{Name: "tls", Conns: 3, Active: 3, Depth: 2, Size: 100, Scheme: schemeTLS},
		{Name: "ws", Conns: 3, Active: 3, Depth: 2, Size: 100, Scheme: schemeWS},
		{Name: "udp", Conns: 3, Active: 3, Depth: 2, Size: 100, Scheme: schemeUDP},
	} {
		b.workloads = append(b.workloads, w)
		for _, s := range b.speaking(w.Scheme) {
			_, err := b.run(t.Context(), s, w, 300*time.Millisecond, "--verify")
			if err != nil && !(strings.Contains(s.Name, "uring") && strings.Contains(err.Error(), "io_uring")) {
				t.Errorf("%s: %v", s.Name, err)
			}
		}
	}
	b.measureMemory(t.Context())
	if len(b.result.Tables) != 2 {
		t.Fatalf("%d tables of memory, want those of TLS and WebSocket", len(b.result.Tables))
	}
	for _, table := range b.result.Tables {
		if len(table.Rows) != 2 || table.Rows[1].Absent != "" || len(table.Rows[1].Cells) != 1 {
			t.Errorf("table %s has the rows %+v", table.Name, table.Rows)
		}
	}
}

func TestServersAreComparedWithinTheirScheme(t *testing.T) {
	b := newToy(t, epiServer("stream"), Server{Name: "sealed", scheme: schemeTLS})
	if !b.takesPart(t.Context(), b.servers[0], toy) || b.takesPart(t.Context(), b.servers[1], toy) {
		t.Error("a server takes part in what it does not speak")
	}
	b.tables()
	if rows := b.result.Tables[0].Rows; len(rows) != 1 || rows[0].Name != "stream" {
		t.Errorf("the rows of a table for TCP are %+v", rows)
	}
}
