package hall

import (
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A service is a nick that answers commands in messages, for clients that have no other
// way: a thin face of what commands do.
type service struct {
	name     string
	help     []string
	commands map[string]func(h *Hall, s *session, params []string, answer func(string))
}

// services are built by init, since their commands use serviceNamed.
var services []*service

func init() {
	services = []*service{nickServ(), chanServ()}
}

func serviceNamed(nick string) *service {
	for _, sv := range services {
		if sameName(sv.name, nick) {
			return sv
		}
	}
	return nil
}

func (h *Hall) ns(s *session, params []string, _ *ircmsg.Message) {
	h.serve(s, services[0], strings.Join(params, " "))
}

func (h *Hall) cs(s *session, params []string, _ *ircmsg.Message) {
	h.serve(s, services[1], strings.Join(params, " "))
}

// sayToService is a message to a service.
func (h *Hall) sayToService(s *session, sv *service, sp *speech) {
	if sp.command == "PRIVMSG" {
		h.serve(s, sv, sp.text)
	}
}

func (h *Hall) serve(s *session, sv *service, text string) {
	answer := func(text string) {
		h.write(s, "", &ircmsg.Message{
			Source: sv.name + "!" + sv.name + "@" + h.config.Name, Command: "NOTICE", Params: []string{s.name(), text}, Text: true,
		})
	}
	words := strings.Fields(text)
	if len(words) == 0 || strings.EqualFold(words[0], "HELP") {
		for _, line := range sv.help {
			answer(line)
		}
		return
	}
	run := sv.commands[strings.ToUpper(words[0])]
	if run == nil {
		answer("Unknown command; try HELP")
		return
	}
	run(h, s, words[1:], answer)
}

func nickServ() *service {
	return &service{
		name: "NickServ",
		help: []string{
			"REGISTER <password> [email]: make an account with the name of your nick",
			"VERIFY <account> <code>: finish that with the code you were sent",
			"IDENTIFY [account] <password>: log in",
			"LOGOUT: log out",
			"SET MULTICLIENT ON|OFF: whether another session of your account shares this nick",
		},
		commands: map[string]func(*Hall, *session, []string, func(string)){
			"REGISTER":   nsRegister,
			"SAREGISTER": nsSARegister,
			"VERIFY":     nsVerify,
			"IDENTIFY":   nsIdentify,
			"LOGIN":      nsIdentify,
			"LOGOUT":     nsLogout,
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

func nsSet(_ *Hall, s *session, params []string, answer func(string)) {
	if len(params) < 2 || !strings.EqualFold(params[0], "MULTICLIENT") {
		answer("Syntax: SET MULTICLIENT ON|OFF")
		return
	}
	s.user.extra().alone = strings.EqualFold(params[1], "OFF") || strings.EqualFold(params[1], "FALSE")
	answer("MULTICLIENT is now " + strings.ToUpper(params[1]))
}

func chanServ() *service {
	face := func(letters string) func(*Hall, *session, []string, func(string)) {
		return func(h *Hall, s *session, params []string, answer func(string)) {
			if len(params) == 0 {
				answer("Syntax: <command> <#channel> [nick]")
				return
			}
			nick := s.user.nick()
			if len(params) > 1 {
				nick = params[1]
			}
			h.channelMode(s, params[0], []string{letters, nick})
		}
	}
	return &service{
		name: "ChanServ",
		help: []string{
			"OP, DEOP, HALFOP, DEHALFOP, VOICE, DEVOICE <#channel> [nick]: give or take a rank",
			"TOPIC <#channel> <text>: set the topic",
			"INVITE <nick> <#channel>: invite somebody",
		},
		commands: map[string]func(*Hall, *session, []string, func(string)){
			"OP":       face("+o"),
			"DEOP":     face("-o"),
			"HALFOP":   face("+h"),
			"DEHALFOP": face("-h"),
			"VOICE":    face("+v"),
			"DEVOICE":  face("-v"),
			"TOPIC":    csTopic,
			"INVITE":   csInvite,
		},
	}
}

func csTopic(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) < 2 {
		answer("Syntax: TOPIC <#channel> <text>")
		return
	}
	h.topic(s, []string{params[0], strings.Join(params[1:], " ")}, nil)
}

func csInvite(h *Hall, s *session, params []string, answer func(string)) {
	if len(params) < 2 {
		answer("Syntax: INVITE <nick> <#channel>")
		return
	}
	h.invite(s, params, nil)
}
