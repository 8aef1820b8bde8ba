package socket_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

// The differential test plays scripts of client actions to every mode and
// compares what the handlers got and what the clients received. The
// handlers obey frames: a command, the length of a body, the body. Because
// they note frames, the traces do not show where TCP splits and merges.
const (
	cmdEcho       = 'e' // write the body
	cmdBulk       = 'b' // write more than HighWater
	cmdPause      = 'p' // pause, and resume in a task
	cmdLeave      = 'l' // leave the rest unread and have it offered again
	cmdCloseWrite = 'w'
	cmdClose      = 'c'
	cmdAbort      = 'a'
	cmdError      = 'x' // return an error
	cmdPanic      = '!'
)

const (
	diffHighWater = 32 << 10
	diffBulk      = 3 * diffHighWater
)

// An action is one thing that a client does.
type action struct {
	conn int
	what actionKind
	data []byte // of send: frames
	step int    // of send: bytes in one write
}

type actionKind string

const (
	actConnect      actionKind = "connect"
	actConnectNoEOF actionKind = "connect to a handler without OnEOF"
	actSend         actionKind = "send"
	actAwait        actionKind = "await" // until all was handled and answered
	actHalfClose    actionKind = "half-close"
	actReset        actionKind = "reset"
)

func (a action) String() string {
	if a.what != actSend {
		return fmt.Sprintf("%d: %s", a.conn, a.what)
	}
	return fmt.Sprintf("%d: send %q in steps of %d", a.conn, a.data, a.step)
}

// secureScripts is how many scripts are played over TLS, where each connection
// begins with a handshake.
const secureScripts = 60

func TestF04_SameTraceEverywhere(t *testing.T) {
	scripts := fixedScripts()
	for seed := range uint64(200) {
		scripts = append(scripts, randomScript(rand.New(rand.NewPCG(seed, 4))))
	}
	modes := append(epitest.Modes(), epitest.SecureModes()...) // TLS changes nothing
	reference := newDiffServer(t, modes[0])
	var want []string
	for _, script := range scripts {
		want = append(want, reference.play(script))
	}
	for _, m := range modes[1:] {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			s := newDiffServer(t, m)
			scripts := scripts
			if m.TLS {
				scripts = scripts[:secureScripts]
			}
			for i, script := range scripts {
				if got := s.play(script); got != want[i] {
					t.Fatalf("script %d:\n%v\ntrace:\n%s\nof %v:\n%s", i, script, got, modes[0], want[i])
				}
			}
		})
	}
}

// TestF04_ScriptsDoWhatTheySay compares traces with what they must be, so that
// all modes cannot agree on something wrong.
func TestF04_ScriptsDoWhatTheySay(t *testing.T) {
	want := []string{
		"0: open echo(5) EOF closed(<nil>) | 5 bytes 3610a686, EOF\n",
		"0: open echo(5) closed(EOF) | 5 bytes 3610a686, EOF\n",
		"0: open echo(5) closed(reset) | \n",
		"0: open bulk drained EOF closed(<nil>) | 98304 bytes",
		"0: open closeWrite echo(2) refused EOF closed(<nil>) | 0 bytes 00000000, EOF\n",
		"0: open echo(5) pause echo(5) leave echo(5) EOF closed(<nil>) | 15 bytes",
		"0: open abort closed(connection was aborted) | 0 bytes 00000000, reset\n",
		"0: open echo(2) error closed(told to) | 2 bytes",
		"0: open echo(2) panic closed(callback panicked: told to) | 2 bytes",
		"0: open echo(2) close closed(<nil>) | 2 bytes",
	}
	epitest.EachTransport(t, func(t *testing.T, m epitest.Mode) {
		t.Parallel()
		s := newDiffServer(t, m)
		for i, script := range fixedScripts() {
			if got := s.play(script); !strings.HasPrefix(got, want[i]) {
				t.Errorf("script %v:\n%swant\n%s", script, got, want[i])
			}
		}
	})
}

func fixedScripts() [][]action {
	text := func(s string, step int) action { return action{what: actSend, data: []byte(s), step: step} }
	open, openNoEOF := action{what: actConnect}, action{what: actConnectNoEOF}
	return [][]action{
		{open, text("e\x05hello", 7), {what: actHalfClose}},
		{openNoEOF, text("e\x05hello", 1), {what: actHalfClose}},
		{open, text("e\x05hello", 3), {what: actAwait}, {what: actReset}},
		{open, text("b\x00", 2), {what: actAwait}, {what: actHalfClose}},
		{open, text("w\x00e\x02hi", 6), {what: actAwait}, {what: actHalfClose}},
		{open, text("e\x05hellop\x00e\x05worldl\x00e\x05again", 100), {what: actHalfClose}},
		{open, text("a\x00", 2)},
		{open, text("e\x02hix\x00", 6)},
		{open, text("e\x02hi!\x00", 6)},
		{open, text("e\x02hic\x00e\x02no", 10)},
	}
}

