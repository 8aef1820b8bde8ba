package hall

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/ircmsg"
)

// Several halls make one network: each has the sessions of its own machine, and a copy of
// all users and channels. A user is changed by the hall that has the sessions, a channel
// by the one that owns it: commands for a channel are carried out there, with a session
// that stands for the far one, and what is to be seen and what has changed comes back.
//
// What comes from other nodes is an event, what goes to them a call of the Wire, so that a
// hall in a network is as deterministic as one alone.

// A Wire takes what a hall says to the network. Its methods are called during Hall.Apply,
// must not block, and must not call the hall.
type Wire interface {
	// Carry gives data to another node, in the order of the calls for each node, and
	// after what was said to the Gate before: also after the records that are not durable
	// yet. With records, it is not carried if one of them could not be kept. The data is
	// the wire's.
	Carry(to fabric.Node, data []byte, records []int64)

	// Append adds an entry to the replicated history of a name, which nodes read that were
	// away: see Replayed. It goes in as Carry does. It is that of a record with a number, or of a
	// change that is kept with its Outgoing, and has a number there. It comes there sooner or later,
	// also if this process ends first. The numbers of records must grow from call to call.
	Append(name string, entry []byte, record, change int64)

	// Claim asks for a key; the answer is an event with the same number.
	Claim(number uint64, key fabric.Key)

	// Release gives a key back.
	Release(key fabric.Key)
}

// A NewsKind says what has happened in the network.
type NewsKind uint8

const (
	// Leased: the own node has a lease, of News.From. Before that, and after Fenced, it owns
	// nothing.
	Leased NewsKind = iota
	// Fenced: the own lease is over; all other nodes are down.
	Fenced
	// NodeUp and NodeDown are members that come and go.
	NodeUp
	NodeDown
	// NodeSaid is News.Data of a member.
	NodeSaid
	// NodeMissed: something that a member said was lost.
	NodeMissed
	// Replayed is an entry of the replicated history, in News.Data: maybe one that this node
	// has, or has made.
	Replayed
	// Changed is something that all nodes keep and one of them has changed, maybe this one:
	// News.Change.
	Changed
	// ClaimEnded is the end of a claim: News.Number, and News.Err if it was in vain.
	ClaimEnded
)

// News is an event of the network, in Event.News.
type News struct {
	Kind   NewsKind
	From   fabric.Member
	Data   []byte
	Change Change
	Number uint64
	Err    error
}

// network is what a hall knows of the other nodes. A hall alone has none.
type network struct {
	wire  Wire
	self  fabric.Member
	live  bool  // the own lease holds, and number is ours
	slot  int64 // in the numbers of messages
	nodes map[fabric.Node]*node
	order []*node // by name
	over  map[fabric.Node]fabric.Epoch

	claims   map[uint64]func(error)
	grants   map[string]*grant    // of channels, by folded name
	fresh    []*grant             // since the last event
	nicks    map[string]bool      // that this node has claimed, or is claiming
	altering map[uint64]*Outgoing // changes of records under way, by Work.Number
	runs     map[uint64]*run
	last     uint64    // claims, runs and users, by number
	far      SessionID // sessions of other nodes so far
	guests   int       // those that there are
	here     map[uint64]*user
	users    uint64 // introduced so far
	early    map[ref][]earlySeat
	lease    string // the own name and epoch
	split    string // those before this lease
	posts    []*posting
	orphans  int64 // since when there may be channels without an owner; 0: there are none
	returns  []*returning
	coming   map[*member]*returning // the same, by member
	changed  []*user                // by the event that is applied
	altered  []*channel             // the same
	latest   int64                  // Hall.lastID, when it was carried last
	now      int64                  // Hall.now, the same
	// vacancies are those of nicks that nobody has any more, the oldest first; marks counts the marks that
	// were posted for them.
	vacancies []*vacancy
	marks     uint64
}

// A node is another member of the network.
type node struct {
	member   fabric.Member
	users    map[uint64]*user
	seen     uint64                 // the highest number of a user that it has announced
	sessions map[SessionID]*session // by their numbers there
	sweep    map[uint64]bool        // users that it has not named since it began to send all
	unnamed  map[*channel]bool      // the same, channels
	behind   int64                  // since when it is to send all again; 0: it is not
	answers  bool                   // marks: a node of an earlier version does not
	marked   uint64                 // the last mark that it has answered, or that was before it came up
	ahead    int64                  // by how many milliseconds its clock is before the one here, at most
	partial  []byte                 // of a parcel in several pieces
	out      []byte                 // ops that were not carried yet
	records  []int64                // that these show
}

// A ref names a user in the network.
type ref struct {
	Node fabric.Node `json:"n"`
	User uint64      `json:"u"`
}

