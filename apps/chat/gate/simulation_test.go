package gate_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/gate"
	"github.com/epinet/epi/internal/driver"
	"github.com/epinet/epi/internal/epitest"
	"github.com/epinet/epi/internal/schedule"
	"github.com/epinet/epi/internal/seam"
	sim "github.com/epinet/epi/internal/simulation"
)

// TestSim_Chat runs a whole chat, engine, gate and hall, with its users, in a world that
// is made of one seed: see docs/simulation.md.
func TestSim_Chat(t *testing.T) {
	schedule.Program{Play: playChat, Seeds: 400}.Test(t)
}

// A simulation is one chat in a world.
type simulation struct {
	*sim.World
	server   *gate.Server
	users    []*user
	messages []*message
	narrow   bool // little may wait for a user: many are given up
	returned bool
	result   error
}

// A message is one that somebody has said to a channel, and who must get it.
type message struct {
	text, channel string
	from          *user
	due           []*user
	stays         []int // of those, how often each had left the channel by then
}

// A user is a client of the chat.
type user struct {
	*driver.Link
	s       *simulation
	nick    string // as the server has confirmed it
	up      bool   // registered
	echo    bool   // gets its own messages, too
	gone    bool   // it has ended, or will
	slow    bool   // it has not read for a while: the server may give it up
	tries   int    // nicks that it has asked for
	said    int
	text    []byte // of the line that comes
	in      map[string]bool
	parting map[string]int // channels that it leaves, and how many answers are due
	left    map[string]int // how often it has left them
	joining map[string]int
	heard   map[string][]string // by channel, in order
	names   map[string][]string // by channel, who was there when it was asked last
	quits   map[string]bool     // who has gone, and not come again
	listed  []string            // of the answer that comes
}

func playChat(r *schedule.Run) {
	s := &simulation{World: sim.New(r)}
	s.Network = s.carryAll
	defer s.Release()
	stop := s.start()
	r.Steps(100+s.Choose(300), s.step)
	s.settle()
	s.checkRest()
	s.server.Drain()
	stop()
	s.await("the end", func() bool { return s.returned })
	s.checkEnd()
}

var rooms = []string{"#one", "#two", "#three"}

