package buffer

import (
	"fmt"
	"testing"
)

func BenchmarkQueue(b *testing.B) {
	for _, size := range []int{64, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			var p Pool
			message := make([]byte, size)
			vec := make([][]byte, 0, 4)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				q := p.Queue()
				q.Write(&p, message)
				vec = q.Buffers(vec[:0], size)
				p.PutQueue(q)
			}
		})
	}
}

// BenchmarkInbox collects 1 MiB that arrives in pieces of 64 KiB.
func BenchmarkInbox(b *testing.B) {
	const size, piece = 1 << 20, 64 << 10
	for name, expected := range map[string]int{"expected": size, "unexpected": 0} {
		b.Run(name, func(b *testing.B) {
			var p Pool
			data := make([]byte, piece)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				in := p.EmptyInbox()
				in.Expect(expected)
				for len(in.Bytes()) < size {
					in.Append(&p, data)
				}
				p.PutInbox(in)
			}
		})
	}
}
