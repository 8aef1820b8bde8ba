package bench

import (
	"strings"
	"testing"
	"time"
)

// TestProgramsAreMeasured puts each program beside the servers that people know under
// its load for a moment.
func TestProgramsAreMeasured(t *testing.T) {
	sources, err := FindSources("")
	if err != nil {
		t.Fatal(err)
	}
	all := build{sources, t.TempDir()}.programServers(t.Context())
	for _, w := range []Workload{
		{Name: "redis", Conns: 3, Depth: 2, Size: 100, Scheme: schemeRedis, Command: "get"},
		{Name: "mqtt", Conns: 4, Active: 2, Depth: 2, Size: 100, Scheme: schemeMQTT, Channels: 2},
		{Name: "http", Conns: 3, Depth: 1, Scheme: schemeHTTP},
		{Name: "proxy", Conns: 3, Active: 3, Depth: 2, Size: 100, Scheme: schemeProxy},
	} {
		t.Run(w.Name, func(t *testing.T) {
			b := newToy(t)
			b.workloads, b.Rounds = []Workload{w}, 1
			for _, s := range all {
				if s.speaks() != w.Scheme {
					continue
				}
				b.servers = append(b.servers, s)
				if why := s.Absent + clients[w.Scheme].missing(); why != "" {
					b.failures[s.Name] = why
				}
			}
			end, err := b.startBackend(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer end()
			b.checkEcho(t.Context())
			b.round(t.Context(), 0, w)
			b.tables()
			table := b.result.Tables[0]
			if len(table.Rows) != 2 || table.Reference != table.Rows[0].Name {
				t.Fatalf("the rows are %+v", table.Rows)
			}
			for i, row := range table.Rows {
				if strings.Contains(row.Absent, "apt-get install") || strings.Contains(row.Absent, "it needs the Go tool chain") {
					t.Logf("%s: %s", row.Name, row.Absent)
					continue
				}
				if row.Absent != "" || len(row.Cells) != len(table.Columns) {
					t.Errorf("row %d: %+v", i, row)
				}
				for j, cell := range row.Cells {
					if cell.Median < 0 || j < 2 && cell.Median == 0 {
						t.Errorf("%s: %s is %v", row.Name, table.Columns[j].Name, cell.Median)
					}
				}
			}
		})
	}
}

func TestOthersClientsAreRead(t *testing.T) {
	const redis = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"SET","142857.14","3.711","0.328","3.423","5.263","5.303","5.319"
"GET","400000.00","1.461","0.280","1.071","2.759","2.823","2.839"
`
	r, err := readRedis(redis, "get", 2000)
	if err != nil || r.Requests != 2000 || r.RequestsPerSecond != 400000 || r.Latency.P50 != 1071 || r.Latency.P99 != 2823 {
		t.Errorf("redis-benchmark is read as %+v, %v", r, err)
	}
	for _, out := range []string{"", redis[:100], "\"GET\",\"1\"\n", strings.ReplaceAll(redis, "400000.00", "many"), "\"GET"} {
		if r, err := readRedis(out, "get", 1); err == nil {
			t.Errorf("%q is read as %+v", out, r)
		}
	}
	const wrk = `Running 1s test @ http://127.0.0.1:8080/
  1 threads and 10 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   166.72us  262.33us   4.42ms   96.13%
    Req/Sec    78.17k    11.24k   97.15k    70.00%
  Latency Distribution
     50%  112.00us
     75%  150.00us
     90%  225.00us
     99%    1.27ms
  77893 requests in 1.00s, 10.40MB read
Requests/sec:  77846.08
Transfer/sec:     10.39MB
`
	r, err = readWrk(wrk)
	if err != nil || r.Requests != 77893 || r.RequestsPerSecond != 77846.08 || r.Latency.P50 != 112 || r.Latency.P99 != 1270 {
		t.Errorf("wrk is read as %+v, %v", r, err)
	}
	for _, out := range []string{"", strings.ReplaceAll(wrk, "1.27ms", "?"), wrk + "  Non-2xx or 3xx responses: 7\n",
		wrk + "  Socket errors: connect 0, read 1, write 0, timeout 0\n"} {
		if r, err := readWrk(out); err == nil {
			t.Errorf("%q is read as %+v", out, r)
		}
	}
}

func TestClientsThatAreMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	b := newToy(t)
	servers := []Server{{Name: "one", scheme: schemeRedis}, {Name: "two", scheme: schemeHTTP}, {Name: "three"}}
	if err := b.choose(servers); err != nil {
		t.Fatal(err)
	}
	if b.failures["one"] != "apt-get install redis-tools" || b.failures["two"] != "apt-get install wrk" || b.failures["three"] != "" {
		t.Errorf("what is missing: %v", b.failures)
	}
	if _, err := b.askRedis(t.Context(), "127.0.0.1:1", Workload{}, "set", "get", 1); err == nil {
		t.Error("a program that is not there was run")
	}
	if _, err := b.runWrk(t.Context(), "127.0.0.1:1", 1, Workload{}, time.Second); err == nil {
		t.Error("a program that is not there was run")
	}
}
