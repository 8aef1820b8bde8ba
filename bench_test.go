package epi

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/poll"
)

// The benchmarks here are of the engine alone: the driver does nothing, and takes
// everything.

// A nullDriver is a driver without a system. Methods that it lacks are not called.
type nullDriver struct {
	driver.Driver
	sent func(p []byte) // nil: nobody wants it
}

func (d *nullDriver) Send(_ *driver.Socket, bufs [][]byte) (n int, pending bool, err error) {
	for _, b := range bufs {
		n += len(b)
		if d.sent != nil {
			d.sent(b)
		}
	}
	return n, false, nil
}

func (*nullDriver) Receive(*driver.Socket, bool) {}
func (*nullDriver) Wake() error                  { return nil }

// A bench is a loop whose phases are run by hand.
type bench struct {
	loop *Loop
	drv  *nullDriver
}

func newBench(b *testing.B) *bench {
	b.Helper()
	e := &Engine{Loops: 1, Driver: DriverPortable, LockOSThread: No, Logger: slog.New(slog.DiscardHandler)}
	if err := e.start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(e.free)
	l := e.loops[0]
	drv := &nullDriver{Driver: l.drv}
	l.drv, l.cfg.backend = drv, poll.BackendEpoll
	return &bench{loop: l, drv: drv}
}

// turn is what a loop does between two waits.
func (n *bench) turn() {
	n.loop.runTasks()
	n.loop.flush()
}

// open makes a connection, as if it had been accepted.
func (n *bench) open(h Handler, config *tls.Config) *Conn {
	c := newConn(n.loop, &origin{handler: func(*Conn) Handler { return h }, tls: config}, 0, netip.AddrPort{})
	n.loop.live.Add(1)
	c.request(doOpen)
	n.turn()
	return c
}

type echoHandler struct{}

func (echoHandler) OnData(c *Conn) error {
	_, err := c.Write(c.Unread())
	c.Discard(len(c.Unread()))
	return err
}

func (echoHandler) OnClose(*Conn, error) {}

func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := newBench(b)
			s := (*stream)(n.open(echoHandler{}, nil))
			message := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				s.Received(message)
				n.turn()
			}
		})
	}
}

// BenchmarkWrite is a message to one connection, and its share of the flush phase.
func BenchmarkWrite(b *testing.B) {
	n := newBench(b)
	c := n.open(echoHandler{}, nil)
	message := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(message); err != nil {
			b.Fatal(err)
		}
		n.turn()
	}
}

// BenchmarkGroupSend is a message to all members, and their flush phase.
func BenchmarkGroupSend(b *testing.B) {
	for _, members := range []int{10, 1_000, 10_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			n := newBench(b)
			var g Group
			for range members {
				if err := g.Add(n.open(echoHandler{}, nil)); err != nil {
					b.Fatal(err)
				}
			}
			n.turn()
			message := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if err := g.Send(message); err != nil {
					b.Fatal(err)
				}
				n.turn()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(members), "ns/member")
		})
	}
}

// BenchmarkTLSRecord is an echo of one record, with what the client's crypto/tls
// does for it.
func BenchmarkTLSRecord(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := newBench(b)
			w := &wire{}
			w.arrived.L = &w.mu
			n.drv.sent = w.toClient
			config, err := benchCertificate()
			if err != nil {
				b.Fatal(err)
			}
			s := (*stream)(n.open(echoHandler{}, config))
			client := tls.Client(w, &tls.Config{InsecureSkipVerify: true})
			shaken := make(chan error, 1)
			go func() { shaken <- client.Handshake() }()
			for (*Conn)(s).state.Load()&starting != 0 {
				w.toServer(s)
				n.turn()
				runtime.Gosched()
			}
			if err := <-shaken; err != nil {
				b.Fatal(err)
			}
			message, answer := make([]byte, size), make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Write(message); err != nil {
					b.Fatal(err)
				}
				w.toServer(s)
				n.turn()
				if _, err := io.ReadFull(client, answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A wire is a client's net.Conn, whose other end is a benchmark.
type wire struct {
	net.Conn
	mu      sync.Mutex
	arrived sync.Cond    // signalled when in has something
	in      bytes.Buffer // guarded by mu; for the client
	out     bytes.Buffer // guarded by mu; for the server
	scratch []byte
}

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.in.Len() == 0 {
		w.arrived.Wait()
	}
	return w.in.Read(p)
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func (w *wire) toClient(p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.in.Write(p)
	w.arrived.Signal()
}

// toServer hands over what the client has written.
func (w *wire) toServer(s *stream) {
	w.mu.Lock()
	w.scratch = append(w.scratch[:0], w.out.Bytes()...)
	w.out.Reset()
	w.mu.Unlock()
	if len(w.scratch) > 0 {
		s.Received(w.scratch)
	}
}

func benchCertificate() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
