package epitest

import (
	"net"
	"os"
	"runtime"
	"testing"
)

// Usage is what this process holds and a leak would add to.
type Usage struct{ Goroutines, Descriptors int }

// UsageNow counts. Only tests that run alone can compare two counts.
func UsageNow(t *testing.T) Usage {
	t.Helper()
	// From its first use on, Go's own poller keeps descriptors.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	return Usage{runtime.NumGoroutine(), descriptors(t)}
}

// Await waits until no more is held than u.
func (u Usage) Await(t *testing.T) {
	t.Helper()
	WaitUntil(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= u.Goroutines })
	WaitUntil(t, "the descriptors are closed", func() bool { return descriptors(t) <= u.Descriptors })
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// HeapInUse returns the bytes of the Go heap that are reachable.
func HeapInUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held in the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
