package uring_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/uring"
)

// One operation: it is described, submitted, waited for, and its result taken.
func ExampleRing() {
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Close(sockets[0])
	defer unix.Close(sockets[1])

	ring, err := uring.New(uring.Config{Entries: 8})
	if err != nil {
		log.Fatal(err)
	}
	defer ring.Close()

	message := []byte("hello")
	entry := ring.SQE()
	entry.UserData = 7
	entry.Send(sockets[0], message, unix.MSG_NOSIGNAL)
	for ring.Ready() == 0 { // a signal may end Wait
		if err := ring.Wait(1, -1); err != nil {
			log.Fatal(err)
		}
	}
	c, _ := ring.Next()
	runtime.KeepAlive(message) // until now the kernel may have read it
	fmt.Printf("operation %d: %d bytes, error %v\n", c.UserData, c.Res, c.Err())
	// Output: operation 7: 5 bytes, error <nil>
}

// An echo server: one entry accepts all connections, and the kernel chooses a
// buffer when a connection has something to receive.
func Example_echo() {
	runtime.LockOSThread() // the ring belongs to a thread
	defer runtime.UnlockOSThread()
	ring, err := uring.New(uring.Config{Setup: uring.SingleIssuer | uring.DeferTaskrun})
	if err != nil {
		log.Fatal(err)
	}
	defer ring.Close()
	buffers, err := ring.NewBuffers(0, 64, 4096, false)
	if err != nil {
		log.Fatal(err)
	}

	// The user data is what completes, and the descriptor.
	const accepted, received, sent = 0, 1, 2
	entry := func(kind, fd int) *uring.SQE {
		e := ring.SQE()
		for e == nil { // the queue is full
			if err := ring.Submit(); err != nil {
				log.Fatal(err)
			}
			e = ring.SQE()
		}
		e.UserData = uint64(fd)<<8 | uint64(kind)
		return e
	}
	receive := func(fd int) {
		e := entry(received, fd)
		e.Recv(fd, nil, 0)
		e.Flags, e.BufGroup = uring.BufferSelect, buffers.Group()
	}

	listener, address := listen()
	defer unix.Close(listener)
	answer := make(chan string)
	go ask(address, answer)

	entry(accepted, listener).AcceptMultishot(listener, unix.SOCK_CLOEXEC)
	sending := map[int][]byte{} // keeps what the kernel reads
	for closed := 0; closed < 1; {
		if err := ring.Wait(1, -1); err != nil {
			log.Fatal(err)
		}
		for c, ok := ring.Next(); ok; c, ok = ring.Next() {
			fd := int(c.UserData >> 8)
			switch kind := c.UserData & 0xff; {
			case kind == accepted:
				if c.Err() == nil {
					receive(int(c.Res))
				}
				if !c.More() {
					entry(accepted, listener).AcceptMultishot(listener, unix.SOCK_CLOEXEC)
				}
			case kind == received && c.Res > 0:
				sending[fd] = bytes.Clone(buffers.Bytes(c))
				buffers.Recycle(c)
				entry(sent, fd).Send(fd, sending[fd], unix.MSG_NOSIGNAL|unix.MSG_WAITALL)
			case kind == received && c.Err() == unix.ENOBUFS, kind == sent && c.Err() == nil:
				receive(fd)
			default: // the end, or an error
				buffers.Recycle(c)
				delete(sending, fd)
				unix.Close(fd)
				closed++
			}
		}
	}
	fmt.Println(<-answer)
	// Output: hello
}

func listen() (fd int, address string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	fd, err = unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	return fd, listener.Addr().String()
}

// ask says hello, and answers with what comes back.
func ask(address string, answer chan<- string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "hello")
	conn.(*net.TCPConn).CloseWrite()
	echo, err := io.ReadAll(conn)
	if err != nil {
		log.Fatal(err)
	}
	answer <- string(echo)
}
