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
	services = []*service{nickServ(), chanServ(), playback()}
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
