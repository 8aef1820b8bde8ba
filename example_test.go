package epi_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/epinet/epi"
)

type session struct{} // one value per connection: its state goes here

func (s *session) OnData(c *epi.Conn) error {
	_, err := c.Write(c.Unread())
	c.Discard(len(c.Unread()))
	return err
}

func (s *session) OnClose(c *epi.Conn, err error) { fmt.Println("left:", err) }

// The echo server of the README, and a client.
func Example() {
	var e epi.Engine
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler { return &session{} })
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "hello\n")
	_ = c.(*net.TCPConn).CloseWrite()
	echo, _ := io.ReadAll(c)
	fmt.Print(string(echo))

	cancel()
	fmt.Println("run:", <-done)
	// Unordered output:
	// hello
	// left: EOF
	// run: <nil>
}

// exampleCertificate makes a certificate for localhost.
func exampleCertificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The same handler behind TLS. A server that runs for long takes its
// certificate from files: see LoadCertificate.
func Example_tls() {
	cert := exampleCertificate()
	e := epi.Engine{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
	ln, err := e.Listen("tls://127.0.0.1:0", func(*epi.Conn) epi.Handler { return &session{} })
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()

	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		log.Fatal(err)
	}
	roots.AddCert(leaf)
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "hello\n")
	_ = c.CloseWrite()
	echo, _ := io.ReadAll(c)
	fmt.Print(string(echo))

	cancel()
	fmt.Println("run:", <-done)
	// Unordered output:
	// hello
	// left: EOF
	// run: <nil>
}

// A download sends many bytes to a peer that may be slow, and keeps few of them
// queued.
type download struct{ left int }

const (
	highWater = 64 << 10
	chunkSize = 16 << 10
)

var chunk = make([]byte, chunkSize) // given to Send, so it never changes

func (d *download) OnOpen(c *epi.Conn) error { return d.fill(c) }

func (d *download) OnDrain(c *epi.Conn) {
	if err := d.fill(c); err != nil {
		_ = c.Abort()
	}
}

// fill queues more than HighWater, since OnDrain is called only after that.
func (d *download) fill(c *epi.Conn) error {
	for d.left > 0 && c.Queued() <= highWater {
		n := min(d.left, chunkSize)
		if err := c.Send(chunk[:n]); err != nil {
			return err
		}
		d.left -= n
	}
	if d.left == 0 {
		return c.Close() // delivers what is queued
	}
	return nil
}

func (d *download) OnData(c *epi.Conn) error {
	c.Discard(len(c.Unread()))
	return nil
}

func (d *download) OnClose(*epi.Conn, error) {}

// A long transfer goes by the watermarks of the queue.
func ExampleDrainHandler() {
	const size = 8 << 20
	e := epi.Engine{HighWater: highWater}
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler { return &download{left: size} })
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	n, err := io.Copy(io.Discard, c)
	fmt.Println(n, err)
	c.Close()

	cancel()
	fmt.Println("run:", <-done)
	// Output:
	// 8388608 <nil>
	// run: <nil>
}

// Everybody in the room gets what one of them says, and all get it in one order.
func ExampleGroup() {
	var e epi.Engine
	var room epi.Group
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler { return &guest{room: &room} })
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "hello")
	answer := make([]byte, len("hello"))
	if _, err := io.ReadFull(c, answer); err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(answer))

	cancel()
	fmt.Println("run:", <-done, room.Len())
	// Output:
	// hello
	// run: <nil> 0
}

// A guest says things to everybody in the room.
type guest struct{ room *epi.Group }

func (g *guest) OnOpen(c *epi.Conn) error { return g.room.Add(c) }

func (g *guest) OnData(c *epi.Conn) error {
	said := bytes.Clone(c.Unread()) // Send keeps it
	c.Discard(len(said))
	return g.room.Send(said)
}

func (g *guest) OnClose(*epi.Conn, error) {} // it has left the room by itself

// Records of up to a megabyte, each after its length, are kept as they arrive.
func ExampleConn_Expect() {
	var e epi.Engine
	kept := make(chan []byte, 1)
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler { return &storage{kept} })
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()

	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	record := binary.BigEndian.AppendUint32(nil, 1_000_000)
	record = append(record, bytes.Repeat([]byte("x"), 1_000_000)...)
	if _, err := c.Write(record); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(<-kept), "bytes")

	cancel()
	fmt.Println("run:", <-done)
	// Output:
	// 1000000 bytes
	// run: <nil>
}

const headerSize = 4

type storage struct{ kept chan []byte }

func (s *storage) OnData(c *epi.Conn) error {
	for len(c.Unread()) >= headerSize {
		size := headerSize + int(binary.BigEndian.Uint32(c.Unread()))
		if len(c.Unread()) < size {
			return c.Expect(size) // above MaxUnread this is ErrUnreadFull
		}
		c.Discard(headerSize)
		s.keep(c.Take(size - headerSize))
	}
	return nil
}

func (s *storage) keep(record []byte) { s.kept <- record }

func (s *storage) OnClose(*epi.Conn, error) {}

// One processor more than loops spares Go's scheduler work at each sleep.
func ExampleEngine_processors() {
	loops := 1
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(loops+1, runtime.GOMAXPROCS(0)))
	}
	e := epi.Engine{Loops: loops}
	fmt.Println(e.Loops, "loop")
	// Output: 1 loop
}
