package epi

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

type smoke struct{}

func (smoke) OnData(c *Conn) error {
	_, err := c.Write(c.Unread())
	c.Discard(len(c.Unread()))
	return err
}
func (smoke) OnClose(c *Conn, err error) {}

func TestSmoke(t *testing.T) {
	for _, w := range []int{0, 2} {
		for _, d := range []struct {
			d Driver
			t Trigger
		}{{"select", ""}, {"poll", ""}, {"epoll", "level"}, {"epoll", "edge"}, {"epoll", "oneshot"}} {
			e := &Engine{Driver: d.d, Trigger: d.t, Workers: w}
			ln, err := e.Listen("tcp://127.0.0.1:0", func(*Conn) Handler { return smoke{} })
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- e.Run(ctx) }()
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			const size = 8 << 20
			go func() {
				c.Write(make([]byte, size))
				c.(*net.TCPConn).CloseWrite()
			}()
			c.SetReadDeadline(time.Now().Add(10 * time.Second))
			n, err := io.Copy(io.Discard, c)
			t.Log(d, w, n, err, time.Now())
			if n != size {
				t.Error("short")
			}
			c.Close()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}
