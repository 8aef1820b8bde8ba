package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testSecret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))

// A receiver answers requests with the codes it is given, 200 afterwards.
type receiver struct {
	*httptest.Server
	codes chan int
	got   chan request
}

type request struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, codes ...int) *receiver {
	r := &receiver{codes: make(chan int, len(codes)), got: make(chan request, 2*maxWaiting)}
	for _, code := range codes {
		r.codes <- code
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.got <- request{q.Header, body}
		select {
		case code := <-r.codes:
			w.WriteHeader(code)
		default:
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) hook() Hook {
	return Hook{Name: "h", URL: r.URL, Secret: testSecret, Channels: []string{"#a", "#team-*"}, Private: true}
}

// newSender returns a sender that waits for nothing before it tries again, and the log.
func newSender(t *testing.T, hooks ...Hook) (*Sender, *log) {
	l := &log{}
	s := New(slog.New(slog.NewTextHandler(l, nil)))
	s.after = func(time.Duration) <-chan time.Time {
		passed := make(chan time.Time)
		close(passed)
		return passed
	}
	t.Cleanup(s.Close)
	s.Configure(hooks)
	for _, line := range s.lines {
		line.client.Timeout = epitest.Patience // who answers too late is sent the same again
	}
	return s, l
}

type log struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func said(n int64, target, text string) *hall.Record {
	return &hall.Record{ID: n << hall.IDBits, Target: target, Shown: strings.ToUpper(target), Command: "PRIVMSG", Source: "ann!a@b", Account: "Ann", Text: text, Reply: 1}
}

func TestSends(t *testing.T) {
	r := newReceiver(t)
	s, _ := newSender(t, r.hook())
	s.Notify(said(1000, "#a", "one"))
	for _, none := range []*hall.Record{
		said(1, "#b", "another channel"), said(2, "ann bob", "not for others"),
		{ID: 3, Target: "#a", Command: "JOIN"}, {ID: 4, Target: "#a", Command: "PRIVMSG", Rank: hall.Op, Text: "for operators"},
		{ID: 5, Target: "#a", Command: "TAGMSG", Reaction: true},
	} {
		s.Notify(none)
	}
	s.Notify(said(2000, "#team-x", "two"))
	first, second := epitest.Receive(t, r.got), epitest.Receive(t, r.got)
	var p Payload
	if err := json.Unmarshal(first.body, &p); err != nil {
		t.Fatal(err)
	}
	if m := p.Data; p.Type != "message" || m.Text != "one" || m.Channel != "#A" || m.Nick != "ann" || m.Account != "Ann" || !m.Time.Equal(time.UnixMilli(1000)) || m.ID != ircmsg.FormatID(1000<<hall.IDBits) || m.ReplyTo == "" {
		t.Errorf("the payload is %s", first.body)
	}
	key := bytes.Repeat([]byte{7}, 32)
	id, at := first.header.Get("Webhook-Id"), first.header.Get("Webhook-Timestamp")
	if got, want := first.header.Get("Webhook-Signature"), Sign(key, id, at, first.body); got != want || id != p.Data.ID {
		t.Errorf("the signature is %q, want %q; the id %q", got, want, id)
	}
	if !bytes.Contains(second.body, []byte("two")) {
		t.Errorf("then came %s", second.body)
	}
}

// The example of the specification.
func TestSign(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("the signature is %q, want %q", got, want)
	}
}

// A failure is tried again, in order; a refusal is not.
func TestTriesAgain(t *testing.T) {
	r := newReceiver(t, 503, 429, 200, 400)
	s, l := newSender(t, r.hook())
	for i, text := range []string{"one", "two", "three"} {
		s.Notify(said(int64(i+1)*1000, "#a", text))
	}
	for _, want := range []string{"one", "one", "one", "two", "three"} {
		if got := epitest.Receive(t, r.got); !bytes.Contains(got.body, []byte(want)) {
			t.Errorf("got %s, want %s", got.body, want)
		}
	}
	s.group.Wait()
	if text := l.String(); !strings.Contains(text, "tried again") || !strings.Contains(text, "not tried again") {
		t.Errorf("the log is %s", text)
	}
}

func TestGivesUp(t *testing.T) {
	r := newReceiver(t, 500, 500, 500, 500, 500, 500)
	s, l := newSender(t, r.hook())
	s.Notify(said(1000, "#a", "one"))
	s.group.Wait()
	if n := len(r.got); n != 1+len(retries) {
		t.Errorf("%d requests, want %d", n, 1+len(retries))
	}
	if !strings.Contains(l.String(), "was not sent to a webhook") {
		t.Errorf("the log is %s", l)
	}
}

// What waits is bounded; a hook that is as it was keeps it, one that is gone does not.
func TestWaiting(t *testing.T) {
	r := newReceiver(t, 500)
	s, l := newSender(t, r.hook())
	held := make(chan time.Time)
	s.after = func(time.Duration) <-chan time.Time { return held }
	for i := range 2 * maxWaiting {
		s.Notify(said(int64(i+1), "#a", "x"))
	}
	epitest.Receive(t, r.got)
	if !strings.Contains(l.String(), "too many messages wait") {
		t.Errorf("the log is %s", l)
	}
	s.Configure([]Hook{r.hook()})
	held <- time.Time{}
	epitest.Receive(t, r.got)
	s.Configure(nil)
	s.group.Wait()
	s.Notify(said(1, "#a", "for nobody"))
}

// A redirect is not followed, and the own network not reached unless the hook says so.
func TestStaysOutside(t *testing.T) {
	inner := newReceiver(t)
	outer := httptest.NewServer(http.RedirectHandler(inner.URL, http.StatusTemporaryRedirect))
	defer outer.Close()
	hook := inner.hook()
	hook.URL = outer.URL
	s, _ := newSender(t, hook)
	s.Notify(said(1000, "#a", "one"))
	s.group.Wait()
	hook = inner.hook()
	hook.Private, hook.URL = false, strings.Replace(inner.URL, "http", "https", 1)
	s.Configure([]Hook{hook})
	s.Notify(said(2000, "#a", "two"))
	s.group.Wait()
	if n := len(inner.got); n != 0 {
		t.Errorf("%d requests reached the own network", n)
	}
}

func TestCheck(t *testing.T) {
	good := Hook{Name: "h", URL: "https://example.com/x", Secret: testSecret, Channels: []string{"#a"}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Hook){
		"no URL":           func(h *Hook) { h.URL = "" },
		"http":             func(h *Hook) { h.URL = "http://example.com" },
		"a file":           func(h *Hook) { h.URL, h.Private = "file:///etc/passwd", true },
		"no channels":      func(h *Hook) { h.Channels = nil },
		"no channel":       func(h *Hook) { h.Channels = []string{"ann"} },
		"no secret":        func(h *Hook) { h.Secret = "" },
		"a short secret":   func(h *Hook) { h.Secret = "whsec_AAAA" },
		"a secret in hex":  func(h *Hook) { h.Secret = strings.Repeat("zz", 32) },
		"a broken pattern": func(h *Hook) { h.Channels = []string{"#["} },
	} {
		bad := good
		change(&bad)
		if bad.Check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
