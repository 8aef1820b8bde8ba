package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A namespaces has each node in a network namespace of its own. In it there are the loopback
// interface, for clients, and a tun(4) interface, for the other nodes. What a node's kernel
// sends to that is read here, packet by packet, and written to the interface of whom it is
// for, or not:
//
//	namespace of a                                            namespace of b
//	node ─ TCP ─ tun ──► forward: passes, is lost, is late ──► tun ─ TCP ─ node
//
// That is what a switch does: no connection is reset when it fails, and each packet is lost
// by itself. It needs no traffic control in the kernel, no program, and no name on the host:
// an interface ends when this process closes it, and a namespace with the last process in it.
type namespaces struct {
	ports   []*port
	readers sync.WaitGroup
	late    sync.WaitGroup // packets that are held back

	mu  sync.RWMutex
	bad map[link]quality // guarded by mu; links that do not let all pass at once
}

// A port is a node's end.
type port struct {
	node    *node
	address netip.Addr
	space   int // descriptor of the namespace
	tun     *os.File
}

// A link is the way from one port to another.
type link struct{ from, to *port }

// A quality is what happens to the packets of a link.
type quality struct {
	lost   float64 // part of them
	late   float64 // part of the others
	lateBy [2]time.Duration
}

// The qualities. Packets that are late are overtaken by others.
var (
	dead  = quality{lost: 1}
	lossy = quality{lost: 0.2, late: 0.25, lateBy: [2]time.Duration{time.Millisecond, 50 * time.Millisecond}}
	slow  = quality{late: 1, lateBy: [2]time.Duration{100 * time.Millisecond, 300 * time.Millisecond}}
)

// The interfaces of the nodes, in a range for tests of networks (RFC 2544).
const (
	tunName   = "tun0"
	mtu       = 1500
	nodesPort = ":6222"
)

func addressOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 0, byte(i + 1)}) }

var netmask = []byte{255, 255, 255, 0}

// Namespaces says why there can be none here.
func Namespaces() error {
	p := newPort(nil, 0)
	defer p.close()
	return p.open()
}

func newPort(n *node, i int) *port { return &port{node: n, address: addressOf(i), space: -1} }

// close may be called whatever open has done.
func (p *port) close() {
	if p.tun != nil {
		_ = p.tun.Close()
	}
	if p.space >= 0 {
		_ = unix.Close(p.space)
	}
}

func (s *namespaces) place(nodes []*node) error {
	for i, n := range nodes {
		p := newPort(n, i)
		s.ports = append(s.ports, p)
		if err := p.open(); err != nil {
			return fmt.Errorf("network namespace of node %s: %w", n.Name, err)
		}
		n.IRC, n.Admin, n.Listen = "127.0.0.1:6667", "127.0.0.1:9067", p.address.String()+nodesPort
		for j := range nodes {
			if j != i {
				n.Peers = append(n.Peers, addressOf(j).String()+nodesPort)
			}
		}
	}
	for _, p := range s.ports {
		s.readers.Go(func() { s.read(p) })
	}
	return nil
}

// onThread runs fn on a thread that ends with it.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks it: no other goroutine gets the thread
		done <- fn()
	}()
	return <-done
}

// open makes the namespace, and the interfaces in it.
func (p *port) open() error {
	return onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w; run it as root, or with \"unshare --map-root-user\" before it", err)
		}
		if p.space, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("/proc/thread-self/ns/net: %w", err)
		}
		if err := p.openTun(); err != nil {
			return err
		}
		return p.configure()
	})
}

func (p *port) openTun() error {
	const device = "/dev/net/tun"
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w; \"modprobe tun\" makes it, and \"--device %[1]s\" gives it to a container", device, err)
	case err != nil:
		return fmt.Errorf("%s: %w; run it as root", device, err)
	}
	err = setInterface(fd, unix.TUNSETIFF, tunName, func(r *unix.Ifreq) error {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return nil
	})
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	p.tun = os.NewFile(uintptr(fd), device) // which polls it: only now it can be
	return nil
}

