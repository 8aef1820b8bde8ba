package hall

import (
	"slices"
	"strings"
)

func nickServ() *service {
	return &service{
		name: "NickServ",
		help: []string{
			"REGISTER <password> [email]: make an account with the name of your nick",
			"VERIFY <account> <code>: finish that with the code you were sent",
			"IDENTIFY [account] <password>: log in",
			"LOGOUT: log out",
			"PASSWD <password> <new password>: change your password",
			"CERT LIST, CERT ADD [fingerprint], CERT DEL <fingerprint>: certificates with which you can log in (SASL EXTERNAL)",
			"DEVICE LIST, DEVICE ADD <name>, DEVICE DEL <name>: a password of its own for each device",
			"GHOST <nick>: end somebody who has the nick of your account",
			"RECOVER <nick>: the same, and take the nick",
			"INFO [account]: show an account",
			"SET MULTICLIENT ON|OFF: whether another session of your account shares this nick",
			"SET ALWAYS-ON ON|OFF: whether you stay here when your connections end",
			"UNREGISTER <password>: remove your account",
			"For operators: SAREGISTER <account> <password>, LIST [mask], SUSPEND <account> [reason], UNSUSPEND <account>",
		},
		commands: map[string]func(*Hall, *session, []string, func(string)){
			"REGISTER":   nsRegister,
			"SAREGISTER": nsSARegister,
			"VERIFY":     nsVerify,
			"IDENTIFY":   nsIdentify,
			"LOGIN":      nsIdentify,
			"LOGOUT":     nsLogout,
			"PASSWD":     nsPassword,
			"CERT":       nsCertificate,
			"DEVICE":     nsDevice,
			"GHOST":      nsGhost,
			"RECOVER":    nsRecover,
			"REGAIN":     nsRecover,
			"INFO":       nsInfo,
			"LIST":       nsList,
			"SUSPEND":    nsSuspend,
			"UNSUSPEND":  nsUnsuspend,
			"UNREGISTER": nsUnregister,
			"DROP":       nsUnregister,
			"SET":        nsSet,
		},
	}
}

func nsRegister(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) == 0 {
		answer("Syntax: REGISTER <password> [email]")
		return
	}
	if !h.config.Registration.Enabled || s.account() != "" {
		answer("You cannot register an account now")
		return
	}
	say := func(_, text string) { answer(text) }
	h.makeAccount(s, s.user.nick(), param(params, 1), params[0], say, say)
}

// nsSARegister lets an operator make an account for somebody.
func nsSARegister(h *Hall, s *session, params []string, answer func(string)) {
	if !s.user.may(h, RightSA) {
		answer("You may not do that")
		return
	}
	if len(params) < 2 || !h.validNick(params[0]) || h.reserved(params[0]) || len(params[1]) < minPassword {
		answer("Syntax: SAREGISTER <account> <password>")
		return
	}
	h.begin(s, Work{Kind: RegisterAccount, Account: params[0], Password: params[1]}, func(r *Result) {
		if !r.OK {
			answer(orWord(r.Text, "That did not work; try again later"))
			return
		}
		h.own(orWord(r.Account, params[0]))
		answer("Account created: " + orWord(r.Account, params[0]))
	})
}

func nsVerify(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) < 2 {
		answer("Syntax: VERIFY <account> <code>")
		return
	}
	h.verify(s, params, nil)
}

func nsIdentify(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) == 0 {
		answer("Syntax: IDENTIFY [account] <password>")
		return
	}
	account, password := s.user.nick(), params[0]
	if len(params) > 1 {
		account, password = params[0], params[1]
	}
	h.begin(s, Work{Kind: CheckPassword, Account: account, Password: password}, func(r *Result) {
		if !r.OK {
			answer("Wrong account or password")
			return
		}
		answer("You are now logged in as " + r.Account)
		h.logIn(s, r.Account)
	})
}

func nsLogout(h *Hall, s *session, _ []string, answer func(string)) {
	if s.account() == "" {
		answer("You are not logged in")
		return
	}
	answer("You are now logged out")
	h.logOut(s)
}

func nsSet(h *Hall, s *session, params []string, answer func(string)) {
	switch strings.ToUpper(param(params, 0)) {
	case "MULTICLIENT":
		nsMulticlient(h, s, param(params, 1), answer)
	case "ALWAYS-ON":
		nsAlwaysOn(h, s, param(params, 1), answer)
	case "PASSWORD":
		nsPassword(h, s, params[1:], answer)
	default:
		answer("Syntax: SET MULTICLIENT|ALWAYS-ON ON|OFF, SET PASSWORD <password> <new password>")
	}
}

func nsMulticlient(_ *Hall, s *session, value string, answer func(string)) {
	on, ok := onOff(value)
	if !ok {
		answer("Syntax: SET MULTICLIENT ON|OFF")
		return
	}
	s.user.extra().alone = !on
	answer("MULTICLIENT is now " + strings.ToUpper(value))
}

func nsPassword(h *Hall, s *session, params []string, answer func(string)) {
	switch {
	case s.account() == "":
		answer("You are not logged in")
		return
	case len(params) < 2:
		answer("Syntax: PASSWD <password> <new password>")
		return
	case len(params[1]) < minPassword:
		answer("That password is too short")
		return
	}
	h.ask(s, Work{Kind: SetPassword, Account: s.account(), Password: params[0], New: params[1]}, answer, func(*Result) {
		answer("Your password was changed")
	})
}

