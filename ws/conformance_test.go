package ws

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/epinet/epi/internal/epitest"
)

// A talk is what a client sends, and what the server says until it closes.
type talk struct {
	name, sends, says string
}

var bye = closing(Normal, "")

func talks() []talk {
	long := strings.Repeat("*", testMax)
	list := []talk{
		{"empty text", text("") + bye, "t: close:1000"},
		{"text", text("Hello-µ@ßöäüàá-UTF-8!!") + bye, "t:Hello-µ@ßöäüàá-UTF-8!! close:1000"},
		{"125 bytes", binary(long[:125]) + bye, "b:125×'*' close:1000"},
		{"126 bytes", binary(long[:126]) + bye, "b:126×'*' close:1000"},
		{"127 bytes", binary(long[:127]) + bye, "b:127×'*' close:1000"},
		{"65,535 bytes", binary(long[:65535]) + bye, "b:65535×'*' close:1000"},
		{"the longest", binary(long) + bye, "b:65536×'*' close:1000"},
		{"too long", binary(long+"*") + bye, "close:1009"},
		{"too long by fragments", begin(long) + last("*") + bye, "close:1009"},
		{"too long and not sent", encodeFrame(ws.Header{Fin: true, OpCode: Binary, Length: 1 << 40, Masked: true}, ""), "close:1009"},

		{"ping", ping("") + bye, "pong: close:1000"},
		{"binary ping", ping("\x00\xff\xfe") + bye, "pong:\x00\xff\xfe close:1000"},
		{"ping of 125 bytes", ping(long[:125]) + bye, "pong:125×'*' close:1000"},
		{"ping of 126 bytes", ping(long[:126]), "close:1002"},
		{"ten pings", strings.Repeat(ping("a"), 10) + bye, strings.Repeat("pong:a ", 10) + "close:1000"},
		{"pong unasked", pong("x") + ping("y") + bye, "pong:y close:1000"},
		{"fragmented ping", frame(false, 0, ws.OpPing, "a"), "close:1002"},

		{"RSV1 without extension", text("a") + frame(true, 4, Text, "b") + ping(""), "t:a close:1002"},
		{"RSV2", frame(true, 2, Text, "a"), "close:1002"},
		{"RSV3", frame(true, 1, Binary, "a"), "close:1002"},
		{"RSV on ping", frame(true, 4, ws.OpPing, ""), "close:1002"},
		{"RSV on close", frame(true, 7, ws.OpClose, ""), "close:1002"},
		{"no mask", encodeFrame(ws.Header{Fin: true, OpCode: Text, Length: 1}, "a"), "close:1002"},
		{"top bit of the length", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01abcd", "close:1002"},
		{"length of 16 bits for 125", "\x82\xfe\x00\x7dabcd", "close:1002"},
		{"top bit of the length, and no mask yet", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01", "close:1002"},
		{"length of 16 bits for 0, and no mask yet", "\x82\xfe\x00\x00", "close:1002"},
		{"length of 64 bits for 65,535", "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xffabcd", "close:1002"},

		{"fragments", begin("a") + more("") + last("b") + bye, "t:ab close:1000"},
		{"empty fragments", begin("") + more("") + last("") + bye, "t: close:1000"},
		{"ping between fragments", begin("a") + ping("p") + last("b") + bye, "pong:p t:ab close:1000"},
		{"continuation of nothing", last("a"), "close:1002"},
		{"continuation of nothing, not final", more("a"), "close:1002"},
		{"continuation after the end", begin("a") + last("b") + last("c"), "t:ab close:1002"},
		{"new message inside", begin("a") + text("b"), "close:1002"},
		{"RSV1 on a continuation", begin("a") + frame(true, 4, ws.OpContinuation, "b"), "close:1002"},

		{"invalid UTF-8", text("\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"), "close:1007"},
		{"UTF-8 across fragments", begin("\xce") + last("\xba") + bye, "t:κ close:1000"},
		{"UTF-8 of four bytes, one each", begin("\xf0") + more("\x9f") + more("\x98") + last("\x80") + bye, "t:😀 close:1000"},
		{"UTF-8 that stops short", begin("a") + last("\xce"), "close:1007"},
		{"UTF-8 that stops short in a frame", text("\xf0\x9f\x98"), "close:1007"},
		{"a bad byte, and no end", begin("ab\xff") + ping("late"), "close:1007"},
		{"a bad second byte, and no end", begin("\xf4") + more("\x90"), "close:1007"},
		{"a bad byte in half a frame", text("\xf4\x90" + long[:1000])[:16], "close:1007"},
		{"an overlong character in half a frame", text("aa\xc0" + long[:1000])[:17], "close:1007"},
		{"binary is not looked at", binary("\xff\xfe") + bye, "b:\xff\xfe close:1000"},

		{"close", frame(true, 0, ws.OpClose, ""), "close"},
		{"close twice", bye + bye, "close:1000"},
		{"close, then more", bye + text("a") + ping("b") + "garbage", "close:1000"},
		{"close between fragments", begin("a") + bye + last("b"), "close:1000"},
		{"close with half a code", frame(true, 0, ws.OpClose, "\x03"), "close:1002"},
		{"close with the longest reason", closing(Normal, long[:123]), "close:1000"},
		{"close with too long a reason", frame(true, 0, ws.OpClose, "\x03\xe8"+long[:124]), "close:1002"},
		{"close with a bad reason", closing(Normal, "\xce\xba\xed\xa0\x80"), "close:1007"},
		{"fragmented close", frame(false, 0, ws.OpClose, ""), "close:1002"},
	}
	for _, code := range []Code{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		list = append(list, talk{fmt.Sprintf("close code %d", code), closing(code, "why"), fmt.Sprintf("close:%d", code)})
	}
	for _, code := range []Code{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		list = append(list, talk{fmt.Sprintf("close code %d", code), closing(code, ""), "close:1002"})
	}
	for _, op := range []Opcode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		list = append(list, talk{fmt.Sprintf("opcode %d", op), text("a") + frame(true, 0, op, ""), "t:a close:1002"})
	}
	return list
}

// packedTalks are those with permessage-deflate.
func packedTalks() []talk {
	long := strings.Repeat("*", testMax)
	final := "\xf3\x48\xcd\xc9\xc9\x07\x00\x00" // RFC 7692, section 7.2.3.4: "Hello" in a last block
	cut := "\xf2\x48\xcd\xc9\xc9\x07\x00"       // section 7.2.3.1
	return []talk{
		{"compressed", packed(Text, "aaaaaaaaaaaaaaaaaaaaaaaa") + bye, "zt:aaaaaaaaaaaaaaaaaaaaaaaa close:1000"},
		{"compressed twice: nothing is taken over", frame(true, 4, Text, cut) + frame(true, 4, Text, cut) + bye, "t:Hello t:Hello close:1000"},
		{"a last block", frame(true, 4, Text, final) + bye, "t:Hello close:1000"},
		{"a stored block", frame(true, 4, Text, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00") + bye, "t:Hello close:1000"},
		{"two blocks", frame(true, 4, Text, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00") + bye, "t:Hello close:1000"},
		{"uncompressed", text("ab") + bye, "t:ab close:1000"},
		{"empty", frame(true, 4, Text, "\x00") + frame(true, 4, Binary, "") + bye, "t: b: close:1000"},
		{"by fragments, with a ping", frame(false, 4, Text, cut[:3]) + ping("p") + more("") + last(cut[3:]) + bye, "pong:p t:Hello close:1000"},
		{"RSV1 on the second fragment", frame(false, 4, Text, cut[:3]) + frame(true, 4, ws.OpContinuation, cut[3:]), "close:1002"},
		{"RSV1 on ping", frame(true, 4, ws.OpPing, ""), "close:1002"},
		{"RSV2", frame(true, 6, Text, cut), "close:1002"},
		{"invalid UTF-8", packed(Text, strings.Repeat("\xff", 100)), "close:1007"},
		{"garbage", frame(true, 4, Text, "\xff\xff\xff\xff"), "close:1007"},
		{"a stored block that is cut", frame(true, 4, Text, "\x00\x50\x00\xaf\xff\x48"), "close:1007"},
		{"the longest", packed(Binary, long) + bye, "zb:65536×'*' close:1000"},
		{"a byte too long", packed(Binary, long+"*"), "close:1009"},
		{"a bomb", packed(Binary, strings.Repeat(long, 64)), "close:1009"},
		{"endless last blocks", frame(true, 4, Binary, strings.Repeat("\x03\x00", 1000)), "close:1007"},
	}
}

// cuts are the ways in which bytes arrive.
var cuts = map[string]func(string) []string{
	"whole":        func(s string) []string { return []string{s} },
	"by halves":    func(s string) []string { return []string{s[:len(s)/2], s[len(s)/2:]} },
	"byte by byte": func(s string) []string { return strings.Split(s, "") },
}

// fewBytes is the most that is sent byte by byte.
const fewBytes = 4096

func runTalks(t *testing.T, es *epitest.Server, lines string, list []talk) {
	for way, cut := range cuts {
		for _, k := range list {
			if way == "byte by byte" && len(k.sends) > fewBytes {
				continue
			}
			t.Run(way+"/"+k.name, func(t *testing.T) {
				c := es.Dial()
				r := open(t, c, lines, "")
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					for piece := range slices.Values(cut(k.sends)) {
						if _, err := io.WriteString(c, piece); err != nil {
							return // the server has closed
						}
					}
				}()
				if got := told(t, r); got != k.says {
					t.Errorf("the server says %q, want %q", got, k.says)
				}
				<-sent
				_ = c.Close()
			})
		}
	}
}

func TestW11_F04_Conformance(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		es := serve(t, m, echoServer())
		runTalks(t, es, "", talks())
		runTalks(t, es, offerLine, packedTalks())
	})
}

// Frames in the same segment as the request are delivered.
func TestW11_FramesComeWithTheRequest(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		es := serve(t, m, echoServer())
		if got := told(t, open(t, es.Dial(), "", text("a")+begin("b")+last("c")+bye)); got != "t:a t:bc close:1000" {
			t.Errorf("the server says %q", got)
		}
	})
}

