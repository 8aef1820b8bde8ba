package ws

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/epinet/epi"
)

const (
	// maxHeader bounds the header of a request or an answer.
	maxHeader = 64 << 10
	// keySize is the size of a decoded Sec-WebSocket-Key.
	keySize = 16
	// acceptGUID is of RFC 6455, section 1.3.
	acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	version    = "13"
	// portBits is the size of a port.
	portBits = 16
	// hostCharacters are in names of hosts besides letters and digits: those of
	// RFC 3986, section 3.2.2, though no name has many of them in practice.
	hostCharacters = "-._~!$&'()*+,;=%"

	headerKey     = "Sec-Websocket-Key"
	headerVersion = "Sec-Websocket-Version"
	headerAccept  = "Sec-Websocket-Accept"
)

// A Refusal is an answer to a request that is not to become a WebSocket.
// Server.Check and Server.Answer return one to choose the status, and Dial when the
// server refuses.
type Refusal struct {
	// Status is 300 or more. In place of any other the client gets 403.
	Status int
	Reason string // for the client to read
	// Header is more for the answer. The length of the body and what becomes of the
	// connection are not taken from it.
	Header http.Header
	// Body is, of what Dial returns, the answer's, at most its first 4 KiB.
	Body []byte
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("upgrade refused: %d %s: %s", r.Status, http.StatusText(r.Status), r.Reason)
}

func refusal(status int, reason string) *Refusal { return &Refusal{Status: status, Reason: reason} }

// refusalOf returns what a client sees of an error. Its text is none of the
// client's business unless it is a Refusal.
func refusalOf(err error) *Refusal {
	if r := (*Refusal)(nil); errors.As(err, &r) && r != nil {
		return r
	}
	return refusal(http.StatusForbidden, "refused")
}

const (
	leastRefusal = 300
	mostRefusal  = 999 // what three digits can say
)

// framing are the fields of an answer that say where it ends and what becomes of
// the connection; a Refusal's own would contradict ours.
var framing = []string{"Connection", "Content-Length", "Keep-Alive", "Trailer", "Transfer-Encoding"}

// ownHeader is the header of the user without the fields that are named.
func ownHeader(h http.Header, without ...string) http.Header {
	own := make(http.Header, len(h))
	for name, values := range h {
		if name = http.CanonicalHeaderKey(name); !slices.Contains(without, name) {
			own[name] = append(own[name], values...)
		}
	}
	return own
}

// response encodes the answer; that to a HEAD request is only the header, as is
// one that has no content (RFC 9110, section 15.4.5).
func (r *Refusal) response(head bool) []byte {
	status := r.Status
	if status < leastRefusal || status > mostRefusal {
		status = http.StatusForbidden
	}
	header, body := ownHeader(r.Header, framing...), r.Reason+"\n"
	connection := "close"
	if header.Get("Upgrade") != "" { // which is only for this connection (RFC 9110, section 7.8)
		connection = "close, Upgrade"
	}
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	header.Set("Connection", connection)
	if status == http.StatusNotModified {
		body = ""
	} else {
		header.Set("Content-Length", strconv.Itoa(len(body)))
		if header.Get("Content-Type") == "" {
			header.Set("Content-Type", "text/plain; charset=utf-8")
		}
		header.Set("X-Content-Type-Options", "nosniff")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = header.Write(&b) // a Buffer takes everything
	b.WriteString("\r\n")
	if !head {
		b.WriteString(body)
	}
	return b.Bytes()
}

// A headerEnd finds the end of a header that arrives in pieces.
type headerEnd struct{ scanned int }

// find returns the size of the header at the start of p, 0 while there is more
// to come.
func (e *headerEnd) find(p []byte) (int, error) {
	for e.scanned < len(p) {
		i := bytes.IndexByte(p[e.scanned:], '\n')
		if i < 0 {
			e.scanned = len(p)
			break
		}
		e.scanned += i + 1
		line := p[:e.scanned]
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			return 0, refusal(http.StatusBadRequest, "a line ends without a carriage return")
		}
		if e.scanned <= maxHeader && bytes.HasSuffix(line, []byte("\r\n\r\n")) {
			return e.scanned, nil
		}
	}
	if len(p) > maxHeader {
		return 0, refusal(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the header has more than %d bytes", maxHeader))
	}
	return 0, nil
}

// checkLines refuses what net/http lets through: folded lines, control
// characters, names that are no tokens.
func checkLines(block []byte) error {
	lines := strings.Split(string(block), "\r\n")
	for i, line := range lines {
		for j := range len(line) {
			if c := line[j]; c < ' ' && c != '\t' || c == 0x7f {
				return refusal(http.StatusBadRequest, "a control character in the header")
			}
		}
		if i == 0 || line == "" {
			continue
		}
		if name, _, ok := strings.Cut(line, ":"); !ok || !isToken(name) {
			return refusal(http.StatusBadRequest, "a malformed line in the header")
		}
	}
	return nil
}

// values returns those of the lines with a name, which net/http takes out of Header.
func values(block []byte, name string) (list []string) {
	for line := range strings.SplitSeq(string(block), "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			list = append(list, strings.Trim(value, " \t"))
		}
	}
	return list
}

