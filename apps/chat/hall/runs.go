package hall

import (
	"slices"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A run is a command that another node carries out for a session here, which waits for it.
type run struct {
	number  uint64
	session *session
	node    *node
	piece   piece
	hops    int
	since   int64
	joined  []*member // to be shown with a label
	doubt   bool      // something that its node said was lost
	end     func(*doneOp)
}

// A farRun is a command that is carried out here for a session of another node.
type farRun struct {
	number uint64
	node   *node
	said   []int64 // messages that it has recorded
}

// runOp asks another node to carry out a command.
type runOp struct {
	Run     uint64    `json:"r"`
	Session SessionID `json:"s"`
	Label   string    `json:"l,omitempty"`
	Command string    `json:"c"`
	Params  []string  `json:"p"`
	Tags    string    `json:"t,omitempty"`
	Parts   []runPart `json:"m,omitempty"`
	// Mentions are those of the command. A node of an earlier version sends none.
	Mentions []mention `json:"u,omitempty"`

	from *node
}

// runPart is a line of a batch.
type runPart struct {
	Text   string `json:"t"`
	Concat bool   `json:"c,omitempty"`
}

// doneOp is the end of it. With a label, the answer comes with it.
type doneOp struct {
	Run     uint64 `json:"r"`
	Out     string `json:"o,omitempty"`
	Begins  []int  `json:"b,omitempty"`
	Refused bool   `json:"f,omitempty"`
	// Owner is who carries it out instead; Failed: it was not carried out.
	Owner  fabric.Node `json:"w,omitempty"`
	Failed bool        `json:"x,omitempty"`
	// unknown: no answer has come, and it may have been carried out. No node says so of another's.
	unknown bool
	// Answered: the session has its answer already.
	Answered bool `json:"d,omitempty"`
}

// maxHops is how often a command goes on to another node: who owns a channel may change
// meanwhile.
const maxHops = 4

// runWait is how long an answer is waited for, in milliseconds.
const runWait = 10_000

// carryOut does the pieces of a command one after the other, each where it belongs.
func (h *Hall) carryOut(s *session, pieces []piece) {
	for i := range pieces {
		if s.gone {
			return
		}
		h.carryOutOne(s, &pieces[i])
		if s.rare != nil && s.rare.work != nil {
			h.afterwards(s, pieces[i+1:])
			return
		}
	}
}

// afterwards goes on with the rest of a command when the session no longer waits.
func (h *Hall) afterwards(s *session, rest []piece) {
	if len(rest) == 0 {
		return
	}
	w := s.rare.work
	then := w.then
	w.then = func(r *Result) {
		then(r)
		if s.rare != nil && s.rare.work != nil {
			h.afterwards(s, rest)
			return
		}
		h.carryOut(s, rest)
	}
}

func (h *Hall) carryOutOne(s *session, p *piece) {
	n := h.net
	switch {
	case p.user != nil && p.user.net.node != nil:
		h.sendRun(s, p, p.user.net.node, 0)
	case p.user != nil && !n.live:
		h.unavailable(s, p)
	case p.channel == "" || p.user != nil:
		p.run(h, s)
	case s.user.isUnconfirmed():
		h.unavailable(s, p)
	case !h.validChannelName(p.channel) || !p.makes && h.findChannel(p.channel) == nil:
		p.run(h, s) // it says why not
	default:
		h.carryOutIn(s, p)
	}
}

// carryOutIn does what concerns a channel.
func (h *Hall) carryOutIn(s *session, p *piece) {
	n, name := h.net, fold(p.channel)
	if g := n.grants[name]; n.live && g != nil && g.held {
		h.doOwned(s, p)
		return
	}
	c := h.channels[name]
	switch {
	case !n.live:
		h.unavailable(s, p)
	case c != nil && c.net.owner != nil:
		h.sendRun(s, p, c.net.owner, 0)
	case s.far != nil && n.mayOwn(): // its node has chosen this one
		h.claimFor(s, p, 0)
	default:
		home, _ := fabric.Home(name, n.members())
		if at := n.nodes[home.Node]; at != nil {
			h.sendRun(s, p, at, 0)
			return
		}
		h.claimFor(s, p, 0)
	}
}

// doOwned does what concerns a channel that is owned here.
func (h *Hall) doOwned(s *session, p *piece) {
	if p.message.Command != "RENAME" || !h.validChannelName(param(p.message.Params, 1)) {
		p.run(h, s)
		return
	}
	h.claimName(s, p) // the new one, too
}

func (h *Hall) claimName(s *session, p *piece) {
	name := fold(p.message.Params[1])
	h.whenOwned(s, name, func(holder fabric.Node, err error) {
		switch {
		case holder != "":
			h.fail(s, "RENAME", "CHANNEL_NAME_IN_USE", p.message.Params[0], p.message.Params[1], "The channel name is already taken")
		case err != nil || h.net.grants[fold(p.channel)] == nil:
			h.unavailable(s, p)
		default:
			p.run(h, s)
		}
	})
}

// claimFor claims a channel for a command.
func (h *Hall) claimFor(s *session, p *piece, hops int) {
	h.whenOwned(s, fold(p.channel), func(holder fabric.Node, err error) {
		at := h.net.nodes[holder]
		switch {
		case err == nil && holder == "":
			h.doOwned(s, p)
		case err != nil || at == nil || hops >= maxHops:
			h.unavailable(s, p)
		default:
			h.sendRun(s, p, at, hops+1)
		}
	})
}

// whenOwned calls then in a turn of a session when a name is owned here, or cannot be.
func (h *Hall) whenOwned(s *session, name string, then func(holder fabric.Node, err error)) {
	var holder fabric.Node
	var failed error
	now, later := true, false
	h.acquire(name, func(at fabric.Node, err error) {
		holder, failed = at, err
		if now {
			now = false
			return
		}
		if !s.gone && later {
			h.resume(s, nil)
		}
	})
	if !now {
		then(holder, failed)
		return
	}
	now, later = false, true
	h.suspend(s, func(*Result) { then(holder, failed) })
}

// suspend lets the session whose turn it is wait until it is resumed, in a turn with the same
// label.
func (h *Hall) suspend(s *session, then func(*Result)) {
	t := &h.turn
	w := &work{label: t.label, command: t.command, then: then, run: t.run, mentions: t.mentions, refused: t.refused}
	if t.label != "" {
		w.out, w.begins = slices.Clone(t.out), slices.Clone(t.begins)
		t.out, t.begins = t.out[:0], t.begins[:0]
	}
	t.deferred = true
	s.extra().work = w
	h.flush()
}

// unavailable refuses what cannot be done now: the node that would do it is not reached.
func (h *Hall) unavailable(s *session, p *piece) {
	code := "CHANNEL_UNAVAILABLE"
	if p.user != nil {
		code = "USER_UNAVAILABLE"
	}
	h.fail(s, p.message.Command, code, printable(p.target()), "This cannot be done now, since a part of the network is not reached; try again later")
}

// unanswered says that nobody knows what has become of a command: the node that was to do it has
// not answered.
func (h *Hall) unanswered(s *session, p *piece) {
	h.fail(s, p.message.Command, "NO_ANSWER", printable(p.target()), "A part of the network does not answer: this may have been done; look before you try again")
}

// target is what a piece is about.
func (p *piece) target() string {
	if p.user != nil {
		return p.user.nick()
	}
	return p.channel
}

// sendRun has another node do a piece. A session of another node is sent there by its own.
func (h *Hall) sendRun(s *session, p *piece, to *node, hops int) {
	n := h.net
	if s.far != nil {
		h.turn.run.moved(h, to.member.Node)
		return
	}
	if !n.live || hops > maxHops {
		h.unavailable(s, p)
		return
	}
	h.sendChanged()
	n.last++
	r := &run{number: n.last, session: s, node: to, piece: *p, hops: hops, since: h.now}
	n.runs[r.number] = r
	o := runOp{Run: r.number, Session: s.id, Label: h.turn.label, Command: p.message.Command, Params: p.message.Params, Tags: string(p.message.Tags), Mentions: p.mentions}
	if p.speech != nil {
		for _, part := range p.speech.parts {
			o.Parts = append(o.Parts, runPart{part.text, part.concat})
		}
		for _, tag := range p.speech.tags {
			o.Tags = joinTags(o.Tags, string(ircmsg.AppendTag(nil, tag.Key, tag.Value)))
		}
	}
	var end *doneOp
	h.suspend(s, func(*Result) { h.ended(r, end) })
	r.end = func(d *doneOp) {
		end = d
		h.resume(s, nil)
	}
	n.post(to, "run", o, nil)
}

// gotDone goes on with the session that has waited.
func (h *Hall) gotDone(from *node, d *doneOp) {
	r := h.net.runs[d.Run]
	if r == nil || r.node != from {
		return
	}
	h.finish(r, d)
}

// finish ends a run.
func (h *Hall) finish(r *run, d *doneOp) {
	delete(h.net.runs, r.number)
	if !r.session.gone {
		r.end(d)
	}
}

// ended is the rest of a command in the turn of its session.
func (h *Hall) ended(r *run, d *doneOp) {
	s, t := r.session, &h.turn
	if d.Answered {
		t.label, t.refused = "", true
		return
	}
	if d.unknown {
		h.unanswered(s, &r.piece)
		return
	}
	if d.Failed {
		h.unavailable(s, &r.piece)
		return
	}
	if d.Owner != "" {
		h.goOn(r, d.Owner)
		return
	}
	for _, begin := range d.Begins {
		t.begins = append(t.begins, len(t.out)+begin)
	}
	t.out = append(t.out, d.Out...)
	t.refused = t.refused || d.Refused
	for _, m := range r.joined {
		if s.user.in(m.channel) == m {
			h.showTo(s, m)
		}
	}
}

// goOn has a piece done by another node than the one that was asked.
func (h *Hall) goOn(r *run, owner fabric.Node) {
	n := h.net
	switch at := n.nodes[owner]; {
	case owner == n.self.Node && r.hops < maxHops:
		r.hops++
		h.claimFor(r.session, &r.piece, r.hops)
	case at != nil && r.hops < maxHops:
		h.sendRun(r.session, &r.piece, at, r.hops+1)
	default:
		h.unavailable(r.session, &r.piece)
	}
}

// gotRun carries out a command for a session of another node.
func (h *Hall) gotRun(from *node, o *runOp) {
	o.from = from
	s := from.sessions[o.Session]
	if s == nil {
		h.net.post(from, "done", doneOp{Run: o.Run, Failed: true}, nil)
		return
	}
	if s.waits() {
		h.hold(s, &held{run: o})
		return
	}
	h.runFor(s, o)
}

func (h *Hall) runFor(s *session, o *runOp) {
	c := commands[o.Command]
	h.beginTurn(s, o.Label)
	h.turn.command, h.turn.run, h.turn.mentions = o.Command, &farRun{number: o.Run, node: o.from}, o.Mentions
	defer h.endTurn()
	m := &ircmsg.Message{Tags: ircmsg.Tags(o.Tags), Command: o.Command, Params: o.Params}
	if o.Parts != nil {
		h.carryOut(s, []piece{h.speechPiece(s, param(o.Params, 0), o.speech(m))})
		return
	}
	switch {
	case c.run == nil || len(m.Params) < c.params:
		h.turn.run.fail(h)
	case c.right != "" && !s.user.may(h, c.right):
		h.reply(s, nNoPrivileges, "Permission Denied - You're not an IRC operator")
	default:
		if pieces := h.pieces(s, c, m); pieces != nil {
			h.carryOut(s, pieces)
		} else {
			c.run(h, s, m.Params, m)
		}
		if c.right != "" && !h.turn.refused {
			h.logDeed(s.user, c.name, m.Params)
		}
	}
}

func (o *runOp) speech(m *ircmsg.Message) *speech {
	sp := &speech{command: o.Command, text: param(o.Params, 1), tags: m.Tags.ClientOnly(CapMessageTags)}
	for _, p := range o.Parts {
		sp.parts = append(sp.parts, part{p.Text, p.Concat})
	}
	return sp
}

// moved says that another node is to carry out a command.
func (r *farRun) moved(h *Hall, owner fabric.Node) {
	h.net.post(r.node, "done", doneOp{Run: r.number, Owner: owner}, nil)
	r.number = 0
}

func (r *farRun) fail(h *Hall) {
	h.net.post(r.node, "done", doneOp{Run: r.number, Failed: true}, nil)
	r.number = 0
}

// endRun sends what a turn has gathered to the session's node, and its end, unless that is
// to come.
func (h *Hall) endRun() {
	t := &h.turn
	r := t.run
	if t.label == "" || t.session.gone {
		h.flush()
		t.out = t.out[:0]
	}
	if t.deferred || r.number == 0 {
		return
	}
	d := doneOp{Run: r.number, Refused: t.refused}
	if len(t.out) > 0 {
		d.Out, d.Begins = string(t.out), t.begins
	}
	records := t.records
	if d.Out == "" && len(r.said) == 1 {
		records = r.said // so that it goes with what is said, in one parcel
	}
	h.net.post(r.node, "done", d, records) // or not: see unkept
	t.records = nil
}

// inChannel says that a user of the node that it goes to is in a channel now, and has seen
// the JOIN.
type inChannel struct {
	Channel string `json:"c"`
	User    uint64 `json:"u"`
	Run     uint64 `json:"r,omitempty"` // the cause
}

func (h *Hall) gotIn(from *node, in *inChannel) {
	u := h.net.here[in.User]
	m := u.in(h.channels[in.Channel])
	if m == nil {
		return
	}
	m.since = h.lastID
	r := h.net.runs[in.Run]
	for _, own := range u.sessions {
		if r != nil && r.node == from && r.session == own && own.rare.work.label != "" {
			r.joined = append(r.joined, m)
			continue
		}
		h.beginTurn(own, "")
		h.showTo(own, m)
		h.endTurn()
	}
}

// remindNetwork fails runs that nobody answers, and tries again what waits for others.
func (h *Hall) remindNetwork() {
	n := h.net
	var late []*run
	for _, r := range n.runs {
		if h.now-r.since > runWait {
			late = append(late, r)
		}
	}
	h.failRuns(late)
	for _, at := range n.order {
		if at.behind != 0 && h.now-at.behind > againEvery {
			h.askAgain(at)
		}
	}
	h.adoptOrphans()
	h.goBack()
}

// doubt notes that the answers of a node may have been lost.
func (h *Hall) doubt(at *node) {
	for _, r := range h.net.runs {
		r.doubt = r.doubt || r.node == at
	}
}

// endDoubt fails runs whose answers were lost: the node has said all since.
func (h *Hall) endDoubt(at *node) {
	var lost []*run
	for _, r := range h.net.runs {
		if r.node == at && r.doubt {
			lost = append(lost, r)
		}
	}
	h.failRuns(lost)
}

func (h *Hall) failRuns(runs []*run) {
	slices.SortFunc(runs, func(a, b *run) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	for _, r := range runs {
		if h.net.runs[r.number] == r {
			h.finish(r, &doneOp{unknown: true})
		}
	}
}
