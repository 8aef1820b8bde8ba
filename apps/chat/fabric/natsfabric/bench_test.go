package natsfabric

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/epinet/epi/apps/lab/proc"
)

// benchmarkEvery is the time between two messages: about that of a chat where 200 lines a second
// are said, so that each finds the goroutines on its way asleep.
const benchmarkEvery = time.Second / 700

// settled is how long nodes are left alone that have found each other, and then measured.
const settled = 5 * time.Second

// BenchmarkMessage measures the CPU time of a message from one of three nodes to another, all in
// this process: of NATS alone, and of a node's messages on it. What the nodes use
// when nobody says anything is taken off, and is a measurement of its own.
func BenchmarkMessage(b *testing.B) {
	all := cluster(b, DefaultLease, configs(b))
	data := []byte(strings.Repeat("x", 400))
	for _, w := range all {
		<-w.history
	}
	time.Sleep(settled)
	idle := idleCPU()

	b.Run("idle", func(b *testing.B) {
		for b.Loop() {
			time.Sleep(benchmarkEvery)
		}
		b.ReportMetric(idle*1000, "cpu-ms/s")
	})
	b.Run("nats", func(b *testing.B) {
		var got atomic.Int64
		subscription, err := all[1].conn.Subscribe("benchmark", func(*nats.Msg) { got.Add(1) })
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = subscription.Unsubscribe() }()
		if err := all[1].conn.Flush(); err != nil {
			b.Fatal(err)
		}
		for got.Load() == 0 { // until the other server knows
			publish(b, all[0].conn, data)
			time.Sleep(benchmarkEvery)
		}
		perMessage(b, idle, func() { publish(b, all[0].conn, data) })
	})
	b.Run("fabric", func(b *testing.B) {
		perMessage(b, idle, func() {
			if err := all[0].Send("b", data); err != nil {
				b.Fatal(err)
			}
		})
	})
}

func publish(b *testing.B, conn *nats.Conn, data []byte) {
	if err := conn.Publish("benchmark", data); err != nil {
		b.Fatal(err)
	}
}

// idleCPU is the share of a CPU that the nodes use when nobody says anything.
func idleCPU() float64 {
	before := proc.Own()
	time.Sleep(settled)
	return float64(proc.Own()-before) / float64(settled)
}

// perMessage sends messages at a fixed rate, and reports what one costs.
func perMessage(b *testing.B, idle float64, send func()) {
	began, before := time.Now(), proc.Own()
	for i := 0; b.Loop(); i++ {
		time.Sleep(time.Until(began.Add(time.Duration(i) * benchmarkEvery)))
		send()
	}
	used := float64(proc.Own()-before) - idle*float64(time.Since(began))
	b.ReportMetric(used/1000/float64(b.N), "cpu-µs/message")
}