func (p *port) configure() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	up := func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }
	return errors.Join(
		setInterface(fd, unix.SIOCSIFFLAGS, "lo", up),
		setInterface(fd, unix.SIOCSIFADDR, tunName, func(r *unix.Ifreq) error { return r.SetInet4Addr(p.address.AsSlice()) }),
		setInterface(fd, unix.SIOCSIFNETMASK, tunName, func(r *unix.Ifreq) error { return r.SetInet4Addr(netmask) }),
		setInterface(fd, unix.SIOCSIFMTU, tunName, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }),
		setInterface(fd, unix.SIOCSIFFLAGS, tunName, up),
	)
}

// setInterface makes a request about an interface (netdevice(7)).
func setInterface(fd int, request uint, name string, fill func(*unix.Ifreq) error) error {
	r, err := unix.NewIfreq(name)
	if err == nil {
		err = fill(r)
	}
	if err == nil {
		err = unix.IoctlIfreq(fd, request, r)
	}
	if err != nil {
		return fmt.Errorf("interface %s, request %#x: %w; this needs CAP_NET_ADMIN: run it as root", name, request, err)
	}
	return nil
}

func (s *namespaces) portOf(n *node) *port {
	for _, p := range s.ports {
		if p.node == n {
			return p
		}
	}
	return nil
}

func (s *namespaces) at(n *node, fn func() error) error {
	p := s.portOf(n)
	return onThread(func() error {
		if err := unix.Setns(p.space, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("network namespace of node %s: %w", n.Name, err)
		}
		return fn()
	})
}

// read forwards what a node sends, until its interface is closed.
func (s *namespaces) read(p *port) {
	buffer := make([]byte, mtu)
	for {
		n, err := p.tun.Read(buffer)
		if err != nil {
			return
		}
		if to := s.destination(buffer[:n]); to != nil {
			s.forward(link{p, to}, buffer[:n])
		}
	}
}

// destination returns whom a packet is for; nil, if that is no node.
func (s *namespaces) destination(packet []byte) *port {
	const version, destination, shortest = 0, 16, 20 // RFC 791
	if len(packet) < shortest || packet[version]>>4 != 4 {
		return nil
	}
	address, _ := netip.AddrFromSlice(packet[destination : destination+4])
	for _, p := range s.ports {
		if p.address == address {
			return p
		}
	}
	return nil
}

func (s *namespaces) forward(l link, packet []byte) {
	s.mu.RLock()
	q := s.bad[l]
	s.mu.RUnlock()
	switch {
	case rand.Float64() < q.lost:
	case rand.Float64() < q.late:
		packet = bytes.Clone(packet)
		s.late.Add(1)
		time.AfterFunc(q.lateBy[0]+rand.N(q.lateBy[1]-q.lateBy[0]), func() {
			defer s.late.Done()
			l.to.take(packet)
		})
	default:
		l.to.take(packet)
	}
}

// take gives a packet to the node's kernel. One that it does not take is lost.
func (p *port) take(packet []byte) { _, _ = p.tun.Write(packet) }

func (s *namespaces) disturb(f Fault, n *node, random *rand.Rand) (ways string, mend func(), err error) {
	self, q := s.portOf(n), dead
	others := slices.DeleteFunc(slices.Clone(s.ports), func(p *port) bool { return p == self })
	one := random.IntN(len(others))
	out, in := true, true
	switch f {
	case Cut:
	case Loss:
		q = lossy
	case Delay:
		q = slow
	case Split:
		others = others[one : one+1]
	case OneWay:
		out = random.IntN(2) == 0
		in = !out
		if random.IntN(2) == 0 {
			others = others[one : one+1]
		}
	default:
		return "", nil, fmt.Errorf("namespaces do not have the fault %q", f)
	}
	bad, list := map[link]quality{}, []string{}
	for _, other := range others {
		if out {
			bad[link{self, other}] = q
			list = append(list, n.Name+"→"+other.node.Name)
		}
		if in {
			bad[link{other, self}] = q
			list = append(list, other.node.Name+"→"+n.Name)
		}
	}
	s.set(bad)
	return strings.Join(list, ", "), func() { s.set(nil) }, nil
}

func (s *namespaces) set(bad map[link]quality) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = bad
}

func (s *namespaces) end() {
	for _, p := range s.ports {
		p.close()
	}
	s.readers.Wait()
	s.late.Wait()
}
