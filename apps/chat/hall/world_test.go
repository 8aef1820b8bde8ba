package hall

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A world is a hall with a gate that does what the real one does, in memory: it keeps
// the lists of channels and the capabilities, and it writes down what each session got.
type world struct {
	t          *testing.T
	hall       *Hall
	now        int64
	sessions   map[SessionID]*client
	names      map[string]SessionID
	next       SessionID
	lists      map[ChannelID]map[SessionID]Rank
	accounts   map[string]string // name to password
	works      []*Work
	kept       Kept
	changes    []Change   // that were to be kept
	lazy       bool       // works are not done by themselves
	refuses    bool       // channels cannot be registered
	got        []received // since the last look
	problems   []string
	records    []Record          // of the history
	removed    map[int64]bool    // what was taken out of it, and does not come back
	edited     map[int64]*Record // as edits have left them that came before their records
	numbered   int64             // that of the hall's latest record
	full       bool              // the disk is: what is said is lost
	lost       map[int64]bool
	unreadable bool                // reading fails
	markers    map[string][]Marker // by account
	unkept     []*Record           // the hall is still to be given these
	around     func(*Event)        // gives the hall an event, where it is one of a network
}

// A client is a session as the gate knows it.
type client struct {
	name       string
	caps       Caps
	registered bool
	closed     bool
}

// received is a line that a session got.
type received struct {
	to   SessionID
	line string
}

var start = int64(1_700_000_000_000)

func newWorld(t *testing.T, config Config) *world {
	w := &world{
		t: t, now: start, sessions: map[SessionID]*client{}, names: map[string]SessionID{},
		lists: map[ChannelID]map[SessionID]Rank{}, accounts: map[string]string{},
		removed: map[int64]bool{}, edited: map[int64]*Record{},
	}
	if config.Name == "" {
		config.Name = "irc.example.org"
	}
	w.hall = New(config, w)
	return w
}

// apply gives the hall an event.
func (w *world) apply(e *Event) {
	if w.around != nil {
		w.around(e)
		return
	}
	w.hall.Apply(e)
}

// problem notes what a gate must never see.
func (w *world) problem(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *world) client(id SessionID, what string) *client {
	c := w.sessions[id]
	if c == nil || c.closed {
		w.problem("%s for session %d, which is gone", what, id)
		return nil
	}
	return c
}

func (w *world) Send(to SessionID, lines []byte) {
	if w.client(to, "Send") == nil {
		return
	}
	w.take(to, lines)
}

// take writes down lines, and checks what every line must be.
func (w *world) take(to SessionID, lines []byte) {
	for len(lines) > 0 {
		line, rest, ok := bytes.Cut(lines, []byte("\r\n"))
		if !ok {
			w.problem("a line has no end: %q", lines)
			return
		}
		lines = rest
		w.check(line)
		w.got = append(w.got, received{to: to, line: string(line)})
	}
}

func (w *world) check(line []byte) {
	body := line
	if bytes.HasPrefix(line, []byte("@")) {
		tags, after, _ := bytes.Cut(line[1:], []byte(" "))
		if len(tags) > 8189 {
			w.problem("%d bytes of tags", len(tags))
		}
		body = after
	}
	if len(body)+2 > 512 {
		w.problem("%d bytes: %q", len(body)+2, line)
	}
	if !utf8.Valid(line) {
		w.problem("not UTF-8: %q", line)
	}
	if bytes.ContainsAny(line, "\r\n\x00") {
		w.problem("a line in a line: %q", line)
	}
}

func (w *world) Deliver(item *Item) {
	if w.lost[item.Record] {
		return
	}
	to := map[SessionID]bool{}
	for _, reach := range item.Channels {
		for id, rank := range w.lists[reach.Channel] {
			if rank >= reach.Rank {
				to[id] = true
			}
		}
	}
	for _, id := range item.Sessions {
		to[id] = true
	}
	for _, id := range item.Except {
		delete(to, id)
	}
	ids := make([]SessionID, 0, len(to))
	for id := range to {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		c := w.client(id, "Deliver")
		if c == nil || !item.Wants(c.caps) {
			continue
		}
		for _, line := range item.Lines {
			w.take(id, line.Form(c.caps).Line())
		}
	}
}

