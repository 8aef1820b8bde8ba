package server

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/sim"
	"github.com/epinet/epi/frame"
	"github.com/epinet/epi/ws"
)

// The reasons of Refused (docs/world-protocol.md).
const (
	refusedVersion   = 1
	refusedName      = 2
	refusedTaken     = 3
	refusedToken     = 4
	refusedFull      = 5
	refusedMessage   = 6
	refusedSlow      = 7
	refusedTakenOver = 8
	refusedShutdown  = 9
	refusedHello     = 10
	refusedFlood     = 11
	refusedSentAway  = 12
	refusedBanned    = 13
	refusedNew       = 14
)

// The codes of Notice.
const (
	noticeTalk      = 2
	noticeNobody    = 4
	noticeNoRight   = 5
	noticeMuted     = 6
	noticeDone      = 7
	noticeModerator = 8
	noticeGame      = 9
	noticeBusy      = 10
	noticeFar       = 11
	noticeNothing   = 12
	noticeRoom      = 13
	noticeNot       = 14
	noticeAmount    = 15
	noticeTrade     = 16
	noticeBrief     = 17
	noticeBarred    = 18
)

const (
	// MaxFrame is the longest frame that a client gets (docs/world-protocol.md): what
	// is above FrameBudget is one cell, which is never cut.
	MaxFrame = 1 << 20
	// maxClientFrame is the longest frame of a client.
	maxClientFrame = 4 << 10
	// lengthSize is the size of a frame's length on TCP.
	lengthSize = 3
	// maxMessages is how many messages a client may send at once: those of a client
	// that the network held up for a while come together. perTick are earned again.
	maxMessages = 1024
	perTick     = 16
	// maxRefusedTalk is how many lines a player may try to say in vain.
	maxRefusedTalk = 20
)

// A session is one connection. It is an epi.Handler for framed TCP; as a socket it
// is one for WebSockets.
type session struct {
	server *Server
	conn   *epi.Conn
	socket *ws.Conn // nil: framed TCP
	in     frame.Reader
	player *player // nil: before Welcome, and after it was taken over
	view   sim.View
	hello  *epi.Timer // runs until Hello

	ended    bool    // nothing more is read from it
	messages int     // sent, and not earned again
	shown    int     // the size of the last frame with state, which may be long where there is a crowd
	talk     float64 // lines it may say
	talkAt   uint64  // in which tick that was right
	inVain   int     // lines refused since one was not
	wrong    int     // keys
	visiting bool    // its account is looked up
	rights   string  // the name of the moderator; empty: it is none
}

type socket session

func (s *Server) open(c *epi.Conn, w *ws.Conn) *session {
	se := &session{server: s, conn: c, socket: w, talk: float64(s.config.TalkBurst)}
	se.in = frame.Reader{Framing: frame.LengthPrefix{Size: lengthSize}, Max: maxClientFrame}
	s.sessions[se] = struct{}{}
	s.counts.sessions.Store(int64(len(s.sessions)))
	se.hello = s.loop.After(s.config.HelloTimeout, func() {
		if se.player == nil {
			se.refuse(refusedHello, fmt.Sprintf("Hello must come within %v", s.config.HelloTimeout))
		}
	})
	return se
}

// OnData is a method of epi.Handler.
func (se *session) OnData(c *epi.Conn) error {
	for p, err := range se.in.Messages(c) {
		if err != nil {
			se.bad(err)
			break
		}
		se.frame(p)
	}
	if se.ended {
		c.Discard(len(c.Unread()))
	}
	return nil
}

// OnClose is a method of epi.Handler.
func (se *session) OnClose(*epi.Conn, error) { se.closed() }

// OnMessage is a method of ws.Handler.
func (so *socket) OnMessage(_ *ws.Conn, op ws.Opcode, p []byte) error {
	se := (*session)(so)
	if op != ws.Binary {
		se.bad(errors.New("a frame is a binary message"))
		return nil
	}
	se.frame(p)
	return nil
}

// OnClose is a method of ws.Handler.
func (so *socket) OnClose(*ws.Conn, error) { (*session)(so).closed() }

func (se *session) closed() {
	se.ended = true
	se.hello.Stop()
	delete(se.server.sessions, se)
	se.server.counts.sessions.Store(int64(len(se.server.sessions)))
	if se.player != nil {
		se.server.lose(se.player)
		se.player = nil
	}
}

// frame takes what a client has sent.
func (se *session) frame(p []byte) {
	if len(p) == 0 {
		se.bad(errors.New("the frame has no message"))
	}
	for len(p) > 0 && !se.ended {
		m, rest, err := se.server.messages.Next(p)
		if err != nil {
			se.bad(err)
			return
		}
		if se.messages++; se.messages > maxMessages {
			se.refuse(refusedFlood, fmt.Sprintf("more than %d messages at once, and %d a tick", maxMessages, perTick))
			return
		}
		se.take(m)
		p = rest
	}
}

