package push

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/internal/epitest"
)

func TestMain(m *testing.M) { epitest.Main(m, nil) }

var b64 = base64.RawURLEncoding

// A device has the keys that a browser keeps.
type device struct {
	private *ecdh.PrivateKey
	auth    []byte
}

func newDevice(t *testing.T) *device {
	t.Helper()
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	auth := make([]byte, 16)
	rand.Read(auth)
	return &device{private, auth}
}

func (d *device) keys() string {
	return "p256dh=" + b64.EncodeToString(d.private.PublicKey().Bytes()) + ";auth=" + b64.EncodeToString(d.auth)
}

// open decrypts a message (RFC 8291, 3.4; RFC 8188, 2).
func (d *device) open(t *testing.T, body []byte) string {
	t.Helper()
	salt, size := body[:16], int(binary.BigEndian.Uint32(body[16:20]))
	n := int(body[20])
	sender, err := ecdh.P256().NewPublicKey(body[21 : 21+n])
	if err != nil || size < len(body)-21-n {
		t.Fatalf("the header is wrong: %v, record size %d", err, size)
	}
	shared, err := d.private.ECDH(sender)
	if err != nil {
		t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		key, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	ikm := derive(shared, d.auth, "WebPush: info\x00"+string(d.private.PublicKey().Bytes())+string(sender.Bytes()), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gcm.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), body[21+n:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimRight(string(plain), "\x00"), "\x02")
}

// A service is a push service, which example.com leads to.
type service struct {
	*httptest.Server
	got    chan *http.Request
	bodies chan []byte
	status func() int
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{got: make(chan *http.Request, 100), bodies: make(chan []byte, 100), status: func() int { return http.StatusCreated }}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(s.status())
		s.got <- r
		s.bodies <- body
	}))
	t.Cleanup(s.Close)
	return s
}

