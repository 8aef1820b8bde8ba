package socket_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func init() { roles["splice forbidden"] = spliceForbiddenRole }

// kernelPipes counts the descriptors of pipes that this process has.
func kernelPipes(t *testing.T) (n int) {
	t.Helper()
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if to, err := os.Readlink(name); err == nil && strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// splices reports whether connections of one loop are piped by splice(2).
func splices(m epitest.Mode) bool {
	return m.Native() && m.Workers == 0 && !m.TLS
}

// exchangeSizes has both sides send pieces of all sizes at the same time, and checks that
// they arrive.
func exchangeSizes(a, b net.Conn) error {
	sizes := []int{1, 100 << 10, 10, 3 << 20, 15 << 10, 17 << 10, 64 << 10, 3, 1 << 20, 5}
	var all sync.WaitGroup
	errs := make(chan error, 4)
	for _, way := range []struct{ from, to net.Conn }{{a, b}, {b, a}} {
		all.Go(func() {
			for _, n := range sizes {
				if _, err := way.from.Write(epitest.Pattern(n)); err != nil {
					errs <- err
					return
				}
			}
		})
		all.Go(func() {
			for _, n := range sizes {
				got := make([]byte, n)
				if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, epitest.Pattern(n)) {
					errs <- fmt.Errorf("of %d bytes something else has arrived: %w", n, err)
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return errors.Join(<-errs, <-errs)
}

// TestProgram10_PipeAnySizes: what arrives by few bytes is copied, what arrives by
// many is not; all of it arrives, in order, and is counted.
func TestProgram10_PipeAnySizes(t *testing.T) {
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		before := kernelPipes(t)
		p := startProxyOn(t, m.Engine(), address, true)
		client, server := p.connectBoth(t)
		if err := exchangeSizes(client, server); err != nil {
			t.Fatal(err)
		}
		if splices(m) && kernelPipes(t) <= before {
			t.Error("all of it was copied")
		}
		_, _ = client.Close(), server.Close()
		p.expectEnds(t, func(error) bool { return true }) // both may send at the end, with TLS
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		if s := p.Engine.Stats(); !m.TLS && s.BytesIn != s.BytesOut {
			t.Errorf("%d bytes have come in and %d gone out", s.BytesIn, s.BytesOut)
		}
		epitest.WaitUntil(t, "the pipes are closed", func() bool { return kernelPipes(t) <= before })
	})
}

// TestProgram10_PipeEndsWhileFull ends a connection in all ways while bytes lie in
// a pipe that the other side has no room for. No descriptor is left.
func TestProgram10_PipeEndsWhileFull(t *testing.T) {
	endings := map[string]func(t *testing.T, p *proxy, client, server net.Conn){
		"client resets": func(t *testing.T, p *proxy, client, server net.Conn) {
			if client.LocalAddr().Network() == "unix" {
				_ = client.Close() // it knows no resets
			} else {
				epitest.Reset(t, client)
			}
			_, _ = io.Copy(io.Discard, server)
			_ = server.Close()
		},
		"server resets": func(t *testing.T, p *proxy, client, server net.Conn) {
			epitest.Reset(t, server)
			_, _ = io.Copy(io.Discard, client)
		},
		"client ends": func(t *testing.T, p *proxy, client, server net.Conn) {
			n, err := io.Copy(io.Discard, server)
			if err != nil || n != int64(fullSize) {
				t.Errorf("the server has received %d bytes, %v", n, err)
			}
			_ = server.Close()
		},
		"engine drains": func(t *testing.T, p *proxy, client, server net.Conn) {
			p.Cancel()
			_, _ = io.Copy(io.Discard, server)
			_ = server.Close()
		},
	}
	epitest.EachStream(t, func(t *testing.T, m epitest.Mode, address string) {
		if !splices(m) {
			return // nothing lies in a pipe
		}
		for name, end := range endings {
			t.Run(name, func(t *testing.T) {
				before := kernelPipes(t)
				p := startProxyOn(t, m.Engine(), address, true)
				client, server := p.connectBoth(t)
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					if _, err := client.Write(epitest.Pattern(fullSize)); err == nil {
						_ = client.(interface{ CloseWrite() error }).CloseWrite()
					}
				}()
				epitest.Settled(t, "what the proxy takes in", func() uint64 { return p.Engine.Stats().BytesIn })
				end(t, p, client, server)
				p.expectEnds(t, func(error) bool { return true })
				epitest.Receive(t, sent)
				if err := p.Stop(); err != nil {
					t.Error(err)
				}
				epitest.WaitUntil(t, "the pipes are closed", func() bool { return kernelPipes(t) <= before })
			})
		}
	})
}

// fullSize is more than the sockets on the way hold.
const fullSize = 24 << 20

// TestProgram10_PipeWhereSpliceIsForbidden passes on everything where the system has
// no splice(2), or none for the way out.
func TestProgram10_PipeWhereSpliceIsForbidden(t *testing.T) {
	epitest.EachNative(t, func(t *testing.T, m epitest.Mode) {
		if !splices(m) {
			return
		}
		for _, tc := range []struct {
			what  string
			errno unix.Errno
		}{
			{"splice", unix.EINVAL},
			{"splice", unix.EPERM},
			{"way out", unix.EINVAL},
		} {
			t.Run(tc.what+"/"+tc.errno.Error(), func(t *testing.T) {
				mode, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				c := epitest.StartChild(t, "splice forbidden", string(mode), strconv.Itoa(int(tc.errno)), tc.what)
				if heard := c.ReadLine(); heard != "all of it has arrived" {
					t.Error(heard)
				}
				c.End()
			})
		}
	})
}

// spliceForbiddenRole pipes in an engine without splice, and says what arrives.
func spliceForbiddenRole(args []string) error {
	var m epitest.Mode
	errno, err := strconv.Atoi(args[1])
	if err := errors.Join(err, json.Unmarshal([]byte(args[0]), &m)); err != nil {
		return err
	}
	if args[2] == "splice" {
		err = forbid(unix.SYS_SPLICE, unix.Errno(errno))
	} else {
		err = forbidWayOut(unix.Errno(errno))
	}
	if err != nil {
		return err
	}
	if err := talkThrough(m.Engine()); err != nil {
		return err
	}
	fmt.Println("all of it has arrived")
	return nil
}

// forbidWayOut lets the calls alone that ask for 1 MiB, as the engine does of a socket
// whose budget is whole. Whatever comes out of a pipe is less, or it is the whole of
// it and goes through.
func forbidWayOut(errno unix.Errno) error {
	const number, length = 0, 16 + 4*8 // in seccomp_data: the call, the low half of its fifth argument
	return install([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SPLICE, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: length},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 1 << 20, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	})
}

// talkThrough runs the engine as a proxy between two connections that talk.
func talkThrough(e *epi.Engine) error {
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer back.Close()
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler {
		return &epitest.Funcs{Open: func(c *epi.Conn) error {
			to, err := e.DialWith(context.Background(), "tcp://"+back.Addr().String(), epi.DialOptions{Loop: c.Loop()}, &epitest.Funcs{})
			if err != nil {
				return err
			}
			return epi.Pipe(c, to)
		}}
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	server, err := back.Accept()
	if err != nil {
		return err
	}
	err = exchangeSizes(client, server)
	_, _ = client.Close(), server.Close()
	cancel()
	return errors.Join(err, <-ended)
}
