package load

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Parts that went through their text form add up to the whole, count by count.
func TestHistogramsMergeExactly(t *testing.T) {
	whole, merged := NewHistogram(), NewHistogram()
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		part := NewHistogram()
		for range 20_000 {
			v := r.Int64N(int64(2*time.Hour)) >> r.IntN(43)
			part.Record(v)
			whole.Record(v)
		}
		text, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		var back Histogram
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		merged.Merge(&back)
	}
	if !merged.h.Equals(whole.h) || merged.Count() != 100_000 || merged.Percentiles() != whole.Percentiles() {
		t.Errorf("merged %+v, the whole is %+v", merged.Percentiles(), whole.Percentiles())
	}
}

func TestHistogramClampsAndRefuses(t *testing.T) {
	h := NewHistogram()
	h.Record(-1)
	h.Record(math.MaxInt64)
	if p := h.Percentiles(); p.Count != 2 || p.P50 != 0 || math.Abs(p.Max-3.6e9) > 3.6e6 {
		t.Errorf("%+v", p)
	}
	if p := NewHistogram().Percentiles(); p != (Percentiles{}) {
		t.Errorf("an empty histogram has %+v", p)
	}
	foreign, err := hdrhistogram.New(1, 1000, 2).EncodeV2()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "nonsense", string(foreign)} {
		if err := new(Histogram).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read as a histogram", text)
		}
	}
}

// A plotter takes the lines with four columns and skips the rest.
func TestPercentileFile(t *testing.T) {
	h := NewHistogram()
	for ms := range 1000 {
		h.Record(int64(ms+1) * int64(time.Millisecond))
	}
	var b strings.Builder
	if err := h.WritePercentiles(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if fields := strings.Fields(lines[0]); len(fields) != 4 || fields[0] != "Value" || fields[3] != "1/(1-Percentile)" {
		t.Errorf("the head is %q", lines[0])
	}
	row := regexp.MustCompile(`^ *\d+\.\d{3} +[01]\.\d+ +\d+ +(\d+\.\d\d|inf)$`)
	rows := 0
	for _, line := range lines[1:] {
		switch {
		case line == "" || strings.HasPrefix(line, "#["):
		case row.MatchString(line):
			rows++
		default:
			t.Errorf("the line %q has another form", line)
		}
	}
	if rows < 20 || !strings.Contains(b.String(), "Total count    =         1000]") {
		t.Errorf("%d rows:\n%s", rows, &b)
	}
	if !regexp.MustCompile(`(?m)^ +5\d\d\.\d{3} +0\.500000 +5\d\d +2\.00$`).MatchString(b.String()) {
		t.Errorf("the median of 1 to 1000 ms is not in it:\n%s", &b)
	}
}
