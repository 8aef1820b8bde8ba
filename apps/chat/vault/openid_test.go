package vault_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/epinet/epi/apps/chat/config"
	"github.com/epinet/epi/apps/chat/hall"
	"github.com/epinet/epi/apps/chat/store"
	"github.com/epinet/epi/apps/chat/vault"
)

// A provider of OpenID Connect, whose keys change.
type provider struct {
	*httptest.Server
	t *testing.T

	mu   sync.Mutex
	key  *rsa.PrivateKey // guarded by mu
	id   string          // guarded by mu; of the key
	down bool            // guarded by mu
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t}
	p.rotate("first")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		p.write(w, map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: p.id, Algorithm: "RS256", Use: "sig"}}})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) write(w http.ResponseWriter, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *provider) rotate(id string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.key, p.id = key, id
	p.mu.Unlock()
}

// token signs claims over those of a good one.
func (p *provider) token(claims map[string]any) string {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.id}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	all := map[string]any{
		"iss": p.URL, "aud": "chat", "sub": "1", "preferred_username": "ann", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
	}
	for k, v := range claims {
		all[k] = v
	}
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

func withProvider(t *testing.T, p *provider) (*vault.Vault, store.Store) {
	t.Helper()
	v, s := withAccounts(t)
	id, err := vault.NewOpenID(config.OpenID{Issuer: p.URL, Audience: "chat", Claim: "preferred_username"})
	if err != nil {
		t.Fatal(err)
	}
	return v.Through(nil, id), s
}

func TestOpenID(t *testing.T) {
	p := newProvider(t)
	v, s := withProvider(t, p)
	stranger := newProvider(t)
	log := func(account, token string) hall.Result {
		return v.Do(context.Background(), &hall.Work{Kind: hall.CheckToken, Account: account, Password: token})
	}
	good := p.token(nil)
	for name, tt := range map[string]struct {
		account, token string
		want           hall.Result
	}{
		"good":                        {"", good, hall.Result{OK: true, Account: "ann"}},
		"again":                       {"ANN", good, hall.Result{OK: true, Account: "ann"}},
		"for another account":         {"bob", good, hall.Result{}},
		"for another program":         {"", p.token(map[string]any{"aud": "mail"}), hall.Result{}},
		"expired":                     {"", p.token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), hall.Result{}},
		"not yet":                     {"", p.token(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), hall.Result{}},
		"of another issuer":           {"", p.token(map[string]any{"iss": "https://other.example"}), hall.Result{}},
		"signed by a stranger":        {"", stranger.token(map[string]any{"iss": p.URL}), hall.Result{}},
		"unsigned":                    {"", "eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".", hall.Result{}},
		"changed":                     {"", good[:len(good)-8] + "AAAAAAAA", hall.Result{}},
		"no token":                    {"", "password", hall.Result{}},
		"no subject":                  {"", p.token(map[string]any{"sub": ""}), hall.Result{}},
		"a name of the configuration": {"", p.token(map[string]any{"sub": "9", "preferred_username": "alice"}), hall.Result{Code: "ACCOUNT_EXISTS"}},
		"no name":                     {"", p.token(map[string]any{"sub": "8", "preferred_username": nil}), hall.Result{Code: "BAD_ACCOUNT_NAME"}},
		"a name of other letters":     {"", p.token(map[string]any{"sub": "7", "preferred_username": "a\r\nb"}), hall.Result{Code: "BAD_ACCOUNT_NAME"}},
	} {
		got := log(tt.account, tt.token)
		if got.OK != tt.want.OK || got.Account != tt.want.Account || got.Code != tt.want.Code {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
	if r := log("", p.token(map[string]any{"preferred_username": "renamed"})); !r.OK || r.Account != "ann" {
		t.Errorf("the subject decides whose account it is: %+v", r)
	}
	if r := log("", p.token(map[string]any{"sub": "2"})); r.OK || r.Code != "ACCOUNT_EXISTS" {
		t.Errorf("somebody else of the same name has taken the account: %+v", r)
	}
	p.rotate("second")
	if r := log("", p.token(nil)); !r.OK {
		t.Errorf("after the keys have changed: %+v", r)
	}
	if _, err := s.Apply(t.Context(), []store.Write{store.SetSuspended{Account: "ann", Reason: "left"}}); err != nil {
		t.Fatal(err)
	}
	if r := log("", p.token(nil)); r.OK {
		t.Errorf("a suspended account: %+v", r)
	}
}

// TestOpenIDDown: a provider that does not answer is nobody's wrong password, and is
// asked again.
func TestOpenIDDown(t *testing.T) {
	p := newProvider(t)
	p.down = true
	v, _ := withProvider(t, p)
	for range 30 {
		if r := v.Do(context.Background(), &hall.Work{Kind: hall.CheckToken, Password: p.token(nil)}); r.OK || !r.Pending || r.Code != "TEMPORARILY_UNAVAILABLE" {
			t.Fatalf("%+v", r)
		}
	}
}

func TestOpenIDConfiguration(t *testing.T) {
	for name, c := range map[string]config.OpenID{
		"plain http":  {Issuer: "http://login.example.org", Audience: "a", Claim: "c"},
		"no audience": {Issuer: "https://login.example.org", Claim: "c"},
		"no claim":    {Issuer: "https://login.example.org", Audience: "a"},
		"no URL":      {Issuer: "login", Audience: "a", Claim: "c"},
	} {
		if _, err := vault.NewOpenID(c); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}
