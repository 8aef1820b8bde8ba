package hall

import (
	"cmp"
	"encoding/base64"
	"strings"
	"testing"

	"crypto/pbkdf2"
	"crypto/sha256"
)

// verifierOf returns what is kept of a password for SCRAM-SHA-256.
func verifierOf(password string) *Verifier {
	salt := []byte("0123456789abcdef")
	salted, err := pbkdf2.Key(sha256.New, password, salt, 4096, sha256.Size)
	if err != nil {
		panic(err)
	}
	stored := sha256.Sum256(sign(salted, "Client Key"))
	return &Verifier{Salt: salt, Iterations: 4096, StoredKey: stored[:], ServerKey: sign(salted, "Server Key")}
}

// scramClient is what a client knows in an exchange.
type scramClient struct {
	password, nonce, first, server string
	salted                         []byte
	replayed                       string // a nonce that is not the server's
}

// final returns the client's last message but one, in answer to the server's first.
func (c *scramClient) final(t *testing.T, server string) string {
	t.Helper()
	c.server = server
	fields := scramFields(server)
	salt, err := base64.StdEncoding.DecodeString(fields['s'])
	if err != nil || !strings.HasPrefix(fields['r'], c.nonce) || fields['i'] != "4096" {
		t.Fatalf("the server says %q", server)
	}
	if c.salted, err = pbkdf2.Key(sha256.New, c.password, salt, 4096, sha256.Size); err != nil {
		t.Fatal(err)
	}
	without := "c=biws,r=" + cmp.Or(c.replayed, fields['r'])
	key := sign(c.salted, "Client Key")
	stored := sha256.Sum256(key)
	signature := sign(stored[:], c.whole(without))
	for i := range key {
		key[i] ^= signature[i]
	}
	return without + ",p=" + base64.StdEncoding.EncodeToString(key)
}

func (c *scramClient) whole(without string) string { return c.first + "," + c.server + "," + without }

func TestScram(t *testing.T) {
	for _, test := range []struct {
		name, password string
		spoil          func(string) string // of the client's proof
		replayed       string
		want           string // the numeric at the end
	}{
		{name: "right", password: "sesame", want: "903"},
		{name: "wrong password", password: "millet", want: "904"},
		{name: "another nonce", password: "sesame", want: "904", spoil: func(m string) string { return strings.Replace(m, "r=", "r=x", 1) }},
		{name: "another binding", password: "sesame", want: "904", spoil: func(m string) string { return strings.Replace(m, "c=biws", "c=eSws", 1) }},
		{name: "proof of another exchange", password: "sesame", want: "904", replayed: "abcdef"},
		{name: "no proof", password: "sesame", want: "904", spoil: func(m string) string { return m[:strings.Index(m, ",p=")] }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, Config{Mechanisms: []string{"SCRAM-SHA-256"}})
			w.accounts["jilles"] = "sesame"
			id := w.open("a", Origin{Host: "a.host"})
			c := &scramClient{password: test.password, nonce: "abc", first: "n=jilles,r=abc", replayed: test.replayed}
			authenticate := func(message string) string {
				w.look()
				w.line(id, "AUTHENTICATE "+message)
				return w.look()[0].line
			}
			encoded := func(m string) string { return base64.StdEncoding.EncodeToString([]byte(m)) }
			w.line(id, "AUTHENTICATE SCRAM-SHA-256")
			_, server, _ := strings.Cut(authenticate(encoded("n,,"+c.first)), "AUTHENTICATE ")
			challenge, err := base64.StdEncoding.DecodeString(server)
			if err != nil {
				t.Fatal(err)
			}
			final := c.final(t, string(challenge))
			if test.spoil != nil {
				final = test.spoil(final)
			}
			answer := authenticate(encoded(final))
			if test.want == "903" {
				without, _, _ := strings.Cut(final, ",p=")
				proof := encoded("v=" + base64.StdEncoding.EncodeToString(sign(sign(c.salted, "Server Key"), c.whole(without))))
				if !strings.HasSuffix(answer, proof) {
					t.Errorf("the server does not prove that it knows the password: %q", answer)
				}
				w.line(id, "AUTHENTICATE +")
				answer = w.look()[1].line
			}
			if !strings.Contains(answer, " "+test.want+" ") {
				t.Errorf("the end is %q, want %s", answer, test.want)
			}
			w.healthy()
		})
	}
}
