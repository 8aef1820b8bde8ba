package gate

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/internal/slab"
	"github.com/epinet/epi/ws"
)

// A transport is how lines reach the client.
type transport uint8

const (
	plain  transport = iota // a byte stream, lines ended by CR LF
	text                    // WebSocket, a text message for each line
	binary                  // WebSocket, a binary message for each line
)

// A session is one client's connection. It belongs to its loop. There are many, and
// most are idle: what few have is elsewhere, and the order leaves no gaps.
type session struct {
	shard  *shard
	conn   *epi.Conn
	socket *ws.Conn // nil: plain
	id     hall.SessionID
	caps   hall.Caps
	mark   uint64 // the last delivery that it got, or was left out of

	pending  *pending // what leaves at the end of the turn; nil: nothing
	seats    []seat   // where it is on the lists of channels
	bucket   bucket
	deadline deadline

	discarded  int32 // bytes of a line that is too long; the rest of it is to follow
	kind       transport
	waits      deadlineKind
	limited    bool // it has a bucket
	greeted    bool // a first line has come
	registered bool
	paused     bool // its bucket is empty, or the hall has too much to do
	ended      bool // the hall knows that it has ended, or has ended it
	shed       bool // its queue was full
	parted     bool // the last word was said
	slow       bool // much has waited for it: it is given limited time to take it
}

// pending is what leaves at the end of the turn.
type pending struct {
	lines [][]byte
	size  int // bytes in lines
}

// A seat is a session's place on the list of a channel.
type seat struct {
	channel hall.ChannelID
	at      uint32
}

// lines is a session as the engine sees it, on a byte stream; messages is one on a
// WebSocket.
type (
	lines    session
	messages session
)

// open begins a session of a new connection, on its loop.
func (s *Server) open(c *epi.Conn, l Listener, kind transport) *session {
	sh := s.shards[c.Loop().Index()]
	se := &session{shard: sh, conn: c, kind: kind}
	se.id = sh.insert(se)
	config := s.config.Load()
	se.bucket, se.limited = newBucket(&config.Throttle, address(c))
	sh.deadlines[registering].add(sh, se, config.Registration)
	sh.report(hall.Event{Kind: hall.Opened, Session: se.id, Origin: origin(c, l, kind, config.Proxies)})
	return se
}

// OnData is a method of epi.Handler.
func (l *lines) OnData(c *epi.Conn) error {
	se := (*session)(l)
	for {
		p := c.Unread()
		if len(p) == 0 || se.ended {
			c.Discard(len(p))
			return nil
		}
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			se.keepPart(c, p)
			return nil
		}
		if !se.mayRead() {
			return nil
		}
		line := p[:end]
		if int(se.discarded)+len(line) > maxRefused {
			se.floods()
			continue
		}
		if se.discarded > 0 {
			se.discarded = 0
			c.Discard(end + 1)
			continue
		}
		se.read(line)
		c.Discard(end + 1)
	}
}

// maxRefused is the longest line that is refused alone, in bytes: who sends longer
// ones is closed.
const maxRefused = 16 << 10

// floods ends a session that sends a line without end.
func (se *session) floods() { se.end("A line is too long", "Excess Flood") }

// keepPart leaves the beginning of a line unread. One that can be no line any more
// is refused once and thrown away up to its end.
func (se *session) keepPart(c *epi.Conn, p []byte) {
	if se.discarded == 0 && len(p) <= maxMessage {
		return
	}
	c.Discard(len(p))
	first := se.discarded == 0
	se.discarded += int32(len(p))
	if se.discarded > maxRefused {
		se.floods()
		return
	}
	if !first {
		return
	}
	se.spend(len(p), 1)
	problem := hall.LineTooLong
	if p[0] == '@' && bytes.IndexByte(p, ' ') < 0 {
		problem = hall.TagsTooLong
	}
	se.shard.report(hall.Event{Kind: hall.Malformed, Problem: problem, Session: se.id})
}

// read takes a line. A CR within it ends a line, too, as it does for clients that
// send nothing else (https://modern.ircdocs.horse/#messages). A line without
// anything in it costs as others do.
func (se *session) read(line []byte) {
	for more := true; more && !se.ended; more = len(line) > 0 {
		var one []byte
		one, line, _ = bytes.Cut(line, []byte{'\r'})
		se.readOne(one)
	}
}