// userBits is how much of a user's number counts; above that is the epoch of its node.
const userBits = 24

func (r ref) epoch() fabric.Epoch { return fabric.Epoch(r.User >> userBits) }

// A presence is where a user is.
type presence struct {
	number uint64
	node   *node // nil is here
	told   bool  // the others may know: the nick is claimed
	stays  bool  // of a user of another node: it outlives its sessions
	quit   bool  // the same: its QUIT was shown here
}

// distance is how a session of another node is reached.
type distance struct {
	node *node
	id   SessionID // there
}

// farSessions is the bit that the numbers of sessions of other nodes have, and those of a
// gate have not.
const farSessions SessionID = 1 << 63

// Join makes the hall one of a network, before Restore and its first event. It owns nothing until
// Leased.
func (h *Hall) Join(wire Wire) {
	h.net = &network{
		wire: wire, nodes: map[fabric.Node]*node{}, over: map[fabric.Node]fabric.Epoch{}, claims: map[uint64]func(error){},
		grants: map[string]*grant{}, nicks: map[string]bool{}, altering: map[uint64]*Outgoing{}, runs: map[uint64]*run{}, here: map[uint64]*user{}, coming: map[*member]*returning{}, early: map[ref][]earlySeat{},
	}
}

// InNetwork says whether the hall is one of a network, and lets users in: that begins some time
// after Leased.
func (h *Hall) InNetwork() bool { return h.net != nil && h.net.live }

// applyNews applies an event of the network.
func (h *Hall) applyNews(e *News) {
	n := h.net
	switch e.Kind {
	case Leased:
		n.self = e.From
		h.takeSlot(0)
	case Fenced:
		h.fence()
	case NodeUp:
		h.nodeUp(e.From)
	case NodeDown:
		h.isOver(e.From.Node, e.From.Epoch)
	case NodeSaid:
		if at := h.nodeOf(e.From); at != nil {
			h.receive(at, e.Data)
		}
	case NodeMissed:
		if at := h.nodeOf(e.From); at != nil {
			h.askAgain(at)
		}
	case Replayed:
		h.replayed(e.Data)
	case Changed:
		h.gotChange(e.Change)
	case ClaimEnded:
		if then := n.claims[e.Number]; then != nil {
			delete(n.claims, e.Number)
			then(e.Err)
		}
	}
}

// isOver takes a node off whose lease is over.
func (h *Hall) isOver(name fabric.Node, epoch fabric.Epoch) {
	n := h.net
	if at := n.nodes[name]; at != nil && at.member.Epoch <= epoch {
		h.nodeDown(at)
	}
	n.over[name] = max(n.over[name], epoch)
}

// overOp says that a node's lease is over, before what follows from that: another node may know it
// later, and would show two users with one nick.
type overOp struct {
	Node  fabric.Node  `json:"n"`
	Epoch fabric.Epoch `json:"e"`
}

func (h *Hall) gotOver(_ *node, o *overOp) {
	if o.Node != h.net.self.Node { // the own lease is over by the own clock
		h.isOver(o.Node, o.Epoch)
	}
}

// askAgain has a node send all again, since something that it has sent was lost.
func (h *Hall) askAgain(at *node) {
	at.partial, at.sweep, at.unnamed, at.behind = nil, nil, nil, h.now
	h.doubt(at)
	h.net.post(at, "again", struct{}{}, nil)
	h.askToo(at)
	h.net.markAgain(at)
}

// againEvery is how long that is waited for, in milliseconds: it may be lost, too.
const againEvery = 2000

// nodeOf returns a member by what it has sent, or nil when its life is over.
func (h *Hall) nodeOf(m fabric.Member) *node {
	at := h.net.nodes[m.Node]
	if at == nil || at.member.Epoch != m.Epoch {
		return nil
	}
	return at
}

// claim asks for a key.
func (n *network) claim(key fabric.Key, then func(error)) {
	n.last++
	n.claims[n.last] = then
	n.wire.Claim(n.last, key)
}

// slotBits is how much of a message's number says where it was made, so that no two nodes
// give the same.
const slotBits = ircmsg.SlotBits

const slotMask = 1<<slotBits - 1

// takeSlot claims one of the slots, from the own name's on.
func (h *Hall) takeSlot(tried int64) {
	n := h.net
	if tried == slotMask {
		return // there are not so many nodes
	}
	first := int64(0)
	for _, b := range []byte(n.self.Node) {
		first = first*31 + int64(b)
	}
	slot := 1 + (first+tried)%slotMask // 0 is no slot
	n.claim(fabric.Key{Kind: fabric.Account, Name: fmt.Sprintf(" slot %d", slot)}, func(err error) {
		switch {
		case errors.Is(err, fabric.ErrTaken):
			h.takeSlot(tried + 1)
		case errors.Is(err, fabric.ErrUnavailable):
			h.takeSlot(tried)
		case err == nil:
			n.slot = slot
			h.begun()
		}
	})
}