func (se *session) take(m proto.Message) {
	hello, isHello := m.(*proto.Hello)
	switch {
	case isHello && se.player == nil && !se.visiting:
		se.hello.Stop()
		se.server.enter(se, hello)
		return
	case isHello || se.player == nil:
		se.bad(errors.New("the first message, and no other, must be Hello"))
		return
	}
	switch m := m.(type) {
	case *proto.Move:
		se.move(m)
	case *proto.Say:
		if se.mayTalk(m.Text) {
			_ = se.server.world.Say(se.player.id, m.Text) // the player is there
		}
	case *proto.Attack:
		blow, _ := se.server.world.Attack(se.player.id, sim.ID(m.Target), m.Seen) // the player is there
		se.server.counts.blows[blow].Add(1)
	case *proto.Whisper:
		se.whisper(m)
	case *proto.Who:
		se.who()
	case *proto.Moderate:
		se.moderate(m.Key)
	case *proto.Order:
		se.order(m)
	case *proto.Act:
		se.act(m)
	case *proto.Ping:
		pong := proto.Pong{Time: m.Time, Tick: uint32(se.server.world.Tick()), Late: se.server.clock.lateness()}
		se.send(pong.Append(nil))
	case *proto.Bye:
		p := se.player
		se.player, p.session = nil, nil
		se.server.leave(p)
		se.close()
	case *proto.Give:
		se.give(m)
	default:
		se.server.goods.take(se.player, m)
	}
}

func (se *session) move(m *proto.Move) {
	verdict, err := se.server.world.Move(se.player.id, *m)
	if err != nil {
		se.bad(err)
		return
	}
	se.server.counts.moves[verdict].Add(1)
}

// mayTalk reports whether others are to read a text: as often as the player may say
// something.
func (se *session) mayTalk(text string) bool {
	s := se.server
	if !sayable(text) {
		se.bad(errors.New("a text has a character that is not for reading, or only spaces"))
		return false
	}
	if s.muted[se.player.key] {
		se.notice(noticeMuted, "you are muted: nobody reads what you say")
		return false
	}
	now := s.world.Tick()
	earned := float64(now-se.talkAt) / float64(s.config.World.Hz) * s.config.TalkRate
	se.talk, se.talkAt = min(float64(s.config.TalkBurst), se.talk+earned), now
	if se.talk >= 1 {
		se.talk--
		se.inVain = 0
		s.counts.said.Add(1)
		return true
	}
	s.counts.unsaid.Add(1)
	if se.inVain++; se.inVain == 1 {
		se.notice(noticeTalk, "you say too much at once: wait a moment")
	}
	if se.inVain > maxRefusedTalk {
		se.refuse(refusedFlood, "you say too much")
	}
	return false
}

// notice sends a line of the server's own.
func (se *session) notice(code uint8, text string) {
	m := proto.Notice{Code: code, Text: text}
	se.send(m.Append(nil))
}

// sayable refuses what cannot be seen, and what would turn or end lines.
func sayable(text string) bool {
	for _, r := range text {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) && r != zeroWidthJoiner {
			return false
		}
	}
	return strings.TrimSpace(text) != ""
}

// zeroWidthJoiner holds emoji together.
const zeroWidthJoiner = '\u200d'

// bad ends a session whose client breaks the protocol.
func (se *session) bad(err error) {
	se.server.counts.bad.Add(1)
	se.refuse(refusedMessage, err.Error())
}

// refuse ends a session with a reason, after what is queued.
func (se *session) refuse(reason uint8, text string) {
	if se.ended {
		return
	}
	se.server.counts.refused.Add(1)
	m := proto.Refused{Reason: reason, Text: text[:min(len(text), maxRefusedText)]}
	se.write(m.Append(nil))
	se.close()
}

// maxRefusedText is the longest text of Refused.
const maxRefusedText = 200

// send queues a frame. A session for which too much waits already ends instead, whatever the
// frame is: who reads nothing may ask for answers, and is sent what others do.
func (se *session) send(p []byte) {
	if se.ended {
		return
	}
	if s := se.server; se.conn.Queued()-se.shown > s.config.MaxQueue {
		s.counts.slow.Add(1)
		se.refuse(refusedSlow, "you read too slowly: the world went on without you")
		return
	}
	se.write(p)
}

func (se *session) write(p []byte) {
	var err error
	if se.socket != nil {
		err = se.socket.Write(ws.Binary, p)
	} else {
		n := len(p)
		length := [lengthSize]byte{byte(n >> 16), byte(n >> 8), byte(n)}
		_, err = se.conn.Writev(length[:], p)
	}
	if err == nil {
		se.server.counts.bytes.Add(uint64(len(p)))
	}
	if errors.Is(err, epi.ErrQueueFull) {
		se.abort()
	}
}

// close ends a session in order.
func (se *session) close() {
	se.ended = true
	if se.player != nil {
		se.server.lose(se.player)
		se.player = nil
	}
	if se.socket == nil {
		_ = se.conn.Close() // it is closed already otherwise
		return
	}
	if se.socket.Close(ws.Normal, "") != nil {
		_ = se.socket.Abort()
	}
}

func (se *session) abort() {
	se.ended = true
	if se.socket != nil {
		_ = se.socket.Abort() // it is closed already otherwise
		return
	}
	_ = se.conn.Abort()
}

// show sends a session the frame of the last tick. One that has not read what it was
// sent before gets what was said, and the rest later, whole.
func (se *session) show() {
	s := se.server
	se.messages = max(0, se.messages-perTick)
	if se.player == nil || se.ended {
		return
	}
	p := s.scratch[:0]
	queued := se.conn.Queued()
	if queued <= s.config.Conflate {
		p, _ = s.world.Frame(p, se.player.id, &se.view, s.config.FrameBudget) // the player is there
		s.scratch, se.shown = p, len(p)
		se.send(p)
		return
	}
	s.counts.conflated.Add(1)
	if p = s.world.Talk(p, se.player.id); len(p) == 0 {
		return
	}
	s.scratch = p
	se.send(p)
}