func (w *world) Member(s SessionID, c ChannelID, rank Rank) {
	if w.client(s, "Member") == nil {
		return
	}
	if w.lists[c] == nil {
		w.lists[c] = map[SessionID]Rank{}
	}
	w.lists[c][s] = rank
}

func (w *world) Leave(s SessionID, c ChannelID) {
	if w.client(s, "Leave") == nil {
		return
	}
	if _, ok := w.lists[c][s]; !ok {
		w.problem("session %d leaves channel %d, where it is not", s, c)
	}
	delete(w.lists[c], s)
}

func (w *world) Caps(s SessionID, caps Caps) {
	if c := w.client(s, "Caps"); c != nil {
		c.caps = caps
	}
}

func (w *world) Registered(s SessionID) {
	if c := w.client(s, "Registered"); c != nil {
		if c.registered {
			w.problem("session %d is registered twice", s)
		}
		c.registered = true
	}
}

func (w *world) Close(s SessionID, last []byte) {
	c := w.client(s, "Close")
	if c == nil {
		return
	}
	w.take(s, last)
	w.got = append(w.got, received{to: s, line: "(closed)"})
	w.drop(s)
}

// drop takes a session off everything.
func (w *world) drop(s SessionID) {
	w.sessions[s].closed = true
	for _, list := range w.lists {
		delete(list, s)
	}
}

func (w *world) Commanded(name string, _ bool) {
	if !slices.Contains(Commands(), name) {
		w.problem("%q is counted as a command", name)
	}
}

// Echo is Send for what shows records, unless one of these is lost.
func (w *world) Echo(to SessionID, lines []byte, records []int64) {
	for _, id := range records {
		if w.lost[id] {
			return
		}
	}
	w.Send(to, lines)
}

// Record keeps a record, or loses it while the disk is full.
func (w *world) Record(r *Record) {
	if r.Copy {
		w.copyRecord(*r)
		return
	}
	if r.ID <= w.numbered {
		w.problem("a record has the number %d after %d", r.ID, w.numbered)
	}
	w.numbered = r.ID
	if w.full && !r.IsEvent() {
		if w.lost == nil {
			w.lost = map[int64]bool{}
		}
		w.lost[r.ID] = true
		w.unkept = append(w.unkept, r)
		return
	}
	w.records = append(w.records, *r)
}

// copyRecord keeps what another node has kept, as it has become since.
func (w *world) copyRecord(r Record) {
	has := slices.ContainsFunc(w.records, func(o Record) bool { return o.ID == r.ID })
	if has || w.removed[r.ID] || r.Reaction && w.removed[r.Reply] {
		return
	}
	if e := w.edited[r.ID]; e != nil && e.Edited >= r.Edited {
		r.Text, r.Joined, r.Edited = e.Text, e.Joined, e.Edited
	}
	w.records = append(w.records, r)
}

