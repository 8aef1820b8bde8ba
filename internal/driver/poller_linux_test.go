package driver

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

// A fakePoller is the poll.Poller of a world. With level it reports what holds, with
// edge what has changed since, several changes as one, and with one-shot once; and
// now and then what does not hold at all.
//
// It ends the run where the driver breaks the contract: a descriptor closed while it
// is registered, two registrations of one.
type fakePoller struct {
	*world
	registered []*registration // in the order of Add
	woken      bool
	refuses    bool // to watch anything anew
	slept      bool // a Wait would have slept for ever
	events     int  // that were reported
}

// A registration is one descriptor that is watched.
type registration struct {
	file     *file
	token    uint64
	interest poll.Mask
	mode     poll.Mode
	changed  bool // edge: since it was last reported
	fired    bool // one-shot: it was reported
}

func newFakePoller(w *world) *fakePoller {
	p := &fakePoller{world: w}
	w.changed = p.notice
	w.closing = func(f *file) {
		if p.find(f) != nil {
			p.Failf("%v is closed, and is registered", f)
		}
	}
	w.stopping = func(f *file) {
		p.registered = slices.DeleteFunc(p.registered, func(r *registration) bool { return r.file == f })
	}
	return p
}

func (p *fakePoller) find(f *file) *registration {
	for _, r := range p.registered {
		if r.file == f {
			return r
		}
	}
	return nil
}

// notice is called when something has happened to a socket.
func (p *fakePoller) notice(f *file) {
	if r := p.find(f); r != nil {
		r.changed = true
	}
}

// state returns what holds of a socket.
func (p *fakePoller) state(f *file) poll.Mask {
	var m poll.Mask
	if f.fd == listeningFD {
		if len(p.clients) > 0 {
			m |= poll.Readable
		}
		return m
	}
	if f.datagrams != nil || f.gate != nil {
		return p.packetState(f)
	}
	switch f.connect {
	case underWay:
		return 0
	case refused:
		return poll.Readable | poll.Writable | poll.Error | poll.HangUp
	}
	if len(f.arrived) > 0 || f.over() {
		m |= poll.Readable
	}
	if f.room > 0 || f.err != 0 {
		m |= poll.Writable
	}
	if f.over() {
		m |= poll.ReadHangUp
	}
	if f.mark >= 0 {
		m |= poll.Priority
	}
	if f.err != 0 || f.notices {
		m |= poll.Error
	}
	if f.err != 0 || f.ended && f.shut {
		m |= poll.HangUp
	}
	return m
}

// ready returns what would be reported of a registration.
func (p *fakePoller) ready(r *registration) poll.Mask {
	if r.mode&poll.OneShot != 0 && r.fired || r.mode&poll.Edge != 0 && !r.changed {
		return 0
	}
	return p.state(r.file) & (r.interest | poll.Error | poll.HangUp)
}

func (p *fakePoller) Add(fd int, token uint64, interest poll.Mask, mode poll.Mode) error {
	f := p.file(fd, "Add")
	if p.find(f) != nil {
		return poll.ErrExist
	}
	if p.refuses || !p.quiet && p.Chance(60) {
		p.Fault("Add fails")
		p.Note("%v: Add fails", f)
		return unix.ENOMEM
	}
	p.Note("%v: Add, interest %b", f, interest)
	p.registered = append(p.registered, &registration{file: f, token: token, interest: interest, mode: mode, changed: true})
	return nil
}

func (p *fakePoller) Modify(fd int, token uint64, interest poll.Mask, mode poll.Mode) error {
	r := p.find(p.file(fd, "Modify"))
	if r == nil {
		p.Failf("Modify of descriptor %d, which is not registered", fd)
	}
	if p.refuses || !p.quiet && p.Chance(120) {
		p.Fault("Modify fails")
		p.Note("%v: Modify fails", r.file)
		return unix.ENOMEM
	}
	p.Note("%v: Modify, interest %b", r.file, interest)
	r.token, r.interest, r.mode = token, interest, mode
	r.changed, r.fired = true, false
	return nil
}

func (p *fakePoller) Remove(fd int) error {
	f := p.file(fd, "Remove")
	r := p.find(f)
	if r == nil {
		return poll.ErrNotExist
	}
	p.registered = slices.DeleteFunc(p.registered, func(other *registration) bool { return other == r })
	return nil
}

func (p *fakePoller) Wait(events []poll.Event, timeout time.Duration) (int, error) {
	p.file(listeningFD, "Wait")
	n := 0
	for _, r := range p.shuffled() {
		ready := p.ready(r)
		if !p.quiet && p.Chance(40) {
			p.Fault("spurious event")
			ready |= p.spurious(r)
		}
		if ready == 0 || n == len(events) {
			continue
		}
		r.changed, r.fired = false, true
		p.Note("%v: event %b", r.file, ready)
		events[n] = poll.Event{Token: r.token, Ready: ready}
		n++
	}
	if n == 0 && timeout < 0 && !p.woken {
		p.slept = true
	}
	p.woken = false
	p.events += n
	return n, nil
}

// spurious returns conditions that the registration asks for, and that need not hold.
func (p *fakePoller) spurious(r *registration) poll.Mask {
	if r.mode&poll.OneShot != 0 && r.fired || r.file.connect != connected {
		return 0
	}
	return r.interest & poll.Mask(1+p.Choose(15))
}

// shuffled returns the registrations in any order: that of events has no meaning.
func (p *fakePoller) shuffled() []*registration {
	all := slices.Clone(p.registered)
	for i := len(all) - 1; i > 0; i-- {
		j := p.Choose(i + 1)
		all[i], all[j] = all[j], all[i]
	}
	return all
}

func (p *fakePoller) Wake() error  { p.woken = true; return nil }
func (p *fakePoller) Close() error { return nil }
func (p *fakePoller) progress()    {}
func (p *fakePoller) ahead() bool  { return false }

func (p *fakePoller) stuck() bool {
	slept := p.slept
	p.slept = false
	return slept
}

// rest fails unless the loop can sleep: nothing is reported for ever.
func (p *fakePoller) rest(s *session) {
	for range 100 {
		before := p.events
		s.work()
		s.turn(0)
		if p.events == before {
			return
		}
	}
	p.Failf("nothing happens any more, and the loop has events")
}

// check is that of kernel.
func (p *fakePoller) check(s *session) {
	d := s.d.(*readiness)
	if n := d.listeners.Len() + len(d.unwatchable); n > 0 {
		p.Failf("left: %d listening, %d broken", d.listeners.Len(), len(d.unwatchable))
	}
	for _, r := range p.registered {
		p.Failf("%v is still registered", r.file)
	}
}
