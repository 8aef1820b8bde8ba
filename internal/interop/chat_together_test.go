package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"

	"github.com/epinet/epi/internal/epitest"
)

// screensEnv names a directory in which TestChatTogether leaves the screens, for people
// to look at.
const screensEnv = "EPI_SCREENS"

// TestChatTogether lets irssi, WeeChat and a browser's WebSocket meet in one channel: each
// speaks, and all see it.
func TestChatTogether(t *testing.T) {
	need(t, "irssi", "weechat", "tmux")
	server := startChat(t)
	host, port, _ := strings.Cut(server.irc, ":")
	irssi := startScreen(t, "irssi", "--home="+t.TempDir(), "--nick=irssi", "--connect="+host, "--port="+port)
	irssi.sees("MOTD")
	weechat := startScreen(t, "weechat", "--dir", t.TempDir(), "--run-command", "/server add epi "+host+"/"+port+" -nicks=wee", "--run-command", "/connect epi")
	weechat.sees("MOTD")
	web := joinBySocket(t, server.web)
	for _, s := range []screen{irssi, weechat} {
		s.do("join", "")
		s.sees("web")
	}
	web.say(t, "TOPIC #room :three ways in, 셋이서")
	for _, s := range []screen{irssi, weechat} {
		s.sees("three ways in, 셋이서")
	}
	irssi.do("say", "irssi here, with umlauts: äöü")
	weechat.sees("irssi", "umlauts: äöü")
	weechat.do("say", "and WeeChat: 안녕하세요")
	irssi.sees("wee", "안녕하세요")
	web.await(t, ":wee!", "안녕하세요")
	web.say(t, "PRIVMSG #room :the browser, too")
	for _, s := range []screen{irssi, weechat} {
		s.sees("web", "the browser, too")
	}
	web.say(t, "PRIVMSG #room :\x01ACTION waves\x01")
	for _, s := range []screen{irssi, weechat} {
		s.sees("web waves")
	}
	weechat.do("nick", "weechat")
	irssi.sees("wee", "weechat")
	web.await(t, ":wee!", " NICK ")
	web.say(t, "QUIT :bye")
	irssi.sees("web", "bye")
	weechat.sees("web", "bye")
	keepScreen(t, "irssi", irssi)
	keepScreen(t, "weechat", weechat)
}

func keepScreen(t *testing.T, name string, s screen) {
	if dir := os.Getenv(screensEnv); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte(s.text()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// A webClient speaks IRC over a WebSocket, as a page does.
type webClient struct{ conn *gorilla.Conn }

// joinBySocket connects somebody called web, who joins #room.
func joinBySocket(t *testing.T, address string) webClient {
	t.Helper()
	d := gorilla.Dialer{Subprotocols: []string{"text.ircv3.net"}}
	conn, _, err := d.DialContext(within(t), "ws://"+address+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may have done it
	web := webClient{conn}
	for _, line := range []string{"CAP REQ :echo-message server-time", "NICK web", "USER web 0 * :Web", "CAP END", "JOIN #room"} {
		web.say(t, line)
	}
	web.await(t, " 366 ")
	return web
}

func (c webClient) say(t *testing.T, line string) {
	t.Helper()
	if err := c.conn.WriteMessage(gorilla.TextMessage, []byte(line)); err != nil {
		t.Fatal(err)
	}
}

// await reads up to a line with all of the texts.
func (c webClient) await(t *testing.T, texts ...string) {
	t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(epitest.Patience)); err != nil {
		t.Fatal(err)
	}
	for {
		_, line, err := c.conn.ReadMessage()
		if err != nil {
			t.Fatalf("%q did not come: %v", texts, err)
		}
		if hasAll(string(line), texts) {
			return
		}
	}
}