// randomScript makes a script of several connections.
//
// Where TCP, or who is faster, could decide about the outcome, the script
// awaits: before a reset or an abort, which may overtake bytes and the end of
// the stream, and around a bulk write, whose neighbours would take part in crossing the watermark.
func randomScript(rng *rand.Rand) []action {
	var script []action
	conns := 1 + rng.IntN(4)
	live := make([]bool, conns)
	for i := range conns {
		kinds := []actionKind{actConnect, actConnectNoEOF}
		script = append(script, action{conn: i, what: kinds[rng.IntN(2)]})
		live[i] = true
	}
	for range 5 + rng.IntN(10) {
		i := rng.IntN(conns)
		if !live[i] {
			continue
		}
		var frames []byte
		for range rng.IntN(6) {
			frames = appendFrame(frames, rng, "eeeeplpl"[rng.IntN(8)])
		}
		plain := action{conn: i, what: actSend, data: frames, step: 1 + rng.IntN(40)}
		pause := action{conn: i, what: actAwait}
		single := func(cmd byte) action {
			return action{conn: i, what: actSend, data: appendFrame(nil, rng, cmd), step: 100}
		}
		script = append(script, plain)
		switch rng.IntN(12) {
		case 0:
			script = append(script, pause, single(cmdBulk), pause)
		case 1:
			script = append(script, pause, action{conn: i, what: actReset})
			live[i] = false
		case 2:
			script = append(script, pause, single(cmdAbort))
			live[i] = false
		case 3:
			script = append(script, single("cx!"[rng.IntN(3)]))
			live[i] = false
		case 4:
			script = append(script, single(cmdCloseWrite))
		case 5:
			script = append(script, action{conn: i, what: actHalfClose})
			live[i] = false
		case 6, 7, 8:
			script = append(script, pause)
		}
	}
	return script
}

func appendFrame(dst []byte, rng *rand.Rand, cmd byte) []byte {
	n := 0
	if cmd == cmdEcho {
		n = rng.IntN(200)
	}
	dst = append(dst, cmd, byte(n))
	for range n {
		dst = append(dst, byte('A'+rng.IntN(26)))
	}
	return dst
}

// A diffServer is an engine with two listeners: for handlers with and without OnEOF.
type diffServer struct {
	*epitest.Server
	t      *testing.T
	noEOF  *epi.Listener
	opened chan *diffConn
}

func newDiffServer(t *testing.T, m epitest.Mode) *diffServer {
	t.Helper()
	s := &diffServer{t: t, opened: make(chan *diffConn, 1)}
	e := m.Engine()
	e.HighWater = diffHighWater
	s.Server = epitest.Start(t, e, func(*epi.Conn) epi.Handler {
		return &diffConnEOF{newDiffConn(s.opened)}
	})
	var err error
	s.noEOF, err = e.Listen(m.Address(), func(*epi.Conn) epi.Handler { return newDiffConn(s.opened) })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// play plays a script and returns the traces of its connections.
func (s *diffServer) play(script []action) string {
	s.t.Helper()
	var clients []*diffClient
	for _, a := range script {
		switch a.what {
		case actConnect:
			clients = append(clients, s.connect(s.Listener))
		case actConnectNoEOF:
			clients = append(clients, s.connect(s.noEOF))
		default:
			clients[a.conn].do(s.t, a)
		}
	}
	var trace strings.Builder
	for i, c := range clients {
		fmt.Fprintf(&trace, "%d: %s\n", i, c.finish(s.t))
	}
	return trace.String()
}

func (s *diffServer) connect(ln *epi.Listener) *diffClient {
	s.t.Helper()
	conn := epitest.DialListener(s.t, s.Engine, ln, net.Dialer{})
	c := &diffClient{conn: conn, server: epitest.Receive(s.t, s.opened), ended: make(chan struct{})}
	go c.receive()
	return c
}

// A diffClient is a client's end of a connection.
type diffClient struct {
	conn   net.Conn
	server *diffConn
	sent   int
	torn   error         // the reset that it learned of by its half-close
	quiet  bool          // it did reset the connection: what it received has no meaning
	ended  chan struct{} // the end was received; the two below are set
	got    []byte
	end    error
}

func (c *diffClient) receive() {
	defer close(c.ended)
	buf := make([]byte, 32<<10)
	for {
		n, err := c.conn.Read(buf)
		c.got = append(c.got, buf[:n]...)
		c.server.update(func(d *diffConn) { d.answersReceived += n })
		if err != nil {
			c.end = err
			c.server.update(func(d *diffConn) { d.endReceived = true })
			return
		}
	}
}

func (c *diffClient) do(t *testing.T, a action) {
	t.Helper()
	switch a.what {
	case actSend:
		for rest := a.data; len(rest) > 0; {
			n := min(a.step, len(rest))
			if _, err := c.conn.Write(rest[:n]); err != nil {
				return // the server has closed, as it was told to
			}
			c.sent += n
			rest = rest[n:]
		}
	case actAwait:
		c.server.await(t, func(d *diffConn) bool {
			return d.closed || d.consumed == c.sent && d.answersReceived == d.written && d.endReceived == d.writeEnded
		})
	case actHalfClose:
		c.closeWrite()
	case actReset:
		c.quiet = true
		epitest.Reset(t, c.conn)
	}
}

// closeWrite half-closes the connection, which may be closed already. With TLS
// that is a write, and the kernel reports a reset to whoever writes or reads first.
func (c *diffClient) closeWrite() {
	if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); epitest.IsReset(err) {
		c.torn = err
	}
}