// ask has work done for a service, and answers with the reason when it fails.
func (h *Hall) ask(s *session, w Work, answer func(string), then func(*Result)) {
	h.begin(s, w, func(r *Result) {
		if !r.OK {
			answer(orWord(r.Text, "That did not work; try again later"))
			return
		}
		then(r)
	})
}

// squatter returns who has a nick that belongs to the account of a session, nil after an
// answer.
func (h *Hall) squatter(s *session, params []string, answer func(string)) *user {
	u := h.find(param(params, 0))
	switch {
	case u == nil:
		answer("Nobody has that nick")
		return nil
	case u == s.user:
		answer("That is you")
		return nil
	case s.account() == "" || !sameName(u.account, s.account()) && h.nickKey(u.nick()) != h.nickKey(s.account()):
		answer("That nick is not yours")
		return nil
	}
	return u
}

func nsGhost(h *Hall, s *session, params []string, answer func(string)) {
	if u := h.squatter(s, params, answer); u != nil {
		h.removeUser(u, "Ghosted by "+s.user.nick(), func(own *session) { h.end(own, "Ghosted by "+s.user.nick(), "") })
		answer("Their connections were ended")
	}
}

func nsRecover(h *Hall, s *session, params []string, answer func(string)) {
	u := h.squatter(s, params, answer)
	if u == nil {
		return
	}
	nick := u.nick()
	nsGhost(h, s, params, answer)
	h.changeNick(s, s.user, nick)
}

func nsInfo(h *Hall, s *session, params []string, answer func(string)) {
	account := s.account()
	if len(params) > 0 {
		account = params[0]
	}
	if account == "" {
		answer("Syntax: INFO <account>")
		return
	}
	own := sameName(account, s.account()) || s.user.may(h, RightSA)
	h.ask(s, Work{Kind: DescribeAccount, Account: account, Whole: own}, answer, func(r *Result) { answerAll(r.Lines, answer) })
}

func answerAll(lines []string, answer func(string)) {
	for _, line := range lines {
		answer(line)
	}
}

// onlyOperators says whether a session may act on the accounts of others, and answers
// if not.
func onlyOperators(h *Hall, s *session, answer func(string)) bool {
	if s.user.may(h, RightSA) {
		return true
	}
	answer("You may not do that")
	return false
}

func nsList(h *Hall, s *session, params []string, answer func(string)) {
	if !onlyOperators(h, s, answer) {
		return
	}
	mask := orStar(param(params, 0))
	h.ask(s, Work{Kind: ListAccounts, Account: mask}, answer, func(r *Result) {
		answerAll(r.Lines, answer)
		answer("End of the list")
	})
}

func nsSuspend(h *Hall, s *session, params []string, answer func(string)) {
	if !onlyOperators(h, s, answer) {
		return
	}
	if len(params) == 0 {
		answer("Syntax: SUSPEND <account> [reason]")
		return
	}
	reason := orWord(strings.Join(params[1:], " "), "No reason given")
	h.ask(s, Work{Kind: SuspendAccount, Account: params[0], Reason: reason}, answer, func(r *Result) {
		answer("Suspended: " + r.Account)
		h.expelAccount(r.Account, suspended(reason))
	})
}

// expelAccount ends all users of an account.
func (h *Hall) expelAccount(account, reason string) {
	for _, u := range slices.Clone(h.usersOf(account)) {
		h.removeUser(u, "Account suspended", func(own *session) { h.end(own, "Account suspended", reason) })
	}
}

func nsUnsuspend(h *Hall, s *session, params []string, answer func(string)) {
	if !onlyOperators(h, s, answer) {
		return
	}
	if len(params) == 0 {
		answer("Syntax: UNSUSPEND <account>")
		return
	}
	h.ask(s, Work{Kind: UnsuspendAccount, Account: params[0]}, answer, func(r *Result) { answer("No longer suspended: " + r.Account) })
}

func nsUnregister(h *Hall, s *session, params []string, answer func(string)) {
	switch {
	case s.account() == "":
		answer("You are not logged in")
		return
	case len(params) == 0:
		answer("Syntax: UNREGISTER <password>")
		return
	}
	h.ask(s, Work{Kind: RemoveAccount, Account: s.account(), Password: params[0]}, answer, func(r *Result) {
		answer("Your account was removed")
		h.forgetAccount(r.Account)
	})
}

// forgetAccount takes an account that was removed from its users, nicks and channels: those of
// this node.
func (h *Hall) forgetAccount(account string) {
	delete(h.owned, h.nickKey(account))
	delete(h.metadata, fold(account)) // the store does so by itself
	delete(h.leaving, fold(account))
	for _, c := range slices.Clone(h.slots) {
		if c == nil || c.registered == nil || c.net != nil && !c.net.mine {
			continue
		}
		if sameName(c.registered.founder, account) {
			h.unregister(c)
			continue
		}
		c.registered.set(account, 0)
		h.touchChannel(c)
	}
	for _, u := range slices.Clone(h.usersOf(account)) {
		if !u.isHere() {
			continue
		}
		h.writeUser(u, nLoggedOut, u.nick(), u.source, "You are now logged out")
		h.setAccount(u, "")
		if len(u.sessions) == 0 {
			h.quit(u, "Account removed")
		}
	}
}
