package epi

import (
	"net"
	"time"

	"github.com/epinet/epi/internal/driver"
)

// attemptDelay is how long an attempt to connect has before the next address is
// tried beside it (RFC 8305, section 5).
const attemptDelay = 250 * time.Millisecond

// A race is the attempts to connect to several addresses of one name; the first
// to succeed becomes the connection (RFC 8305):
//
//	address 1  ├──────────────────── … ✗ closed
//	address 2        ├─────✓ ──► Conn
//	address 3              (not begun)
//	           ╵250 ms╵
//
// The next begins at once when the last one begun has failed. It belongs to the
// loop.
type race struct {
	dialing  *dialing
	addrs    []net.Addr // not tried yet
	attempts map[*attempt]struct{}
	next     *Timer // begins the next attempt; nil when none is due
}

// An attempt is one socket of a race.
type attempt struct {
	driver.Stream // nil: what follows Connected is not for an attempt

	race *race
	sock driver.Socket
	addr net.Addr
}

// start begins the race of d.
func (r *race) start(d *dialing) {
	r.dialing, r.addrs = d, interleave(d.addrs)
	r.attempts = map[*attempt]struct{}{}
	r.begin()
}

// interleave orders addresses so that the families take turns, beginning with the
// one that the system prefers (RFC 8305, section 4).
func interleave(addrs []net.Addr) []net.Addr {
	var first, second []net.Addr
	for _, addr := range addrs {
		if isIPv4(addr) == isIPv4(addrs[0]) {
			first = append(first, addr)
		} else {
			second = append(second, addr)
		}
	}
	mixed := make([]net.Addr, 0, len(addrs))
	for len(first) > 0 && len(second) > 0 {
		mixed = append(mixed, first[0], second[0])
		first, second = first[1:], second[1:]
	}
	return append(append(mixed, first...), second...)
}

func isIPv4(addr net.Addr) bool { return addr.(*net.TCPAddr).IP.To4() != nil }

// begin makes the next attempt, and decides about the end when there is none.
func (r *race) begin() {
	r.stopTimer()
	c := r.dialing.conn
	for len(r.addrs) > 0 {
		a := &attempt{race: r, addr: r.addrs[0]}
		a.sock.Stream = a
		a.sock.Handle = driver.NoHandle
		r.addrs = r.addrs[1:]
		if err := c.loop.drv.Connect(&a.sock, r.dialing.from, a.addr, r.dialing.settings); err != nil {
			r.dialing.note(a.addr, err)
			continue
		}
		r.attempts[a] = struct{}{}
		c.loop.attempts++
		if len(r.addrs) > 0 {
			r.next = c.loop.After(attemptDelay, r.begin)
		}
		return
	}
	if len(r.attempts) == 0 {
		r.dialing.fail(r.dialing.err)
	}
}

func (r *race) stopTimer() {
	if r.next != nil {
		r.next.Stop()
		r.next = nil
	}
}

// stop ends the attempts that are under way.
func (r *race) stop() {
	r.stopTimer()
	for a := range r.attempts {
		r.dialing.conn.loop.drv.Close(&a.sock, true)
	}
	clear(r.attempts)
}

// won makes the socket of an attempt the connection's.
func (r *race) won(a *attempt) {
	d := r.dialing
	c := d.conn
	h := c.loop.drv.Surrender(&a.sock)
	r.stop()
	c.sock.Handle = h
	if err := c.loop.drv.Open(&c.sock); err != nil {
		c.sock.Handle = driver.NoHandle
		c.loop.engine.shared.Discard(h)
		d.fail(err)
		return
	}
	d.setPeer(a.addr)
	c.connected(nil)
}

// Connected is called by the driver, as is Closed.
func (a *attempt) Connected(err error) {
	r := a.race
	delete(r.attempts, a)
	r.dialing.conn.loop.attempts--
	if err == nil {
		r.won(a)
		return
	}
	r.dialing.note(a.addr, err)
	r.begin()
}

// Closed is called for those that have lost.
func (a *attempt) Closed() { a.race.dialing.conn.loop.attempts-- }

func (a *attempt) dialled() *Conn { return a.race.dialing.conn }
