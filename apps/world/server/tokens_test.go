package server_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/store"
	"github.com/epinet/epi/internal/epitest"
)

// chosen is a token as a client chooses one.
var chosen = []byte("a token of mine!")

func helloOf(name string, token []byte) *proto.Hello {
	return &proto.Hello{Version: proto.Version, Name: name, Token: token}
}

// An asked store looks nobody up until it is let.
type asked struct {
	store.Store
	keys chan string
	goOn chan struct{} // closed: it answers at once
}

func newAsked() *asked {
	return &asked{Store: store.NewMemory(), keys: make(chan string, 100), goOn: make(chan struct{})}
}

func (s *asked) Account(ctx context.Context, key string) (store.Account, store.Character, error) {
	s.keys <- key
	<-s.goOn
	return s.Store.Account(ctx, key)
}

// A connection ends before Welcome: the same Hello goes on, as a new player or as the one
// that the first has made, and nobody else gets the name.
func TestWhoMissesWelcomeSaysHelloAgain(t *testing.T) {
	t.Parallel()
	s := newAsked()
	w := start(t, keeping(s))
	first := w.connect()
	first.send(helloOf("anna", chosen))
	epitest.Receive(t, s.keys)
	epitest.Reset(t, first.conn)
	epitest.WaitUntil(t, "the end of the session", func() bool { return w.Stats().Sessions == 0 })
	close(s.goOn)

	again := w.connect()
	again.hello("anna", chosen)
	if again.refused != nil || !bytes.Equal(again.welcome.Token, chosen) {
		t.Fatalf("%+v, %+v", again.welcome, again.refused)
	}
	epitest.Reset(t, again.conn)
	third := w.connect()
	third.hello("anna", chosen)
	if third.refused != nil || third.welcome.Resumed != 1 || third.welcome.Self != again.welcome.Self {
		t.Errorf("in the grace: %+v, %+v", third.welcome, third.refused)
	}
	third.send(&proto.Bye{})
	epitest.WaitUntil(t, "the end of the player", func() bool { return w.Stats().Players == 0 })
	for _, token := range [][]byte{nil, []byte("some other token")} {
		thief := w.connect()
		thief.hello("anna", token)
		if thief.refused == nil || thief.refused.Reason != 3 {
			t.Errorf("with the token %q: %+v", token, thief.refused)
		}
	}
	w.keepOpen()
}

// While Hello is looked up the client comes again, and takes the place of its first
// connection; who has another token does not.
func TestHelloAgainWhileTheFirstIsLookedUp(t *testing.T) {
	t.Parallel()
	s := newAsked()
	w := start(t, keeping(s))
	first, again, other, nobody := w.connect(), w.connect(), w.connect(), w.connect()
	first.send(helloOf("anna", chosen))
	epitest.Receive(t, s.keys)
	for _, c := range []struct {
		who, out *client
		token    []byte
		reason   uint8
	}{
		{other, other, []byte("some other token"), 3},
		{nobody, nobody, nil, 3},
		{again, first, chosen, 8},
	} {
		c.who.send(helloOf("Anna", c.token))
		c.out.ends()
		if got := c.out.reason(); got != c.reason {
			t.Errorf("with the token %q: reason %d, want %d", c.token, got, c.reason)
		}
	}
	close(s.goOn)
	again.until("Welcome", func() bool { return again.welcome.Self != 0 })
	again.walks()
	w.keepOpen()
}

// Of two names that come in with one token at once, one does. Bytes that are all the same
// are no token: those who send them are not one player.
func TestTokensOfOne(t *testing.T) {
	t.Parallel()
	s := newAsked()
	w := start(t, keeping(s))
	both := []*client{w.connect(), w.connect()}
	for n, c := range both {
		c.send(helloOf([]string{"anna", "bert"}[n], chosen))
		epitest.Receive(t, s.keys)
	}
	close(s.goOn)
	in := 0
	for _, c := range both {
		c.until("Welcome or Refused", func() bool { return c.welcome.Self != 0 || c.refused != nil })
		if c.welcome.Self != 0 {
			in++
		} else if c.refused.Reason != 4 {
			t.Errorf("%+v", c.refused)
		}
	}
	if in != 1 {
		t.Errorf("%d came in", in)
	}

	same := bytes.Repeat([]byte{7}, 16)
	carl, dora := w.connect(), w.connect()
	carl.hello("carl", same)
	dora.hello("dora", same)
	if carl.welcome.Self == dora.welcome.Self || bytes.Equal(carl.welcome.Token, same) || bytes.Equal(dora.welcome.Token, same) {
		t.Errorf("%+v and %+v", carl.welcome, dora.welcome)
	}
	w.keepOpen()
}
