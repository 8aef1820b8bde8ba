package cli

import (
	"testing"
	"time"
)

// TestWorldPeersTable: the lines of run.mjs become rows of medians, and a server that
// did not run is absent.
func TestWorldPeersTable(t *testing.T) {
	runs, err := readWorldRuns([]byte(`{"kind":"epi","cpu_us_per_frame":3}
{"kind":"json","cpu_us_per_frame":9}
{"kind":"epi","cpu_us_per_frame":5}
{"kind":"epi","cpu_us_per_frame":4}
`))
	if err != nil {
		t.Fatal(err)
	}
	rows := (&worldPeersRun{players: 1, rounds: 3, duration: time.Second}).table(runs).Rows
	if got := rows[0].Cells[0].Median; got != 4 {
		t.Errorf("epi needs %v, want 4", got)
	}
	if rows[1].Absent == "" || rows[2].Absent != "" {
		t.Errorf("the rows are %+v", rows)
	}
	if _, err := readWorldRuns([]byte("listening\n")); err == nil {
		t.Error("what is no JSON was taken")
	}
}
