package hall

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// A Person is what programs see of a user.
type Person struct {
	Nick, Account, Realname, Away string
	Bot                           bool
	Channels                      []string
}

// A Room is what programs see of a channel.
type Room struct {
	Name, Topic string
	Members     int
	Founder     string // account; "" where the channel is not registered
	KeepDays    int    // for which messages are kept; 0 as the server does
}

// People returns all users, in the order of their nicks.
func (h *Hall) People() []Person {
	people := make([]Person, 0, len(h.everyone))
	for _, u := range h.everyone {
		p := Person{Nick: u.nick(), Account: u.account, Realname: u.realname, Away: u.away(), Bot: u.is(modeBot)}
		for _, m := range u.channels {
			p.Channels = append(p.Channels, m.channel.name)
		}
		slices.Sort(p.Channels)
		people = append(people, p)
	}
	slices.SortFunc(people, func(a, b Person) int { return strings.Compare(a.Nick, b.Nick) })
	return people
}

// Rooms returns all channels, in the order of their names.
func (h *Hall) Rooms() []Room {
	rooms := make([]Room, 0, len(h.channels))
	for _, c := range h.channels {
		r := Room{Name: c.name, Topic: c.topic, Members: len(c.members)}
		if c.registered != nil {
			r.Founder, r.KeepDays = c.registered.founder, c.registered.days
		}
		rooms = append(rooms, r)
	}
	slices.SortFunc(rooms, func(a, b Room) int { return strings.Compare(a.Name, b.Name) })
	return rooms
}

// IsMember reports whether a user of an account is in a channel.
func (h *Hall) IsMember(account, channel string) bool {
	c := h.channels[fold(channel)]
	return c != nil && account != "" && slices.ContainsFunc(c.members, func(m *member) bool { return sameName(m.user.account, account) })
}

// ErrPost is wrapped by what Post has against a message.
var ErrPost = errors.New("not said")

// Why a program cannot say something.
var (
	errNoChannel   = fmt.Errorf("%w: there is no such channel now", ErrPost)
	errNoName      = fmt.Errorf("%w: the program's name cannot be a nick here, or is too long", ErrPost)
	errNotLine     = fmt.Errorf("%w: the text is no line", ErrPost)
	errLineTooLong = fmt.Errorf("%w: the text is longer than a line can be", ErrPost)
)

// programSuffix is what the nick of a program ends in: no user has a nick with a slash,
// so that no program can be taken for one.
const programSuffix = relaySeparator + "api"

// Post says something in a channel for a program that the configuration lets speak
// there, and returns the message's id. The time is in milliseconds since 1970, as in an
// Event.
func (h *Hall) Post(at int64, channel, name, text string) (id string, err error) {
	h.now = max(h.now, at)
	nick := name + programSuffix
	c := h.channels[fold(channel)]
	switch {
	case c == nil:
		return "", errNoChannel
	case !h.validRelayNick(nick):
		return "", errNoName
	case text == "" || strings.ContainsAny(text, "\r\n\x00"):
		return "", errNotLine
	}
	u := &user{}
	u.identify(nick, name, h.config.Name)
	sp := &speech{command: "PRIVMSG", text: text, source: u.source, tags: []ircmsg.Tag{{Key: "bot", Need: CapMessageTags}}}
	if len(":"+u.source+" PRIVMSG "+c.name+" :"+text+"\r\n") > ircmsg.FromServer.Line {
		return "", errLineTooLong
	}
	items := h.items(&user{source: u.source}, c.name, sp)
	h.recordSpeech(u, 0, fold(c.name), c.name, 0, sp, items)
	for _, item := range items {
		item.to(Reach{Channel: c.id})
		h.give(item)
	}
	h.conclude()
	return MsgID(sp.id), nil
}