func (se *session) readOne(line []byte) {
	se.alive()
	se.shard.server.counts.lines.Add(1)
	if bytes.IndexByte(line, 0) >= 0 {
		line = bytes.ReplaceAll(line, []byte{0}, nil) // no NUL reaches others
	}
	if !se.greeted && len(line) > 0 {
		se.greeted = true
		if se.kind == plain && isHTTP(line) {
			se.end("This is no web server", "HTTP request")
			return
		}
	}
	m := se.shard.message()
	err := m.Parse(string(line), ircmsg.FromClient)
	switch {
	case !utf8.Valid(line):
		se.refuse(hall.NotUTF8, line, m)
	case err == nil:
		se.spend(len(line), hall.Cost(m))
		se.shard.report(hall.Event{Kind: hall.Line, Session: se.id, Message: m})
	case errors.Is(err, ircmsg.ErrTooLong):
		se.refuse(hall.LineTooLong, line, m)
	case errors.Is(err, ircmsg.ErrTagsTooLong):
		se.refuse(hall.TagsTooLong, line, m)
	default: // nothing in it: ignored, though not for nothing
		se.spend(len(line), 1)
	}
}

// refuse reports a line that is no message to the hall; m is what could be read of
// it. Its tags may have the label that the answer is to have.
func (se *session) refuse(problem hall.Problem, line []byte, m *ircmsg.Message) {
	se.spend(len(line), 1)
	if problem == hall.TagsTooLong || !utf8.ValidString(string(m.Tags)) {
		m.Tags = ""
	}
	se.shard.report(hall.Event{Kind: hall.Malformed, Problem: problem, Session: se.id, Message: m})
}

// isHTTP recognises web browsers, which other pages can make send requests to any
// port. A line that begins so never begins a session of IRC.
func isHTTP(line []byte) bool {
	verb, _, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return false
	}
	switch string(verb) {
	case "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH":
		return true
	}
	return false
}

// OnClose is a method of epi.Handler.
func (l *lines) OnClose(_ *epi.Conn, err error) { (*session)(l).closed(err) }

// OnShutdown is a method of epi.ShutdownHandler.
func (l *lines) OnShutdown(*epi.Conn) { (*session)(l).farewell() }

// OnMessage is a method of ws.Handler. An empty message is a line without anything
// in it.
func (m *messages) OnMessage(_ *ws.Conn, _ ws.Opcode, p []byte) error {
	se := (*session)(m)
	for more := true; more && !se.ended; more = len(p) > 0 {
		var line []byte
		line, p, _ = bytes.Cut(p, []byte{'\n'})
		se.read(line)
	}
	if !se.ended {
		se.mayRead() // pauses what must wait
	}
	return nil
}

// OnFrame is a method of ws.FrameHandler. A frame that is no message is a line without
// anything in it, too.
func (m *messages) OnFrame(*ws.Conn) {
	se := (*session)(m)
	if se.ended {
		return
	}
	se.readOne(nil)
	se.mayRead() // pauses what must wait
}

// OnClose is a method of ws.Handler.
func (m *messages) OnClose(_ *ws.Conn, err error) { (*session)(m).closed(err) }

// mayRead reports whether the next line may be read now. When it may not, reading
// is paused until it may.
func (se *session) mayRead() bool {
	if se.paused {
		return false
	}
	if se.shard.crowded() {
		se.pause()
		se.shard.waiting = append(se.shard.waiting, se.id)
		return false
	}
	if wait := se.wait(); wait > 0 {
		se.pause()
		id, sh := se.id, se.shard
		sh.loop.After(wait, func() { sh.resume(id) })
		return false
	}
	return true
}

// limits are those of all sessions now.
func (se *session) limits() *Throttle { return &se.shard.server.config.Load().Throttle }

func (se *session) spend(size, cost int) {
	if se.limited {
		se.bucket.spend(se.limits(), se.shard.now(), size, cost)
	}
}

// wait returns how long it takes until the next line may be read.
func (se *session) wait() time.Duration {
	if !se.limited {
		return 0
	}
	return se.bucket.wait(se.limits(), se.shard.now())
}

func (se *session) pause() {
	se.paused = true
	if se.socket != nil {
		se.socket.Pause()
		return
	}
	se.conn.Pause()
}

func (se *session) resume() {
	se.paused = false
	if se.socket != nil {
		se.socket.Resume()
		return
	}
	se.conn.Resume()
}

// push queues lines that must not change any more, to leave at the end of the turn.
// A queue that is full ends the session.
func (se *session) push(lines []byte) {
	if se.pending == nil {
		if se.shed {
			return
		}
		se.pending = se.shard.takePending()
		se.shard.soil(se)
	}
	p := se.pending
	p.lines = append(p.lines, lines)
	p.size += len(lines)
	if p.size > flushFrom || len(p.lines) == cap(p.lines) {
		se.flush()
	}
}