// Keep writes a change down, and keeps it for restart.
func (w *world) Keep(c Change) {
	w.changes = append(w.changes, c)
	w.got = append(w.got, received{line: strings.TrimPrefix(fmt.Sprintf("%T %+v", c, c), "hall.")})
	k := &w.kept
	switch c := c.(type) {
	case KeepChannel:
		k.Channels = append(slices.DeleteFunc(k.Channels, func(o KeptChannel) bool { return sameName(o.Name, c.Channel.Name) }), c.Channel)
	case DropChannel:
		k.Channels = slices.DeleteFunc(k.Channels, func(o KeptChannel) bool { return sameName(o.Name, c.Name) })
	case KeepUser:
		k.Users = append(slices.DeleteFunc(k.Users, func(o KeptUser) bool { return sameName(o.Account, c.User.Account) }), c.User)
	case DropUser:
		k.Users = slices.DeleteFunc(k.Users, func(o KeptUser) bool { return sameName(o.Account, c.Account) })
	case KeepBan:
		k.Bans = append(slices.DeleteFunc(k.Bans, func(o KeptBan) bool { return o.Mask == c.Ban.Mask }), c.Ban)
	case KeepMetadata:
		k.Metadata = slices.DeleteFunc(k.Metadata, func(o KeptDatum) bool { return o.Owner == c.Datum.Owner && o.Key == c.Datum.Key })
		if c.Datum.Value != "" {
			k.Metadata = append(k.Metadata, c.Datum)
		}
	case CopyMarker:
		w.keepMarker(c.KeepMarker)
	case ShareMarker:
		w.keepMarker(c.KeepMarker)
	case KeepMarker:
		w.keepMarker(c)
	case DropHistory:
		w.records = slices.DeleteFunc(w.records, func(r Record) bool { return r.Target == c.Target && r.ID < c.Before })
	case MoveHistory:
		for i := range w.records {
			if w.records[i].Target == c.From {
				w.records[i].Target = c.To
			}
		}
	case DropBan:
		k.Bans = slices.DeleteFunc(k.Bans, func(o KeptBan) bool { return o.Mask == c.Mask })
	}
}

func (w *world) keepMarker(k KeepMarker) {
	if w.markers == nil {
		w.markers = map[string][]Marker{}
	}
	w.markers[fold(k.Account)] = append(w.markers[fold(k.Account)], k.Marker)
}

// restart replaces the hall by one that knows what was kept.
func (w *world) restart(config Config) {
	for id := range w.sessions {
		w.drop(id)
	}
	config.Name = w.hall.config.Name
	w.sessions, w.names, w.lists = map[SessionID]*client{}, map[string]SessionID{}, map[ChannelID]map[SessionID]Rank{}
	w.hall = New(config, w)
	for name := range w.accounts {
		w.kept.Accounts = append(w.kept.Accounts, name)
	}
	w.hall.Restore(w.now, w.kept)
}

func (w *world) Fault(err error) { w.problem("a fault: %v", err) }

func (w *world) Begin(work *Work) { w.works = append(w.works, work) }

// open opens a session with a name for scripts.
func (w *world) open(name string, origin Origin) SessionID {
	w.next++
	id := w.next
	w.names[name] = id
	w.sessions[id] = &client{name: name}
	w.apply(&Event{Kind: Opened, Session: id, At: w.now, Origin: &origin})
	return id
}

// line gives the hall a line, and does the work that it asks for.
func (w *world) line(id SessionID, text string) {
	c := w.sessions[id]
	if c == nil || c.closed {
		return
	}
	e := &Event{Kind: Line, Session: id, At: w.now, Message: &ircmsg.Message{}}
	switch err := e.Message.Parse(text, ircmsg.FromClient); {
	case !utf8.ValidString(text):
		e.Kind, e.Problem = Malformed, NotUTF8
	case err != nil:
		e.Kind, e.Problem = Malformed, LineTooLong
	}
	w.apply(e)
	if !w.lazy {
		w.settle()
	}
}

// settle does the work that the hall has asked for.
func (w *world) settle() {
	for len(w.unkept) > 0 {
		r := w.unkept[0]
		w.unkept = w.unkept[1:]
		w.apply(&Event{Kind: Unkept, Session: r.Session, At: w.now, Record: r})
	}
	for len(w.works) > 0 {
		work := w.works[0]
		w.works = w.works[1:]
		if result := w.do(work); !work.Copy {
			w.apply(&Event{Kind: Worked, At: w.now, Result: result})
		}
	}
}

