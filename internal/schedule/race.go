//go:build race

package schedule

// slower says how much slower a run is under the race detector: so many times fewer
// are made by default.
const slower = 8
