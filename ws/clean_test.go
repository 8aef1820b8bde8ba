package ws

import (
	"net/http"
	"strings"
	"testing"
	"unicode"
)

// What a peer says shows in errors, and errors in logs and on terminals: nothing in
// them moves a cursor or begins a line.
func TestHostile08_ErrorsAreCleanText(t *testing.T) {
	const evil = "\x1b[2Jgone\r\n2026/01/01 a forged line\x00\u009b\u202e"
	texts := []string{(&CloseError{Code: Normal, Reason: evil, Remote: true}).Error()}
	for _, answer := range []string{
		"SSH-2.0 \x1b[2J\r\n\r\n",
		"HTTP/1.1 \x1b[2J what\r\n\r\n",
		"HTTP/1.1 999 \x1b[2J\r\n\r\n",
		"HTTP/1.1 101 \x1b[2J\r\nno colon \x1b[2J\r\n\r\n",
		"HTTP/1.1 101 OK\r\nUpgrade: \x1b[2J\r\n\r\n",
		"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: %\r\nSec-WebSocket-Protocol: \x1b[2J\r\n\r\n",
		"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: %\r\nSec-WebSocket-Extensions: \x1b[2J\r\n\r\n",
		"HTTP/1.1 403 \x1b[2J\r\nContent-Length: 3\r\n\r\n\x1b[2",
	} {
		es, _ := answering(t, func(r *http.Request) ([]string, bool) {
			return []string{strings.Replace(answer, "%", acceptKey(r.Header.Get(headerKey)), 1)}, true
		})
		_, err := Dial(t.Context(), es.Engine, "ws://"+es.Addr(), Options{}, echo{})
		if err == nil {
			t.Errorf("%q is accepted", answer)
			continue
		}
		texts = append(texts, err.Error())
	}
	for _, text := range texts {
		if i := strings.IndexFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }); i >= 0 {
			t.Errorf("an error has %q in it: %q", text[i:], text)
		}
	}
}