// client leads every name to the service, as a resolver would.
func (s *service) client() *http.Client {
	c := s.Client()
	transport := c.Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

func newPusher(t *testing.T, c *http.Client) (*Pusher, store.Store) {
	t.Helper()
	s := store.NewMemory()
	p, err := New(Config{
		KeyFile: filepath.Join(t.TempDir(), "key"), Server: "https://chat.example.org", Store: s, Writer: store.NewWriter(s),
		Log: slog.New(slog.DiscardHandler), Client: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, s
}

const endpoint = "https://example.com/push/1"

func (p *Pusher) subscribe(t *testing.T, account, endpoint, keys string) hall.Result {
	t.Helper()
	return p.Do(t.Context(), &hall.Work{Kind: hall.Subscribe, Account: account, Endpoint: endpoint, Keys: keys})
}

func record(text string, notify ...string) *hall.Record {
	return &hall.Record{
		ID: 1_700_000_000_000 << hall.IDBits, Target: "#room", Shown: "#Room", Command: "PRIVMSG", Source: "bob!b@h", Account: "Bob",
		Text: text, Notify: notify,
	}
}

// TestPush: a device gets the message, which only it can read, signed by the server.
func TestPush(t *testing.T) {
	s := newService(t)
	p, _ := newPusher(t, s.client())
	d := newDevice(t)
	if r := p.subscribe(t, "ann", endpoint, d.keys()); !r.OK {
		t.Fatalf("%+v", r)
	}
	p.Notify(record("ann: hello\nmore", "ann", "nobody"))
	r, body := <-s.got, <-s.bodies
	want := "@time=2023-11-14T22:13:20.000Z;msgid=" + ircmsg.FormatID(1_700_000_000_000<<hall.IDBits) + ";account=Bob :bob!b@h PRIVMSG #Room :ann: hello"
	if got := d.open(t, body); got != want {
		t.Errorf("the device reads %q, want %q", got, want)
	}
	if r.URL.Path != "/push/1" || r.Header.Get("TTL") == "" || r.Header.Get("Content-Encoding") != "aes128gcm" {
		t.Errorf("the request is %s %v", r.URL, r.Header)
	}
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "vapid t=")
	token, key, _ := strings.Cut(token, ", k=")
	if !found || key != p.PublicKey() {
		t.Fatalf("Authorization is %q", r.Header.Get("Authorization"))
	}
	claims, err := b64.DecodeString(strings.Split(token, ".")[1])
	var c struct{ Aud, Sub string }
	if err != nil || json.Unmarshal(claims, &c) != nil || c.Aud != "https://example.com" || c.Sub != "https://chat.example.org" {
		t.Errorf("the claims are %s", claims)
	}
}

// TestPushLong: what does not fit is cut, at a letter.
func TestPushLong(t *testing.T) {
	s := newService(t)
	p, _ := newPusher(t, s.client())
	d := newDevice(t)
	p.subscribe(t, "ann", endpoint, d.keys())
	p.Notify(record(strings.Repeat("가", 5000), "ann"))
	if got := d.open(t, <-s.bodies); !strings.HasSuffix(got, "가") || len(got) > maxLine {
		t.Errorf("%d bytes, which end in %q", len(got), got[len(got)-3:])
	}
}

// TestGone: a device that does not want messages any more is forgotten; one whose
// service fails, or leads elsewhere, is not.
func TestGone(t *testing.T) {
	for status, left := range map[int]int{
		http.StatusGone: 0, http.StatusNotFound: 0, http.StatusInternalServerError: 1, http.StatusTemporaryRedirect: 1, http.StatusCreated: 1,
	} {
		s := newService(t)
		s.status = func() int { return status }
		p, kept := newPusher(t, s.client())
		p.subscribe(t, "ann", endpoint, newDevice(t).keys())
		p.Notify(record("ann", "ann"))
		<-s.got
		p.group.Wait()
		if err := p.Writer.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := kept.Subscriptions(t.Context(), "ann")
		if err != nil || len(list) != left {
			t.Errorf("after %d: %d subscriptions are left, want %d (%v)", status, len(list), left, err)
		}
		if len(s.got) > 0 {
			t.Errorf("after %d the pusher went on to %s", status, (<-s.got).URL)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	p, _ := newPusher(t, nil)
	good := newDevice(t).keys()
	for name, tt := range map[string]struct{ endpoint, keys, code string }{
		"good":             {endpoint, good, ""},
		"the same again":   {endpoint, good, ""},
		"plain http":       {"http://example.com/", good, "INVALID_PARAMS"},
		"no URL":           {"example.com", good, "INVALID_PARAMS"},
		"a file":           {"file:///etc/passwd", good, "INVALID_PARAMS"},
		"with a password":  {"https://a:b@example.com/", good, "INVALID_PARAMS"},
		"loopback":         {"https://127.0.0.1/", good, "INVALID_PARAMS"},
		"mapped":           {"https://[::ffff:10.0.0.1]/", good, "INVALID_PARAMS"},
		"too long":         {"https://example.com/" + strings.Repeat("x", maxEndpoint), good, "INVALID_PARAMS"},
		"no auth":          {endpoint, strings.Split(good, ";")[0], "INVALID_PARAMS"},
		"no key":           {endpoint, strings.Split(good, ";")[1], "INVALID_PARAMS"},
		"a key that's cut": {endpoint, strings.Replace(good, "p256dh=", "p256dh=AA", 1), "INVALID_PARAMS"},
		"a key of no code": {endpoint, "auth=***;p256dh=***", "INVALID_PARAMS"},
	} {
		if r := p.subscribe(t, "ann", tt.endpoint, tt.keys); r.OK != (tt.code == "") || r.Code != tt.code {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for i := range maxSubscriptions {
		r := p.subscribe(t, "ann", endpoint+strings.Repeat("x", i+1), good)
		if r.OK != (i < maxSubscriptions-1) {
			t.Errorf("device %d: %+v", i+2, r)
		}
	}
	if r := p.Do(t.Context(), &hall.Work{Kind: hall.Unsubscribe, Account: "ann", Endpoint: endpoint}); !r.OK {
		t.Errorf("%+v", r)
	}
	if r := p.Do(t.Context(), &hall.Work{Kind: hall.Unsubscribe, Account: "ann", Endpoint: endpoint}); !r.OK {
		t.Errorf("one that there is not: %+v", r)
	}
}

// TestNothingPrivate: no name leads the server to an address of its own network.
func TestNothingPrivate(t *testing.T) {
	s := newService(t)
	p, kept := newPusher(t, nil)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "https://"), ":")
	_, err := kept.Apply(t.Context(), []store.Write{store.PutSubscription{Subscription: store.Subscription{
		Account: "ann", Endpoint: "https://localhost:" + port, Keys: newDevice(t).keys(), // as a name that leads here by now
	}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Notify(record("ann", "ann"))
	p.group.Wait()
	if len(s.got) > 0 {
		t.Error("the server has connected to its own machine")
	}
}

// TestTooMany: what waits is bounded, and Close does not wait for it.
func TestTooMany(t *testing.T) {
	p, _ := newPusher(t, nil)
	p.sending = maxSending // nobody sends
	for range 2 * maxWaiting {
		p.Notify(record("ann", "ann"))
	}
	if len(p.queue) != maxWaiting {
		t.Errorf("%d wait, want %d", len(p.queue), maxWaiting)
	}
	p.Notify(record("nobody is named"))
}

// TestKeyStays: devices know the server by its key, so a restart keeps it.
func TestKeyStays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	_, first, err := key(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, second, err := key(file); err != nil || second != first {
		t.Errorf("%q, then %q (%v)", first, second, err)
	}
}
