package ws

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/epinet/epi/internal/epitest"
)

// testMax is the longest message of the servers here.
const testMax = 64 << 10

// echo sends every message back.
type echo struct{}

func (echo) OnMessage(c *Conn, op Opcode, p []byte) error { return c.Write(op, p) }
func (echo) OnClose(*Conn, error)                         {}

func echoServer() *Server {
	return &Server{
		Handler:      func(*Conn, *http.Request) Handler { return echo{} },
		MaxMessage:   testMax,
		Compression:  true,
		CompressFrom: 1,
	}
}

// serve runs a server on a mode's engine.
func serve(t *testing.T, m epitest.Mode, s *Server) *epitest.Server {
	t.Helper()
	es := epitest.Start(t, m.Engine(), s.Serve)
	t.Cleanup(func() { _ = s.Close() })
	return es
}

// oneMode is for tests that have nothing to do with the driver.
func oneMode() epitest.Mode { return epitest.Modes()[0] }

const requestLines = "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

const offerLine = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// open upgrades a raw connection; with the request goes what is in first.
func open(t *testing.T, c net.Conn, lines, first string) *bufio.Reader {
	t.Helper()
	if _, err := io.WriteString(c, requestLines+lines+"\r\n"+first); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get(headerAccept) != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("the answer is %v", resp)
	}
	return r
}

// frame is a client's frame.
func frame(fin bool, rsv byte, op Opcode, p string) string {
	h := ws.Header{Fin: fin, Rsv: rsv, OpCode: op, Length: int64(len(p)), Masked: true, Mask: [4]byte{1, 0x92, 3, 0xf4}}
	return encodeFrame(h, p)
}

func encodeFrame(h ws.Header, p string) string {
	var b bytes.Buffer
	if err := ws.WriteHeader(&b, h); err != nil {
		panic(err)
	}
	body := []byte(p)
	if h.Masked {
		ws.Cipher(body, h.Mask, 0)
	}
	b.Write(body)
	return b.String()
}

func text(p string) string   { return frame(true, 0, Text, p) }
func binary(p string) string { return frame(true, 0, Binary, p) }
func ping(p string) string   { return frame(true, 0, ws.OpPing, p) }
func pong(p string) string   { return frame(true, 0, ws.OpPong, p) }
func begin(p string) string  { return frame(false, 0, Text, p) }
func more(p string) string   { return frame(false, 0, ws.OpContinuation, p) }
func last(p string) string   { return frame(true, 0, ws.OpContinuation, p) }
func closing(code Code, reason string) string {
	return frame(true, 0, ws.OpClose, string(ws.NewCloseFrameBody(code, reason)))
}

// packed is a message that was compressed.
func packed(op Opcode, p string) string {
	z := deflate([]byte(p), maxWindow)
	defer buffers.put(z)
	return frame(true, rsv1, op, z.String())
}

// told reads frames to the end of the stream and describes them: t:, b:, ping:,
// pong:, close: and a "z" before those that were compressed.
func told(t *testing.T, r io.Reader) string {
	t.Helper()
	var words []string
	for {
		h, err := ws.ReadHeader(r)
		if err == io.EOF {
			return strings.Join(words, " ")
		}
		if err != nil {
			t.Fatalf("after %q: %v", words, err)
		}
		p := make([]byte, h.Length)
		if _, err := io.ReadFull(r, p); err != nil {
			t.Fatal(err)
		}
		words = append(words, describe(t, h, p))
	}
}

func describe(t *testing.T, h ws.Header, p []byte) string {
	t.Helper()
	if !h.Fin || h.Masked {
		t.Errorf("a server's frame is %+v", h)
	}
	z := ""
	if h.Rsv == rsv1 {
		z = "z"
		var out bytes.Buffer
		if err := inflate(&out, append(p, inflateTail...), testMax); err != nil {
			t.Error(err)
		}
		p = out.Bytes()
	}
	switch h.OpCode {
	case Text:
		return z + "t:" + brief(p)
	case Binary:
		return z + "b:" + brief(p)
	case ws.OpPing:
		return z + "ping:" + brief(p)
	case ws.OpPong:
		return z + "pong:" + brief(p)
	}
	if len(p) == 0 {
		return z + "close"
	}
	code, _ := ws.ParseCloseFrameData(p)
	return fmt.Sprintf("%sclose:%d", z, code)
}

// inflate decompresses p, which ends with inflateTail.
func inflate(out *bytes.Buffer, p []byte, limit int) error {
	f := newInflation()
	defer f.free()
	for {
		used, over, err := f.step(p, true, limit)
		if err != nil {
			return err
		}
		if over {
			out.Write(f.fresh())
			return nil
		}
		p = p[used:]
	}
}

func brief(p []byte) string {
	if len(p) > 32 {
		return fmt.Sprintf("%d×%q", len(p), p[0])
	}
	return string(p)
}
