package load

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// MaxSize is the size of the largest message.
const MaxSize = 8 << 20

// expCut is the multiple of its mean at which an exponential size is cut: one
// message in nine million is that large.
const expCut = 16

// Sizes says how large messages are. The zero Sizes is 64 bytes.
type Sizes struct {
	text    string
	largest int
	least   int                  // where draw is not nil
	draw    func(*rand.Rand) int // nil: all are of the largest size
}

// SizesHelp says what ParseSizes takes.
const SizesHelp = "64, 1KiB, 1MiB, uniform:64-1024, exp:1KiB or choice:64@0.9,4096@0.1"

// ParseSizes reads a size such as 64 or 4KiB, or a distribution of sizes:
// uniform:MIN-MAX, exp:MEAN (cut at 16 times the mean) or
// choice:SIZE@WEIGHT,SIZE@WEIGHT,...
func ParseSizes(text string) (Sizes, error) {
	s, err := parseSizes(text)
	if err != nil {
		return Sizes{}, fmt.Errorf("%w: write %s", err, SizesHelp)
	}
	s.text = text
	return s, nil
}

func parseSizes(text string) (Sizes, error) {
	kind, rest, ok := strings.Cut(text, ":")
	if !ok {
		n, err := parseSize(text)
		return Sizes{largest: n}, err
	}
	switch kind {
	case "uniform":
		return parseUniform(rest)
	case "exp":
		return parseExp(rest)
	case "choice":
		return parseChoice(rest)
	}
	return Sizes{}, fmt.Errorf("%q is no distribution of sizes", kind)
}

func parseUniform(text string) (Sizes, error) {
	low, high, ok := strings.Cut(text, "-")
	if !ok {
		return Sizes{}, fmt.Errorf("%q is not MIN-MAX", text)
	}
	from, err1 := parseSize(low)
	to, err2 := parseSize(high)
	if err := errors.Join(err1, err2); err != nil {
		return Sizes{}, err
	}
	if from > to {
		return Sizes{}, fmt.Errorf("%q begins above its end", text)
	}
	return Sizes{largest: to, least: from, draw: func(r *rand.Rand) int { return from + r.IntN(to-from+1) }}, nil
}

func parseExp(text string) (Sizes, error) {
	mean, err := parseSize(text)
	if err != nil {
		return Sizes{}, err
	}
	largest := min(expCut*mean, MaxSize)
	draw := func(r *rand.Rand) int {
		return max(1, int(min(math.Round(r.ExpFloat64()*float64(mean)), float64(largest))))
	}
	return Sizes{largest: largest, least: 1, draw: draw}, nil
}

func parseChoice(text string) (Sizes, error) {
	var sizes []int
	var upTo []float64 // sums of the weights
	sum, largest := 0.0, 0
	for item := range strings.SplitSeq(text, ",") {
		size, weight, ok := strings.Cut(item, "@")
		if !ok {
			return Sizes{}, fmt.Errorf("%q is not SIZE@WEIGHT", item)
		}
		n, err := parseSize(size)
		if err != nil {
			return Sizes{}, err
		}
		w, err := strconv.ParseFloat(weight, 64)
		if err != nil || !(w > 0) || math.IsInf(w, 0) {
			return Sizes{}, fmt.Errorf("the weight %q is not a number above 0", weight)
		}
		sum += w
		sizes, upTo, largest = append(sizes, n), append(upTo, sum), max(largest, n)
	}
	draw := func(r *rand.Rand) int {
		x := r.Float64() * sum
		for i, limit := range upTo[:len(upTo)-1] {
			if x < limit {
				return sizes[i]
			}
		}
		return sizes[len(sizes)-1]
	}
	return Sizes{largest: largest, least: slices.Min(sizes), draw: draw}, nil
}

var units = []struct {
	name  string
	bytes int
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"B", 1}, {"", 1}}

// parseSize reads a number of bytes.
func parseSize(text string) (int, error) {
	for _, unit := range units {
		digits, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > MaxSize/unit.bytes {
			return 0, fmt.Errorf("%q is no size from 1 to %d bytes", text, MaxSize)
		}
		return n * unit.bytes, nil
	}
	panic("unreachable: every text ends with nothing")
}

// defaultSizes is what the zero Sizes means.
var defaultSizes = Sizes{text: "64", largest: 64}

// or returns s, or other if s is the zero Sizes.
func (s Sizes) or(other Sizes) Sizes {
	if s.largest == 0 {
		return other
	}
	return s
}

// Largest returns the size of the largest message.
func (s Sizes) Largest() int { return s.or(defaultSizes).largest }

// smallest returns the size of the smallest message.
func (s Sizes) smallest() int {
	if s = s.or(defaultSizes); s.draw == nil {
		return s.largest
	}
	return s.least
}

// String returns s as ParseSizes reads it.
func (s Sizes) String() string { return s.or(defaultSizes).text }

// Bytes is String with the unit, where it has none.
func (s Sizes) Bytes() string {
	if text := s.String(); !strings.Contains(text, "B") {
		return text + " bytes"
	}
	return s.String()
}

// next draws a size. s is not the zero Sizes.
func (s *Sizes) next(r *rand.Rand) int {
	if s.draw == nil {
		return s.largest
	}
	return s.draw(r)
}

// MarshalText is String, for JSON.
func (s Sizes) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSizes.
func (s *Sizes) UnmarshalText(text []byte) error {
	parsed, err := ParseSizes(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