// begun is the begin of a lease: all others get what is here.
func (h *Hall) begun() {
	n := h.net
	n.live = true
	n.split, n.lease = n.lease, fmt.Sprintf("%s %d", n.self.Node, n.self.Epoch)
	for _, at := range n.order {
		h.sendAll(at)
	}
	n.orphans = h.now
	h.comeBack()
	h.adoptOrphans()
}

func (h *Hall) nodeUp(m fabric.Member) {
	n := h.net
	if m.Node == n.self.Node {
		n.self = m
		if m.Draining && n.live {
			h.drain()
		}
		return
	}
	if m.Epoch <= n.over[m.Node] {
		return
	}
	if at := n.nodes[m.Node]; at != nil {
		if at.member.Epoch == m.Epoch {
			at.member = m
			return
		}
		h.nodeDown(at)
	}
	at := &node{member: m, marked: n.marks, users: map[uint64]*user{}, sessions: map[SessionID]*session{}}
	n.nodes[m.Node] = at
	n.order = append(n.order, at)
	slices.SortFunc(n.order, func(a, b *node) int { return strings.Compare(string(a.member.Node), string(b.member.Node)) })
	if n.live {
		h.sendAll(at)
		h.goBack()
	}
}

// members returns the own node and the others, for the choice among them.
func (n *network) members() []fabric.Member {
	all := make([]fabric.Member, 0, len(n.order)+1)
	all = append(all, n.self)
	for _, at := range n.order {
		all = append(all, at.member)
	}
	return all
}

// sendAll sends a node all users that are here and all channels that are owned here, and
// asks it what it was asked before.
func (h *Hall) sendAll(at *node) {
	n := h.net
	n.post(at, "all", allOp{Answers: true}, nil)
	for _, u := range h.everyone {
		if u.net.node == nil && u.net.told {
			n.post(at, "user", h.portrait(u), nil)
		}
	}
	n.post(at, "users", struct{}{}, nil)
	for _, c := range h.slots {
		if c != nil && c.net.mine {
			n.post(at, "channel", h.snapshot(c), nil)
		}
	}
	n.post(at, "channels", struct{}{}, nil)
	h.askToo(at)
	n.markAgain(at)
}

// allOp is the begin of all that a node has to say.
type allOp struct {
	Answers bool `json:"m,omitempty"` // marks
}

func (h *Hall) gotAll(from *node, a *allOp) {
	from.answers = a.Answers
	h.beginSweep(from)
}

// An op is one thing that a node says to another.
type op struct {
	Kind string          `json:"k"`
	Body json.RawMessage `json:"b"`
}

// A parcel is what a node carries at once.
type parcel struct {
	// Last is the number of the latest message that the sender knows: what the receiver
	// numbers next comes after it, whatever the clocks say.
	Last int64 `json:"l"`
	// Now is the sender's clock, in milliseconds since 1970.
	Now int64 `json:"t,omitempty"`
	Ops []op  `json:"o"`
}

// post adds an op to what a node gets. It is not carried if one of records cannot be
// kept.
func (n *network) post(to *node, kind string, body any, records []int64) {
	n.put(to, kind, encode(kind, body), records)
}

// postAll is post to all nodes.
func (n *network) postAll(kind string, body any, records []int64) {
	if len(n.order) > 0 && n.live {
		n.putAll(kind, encode(kind, body), records)
	}
}

// putAll is postAll of what is encoded.
func (n *network) putAll(kind string, body []byte, records []int64) {
	if !n.live {
		return
	}
	for _, at := range n.order {
		n.put(at, kind, body, records)
	}
}

// encode writes the body of an op.
func encode(kind string, body any) []byte {
	data, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", kind, err)) // all bodies are of types that can be written
	}
	return data
}

// maxParcel is the size from which ops are carried before the event is done, and that of
// the pieces of what is larger.
const maxParcel = fabric.MaxMessage / 2

func (n *network) put(to *node, kind string, body []byte, records []int64) {
	if len(to.out) > 0 && (!slices.Equal(records, to.records) || len(to.out) > maxParcel) {
		n.flush(to)
	}
	if len(to.out) > 0 {
		to.out = append(to.out, ',')
	}
	to.records = records
	to.out = append(to.out, `{"k":"`...)
	to.out = append(to.out, kind...)
	to.out = append(to.out, `","b":`...)
	to.out = append(to.out, body...)
	to.out = append(to.out, '}')
}