// finish ends the connection and returns its trace.
func (c *diffClient) finish(t *testing.T) string {
	t.Helper()
	if !c.quiet {
		c.closeWrite()
	}
	c.server.await(t, func(d *diffConn) bool { return d.closed })
	epitest.Receive(t, c.ended)
	_ = c.conn.Close()
	trace := c.server.trace.String() + " | "
	if c.quiet {
		return trace
	}
	return trace + fmt.Sprintf("%d bytes %08x, %s", len(c.got), crc32.ChecksumIEEE(c.got), causeName(cmp.Or(c.torn, c.end)))
}

// causeName is a cause without what differs between systems and addresses.
func causeName(err error) string {
	if epitest.IsReset(err) {
		return "reset"
	}
	return fmt.Sprint(err)
}

// A diffConn is the handler of one connection.
type diffConn struct {
	opened chan<- *diffConn

	mu              sync.Mutex
	changed         sync.Cond // broadcast when one of the following changes
	trace           bytes.Buffer
	consumed        int // bytes of frames that were handled
	written         int // bytes that Write took
	answersReceived int // by the client
	writeEnded      bool
	endReceived     bool // by the client
	closed          bool
}

// diffConnEOF is a diffConn that wants to know of the peer's end.
type diffConnEOF struct{ *diffConn }

func newDiffConn(opened chan<- *diffConn) *diffConn {
	d := &diffConn{opened: opened}
	d.changed.L = &d.mu
	return d
}

func (d *diffConn) update(change func(d *diffConn)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
	d.changed.Broadcast()
}

func (d *diffConn) await(t *testing.T, cond func(d *diffConn) bool) {
	t.Helper()
	met := make(chan struct{})
	go func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for !cond(d) {
			d.changed.Wait()
		}
		close(met)
	}()
	epitest.Receive(t, met)
}

func (d *diffConn) note(word string) {
	d.update(func(d *diffConn) { d.trace.WriteString(" " + word) })
}

func (d *diffConn) OnOpen(*epi.Conn) error {
	d.trace.WriteString("open")
	d.opened <- d
	return nil
}

func (d *diffConn) OnDrain(*epi.Conn) { d.note("drained") }

func (d *diffConn) OnClose(_ *epi.Conn, err error) {
	d.note("closed(" + causeName(err) + ")")
	d.update(func(d *diffConn) { d.closed = true })
}

func (d *diffConnEOF) OnEOF(c *epi.Conn) error {
	d.note("EOF")
	return c.Close()
}

func (d *diffConn) OnData(c *epi.Conn) error {
	for {
		in := c.Unread()
		if len(in) < 2 || len(in) < 2+int(in[1]) {
			return nil
		}
		cmd, body := in[0], in[2:][:in[1]]
		more, err := d.obey(c, cmd, body)
		c.Discard(2 + len(body))
		d.update(func(d *diffConn) { d.consumed += 2 + len(body) })
		if err != nil || !more {
			return err
		}
	}
}

// obey obeys a frame and reports whether to go on with the next.
func (d *diffConn) obey(c *epi.Conn, cmd byte, body []byte) (more bool, err error) {
	switch cmd {
	case cmdEcho:
		d.note(fmt.Sprintf("echo(%d)", len(body)))
		d.write(c, body)
		return true, nil
	case cmdBulk:
		d.note("bulk")
		d.write(c, epitest.Pattern(diffBulk))
		return true, nil
	case cmdPause:
		d.note("pause")
		c.Pause()
		return false, c.Loop().Do(c.Resume)
	case cmdLeave:
		d.note("leave")
		c.Resume()
		return false, nil
	case cmdCloseWrite:
		d.note("closeWrite")
		d.update(func(d *diffConn) { d.writeEnded = true })
		return true, c.CloseWrite()
	case cmdClose:
		d.note("close")
		return false, c.Close()
	case cmdAbort:
		d.note("abort")
		return false, c.Abort()
	case cmdError:
		d.note("error")
		return false, errors.New("told to")
	case cmdPanic:
		d.note("panic")
		panic("told to")
	}
	return false, fmt.Errorf("unknown command %q: %w", cmd, io.ErrUnexpectedEOF)
}

func (d *diffConn) write(c *epi.Conn, p []byte) {
	n, err := c.Write(p)
	if err != nil {
		d.note("refused")
	}
	d.update(func(d *diffConn) { d.written += n })
}