func TestRequestByteByByte(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		c := serve(t, m, echoServer()).Dial()
		for _, piece := range strings.Split(requestLines, "") {
			if _, err := io.WriteString(c, piece); err != nil {
				t.Fatal(err)
			}
		}
		// open sends the lines once more, which would be doubled, so only the end here.
		if _, err := io.WriteString(c, "\r\n"+text("a")+bye); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 101 ") || !strings.HasSuffix(string(all), "\x81\x01a\x88\x02\x03\xe8") {
			t.Errorf("the server says %q, %v", all, err)
		}
	})
}

// The queue has a bound however much a few compressed bytes ask for.
func TestW06_CompressedFloodIsAnswered(t *testing.T) {
	epitest.Each(t, func(t *testing.T, m epitest.Mode) {
		const messages = 200
		s := echoServer()
		s.CompressFrom = 1 << 30 // answers are long
		e := m.Engine()
		e.MaxQueued = maxQueued + testMax + 1<<10
		es := epitest.Start(t, e, s.Serve)
		c := es.Dial()
		r := open(t, c, offerLine, strings.Repeat(packed(Binary, strings.Repeat("*", testMax)), messages)+bye)
		want := strings.Repeat("b:65536×'*' ", messages) + "close:1000"
		if got := told(t, r); got != want {
			t.Errorf("the server says %d bytes of description, want %d", len(got), len(want))
		}
	})
}
