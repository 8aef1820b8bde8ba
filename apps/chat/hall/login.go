package hall

import (
	"encoding/base64"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// login is an authentication that goes on (sasl-3.2).
type login struct {
	mechanism string
	data      []byte // of a message in several parts, in base64
	scram     *scram
}

// A message of SASL comes in parts of at most loginPart bytes of base64; a shorter one
// is the last. maxLogin bounds all of them.
const (
	loginPart = 400
	maxLogin  = 8 * loginPart
)

// mechanismsFor returns the mechanisms that a session can use.
func (h *Hall) mechanismsFor(s *session) []string {
	if s == nil || s.origin.Fingerprint != "" {
		return h.config.Mechanisms
	}
	var usable []string
	for _, m := range h.config.Mechanisms {
		if m != "EXTERNAL" {
			usable = append(usable, m)
		}
	}
	return usable
}

func (h *Hall) authenticate(s *session, params []string, _ *ircmsg.Message) {
	data := params[0]
	l := s.extra().login
	switch {
	case len(data) > loginPart:
		h.endLogin(s, nSASLTooLong, "SASL message too long")
	case l == nil:
		h.beginLogin(s, data)
	case data == "*":
		h.abortLogin(s)
	default:
		h.continueLogin(s, l, data)
	}
	s.trim()
}

func (h *Hall) abortLogin(s *session) { h.endLogin(s, nSASLAborted, "SASL authentication aborted") }

// challenge sends what the client is to answer, as the examples of sasl-3.1 have it:
// without a source, and without a colon.
func (h *Hall) challenge(s *session, data string) {
	h.write(s, "", &ircmsg.Message{Command: "AUTHENTICATE", Params: []string{data}})
}

// endLogin ends the authentication without success.
func (h *Hall) endLogin(s *session, numeric, text string) {
	s.extra().login = nil
	h.reply(s, numeric, text)
}

func (h *Hall) failLogin(s *session) { h.endLogin(s, nSASLFail, "SASL authentication failed") }

// refuseLogin ends the authentication for the reason in a result, if there is one that its owner can
// do something about: to wait.
func (h *Hall) refuseLogin(s *session, r *Result) {
	text := "SASL authentication failed"
	if r.Pending && r.Text != "" {
		text += ": " + r.Text
	}
	h.endLogin(s, nSASLFail, text)
	s.trim()
}

func (h *Hall) beginLogin(s *session, mechanism string) {
	mechanism = strings.ToUpper(mechanism)
	usable := h.mechanismsFor(s)
	for _, m := range usable {
		if m != mechanism {
			continue
		}
		s.extra().login = &login{mechanism: m}
		h.challenge(s, "+")
		return
	}
	if len(usable) > 0 {
		h.reply(s, nSASLMechs, strings.Join(usable, ","), "are available SASL mechanisms")
	}
	h.failLogin(s)
}

func (h *Hall) continueLogin(s *session, l *login, data string) {
	if data != "+" {
		l.data = append(l.data, data...)
	}
	if len(l.data) > maxLogin {
		h.failLogin(s)
		return
	}
	if len(data) == loginPart {
		return
	}
	message, err := base64.StdEncoding.DecodeString(string(l.data))
	l.data = nil
	if err != nil {
		h.failLogin(s)
		return
	}
	switch l.mechanism {
	case "PLAIN":
		h.plain(s, string(message))
	case "EXTERNAL":
		h.external(s, string(message))
	case "OAUTHBEARER":
		h.bearer(s, string(message))
	case "SCRAM-SHA-256":
		h.scramStep(s, l, string(message))
	default:
		h.failLogin(s)
	}
}

// plain is PLAIN (RFC 4616): who to be, who one is, and the password.
func (h *Hall) plain(s *session, message string) {
	parts := strings.Split(message, "\x00")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" || parts[0] != "" && !sameName(parts[0], parts[1]) {
		h.failLogin(s)
		return
	}
	h.check(s, Work{Kind: CheckPassword, Account: parts[1], Password: parts[2]})
}

// external is EXTERNAL: the certificate says who it is.
func (h *Hall) external(s *session, account string) {
	if s.origin.Fingerprint == "" {
		h.failLogin(s)
		return
	}
	h.check(s, Work{Kind: FindCertificate, Account: account, Fingerprint: s.origin.Fingerprint})
}

// bearer is OAUTHBEARER (RFC 7628): "n,a=account," and a token as in HTTP.
func (h *Hall) bearer(s *session, message string) {
	for field := range strings.SplitSeq(message, "\x01") {
		token, ok := strings.CutPrefix(field, "auth=Bearer ")
		if !ok || token == "" {
			continue
		}
		header, _, _ := strings.Cut(message, "\x01")
		account := ""
		for part := range strings.SplitSeq(header, ",") {
			if name, ok := strings.CutPrefix(part, "a="); ok {
				account = name
			}
		}
		h.check(s, Work{Kind: CheckToken, Account: account, Password: token})
		return
	}
	h.failLogin(s)
}

func (h *Hall) check(s *session, w Work) {
	h.begin(s, w, func(r *Result) {
		if !r.OK {
			h.refuseLogin(s, r)
			return
		}
		h.succeed(s, r.Account)
	})
}

// succeed ends an authentication as its account.
func (h *Hall) succeed(s *session, account string) {
	s.extra().login = nil
	h.logIn(s, account)
	h.reply(s, nSASLSuccess, "SASL authentication successful")
	s.trim()
}

// logIn makes an account that of a session, and of its user if it has one.
func (h *Hall) logIn(s *session, account string) {
	h.own(account) // it may have been made elsewhere
	source := "*!*@*"
	if r := s.registering(); r != nil {
		r.account = account
	} else {
		source = s.user.source
	}
	h.reply(s, nLoggedIn, source, account, "You are now logged in as "+account)
	if s.user != nil {
		h.setAccount(s.user, account)
	}
}

// logOut takes the account from a user.
func (h *Hall) logOut(s *session) {
	h.reply(s, nLoggedOut, s.user.source, "You are now logged out")
	h.setAccount(s.user, "")
}

// setAccount changes the account of a user and notifies those who want to know.
func (h *Hall) setAccount(u *user, account string) {
	if u.account == account {
		return
	}
	h.setStays(u, false)
	h.relist(u, account)
	u.rejudge()
	h.noteUser(u)
	name := account
	if name == "" {
		name = "*"
	}
	item := h.toNeighboursAndSelf(u, h.extendedWatchers(u), h.fromUser(u, ircmsg.Message{Command: "ACCOUNT", Params: []string{name}}))
	item.Need = CapAccountNotify
	h.deliver(true, item)
	h.grantAll(u)
	h.stayIfWanted(u)
}
