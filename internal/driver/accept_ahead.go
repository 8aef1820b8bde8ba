package driver

import (
	"net/netip"
	"slices"

	"github.com/epinet/epi/internal/sock"
)

// acceptAhead is what drivers have in common that accept connections before the loop gets
// them. Those wait until Dispatch hands them over, or, while accepting is off, until it goes
// on.
type acceptAhead struct {
	of   *sockets
	by   accepter
	full []*Listening // with connections to hand over, each once
}

// An accepter is a driver that accepts ahead. What it has begun ends with a call of
// accepted.
type accepter interface {
	// beginAccept accepts, one connection or more.
	beginAccept(l *Listening)
	// await waits for somebody to be accepted. Accepting itself would fail at once when
	// there is no descriptor, whether somebody waits or not.
	await(l *Listening)
	// peer returns the address of a connection that was accepted.
	peer(h Handle) netip.AddrPort
	// dropAccepted closes a connection as if it had not been accepted.
	dropAccepted(h Handle)
}

func (a *acceptAhead) Listen(l *Listening) error {
	l.token = a.of.listeners.Insert(l)
	l.watched = true
	return a.Accept(l, true)
}

func (a *acceptAhead) Accept(l *Listening, on bool) error {
	l.wanted = on
	a.proceed(l)
	return nil
}

// proceed puts a listening socket on the list when there is something to hand over, and
// accepts when there is not.
func (a *acceptAhead) proceed(l *Listening) {
	switch {
	case !l.wanted:
	case len(l.waiting) == 0 && l.op == opIdle:
		a.by.beginAccept(l)
	case len(l.waiting) > 0 && !slices.Contains(a.full, l):
		a.full = append(a.full, l)
	}
}

// accepted follows up what was begun: it has put a connection among those that wait, has met
// an error, or somebody can be accepted. The caller has noted whether it goes on.
func (a *acceptAhead) accepted(l *Listening, err error) {
	if err == nil || !l.wanted || sock.ClientLost(err) {
		a.proceed(l)
		return
	}
	l.Acceptor.Accepted(NoHandle, netip.AddrPort{}, err)
	if l.wanted && l.op == opIdle {
		a.by.await(l)
	}
}

// handOver gives the engine what waits, of each listening socket within the budget. When a
// callback ends its goroutine, the rest is for the next call.
func (a *acceptAhead) handOver() {
	for range len(a.full) {
		l := a.full[0]
		a.handOverOf(l)
		a.unlist(l)
		a.proceed(l)
	}
}

func (a *acceptAhead) handOverOf(l *Listening) {
	n := 0
	defer func() { l.waiting = l.waiting[:copy(l.waiting, l.waiting[n:])] }()
	for n < min(len(l.waiting), a.of.cfg.AcceptBudget) && l.wanted {
		h := l.waiting[n]
		n++
		l.Acceptor.Accepted(h, a.by.peer(h), nil)
	}
}

func (a *acceptAhead) unlist(l *Listening) {
	if i := slices.Index(a.full, l); i >= 0 {
		a.full = slices.Delete(a.full, i, i+1)
	}
}

// forgetListening drops what waits. Whatever is brought later finds no listening socket.
func (a *acceptAhead) forgetListening(l *Listening) {
	a.unlist(l)
	for _, h := range l.waiting {
		a.by.dropAccepted(h)
	}
	l.waiting = nil
	l.wanted, l.watched = false, false
	a.of.listeners.Remove(l.token)
}
