package load

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestParseSizes(t *testing.T) {
	for _, c := range []struct {
		text     string
		least    int
		largest  int
		mean     float64
		variable bool
	}{
		{"1", 1, 1, 1, false},
		{"64B", 64, 64, 64, false},
		{"1KiB", 1024, 1024, 1024, false},
		{"8MiB", MaxSize, MaxSize, MaxSize, false},
		{"uniform:64-1024", 64, 1024, 544, true},
		{"uniform:7-7", 7, 7, 7, true},
		{"exp:100", 1, 1600, 100, true},
		{"exp:1MiB", 1, MaxSize, 1 << 20, true},
		{"choice:64@0.9,4096@0.1", 64, 4096, 467.2, true},
		{"choice:10@1,20@3", 10, 20, 17.5, true},
	} {
		t.Run(c.text, func(t *testing.T) {
			s, err := ParseSizes(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if s.Largest() != c.largest || s.String() != c.text || (s.draw != nil) != c.variable {
				t.Errorf("largest %d, text %q", s.Largest(), s)
			}
			const draws = 100_000
			r := rand.New(rand.NewPCG(1, 1))
			sum := 0.0
			for range draws {
				n := s.next(r)
				if n < c.least || n > c.largest {
					t.Fatalf("drew %d, want %d to %d", n, c.least, c.largest)
				}
				sum += float64(n)
			}
			if mean := sum / draws; math.Abs(mean-c.mean) > 0.05*c.mean {
				t.Errorf("the mean of %d is %.1f, want %.1f", draws, mean, c.mean)
			}
		})
	}
}

func TestHunt22_SizesHaveOneUnit(t *testing.T) {
	for text, want := range map[string]string{
		"64": "64 bytes", "8MiB": "8MiB", "100B": "100B", "uniform:64-1KiB": "uniform:64-1KiB", "uniform:1-100": "uniform:1-100 bytes",
	} {
		s, err := ParseSizes(text)
		if err != nil || s.Bytes() != want {
			t.Errorf("%s is written as %q, %v, want %q", text, s.Bytes(), err, want)
		}
	}
}

func TestWrongSizes(t *testing.T) {
	for text, word := range map[string]string{
		"":                       `""`,
		"0":                      `"0"`,
		"-1":                     `"-1"`,
		"9MiB":                   "8388608",
		"1KB":                    `"1KB"`,
		"9223372036854775808KiB": "8388608",
		"normal:5":               "normal",
		"uniform:5":              "MIN-MAX",
		"uniform:9-5":            "above",
		"uniform:0-5":            `"0"`,
		"exp:":                   `""`,
		"choice:":                "SIZE@WEIGHT",
		"choice:5":               "SIZE@WEIGHT",
		"choice:5@0":             "weight",
		"choice:5@NaN":           "weight",
		"choice:5@Inf":           "weight",
		"choice:x@1":             `"x"`,
	} {
		_, err := ParseSizes(text)
		if err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), SizesHelp) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want a line with %q", text, err, word)
		}
	}
}

func TestSizesAsJSON(t *testing.T) {
	for _, text := range []string{"64", "choice:64@0.9,4096@0.1"} {
		s, err := ParseSizes(text)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Sizes
		if err := json.Unmarshal(encoded, &back); err != nil || back.String() != text || back.Largest() != s.Largest() {
			t.Errorf("%s became %s, %v", text, back, err)
		}
	}
	if encoded, err := json.Marshal(Sizes{}); err != nil || string(encoded) != `"64"` {
		t.Errorf("the zero Sizes is %s, %v", encoded, err)
	}
}