func (w *world) do(work *Work) *Result {
	r := &Result{Session: work.Session, Number: work.Number, Account: work.Account}
	switch work.Kind {
	case CheckPassword:
		password, ok := w.accounts[work.Account]
		r.OK = ok && password == work.Password
	case ClaimChannel:
		r.OK = !w.refuses
	case CheckOperator, CheckServer, CheckGateway:
		r.OK = work.Password == "secret"
	case FindCertificate:
		r.OK, r.Account = work.Fingerprint == "cafe", "cert"
	case CheckToken:
		r.OK, r.Account = work.Password == "token", "bearer"
	case FindVerifier:
		if password, ok := w.accounts[work.Account]; ok {
			r.OK, r.Verifier = true, verifierOf(password)
		}
	case RegisterAccount:
		if _, taken := w.accounts[work.Account]; taken {
			r.Code, r.Text = "ACCOUNT_EXISTS", "Account already exists"
			break
		}
		w.accounts[work.Account] = work.Password
		r.OK = true
	case AddCertificate, RemoveCertificate, RemoveDevice:
		r.OK = true
	case AddDevice:
		r.OK, r.Lines = true, []string{"NEWPASSWORD"}
	case ListCredentials:
		r.OK, r.Lines = true, []string{"Device phone"}
	case FindAccount, SuspendAccount, UnsuspendAccount:
		_, r.OK = w.accounts[work.Account]
	case SetPassword:
		if r.OK = w.accounts[work.Account] == work.Password; r.OK {
			w.accounts[work.Account] = work.New
		}
	case RemoveAccount:
		if r.OK = w.accounts[work.Account] == work.Password; r.OK {
			delete(w.accounts, work.Account)
		}
	case DescribeAccount:
		_, r.OK = w.accounts[work.Account]
		r.Lines = []string{"Account: " + work.Account, fmt.Sprintf("Whole: %t", work.Whole)}
	case ListAccounts:
		r.OK, r.Lines = true, slices.Sorted(maps.Keys(w.accounts))
	case VerifyAccount:
		r.OK = work.Password == "code"
	case Rehash:
		r.OK = true
	case Subscribe, Unsubscribe:
		if r.OK = work.Keys != "bad"; !r.OK {
			r.Code, r.Text = "INVALID_PARAMS", "The keys are wrong"
		}
	default:
		if work.Kind.IsHistory() {
			w.readHistory(work, r)
		}
	}
	return r
}

// close ends a session as the gate does when the client has gone.
func (w *world) close(id SessionID, reason string) {
	c := w.sessions[id]
	if c == nil {
		return
	}
	if !c.closed {
		w.drop(id)
	}
	w.apply(&Event{Kind: Closed, Session: id, At: w.now, Text: reason})
	delete(w.sessions, id)
}

// take returns what was received since the last look, and forgets it.
func (w *world) look() []received {
	got := w.got
	w.got = nil
	return got
}

// text returns what was received since the last look, for comparison.
func (w *world) text() string {
	var b strings.Builder
	for _, r := range w.look() {
		name := "kept"
		if c := w.sessions[r.to]; c != nil {
			name = c.name
		}
		fmt.Fprintf(&b, "%s < %s\n", name, r.line)
	}
	return b.String()
}

// healthy fails the test for everything that a gate must never see, or that is not as
// the hall's own lists say.
func (w *world) healthy() {
	w.t.Helper()
	w.invariants()
	for _, p := range w.problems {
		w.t.Error(p)
	}
	w.problems = nil
}

// accountsOf checks that the users of each account are known by it.
func (w *world) accountsOf() {
	named := 0
	for _, u := range w.hall.everyone {
		if u.account == "" {
			continue
		}
		named++
		if !slices.Contains(w.hall.usersOf(u.account), u) {
			w.problem("%s is not among the users of %s", u.nick(), u.account)
		}
	}
	for _, users := range w.hall.named {
		named -= len(users)
	}
	if named != 0 {
		w.problem("%d users too few are known by their accounts", named)
	}
}

