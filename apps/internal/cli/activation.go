package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

// fdScheme names a socket that systemd has opened and handed over
// (sd_listen_fds(3)): fd://3 by its descriptor, fd://web by
// its name, fd:// all of them.
const fdScheme = "fd"

// passedSchemes are those of sockets that were handed over, with the scheme of
// what is spoken on them; plain streams have none.
var passedSchemes = map[string]string{fdScheme: "", "tls+fd": "tls", "ws+fd": "ws", "wss+fd": "wss", "udp+fd": "udp", "unixgram+fd": "unixgram"}

// firstPassed is the first descriptor that is handed over, SD_LISTEN_FDS_START.
const firstPassed = 3

// A passed socket is one that systemd has handed over.
type passed struct {
	fd     int
	name   string // FileDescriptorName= of the socket unit
	socket bool   // it is one
	taken  bool
}

func (p *passed) String() string {
	if p.name == "" {
		return fmt.Sprintf("%s://%d", fdScheme, p.fd)
	}
	return fmt.Sprintf("%s://%d (%s)", fdScheme, p.fd, p.name)
}

// errNothingPassed is for programs that were started by somebody else.
var errNothingPassed = errors.New("no socket was handed over: start the program from a systemd socket unit, or choose another address")

// takePassed returns the sockets that were handed over to this process, and
// takes them out of its environment: its children have none.
func takePassed() ([]*passed, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil // nothing, or for another process
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxCount {
		return nil, fmt.Errorf("LISTEN_FDS is %q: it is to be a number of sockets", count)
	}
	var sockets []*passed
	for i := range n {
		p := &passed{fd: firstPassed + i}
		if fields := strings.Split(names, ":"); i < len(fields) {
			p.name = fields[i]
		}
		if p.socket, err = inherit(p.fd); err != nil {
			return nil, fmt.Errorf("LISTEN_FDS is %d, but descriptor %d: %w: whoever starts this program is to hand over so many", n, p.fd, err)
		}
		sockets = append(sockets, p)
	}
	return sockets, nil
}

// openPassed opens the socket that place names by its descriptor or its name, all
// that are left when place is empty.
func openPassed[T io.Closer](sockets []*passed, place string, open func(*passed) (T, error)) ([]T, error) {
	if len(sockets) == 0 {
		return nil, errNothingPassed
	}
	var found []T
	for _, p := range sockets {
		if p.taken || place != "" && p.name != place && strconv.Itoa(p.fd) != place {
			continue
		}
		socket, err := open(p)
		if err != nil {
			closeAll(found)
			return nil, err
		}
		found = append(found, socket)
		if place != "" {
			break // sockets of one name are taken one by one
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no such socket is left: %s", describePassed(sockets))
	}
	return found, nil
}

func (p *passed) listener() (net.Listener, error) {
	return openAs(p, net.FileListener, "listening stream socket", handOverStreams)
}

func (p *passed) packets() (net.PacketConn, error) {
	return openAs(p, net.FilePacketConn, "socket for datagrams", handOverPackets)
}

// openAs makes what package net has for such a socket.
func openAs[T any](p *passed, open func(*os.File) (T, error), what, remedy string) (opened T, err error) {
	p.taken = true
	if !p.socket {
		return opened, fmt.Errorf("%s is no socket: %s", p, remedy)
	}
	file := os.NewFile(uintptr(p.fd), p.String())
	defer file.Close()
	opened, err = open(file)
	if err != nil {
		var op *net.OpError // which repeats the name
		if errors.As(err, &op) {
			err = op.Err
		}
		return opened, fmt.Errorf("%s is no %s (%w): %s", p, what, err, remedy)
	}
	return opened, nil
}

// The remedies for sockets that cannot be used.
const (
	handOverStreams = "hand over one that ListenStream= of a socket unit makes, or write udp+fd:// or unixgram+fd:// for datagrams"
	handOverPackets = "hand over one that ListenDatagram= of a socket unit makes"
)

func closeAll[T io.Closer](sockets []T) {
	for _, socket := range sockets {
		_ = socket.Close() // the program ends
	}
}

func describePassed(sockets []*passed) string {
	var all []string
	for _, p := range sockets {
		text := p.String()
		if p.taken {
			text += " is taken"
		}
		all = append(all, text)
	}
	return plural(int64(len(sockets)), "socket") + " handed over: " + strings.Join(all, ", ")
}