// A headReader is what net/http parses a header from. It is pooled: one for each
// connection would be 4 KiB of garbage.
type headReader struct {
	src bytes.Reader
	buf *bufio.Reader
}

var headReaders = sync.Pool{New: func() any {
	h := new(headReader)
	h.buf = bufio.NewReader(&h.src)
	return h
}}

// parseHead parses a header by a function of net/http. The body of what it
// returns must not be read.
func parseHead[T any](block []byte, parse func(*bufio.Reader) (T, error)) (T, error) {
	h := headReaders.Get().(*headReader)
	defer headReaders.Put(h)
	h.src.Reset(block)
	defer h.src.Reset(nil)
	h.buf.Reset(&h.src)
	return parse(h.buf)
}

func parseRequest(block []byte) (*http.Request, error) {
	if err := checkLines(block); err != nil {
		return nil, err
	}
	r, err := parseHead(block, http.ReadRequest)
	if err != nil {
		return nil, refusal(http.StatusBadRequest, "malformed request")
	}
	hosts := values(block[bytes.IndexByte(block, '\n')+1:], "Host")
	switch {
	case len(hosts) > 1 || len(hosts) == 0 && r.ProtoAtLeast(1, 1):
		return nil, refusal(http.StatusBadRequest, fmt.Sprintf("there must be one Host, and there are %d", len(hosts)))
	case len(hosts) == 1 && hosts[0] != "" && !isHost(hosts[0]):
		return nil, refusal(http.StatusBadRequest, "the Host is no host with a port")
	}
	r.Body = http.NoBody
	return r, nil
}

// asksForWebSocket reports whether a request means to be an upgrade, be it a good one or not.
func asksForWebSocket(r *http.Request) bool {
	return hasToken(r.Header["Upgrade"], "websocket") || len(r.Header[headerKey])+len(r.Header[headerVersion]) > 0
}

// checkUpgrade holds RFC 6455, section 4.2.1, against a request.
func checkUpgrade(r *http.Request) error {
	keys, versions := r.Header[headerKey], r.Header[headerVersion]
	switch {
	case r.Method != http.MethodGet:
		return &Refusal{Status: http.StatusMethodNotAllowed, Reason: "an upgrade is a GET", Header: http.Header{"Allow": {http.MethodGet}}}
	case r.ProtoMajor != 1:
		return refusal(http.StatusHTTPVersionNotSupported, "an upgrade needs HTTP/1.1")
	case r.ProtoMinor < 1: // one above 1 means as much as 1 (RFC 9110, section 2.5)
		return refusal(http.StatusBadRequest, "an upgrade needs HTTP/1.1")
	case !isTarget(r):
		return refusal(http.StatusBadRequest, "the target is neither a path nor a URI with a host")
	case r.Host == "":
		return refusal(http.StatusBadRequest, "the Host is empty")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return refusal(http.StatusBadRequest, "an upgrade has no body")
	case !hasToken(r.Header["Upgrade"], "websocket"):
		return refusal(http.StatusBadRequest, "Upgrade does not say websocket")
	case !hasToken(r.Header["Connection"], "upgrade"):
		return refusal(http.StatusBadRequest, "Connection does not say Upgrade")
	case len(versions) != 1 || versions[0] != version:
		return upgradeRequired("the version must be " + version)
	case len(keys) != 1 || !isKey(keys[0]):
		return refusal(http.StatusBadRequest, "there must be one Sec-WebSocket-Key, of 16 bytes in base64")
	}
	return nil
}