func (s *simulation) start() (stop func()) {
	e := &epi.Engine{
		Loops: 1 + s.Choose(3), Driver: epi.DriverPortable, Logger: epitest.NoLog(),
		ReadBudget: 1 + s.Choose(600), TaskBudget: 1 + s.Choose(8), AcceptBudget: 1 + s.Choose(3), MaxEvents: 1 + s.Choose(16),
		HighWater: 500 + s.Choose(3000), MaxQueued: 100_000, MaxConns: 64,
		Linger: 300 * time.Millisecond, DrainTimeout: 10 * time.Second,
	}
	if s.Choose(4) == 0 {
		e.ReusePort = true
	}
	if s.narrow = s.Choose(4) == 0; s.narrow {
		e.MaxQueued = 3500 + s.Choose(4000)
	}
	seam.Give(e, s.Seams())
	config := settings()
	config.Clock = func() time.Time { return time.Unix(0, s.Now) }
	if s.Choose(3) == 0 {
		config.Throttle = gate.Throttle{Rate: 20, Burst: 5, BytesRate: 2000, BytesBurst: 600}
	}
	server, err := gate.New(e, config)
	if err != nil {
		s.Failf("new: %v", err)
	}
	s.server = server
	if _, err := e.Listen("tcp://10.0.0.1:6667", server.Accept(gate.Listener{Secure: true})); err != nil {
		s.Failf("listen: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.Spawn(func() { s.result = e.Run(ctx); s.returned = true })
	return stop
}

func (s *simulation) step() {
	can, next := s.Ready()
	switch n := s.Choose(10); {
	case n == 0 && len(s.users) < 7:
		s.connect()
	case n < 4 && len(s.users) > 0:
		s.users[s.Choose(len(s.users))].act()
	case n < 6 && len(s.users) > 0:
		s.carry(s.users[s.Choose(len(s.users))])
	case len(can) > 0:
		s.Resume(can[s.Choose(len(can))])
	case next >= 0:
		s.Now = max(s.Now, next)
	}
}

func (s *simulation) connect() {
	u := &user{
		Link: s.NewLink(len(s.users)), s: s, in: map[string]bool{}, parting: map[string]int{}, left: map[string]int{},
		joining: map[string]int{}, heard: map[string][]string{}, names: map[string][]string{}, quits: map[string]bool{}, echo: s.Choose(3) == 0, slow: s.narrow,
	}
	s.users = append(s.users, u)
	s.Backlog = append(s.Backlog, u.Link)
	if u.echo {
		u.say("CAP REQ :echo-message server-time")
	}
	u.askForNick()
	u.say("USER u 0 * :somebody")
	if u.echo {
		u.say("CAP END")
	}
}

// askForNick asks for one that others may have, too.
func (u *user) askForNick() {
	u.tries++
	u.say("NICK n%d", u.s.Choose(3+8*min(u.tries, 8)))
}

func (u *user) say(format string, args ...any) {
	if u.gone || u.Broken || u.Refused || u.InEnd {
		return
	}
	if u.Closed {
		u.Refused, u.Out = true, nil // it meets a closed socket
		return
	}
	u.s.Run.Note("user %d says %s", u.Number, fmt.Sprintf(format, args...))
	u.In = fmt.Appendf(u.In, format+"\r\n", args...)
}

// act is what a user does next.
func (u *user) act() {
	s := u.s
	if !u.up || u.gone {
		return
	}
	room := rooms[s.Choose(len(rooms))]
	switch s.Choose(24) {
	case 0, 1, 2:
		if !u.in[room] && u.joining[room] == 0 {
			u.joining[room]++
			u.say("JOIN %s", room)
		}
	case 3:
		if u.in[room] {
			u.in[room] = false
			u.left[room]++
			u.parting[room]++
			u.say("PART %s :enough", room)
			if s.Choose(2) == 0 {
				u.joining[room]++
				u.say("JOIN %s", room)
			}
		}
	case 4:
		u.askForNick()
	case 5:
		u.Stalled = !u.Stalled
		u.slow = u.slow || u.Stalled
	case 6:
		if s.Choose(3) == 0 {
			u.say("QUIT :bye")
			u.gone = true
		}
	case 7:
		if s.Choose(4) == 0 {
			s.Fault("RST")
			u.gone = true
			u.Break()
		}
	case 8:
		if s.Choose(4) == 0 {
			s.Fault("FIN")
			u.InEnd, u.gone = true, true
		}
	case 9:
		u.say("TOPIC %s :what %d thinks", room, u.Number)
	case 10:
		u.say("NAMES %s", room)
	case 11:
		u.say("MODE %s", room)
		u.say("WHO %s", room)
	case 12:
		u.say("MODE %s +v %s", room, s.users[s.Choose(len(s.users))].nick)
	case 13:
		for range 1 + s.Choose(30) {
			u.say("PING %s", strings.Repeat("x", 1+s.Choose(400)))
		}
	default:
		for range 1 + s.Choose(3) {
			u.tell(room)
		}
	}
}

// tell says something to a channel, which all must get who know that they are in it.
func (u *user) tell(room string) {
	if !u.in[room] || !u.alive() {
		return
	}
	u.said++
	m := &message{text: fmt.Sprintf("%d.%d%s", u.Number, u.said, strings.Repeat("x", u.s.Choose(60))), channel: room, from: u}
	for _, other := range u.s.users {
		if other.in[room] && (other != u || u.echo) {
			m.due = append(m.due, other)
			m.stays = append(m.stays, other.left[room])
		}
	}
	u.s.messages = append(u.s.messages, m)
	u.say("PRIVMSG %s :%s", room, m.text)
}

// carry moves bytes to the user's host, and the user reads.
func (s *simulation) carry(u *user) (moved bool) {
	if u.Broken || u.Refused {
		return false
	}
	n := driver.SimulatedReceive
	if !s.Calm {
		n = s.Choose(len(u.Out) + 1)
	}
	moved = s.Carry(u.Link, n)
	if u.Stalled {
		return moved
	}
	u.text = append(u.text, u.Arrived...)
	moved = moved || len(u.Arrived) > 0
	u.Arrived = u.Arrived[:0]
	for {
		line, rest, whole := bytes.Cut(u.text, []byte("\r\n"))
		if !whole {
			return moved
		}
		text := string(line)
		u.text = rest
		u.read(text)
	}
}

func (s *simulation) carryAll() (moved bool) {
	for _, u := range s.users {
		moved = s.carry(u) || moved
	}
	return moved
}

// read takes one line of the server's.
func (u *user) read(line string) {
	u.s.Run.Checked(1, "lines that users read")
	tags, timed := "", strings.HasPrefix(line, "@")
	if timed {
		tags, line, _ = strings.Cut(line, " ")
	}
	head, last, _ := strings.Cut(line, " :")
	words := strings.Fields(head)
	if words[0] == "ERROR" || words[0] == "PING" {
		return
	}
	if len(words) < 2 {
		u.s.Failf("user %d reads %q", u.Number, line)
	}
	from, _, _ := strings.Cut(strings.TrimPrefix(words[0], ":"), "!")
	arg := last
	if len(words) > 2 {
		arg = words[2]
	}
	switch words[1] {
	case "001":
		u.nick = words[2]
	case "376", "422":
		u.up = true
	case "433":
		if !u.up {
			u.askForNick()
		}
	case "NICK":
		delete(u.quits, arg)
		if from == u.nick {
			u.nick = arg
		}
	case "QUIT":
		if u.quits[from] {
			u.s.Failf("user %d reads twice that %s has gone", u.Number, from)
		}
		u.quits[from] = true
	case "JOIN":
		delete(u.quits, from)
		if from == u.nick {
			u.joining[arg]--
			u.in[arg] = u.parting[arg] == 0
		}
	case "PART":
		if from == u.nick {
			u.parting[arg]--
		}
	case "PRIVMSG":
		if timed != u.echo {
			u.s.Failf("user %d reads %q with the tags %q", u.Number, line, tags)
		}
		if !u.echo && strings.HasPrefix(last, fmt.Sprintf("%d.", u.Number)) {
			u.s.Failf("user %d reads its own %q", u.Number, last)
		}
		if slices.Contains(u.heard[arg], last) {
			u.s.Failf("user %d reads %q twice", u.Number, line)
		}
		u.heard[arg] = append(u.heard[arg], last)
	case "353":
		u.listed = append(u.listed, strings.Fields(last)...)
	case "366":
		u.names[words[3]], u.listed = u.listed, nil
	case "404", "421", "461":
		u.s.Failf("user %d is refused: %q", u.Number, line)
	}
}

// alive reports whether the user is there, and will be.
func (u *user) alive() bool { return !u.gone && !u.Broken && !u.Refused && !u.OutEnd }

// present counts those who are alive.
func (s *simulation) present() (n int64) {
	for _, u := range s.users {
		if u.alive() {
			n++
		}
	}
	return n
}

// settle lets everything go on that is under way, until everybody has got what is due.
func (s *simulation) settle() {
	s.Run.Note("calm")
	s.Calm = true
	for _, u := range s.users {
		u.Stalled = false
	}
	s.await("all are registered, and have got what they must, and who has gone is forgotten", s.isSettled)
	for _, u := range s.users {
		for _, room := range rooms {
			u.tell(room)
		}
	}
	s.await("all have got the last words", s.isSettled)
	for _, u := range s.users {
		if !u.alive() {
			continue
		}
		for _, room := range rooms {
			u.say("NAMES %s", room)
		}
		u.say("NICK last%d", u.Number)
	}
	s.await("all have their last nick", func() bool {
		return !slices.ContainsFunc(s.users, func(u *user) bool { return u.alive() && u.nick != fmt.Sprintf("last%d", u.Number) })
	})
}

// isSettled reports whether all has come that is due.
func (s *simulation) isSettled() bool {
	waits := func(u *user) bool { return u.alive() && (!u.up || u.isWaiting()) }
	lacks := func(m *message) bool { return s.missing(m) != nil }
	return s.server.Stats().Sessions == s.present() && len(s.Backlog) == 0 &&
		!slices.ContainsFunc(s.users, waits) && !slices.ContainsFunc(s.messages, lacks)
}

// isWaiting reports whether an answer about a channel is due.
func (u *user) isWaiting() bool {
	for _, room := range rooms {
		if u.joining[room] != 0 || u.parting[room] != 0 {
			return true
		}
	}
	return false
}

// missing returns a user who must have got a message, and has not.
func (s *simulation) missing(m *message) *user {
	if m.from.Broken || m.from.Refused || !m.from.alive() && m.from.slow {
		return nil // what it sent may be lost
	}
	for i, u := range m.due {
		if u.alive() && u.left[m.channel] == m.stays[i] && !slices.Contains(u.heard[m.channel], m.text) {
			return u
		}
	}
	return nil
}

// await lets everything go on that is under way, and time pass, until something is so:
// that takes less than a minute.
func (s *simulation) await(what string, done func() bool) {
	for until := s.Now + int64(time.Minute); s.Now < until; {
		can, next := s.Ready()
		switch {
		case len(can) > 0:
			s.Resume(can[s.Choose(len(can))])
		case s.carryAll():
		case done():
			return
		case next < 0:
			s.Failf("all loops sleep for ever, before: %s: %s", what, s.describe())
		default:
			s.Now = max(s.Now, next)
		}
	}
	s.Failf("it does not come to pass: %s: %s", what, s.describe())
}

func (s *simulation) describe() (text string) {
	for _, u := range s.users {
		text += fmt.Sprintf("user %d %s up %t gone %t in %v joining %v parting %v; ", u.Number, u.nick, u.up, u.gone, u.in, u.joining, u.parting)
	}
	for _, m := range s.messages {
		if u := s.missing(m); u != nil {
			text += fmt.Sprintf("user %d has not got %q of %s; ", u.Number, m.text, m.channel)
		}
	}
	return text
}

// checkRest says what must hold when nothing is under way.
func (s *simulation) checkRest() {
	nicks := map[string]*user{}
	for _, u := range s.users {
		if u.OutEnd && !u.gone && !u.slow {
			s.Failf("user %d was given up", u.Number)
		}
		if !u.alive() {
			continue
		}
		if other := nicks[u.nick]; other != nil {
			s.Failf("users %d and %d are both %s", other.Number, u.Number, u.nick)
		}
		nicks[u.nick] = u
	}
	for _, room := range rooms {
		s.checkOrder(room)
		s.checkNames(room)
	}
	if st := s.server.Stats(); st.Panics+st.Faults > 0 {
		s.Failf("the server counts %d panics and %d faults", st.Panics, st.Faults)
	}
}

// checkOrder says that any two have read what both have read in one order.
func (s *simulation) checkOrder(room string) {
	for i, a := range s.users {
		place := map[string]int{}
		for n, text := range a.heard[room] {
			place[text] = n
		}
		for _, b := range s.users[:i] {
			s.Run.Checked(1, "two who were in a channel: one order")
			last := -1
			for _, text := range b.heard[room] {
				n, both := place[text]
				if both && n < last {
					s.Failf("users %d and %d read %q of %s in two orders", a.Number, b.Number, text, room)
				}
				if both {
					last = n
				}
			}
		}
	}
}

// checkNames says that all who are in a channel see the same, and it is so.
func (s *simulation) checkNames(room string) {
	var there []int
	for _, u := range s.users {
		if u.alive() && u.in[room] {
			there = append(there, u.Number)
		}
	}
	for _, u := range s.users {
		if u.alive() && u.in[room] && len(u.names[room]) != len(there) {
			s.Failf("user %d sees %v in %s, where the users %v are", u.Number, u.names[room], room, there)
		}
	}
}

func (s *simulation) checkEnd() {
	if s.result != nil {
		s.Failf("Run returns %v", s.result)
	}
	if n := s.server.Stats().Sessions; n != 0 {
		s.Failf("%d sessions are left at the end", n)
	}
	if n := s.Open(); n != 0 {
		s.Failf("%d handles are open at the end", n)
	}
}