// invariants checks what must hold between two events.
func (w *world) invariants() {
	h := w.hall
	w.accountsOf()
	if len(h.users) != len(h.everyone) && h.net == nil {
		w.problem("%d nicks, and %d users", len(h.users), len(h.everyone))
	}
	hidden, opers, registered := 0, 0, 0
	for place, u := range h.everyone {
		if h.users[h.nickKey(u.nick())] != u && h.net == nil || int(u.place) != place {
			w.problem("%s is not where it belongs", u.nick())
		}
		if len(u.sessions) == 0 && !u.stays() && (h.net == nil || u.net.node == nil) {
			w.problem("%s has no session", u.nick())
		}
		if u.stays() && h.staying[fold(u.account)] != u {
			w.problem("%s stays, and is not known for it", u.nick())
		}
		if u.source != u.nick()+"!"+u.name()+"@"+u.host() {
			w.problem("%s has the source %s", u.nick(), u.source)
		}
		registered += len(u.sessions)
		if u.is(modeInvisible) {
			hidden++
		}
		if u.is(modeOperator) {
			opers++
		}
		w.memberships(u)
	}
	if hidden != h.hidden || opers != h.opers || registered+h.strange != len(h.sessions) {
		w.problem("counted %d hidden, %d operators, %d of %d sessions", hidden, opers, registered, len(h.sessions))
	}
	count := 0
	for id, c := range h.slots {
		if c == nil {
			continue
		}
		count++
		w.channel(ChannelID(id), c)
	}
	if count != len(h.channels) {
		w.problem("%d channels by number, %d by name", count, len(h.channels))
	}
	for account, u := range h.staying {
		if !u.stays() || fold(u.account) != account || h.users[h.nickKey(u.nick())] != u {
			w.problem("the account %s has a user that does not stay", account)
		}
	}
	for key, watchers := range h.watchers {
		for _, s := range watchers {
			if h.sessions[s.id] != s || !slices.ContainsFunc(s.monitored(), func(n string) bool { return h.nickKey(n) == key }) {
				w.problem("a session that does not watch %s is one of its watchers", key)
			}
		}
	}
}

func (w *world) memberships(u *user) {
	if len(u.channels) > w.hall.config.Channels {
		w.problem("%s is in %d channels", u.nick(), len(u.channels))
	}
	for _, m := range u.channels {
		c := m.channel
		if m.user != u || m.place >= len(c.members) || c.members[m.place] != m || w.hall.slots[c.id] != c {
			w.problem("the membership of %s in %s is not symmetric", u.nick(), c.name)
			continue
		}
		for _, s := range u.sessions {
			if s.far != nil {
				continue
			}
			if rank, ok := w.lists[c.id][s.id]; !ok || rank != m.rank {
				w.problem("the gate has %s in %s with the rank %d, the hall with %d", u.nick(), c.name, rank, m.rank)
			}
		}
	}
}

func (w *world) channel(id ChannelID, c *channel) {
	h := w.hall
	if len(c.members) == 0 && c.registered == nil && c.net.mayEnd() {
		w.problem("%s has no members", c.name)
	}
	if c.id != id || h.channels[fold(c.name)] != c {
		w.problem("%s is not where it belongs", c.name)
	}
	sessions := 0
	for _, m := range c.members {
		for _, s := range m.user.sessions {
			if s.far == nil {
				sessions++
			}
		}
		if m.channel != c || m.user.in(c) != m || h.users[h.nickKey(m.user.nick())] != m.user && h.net == nil {
			w.problem("the membership of %s in %s is not symmetric", m.user.nick(), c.name)
		}
	}
	if sessions != len(w.lists[id]) {
		w.problem("the gate has %d sessions in %s, the hall %d", len(w.lists[id]), c.name, sessions)
	}
	for _, list := range [][]listed{c.bans, c.excepts, c.invexes} {
		if len(list) > h.config.List {
			w.problem("a list of %s has %d entries", c.name, len(list))
		}
		masks := []string{}
		for _, l := range list {
			masks = append(masks, fold(l.mask))
		}
		sort.Strings(masks)
		if len(slices.Compact(masks)) != len(list) {
			w.problem("a list of %s has an entry twice", c.name)
		}
	}
	if len(c.topic) > h.config.Topic || len(c.password) > h.config.Key || c.limit < 0 {
		w.problem("%s is beyond its limits", c.name)
	}
	for _, u := range c.invited {
		if !u.invitedTo(c) || h.users[h.nickKey(u.nick())] != u && h.net == nil {
			w.problem("%s is invited to %s on one side only", u.nick(), c.name)
		}
	}
}