// The first byte of what nodes say to each other. All of them are here, also what gates say
// for themselves, so that no two are alike.
const (
	wholeParcel = 'p'
	morePieces  = 'm' // a piece, and there are more
	// ReadAgain is a gate's: something was appended to the replicated history later than it
	// should have been, so those who have read it lack that.
	ReadAgain = 'j'
)

// latest and now are set by the hall before it flushes.
func (n *network) flush(to *node) {
	if len(to.out) == 0 {
		return
	}
	ops, records := to.out, to.records
	to.out, to.records = nil, nil
	data := fmt.Appendf(make([]byte, 0, len(ops)+72), `{"l":%d,"t":%d,"o":[`, n.latest, n.now)
	data = append(append(data, ops...), "]}"...)
	for len(data) > maxParcel {
		n.wire.Carry(to.member.Node, append([]byte{morePieces}, data[:maxParcel]...), records)
		data = data[maxParcel:]
	}
	n.wire.Carry(to.member.Node, append([]byte{wholeParcel}, data...), records)
}

// carryAll carries what the event has said to other nodes.
func (h *Hall) carryAll() {
	n := h.net
	h.dropUnused()
	n.latest, n.now = h.lastID, h.now
	for _, at := range n.order {
		n.flush(at)
	}
}

// receive applies what a node has said.
func (h *Hall) receive(from *node, data []byte) {
	if len(data) == 0 {
		return
	}
	piece := data[1:]
	if data[0] == morePieces {
		from.partial = append(from.partial, piece...)
		return
	}
	data = piece
	if from.partial != nil {
		data = append(from.partial, piece...)
		from.partial = nil
	}
	p, err := decode[parcel](data)
	if err != nil {
		h.gate.Fault(fmt.Errorf("what node %s says cannot be read: %w", from.member.Node, err))
		return
	}
	h.lastID = max(h.lastID, p.Last)
	from.ahead = max(from.ahead, p.Now-h.now)
	for i := range p.Ops {
		do := ops[p.Ops[i].Kind]
		if do == nil {
			continue // of a later version
		}
		if err := do(h, from, p.Ops[i].Body); err != nil {
			h.gate.Fault(fmt.Errorf("%q of node %s cannot be read: %w", p.Ops[i].Kind, from.member.Node, err))
		}
		if h.net.nodes[from.member.Node] != from {
			return
		}
	}
}

// decode reads what another node has written.
func decode[T any](data []byte) (*T, error) {
	body := new(T)
	return body, json.Unmarshal(data, body)
}

// ops are what nodes say to each other, by kind.
var ops map[string]func(h *Hall, from *node, body []byte) error

// reads makes an op of a function that takes its body.
func reads[T any](do func(h *Hall, from *node, body *T)) func(*Hall, *node, []byte) error {
	return func(h *Hall, from *node, data []byte) error {
		body, err := decode[T](data)
		if err != nil {
			return err
		}
		do(h, from, body)
		return nil
	}
}

func init() {
	ops = map[string]func(*Hall, *node, []byte) error{
		"again":    reads(func(h *Hall, from *node, _ *struct{}) { h.sendAll(from) }),
		"all":      reads((*Hall).gotAll),
		"channels": reads(func(h *Hall, from *node, _ *struct{}) { h.endSweepOfChannels(from) }),
		"users":    reads(func(h *Hall, from *node, _ *struct{}) { h.endSweep(from) }),
		"user":     reads((*Hall).gotUser),
		"gone":     reads((*Hall).gotGone),
		"mark":     reads((*Hall).gotMark),
		"shown":    reads((*Hall).gotShown),
		"over":     reads((*Hall).gotOver),
		"channel":  reads((*Hall).gotChannel),
		"state":    reads((*Hall).gotState),
		"seat":     reads((*Hall).gotSeat),
		"empty":    reads((*Hall).gotEmpty),
		"name":     reads((*Hall).gotName),
		"post":     reads((*Hall).gotPost),
		"posted":   reads((*Hall).gotPosted),
		"left":     reads((*Hall).gotLeft),
		"item":     readItem,
		"record":   reads((*Hall).gotRecord),
		"work":     reads((*Hall).gotWork),
		"marker":   reads((*Hall).gotMarker),
		"ban":      reads((*Hall).gotBan),
		"unban":    reads((*Hall).gotUnban),
		"send":     reads((*Hall).gotSend),
		"end":      reads((*Hall).gotEnd),
		"run":      reads((*Hall).gotRun),
		"done":     reads((*Hall).gotDone),
		"ask":      reads((*Hall).gotAsk),
		"answer":   reads((*Hall).gotAnswer),
		"back":     reads((*Hall).gotBack),
		"out":      reads((*Hall).gotOut),
		"in":       reads((*Hall).gotIn),
	}
}
