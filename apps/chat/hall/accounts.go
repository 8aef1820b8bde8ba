package hall

import (
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// minPassword is the least bytes of a new password. Whether one is good is for the
// gate to say.
const minPassword = 3

// registerCommand makes an account (draft/account-registration).
func (h *Hall) registerCommand(s *session, params []string, _ *ircmsg.Message) {
	account, email, password := params[0], params[1], params[2]
	if !h.mayRegisterNow(s, "REGISTER", account) {
		return
	}
	nick := s.wantedNick()
	if nick == "" {
		h.fail(s, "REGISTER", "NEED_NICK", "*", "Choose a nick first")
		return
	}
	if account == "*" {
		account = nick
	}
	if !sameName(account, nick) {
		h.fail(s, "REGISTER", "ACCOUNT_NAME_MUST_BE_NICK", printable(account), "The account must have the name of your nick")
		return
	}
	if email == "*" {
		email = ""
	}
	h.makeAccount(s, account, email, password, func(code, text string) { h.fail(s, "REGISTER", code, account, text) }, func(kind, text string) {
		h.say(s, "REGISTER", kind, account, text)
	})
}

// wantedNick returns the nick of a session, also of one that is not registered.
func (s *session) wantedNick() string {
	if r := s.registering(); r != nil {
		return r.nick
	}
	return s.user.nick()
}

// mayRegisterNow says whether a session may make an account, and replies if not.
func (h *Hall) mayRegisterNow(s *session, command, account string) bool {
	switch {
	case !h.config.Registration.Enabled:
		h.fail(s, command, "TEMPORARILY_UNAVAILABLE", printable(account), "Accounts are made by the administrators")
	case s.user == nil && !h.config.Registration.BeforeConnect:
		h.fail(s, command, "COMPLETE_CONNECTION_REQUIRED", printable(account), "Finish connecting first")
	case s.account() != "":
		h.fail(s, command, "ALREADY_AUTHENTICATED", printable(account), "You are logged in already")
	default:
		return true
	}
	return false
}

// makeAccount is REGISTER, and the command of NickServ.
func (h *Hall) makeAccount(s *session, account, email, password string, refuse, done func(code, text string)) {
	other := h.users[h.nickKey(account)]
	switch {
	case other != nil && other != s.user:
		refuse("ACCOUNT_EXISTS", "Somebody else uses that nick")
		return
	case h.isOwned(account) && h.nickKey(account) != h.nickKey(s.account()):
		refuse("ACCOUNT_EXISTS", "Account already exists")
		return
	case !h.validNick(account) || h.reserved(account):
		refuse("BAD_ACCOUNT_NAME", "That name is not allowed")
		return
	case h.config.Registration.Email && !strings.Contains(email, "@"):
		refuse("INVALID_EMAIL", "An address for mail is required")
		return
	case len(password) < minPassword:
		refuse("WEAK_PASSWORD", "That password is too short")
		return
	}
	h.begin(s, Work{Kind: RegisterAccount, Account: account, Email: email, Password: password}, func(r *Result) {
		switch {
		case !r.OK:
			refuse(orWord(r.Code, "TEMPORARILY_UNAVAILABLE"), orWord(r.Text, "That did not work; try again later"))
		case r.Code != "":
			done(r.Code, orWord(r.Text, "Account created, pending verification"))
		default:
			h.own(orWord(r.Account, account))
			done("SUCCESS", "Account created")
			h.logIn(s, orWord(r.Account, account))
		}
	})
}

func orWord(word, otherwise string) string {
	if word == "" {
		return otherwise
	}
	return word
}

// verify finishes the registration of an account with the code that its owner got.
func (h *Hall) verify(s *session, params []string, _ *ircmsg.Message) {
	account := strings.Clone(params[0])
	if !h.mayRegisterNow(s, "VERIFY", account) {
		return
	}
	if !h.wellFormed(account) {
		h.fail(s, "VERIFY", "INVALID_CODE", printable(account), "There is no such account")
		return
	}
	h.begin(s, Work{Kind: VerifyAccount, Account: account, Password: params[1]}, func(r *Result) {
		if !r.OK {
			h.fail(s, "VERIFY", orWord(r.Code, "INVALID_CODE"), printable(account), orWord(r.Text, "Invalid code"))
			return
		}
		h.own(r.Account)
		h.say(s, "VERIFY", "SUCCESS", r.Account, "Account successfully registered")
		h.logIn(s, r.Account)
	})
}