// flushFrom is how much of one session may wait for the end of the turn.
const flushFrom = 64 << 10

func (se *session) flush() {
	if se.pending == nil {
		return
	}
	err := se.conn.Send(se.pending.lines...)
	se.shard.givePending(se.pending)
	se.pending = nil
	se.queued(err)
}

// slowFrom is how much must wait for a client before it is given limited time to take
// it. To watch all of them would take memory for each.
const slowFrom = 32 << 10

// queued looks at what a write has led to: a queue that is full, or long.
func (se *session) queued(err error) {
	if errors.Is(err, epi.ErrQueueFull) {
		se.overflow()
		return
	}
	if stall := se.shard.server.config.Load().Stall; stall > 0 && !se.slow && se.conn.Queued() > slowFrom {
		se.slow = true
		se.conn.SetWriteTimeout(stall)
	}
}

// overflow ends a session that does not read what it is sent. It leaves its lists
// when the connection has ended: one of them may be walked just now.
func (se *session) overflow() {
	if se.shed {
		return
	}
	se.shed = true
	se.shard.server.counts.sheds.Add(1)
	if se.socket != nil {
		_ = se.socket.Abort() // it is closed already otherwise
		return
	}
	_ = se.conn.Abort()
}

// end ends a session with an ERROR, on behalf of the gate.
func (se *session) end(say, reason string) {
	if se.ended {
		return
	}
	se.write([]byte("ERROR :Closing Link: " + say + "\r\n"))
	se.reportEnd(reason)
	se.close()
}

// close closes the connection after what is queued.
func (se *session) close() {
	se.flush()
	if se.shed {
		return
	}
	if se.socket == nil {
		_ = se.conn.Close() // it is closed already otherwise
		return
	}
	if se.socket.Close(ws.Normal, "") != nil {
		_ = se.socket.Abort()
	}
}

// reportEnd lets the hall know that a session has ended, once.
func (se *session) reportEnd(reason string) {
	if se.ended {
		return
	}
	se.ended = true
	se.shard.remove(se)
	se.shard.report(hall.Event{Kind: hall.Closed, Session: se.id, Text: reason})
}

// closed is the end of the connection.
func (se *session) closed(err error) {
	reason := closeReason(err)
	if se.shed {
		reason = "SendQ exceeded"
	}
	se.reportEnd(reason)
	se.shard.forget(se)
}

// closeReason is what other users read about the end of a session. It has nothing
// of what the client chose.
func closeReason(err error) string {
	var closing *ws.CloseError
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &closing):
		return "Connection closed"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "Connection reset by peer"
	case errors.Is(err, epi.ErrShutdown):
		return "Server shutting down"
	case errors.Is(err, epi.ErrWriteStalled), errors.Is(err, epi.ErrLinger):
		return "Write timeout"
	}
	return "Connection error"
}

// farewell is the last word when the server ends.
func (se *session) farewell() {
	if !se.ended && !se.parted {
		se.parted = true
		se.write([]byte("ERROR :Closing Link: Server shutting down\r\n"))
		se.flush()
	}
}

// write sends lines that the caller may use again.
func (se *session) write(p []byte) {
	if len(p) == 0 || se.shed {
		return
	}
	if se.kind == plain {
		se.push(bytes.Clone(p))
		return
	}
	for line := range bytes.Lines(p) {
		se.frame(bytes.TrimRight(line, "\r\n"))
	}
}

// frame sends one line as a message.
func (se *session) frame(line []byte) {
	op := ws.Text
	if se.kind == binary {
		op = ws.Binary
	}
	se.queued(se.socket.Write(op, line))
}

// sendFrame sends a line that is shared with others.
func (se *session) sendFrame(f *ircmsg.Form) {
	shared := f.Other(makeFrames).(*frames)
	frame := shared.text
	if se.kind == binary {
		frame = shared.binary
	}
	se.queued(se.socket.Send(frame))
}

// A SessionID is a token of the slab of its shard, with the shard's number in the
// bits that tokens leave free.
const shardShift = 28

func sessionID(t slab.Token, shard int) hall.SessionID {
	return hall.SessionID(t) | hall.SessionID(shard)<<shardShift
}

func shardIndex(id hall.SessionID) int { return int(id>>shardShift) & (MaxLoops - 1) }

func token(id hall.SessionID) slab.Token { return slab.Token(id) &^ slab.FreeBits }
