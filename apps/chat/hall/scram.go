package hall

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
)

// scram is an exchange of SCRAM-SHA-256 (RFC 5802, RFC 7677) that goes on.
type scram struct {
	account string
	header  string // of the channel binding: there is none
	nonce   string
	first   string // the client's first message without the header
	server  string // the server's first message
	keys    *Verifier
	done    bool // the client is authentic; its last word is still to come
}

func (h *Hall) scramStep(s *session, l *login, message string) {
	switch {
	case l.scram == nil:
		h.scramBegin(s, l, message)
	case l.scram.done:
		h.succeed(s, l.scram.account)
	default:
		h.scramProve(s, l.scram, message)
	}
}

// scramBegin reads "n,a=...,n=user,r=nonce" and asks for the account's keys.
func (h *Hall) scramBegin(s *session, l *login, message string) {
	parts := strings.SplitN(message, ",", 3)
	if len(parts) < 3 || parts[0] != "n" && parts[0] != "y" {
		h.failLogin(s)
		return
	}
	fields := scramFields(parts[2])
	account, ok := unescapeName(fields['n'])
	wanted, wantedOK := unescapeName(strings.TrimPrefix(parts[1], "a="))
	if !ok || !wantedOK || account == "" || fields['r'] == "" || fields['m'] != "" || wanted != "" && !sameName(wanted, account) {
		h.failLogin(s)
		return
	}
	x := &scram{header: parts[0] + "," + parts[1] + ",", first: parts[2], nonce: fields['r'] + h.nonce()}
	l.scram = x
	h.begin(s, Work{Kind: FindVerifier, Account: account}, func(r *Result) {
		if !r.OK || r.Verifier == nil {
			h.refuseLogin(s, r)
			return
		}
		x.account, x.keys = r.Account, r.Verifier
		x.server = "r=" + x.nonce + ",s=" + base64.StdEncoding.EncodeToString(x.keys.Salt) + ",i=" + strconv.Itoa(x.keys.Iterations)
		h.challenge(s, base64.StdEncoding.EncodeToString([]byte(x.server)))
	})
}

// scramProve reads "c=...,r=nonce,p=proof".
func (h *Hall) scramProve(s *session, x *scram, message string) {
	signed, _, _ := strings.Cut(message, ",p=")
	fields := scramFields(message)
	binding, err := base64.StdEncoding.DecodeString(fields['c'])
	if err != nil || x.keys == nil || string(binding) != x.header || fields['r'] != x.nonce {
		h.failLogin(s)
		return
	}
	proof, err := base64.StdEncoding.DecodeString(fields['p'])
	whole := x.first + "," + x.server + "," + signed
	if err != nil || !x.keys.proves(proof, whole) {
		h.failLogin(s)
		return
	}
	x.done = true
	answer := "v=" + base64.StdEncoding.EncodeToString(sign(x.keys.ServerKey, whole))
	h.challenge(s, base64.StdEncoding.EncodeToString([]byte(answer)))
}

// proves says whether a proof was made with the password: it is the client's key,
// exclusive or the signature of all messages, and the hash of that key is known.
func (v *Verifier) proves(proof []byte, messages string) bool {
	key := sign(v.StoredKey, messages)
	if len(proof) != len(key) {
		return false
	}
	for i := range key {
		key[i] ^= proof[i]
	}
	hash := sha256.Sum256(key)
	return hmac.Equal(hash[:], v.StoredKey)
}

func sign(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

// scramFields splits "a=x,b=y".
func scramFields(message string) map[byte]string {
	fields := map[byte]string{}
	for field := range strings.SplitSeq(message, ",") {
		if len(field) >= 2 && field[1] == '=' {
			fields[field[0]] = field[2:]
		}
	}
	return fields
}

// unescapeName reads a name in which "=2C" is a comma and "=3D" an equals sign.
func unescapeName(name string) (string, bool) {
	for i := range len(name) {
		if name[i] == '=' && !strings.HasPrefix(name[i:], "=2C") && !strings.HasPrefix(name[i:], "=3D") {
			return "", false
		}
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name), true
}

// nonce returns what nobody can guess.
func (h *Hall) nonce() string {
	var raw [18]byte
	for i := range raw {
		raw[i] = byte(h.random.Uint64())
	}
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
