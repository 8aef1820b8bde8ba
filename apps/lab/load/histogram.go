package load

import (
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// longest is the longest time that a histogram can hold.
	longest = int64(time.Hour)
	// digits is the precision: values that differ by less than 0.1% count as
	// the same.
	digits = 3
	// ticksPerHalf is how many lines a percentile file has between 0 and 50%,
	// 50 and 75% and so on. It is the default of all HdrHistogram programs.
	ticksPerHalf = 5
)

// A Histogram is the distribution of times in nanoseconds. As text it is the
// base64 form of HdrHistogram's V2 encoding, from which it comes back exactly.
type Histogram struct{ h *hdrhistogram.Histogram }

// NewHistogram returns an empty Histogram.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, longest, digits)}
}

// Record adds a time in nanoseconds; those above an hour count as an hour.
func (h *Histogram) Record(nanoseconds int64) {
	// It fails only for values out of range and after 2^63 of them.
	_ = h.h.RecordValue(max(0, min(nanoseconds, longest)))
}

// RecordN adds a time n times.
func (h *Histogram) RecordN(nanoseconds int64, n int) {
	_ = h.h.RecordValues(max(0, min(nanoseconds, longest)), int64(n)) // as in Record
}

// Merge adds what other has. Nothing is lost: both have the same buckets.
func (h *Histogram) Merge(other *Histogram) { h.h.Merge(other.h) }

// Count returns the number of values.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// MarshalText writes the V2 encoding.
func (h *Histogram) MarshalText() ([]byte, error) { return h.h.EncodeV2() }

// UnmarshalText reads the V2 encoding of a Histogram with the same buckets.
func (h *Histogram) UnmarshalText(text []byte) error {
	decoded, err := hdrhistogram.Decode(text)
	if err != nil {
		return fmt.Errorf("read histogram: %w", err)
	}
	if decoded.HighestTrackableValue() != longest || decoded.SignificantFigures() != digits || decoded.LowestTrackableValue() != 1 {
		return fmt.Errorf("read histogram: it ranges from %d to %d with %d digits, want 1 to %d with %d",
			decoded.LowestTrackableValue(), decoded.HighestTrackableValue(), decoded.SignificantFigures(), longest, digits)
	}
	h.h = decoded
	return nil
}

// WritePercentiles writes the percentile distribution in milliseconds, in the
// form that HdrHistogram's plotters read (.hgrm).
func (h *Histogram) WritePercentiles(w io.Writer) error {
	_, err := h.h.PercentilesPrint(w, ticksPerHalf, float64(time.Millisecond))
	return err
}

// Percentiles are figures of a Histogram, in microseconds.
type Percentiles struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
}

// Percentiles returns the figures of h.
func (h *Histogram) Percentiles() Percentiles {
	micro := func(nanoseconds int64) float64 { return float64(nanoseconds) / 1e3 }
	p := Percentiles{Count: h.Count()}
	if p.Count == 0 {
		return p
	}
	p.Mean = h.h.Mean() / 1e3
	p.P50 = micro(h.h.ValueAtPercentile(50))
	p.P90 = micro(h.h.ValueAtPercentile(90))
	p.P99 = micro(h.h.ValueAtPercentile(99))
	p.P999 = micro(h.h.ValueAtPercentile(99.9))
	p.Max = micro(h.h.Max())
	return p
}
