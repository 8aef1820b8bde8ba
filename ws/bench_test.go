package ws

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/epinet/epi"
)

// BenchmarkEcho moves small messages; many lie in what is read at once.
func BenchmarkEcho(b *testing.B) {
	const perWrite = 256
	e := oneMode().Serial()
	e.Driver = epi.DriverEpoll
	s := startBench(b, e, echoServer().Serve)
	defer s.Close()
	frames := strings.Repeat(binary(strings.Repeat("x", 64)), perWrite)
	answer := int64(perWrite * (2 + 64))
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for range (b.N + perWrite - 1) / perWrite {
			_, _ = io.WriteString(s, frames)
		}
	}()
	for range (b.N + perWrite - 1) / perWrite {
		if _, err := io.CopyN(io.Discard, s, answer); err != nil {
			b.Fatal(err)
		}
	}
}

func startBench(b *testing.B, e *epi.Engine, serve func(*epi.Conn) epi.Handler) net.Conn {
	ln, err := e.Listen("tcp://127.0.0.1:0", serve)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.WriteString(c, requestLines+"\r\n"); err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReader(c)
	if _, err := http.ReadResponse(r, nil); err != nil {
		b.Fatal(err)
	}
	return c
}