// upgradeRequired refuses and says what to upgrade to.
func upgradeRequired(reason string) error {
	return &Refusal{Status: http.StatusUpgradeRequired, Reason: reason,
		Header: http.Header{headerVersion: {version}, "Upgrade": {"websocket"}}}
}

// isKey takes bits behind the end, too, which the example of RFC 6455, section
// 4.1, has.
func isKey(text string) bool {
	key, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(key) == keySize
}

// isTarget reports whether the target of a request has the origin or the
// absolute form (RFC 9112, section 3.2), in characters of a URI.
func isTarget(r *http.Request) bool {
	for i := range len(r.RequestURI) {
		if c := r.RequestURI[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return r.RequestURI[0] == '/' || r.URL.Host != ""
}

// isHost reports whether a Host is one, perhaps with a port (RFC 9110, section
// 7.2, and RFC 3986, section 3.2.2).
func isHost(text string) bool {
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i > strings.LastIndexByte(text, ']') {
		host, port = text[:i], text[i+1:]
	}
	if port != "" {
		if _, err := strconv.ParseUint(port, 10, portBits); err != nil {
			return false
		}
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		return ok && err == nil && addr.Is6()
	}
	for i := range len(host) {
		if c := host[i]; !isAlphanumeric(c) && strings.IndexByte(hostCharacters, c) < 0 {
			return false
		}
	}
	_, err := url.PathUnescape(host)
	return host != "" && err == nil
}

// hasToken reports whether a comma separated list has a token, in any case.
func hasToken(lines []string, token string) bool {
	return slices.ContainsFunc(tokens(lines), func(t string) bool { return strings.EqualFold(t, token) })
}

// tokens returns the elements of a comma separated list.
func tokens(lines []string) (list []string) {
	for _, line := range lines {
		for t := range strings.SplitSeq(line, ",") {
			if t = strings.Trim(t, " \t"); t != "" {
				list = append(list, t)
			}
		}
	}
	return list
}

func allTokens(list []string) bool {
	return !slices.ContainsFunc(list, func(t string) bool { return !isToken(t) })
}

// acceptKey answers a key.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// An upgrade is the opening of a connection to a Server.
type upgrade struct {
	server *Server
	begun  bool // no empty line is skipped any more
	left   bool // HTTP has the connection, or will have it
	end    headerEnd
}

// begin limits the time for the request.
func (u *upgrade) begin(c *Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setTimeout(c.with.openTimeout, func() {
		if c.settle() {
			c.refuse(refusal(http.StatusRequestTimeout, "the request took too long"), false, ErrRequestTimeout)
		}
	})
	return nil
}

// refuse answers, only with a header after HEAD, and closes.
func (c *Conn) refuse(r *Refusal, head bool, cause error) {
	c.mu.Lock()
	c.setCause(cause)
	c.mu.Unlock()
	_, _ = c.conn.Write(r.response(head)) // the queue is empty, or the connection is gone
	_ = c.conn.Close()
}

// advance waits for the whole header and then decides.
func (u *upgrade) advance(c *Conn) error {
	if !u.skipEmptyLine(c) {
		return nil
	}
	p := c.conn.Unread()
	size, err := 0, error(nil)
	if p[0] < 'A' || p[0] > 'Z' { // no method: something else than HTTP, which may never send a line
		err = refusal(http.StatusBadRequest, "this is not HTTP")
	} else {
		size, err = u.end.find(p)
	}
	if err == nil && size == 0 {
		return nil
	}
	if !c.settle() {
		c.conn.Discard(len(p))
		return nil
	}
	if err == nil {
		err = u.decide(c, p[:size])
	}
	if err != nil {
		head := bytes.HasPrefix(p, []byte(http.MethodHead+" "))
		c.conn.Discard(len(p))
		c.refuse(refusalOf(err), head, err)
	}
	return nil
}

// skipEmptyLine drops an empty line before the request, which a server should
// not mind (RFC 9112, section 2.2). It reports false when it needs more bytes.
func (u *upgrade) skipEmptyLine(c *Conn) bool {
	p := c.conn.Unread()
	start := string(p[:min(len(p), len(emptyLine))])
	switch {
	case u.begun || !strings.HasPrefix(emptyLine, start):
	case start != emptyLine:
		return false
	default:
		u.begun = true
		c.conn.Discard(len(emptyLine))
	}
	return len(c.conn.Unread()) > 0
}

const emptyLine = "\r\n"

// decide makes the connection a WebSocket or gives it to HTTP, with all that
// has arrived, or says why it does neither.
func (u *upgrade) decide(c *Conn, block []byte) error {
	s := u.server
	r, err := parseRequest(block)
	if err != nil {
		return err
	}
	known := s.Handler != nil && (s.path == "" || r.URL.Path == s.path)
	if !known || !asksForWebSocket(r) {
		switch {
		case s.HTTP != nil:
			return u.giveAway(c)
		case !known:
			return refusal(http.StatusNotFound, "there is nothing at this path")
		}
		return upgradeRequired("this port speaks WebSocket")
	}
	if err := checkUpgrade(r); err != nil {
		return err
	}
	r.RemoteAddr, r.TLS = c.conn.RemoteAddr().String(), c.conn.TLS()
	return u.accept(c, r, len(block))
}

// giveAway gives the connection to HTTP.
func (u *upgrade) giveAway(c *Conn) error {
	if !u.server.enterHTTP() {
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: "too many connections, or the end", Header: http.Header{"Retry-After": {"1"}}}
	}
	u.left = true
	return c.conn.Detach(u.server.serveHTTP)
}

// accept asks the server's functions and answers.
func (u *upgrade) accept(c *Conn, r *http.Request, size int) error {
	s := u.server
	if !s.allows(r) {
		return refusal(http.StatusForbidden, "this origin is not allowed")
	}
	if s.Check != nil {
		if err := s.Check(r); err != nil {
			return err
		}
	}
	offers, err := parseExtensions(r.Header[headerExtensions])
	if err != nil {
		return refusal(http.StatusBadRequest, err.Error())
	}
	offered := tokens(r.Header[headerProtocol])
	if !allTokens(offered) {
		return refusal(http.StatusBadRequest, "a subprotocol's name is no token")
	}
	a := Answer{Header: http.Header{}, Compression: s.Compression}
	if i := slices.IndexFunc(s.Subprotocols, func(p string) bool { return slices.Contains(offered, p) }); i >= 0 {
		a.Subprotocol = s.Subprotocols[i]
	}
	if s.Answer != nil {
		if err := s.Answer(r, &a); err != nil {
			return err
		}
		if a.Subprotocol != "" && !slices.Contains(offered, a.Subprotocol) {
			return refusal(http.StatusInternalServerError, "the server chose a subprotocol that was not offered")
		}
	}
	var extensions string
	if a.Compression {
		extensions, c.window = acceptDeflate(offers)
	}
	c.protocol = a.Subprotocol
	h := s.Handler(c, r)
	if h == nil {
		return refusal(http.StatusForbidden, "refused")
	}
	b := buffers.get()
	defer buffers.put(b)
	fmt.Fprintf(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", acceptKey(r.Header.Get(headerKey)))
	writeLine(b, "Sec-WebSocket-Protocol", c.protocol)
	writeLine(b, "Sec-WebSocket-Extensions", extensions)
	_ = ownHeader(a.Header, ofUpgrade...).Write(b) // a Buffer takes everything
	b.WriteString("\r\n")
	c.conn.Discard(size)
	c.handler = h // from now on OnClose is called
	_, _ = c.conn.Write(b.Bytes())
	return nil
}

// ofUpgrade are the fields of a request and of an answer that belong to the upgrade.
var ofUpgrade = append([]string{"Upgrade", headerAccept, headerExtensions, headerKey, headerProtocol, headerVersion}, framing...)

func writeLine(w io.Writer, name, value string) {
	if value != "" {
		fmt.Fprintf(w, "%s: %s\r\n", name, value)
	}
}

func (u *upgrade) opened() {}

// failed gives back the place that HTTP kept for a connection which it will not get.
func (u *upgrade) failed(err error) {
	if u.left && err != epi.ErrDetached {
		u.server.leaveHTTP()
	}
}

// allows checks the Origin, which browsers send.
func (s *Server) allows(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) == 0 || slices.Contains(s.Origins, "*") {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	if slices.Contains(s.origins, plainOrigin(origins[0])) {
		return true
	}
	if s.Origins != nil && !slices.Contains(s.Origins, SameOrigin) {
		return false
	}
	u, err := url.Parse(origins[0])
	return err == nil && u.Host != "" && plainHost(u.Scheme, u.Host) == plainHost(u.Scheme, r.Host)
}
