package cli

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// TestUnknownRightsAreRefused: a right that is misspelt must not go unnoticed.
func TestUnknownRightsAreRefused(t *testing.T) {
	_, stderr := start(t, "chat", "--listen", "irc://127.0.0.1:0",
		"--set", "operator.0.name=root", "--set", "operator.0.password=x", "--set", "operator.0.rights=kill,bann").end(exitFailed)
	for _, want := range []string{"operator", "root", "bann", "ban", "wallops"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q does not name %q", stderr, want)
		}
	}
}

// TestChatKeepsWhatLasts: accounts, registered channels, users that stay and bans are
// there after a restart.
func TestChatKeepsWhatLasts(t *testing.T) {
	data := t.TempDir()
	serve := func() (*process, string) {
		p := start(t, "chat", "--json", "--listen", "irc://127.0.0.1:0", "--data", data,
			"--set", "registration.enabled=true", "--set", "passwords.cost=4",
			"--set", "operator.0.name=root", "--set", "operator.0.password=x", "--set", "operator.0.rights=all")
		return p, strings.TrimPrefix(await[startEvent](p, "start").Listen[0], "irc://")
	}
	p, address := serve()
	alice := chatAs(t, address, "alice")
	alice.converse("NS REGISTER secret", "NOTICE alice :Account created")
	alice.converse("JOIN #a", " 366 ")
	alice.converse("TOPIC #a :it lasts", " TOPIC ")
	alice.converse("CS REGISTER #a", " MODE #a +q alice")
	alice.converse("NS SET ALWAYS-ON TRUE", "You stay here")
	alice.converse("OPER root x", " 381 ")
	alice.converse("KLINE evil!*@*", "KLINE set")
	p.signal(syscall.SIGTERM)
	p.end(exitDone)

	p, address = serve()
	bob := chatAs(t, address, "bob")
	bob.converse("JOIN #a", " 332 bob #a :it lasts")
	bob.converse("NAMES #a", ":~alice bob")
	bob.converse("NICK alice", " 433 ")
	evil := chatClient(t, address)
	evil.converse("NICK evil\r\nUSER evil 0 * :evil", " 465 ")
	p.signal(syscall.SIGTERM)
	p.end(exitDone)

	_, deeds, _ := call("chat", "audit", "--data", data)
	if lines := strings.Split(deeds, "\n"); len(lines) != 3 || !strings.HasSuffix(lines[0], "\troot\tKLINE\tevil!*@*\t") || !strings.Contains(lines[1], "\troot\tOPER\talice!") {
		t.Errorf("epi chat audit prints %q", deeds)
	}
}

// An ircClient is somebody at a chat.
type ircClient struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

func chatClient(t *testing.T, address string) *ircClient {
	t.Helper()
	conn := dial(t, "tcp://"+address)
	if err := conn.SetDeadline(time.Now().Add(epitest.Patience)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(conn)
	in.Split(wholeLines)
	return &ircClient{t, conn, in}
}

func chatAs(t *testing.T, address, nick string) *ircClient {
	t.Helper()
	c := chatClient(t, address)
	c.converse(fmt.Sprintf("NICK %s\r\nUSER %s 0 * :%s", nick, nick, nick), " 422 ")
	return c
}

// converse says something, and reads up to a line with a text. Nothing is said where line
// is empty: the server may have closed the connection, and reset it then.
func (c *ircClient) converse(line, want string) {
	c.t.Helper()
	if line != "" {
		epitest.Say(c.t, c.conn, line+"\r\n")
	}
	for c.in.Scan() {
		if strings.Contains(c.in.Text(), want) {
			return
		}
	}
	c.t.Fatalf("%q: the connection ended (%v) before %q", line, c.in.Err(), want)
}

// TestChatMayRequireAccounts: who is not logged in reads why, and is closed.
func TestChatMayRequireAccounts(t *testing.T) {
	p := start(t, "chat", "--json", "--listen", "irc://127.0.0.1:0", "--set", "users.require-account=true",
		"--set", "account.0.name=alice", "--set", "account.0.password=secret")
	address := strings.TrimPrefix(await[startEvent](p, "start").Listen[0], "irc://")
	nobody := chatClient(t, address)
	nobody.converse("NICK nobody\r\nUSER nobody 0 * :nobody", "FAIL * ACCOUNT_REQUIRED")
	nobody.converse("", "ERROR ")
	alice := chatClient(t, address)
	alice.converse("CAP REQ :sasl\r\nNICK alice\r\nUSER alice 0 * :alice", " ACK ")
	alice.converse("AUTHENTICATE PLAIN", "AUTHENTICATE +")
	alice.converse("AUTHENTICATE AGFsaWNlAHNlY3JldA==\r\nCAP END", " 001 alice ")
	p.signal(syscall.SIGTERM)
	p.end(exitDone)
}
