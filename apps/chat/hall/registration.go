package hall

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// registration is what a session has said of itself before it is a user.
type registration struct {
	nick        string
	name        string
	realname    string
	password    string
	account     string // of the login
	negotiating bool   // CAP was sent, and no CAP END yet
	admitted    bool   // the server's password was right
	away        string
	begun       bool // a line has come
	metadata    metadata
}

func (h *Hall) pass(s *session, params []string, _ *ircmsg.Message) {
	r := s.registering()
	if r == nil {
		h.reply(s, nAlreadyReg, "You may not reregister")
		return
	}
	r.password = params[0]
}

func (h *Hall) user(s *session, params []string, _ *ircmsg.Message) {
	r := s.registering()
	if r == nil {
		h.reply(s, nAlreadyReg, "You may not reregister")
		return
	}
	if params[0] == "" || params[3] == "" {
		h.reply(s, nNeedMoreParams, "USER", "Not enough parameters")
		return
	}
	name := h.userName(params[0])
	if name == "" {
		h.reply(s, nInvalidUsername, "Your username is not valid")
		return
	}
	r.name, r.realname = name, strings.Clone(ircmsg.Truncate(params[3], h.config.RealName))
	h.register(s)
}

func (h *Hall) nick(s *session, params []string, _ *ircmsg.Message) {
	nick := param(params, 0)
	if nick == "" {
		h.reply(s, nNoNicknameGiven, "No nickname given")
		return
	}
	if !h.validNick(nick) && !(h.wellFormed(nick) && h.isOwned(nick)) { // the owner may look like themself
		h.reply(s, nErroneusNickname, printable(nick), "Erroneous nickname")
		return
	}
	nick = strings.Clone(nick)
	if r := s.registering(); r != nil {
		r.nick = nick
		h.register(s)
		return
	}
	h.changeNick(s, s.user, nick)
}

// changeNick gives a user another nick, if it is free, and shows it to those who see them.
func (h *Hall) changeNick(s *session, u *user, nick string) {
	if nick == u.nick() {
		return
	}
	other := h.users[h.nickKey(nick)]
	if other != nil && other != u || !h.mayHave(nick, u.account) {
		h.nickTaken(s, nick, other.at())
		return
	}
	for _, m := range u.channels {
		if m.rank == 0 && h.muted(m) {
			h.reply(s, nBanNickChange, nick, m.channel.name, "Cannot change nickname while banned from channel")
			return
		}
	}
	if h.net != nil && h.nickKey(nick) != h.nickKey(u.nick()) {
		h.changeByClaim(s, u, nick)
		return
	}
	h.putNick(u, nick)
}

// putNick gives a user a nick, and shows it to those who see them.
func (h *Hall) putNick(u *user, nick string) {
	line := h.fromUser(u, ircmsg.Message{Command: "NICK", Params: []string{nick}})
	h.recordEverywhere(u, "NICK", nick)
	h.deliver(true, h.toNeighboursAndSelf(u, nil, line))
	h.remember(u)
	old, oldKey, key := u.nick(), h.nickKey(u.nick()), h.nickKey(nick)
	if h.users[oldKey] == u {
		delete(h.users, oldKey)
	}
	h.users[key] = u
	u.identify(nick, u.name(), u.host())
	h.touchUser(u)
	if key != oldKey {
		h.notifyWatchers(oldKey, nMonOffline, old)
		h.notifyWatchers(key, nMonOnline, u.source)
	}
}

// reserved says whether a nick belongs to a service.
func (h *Hall) reserved(nick string) bool { return serviceNamed(nick) != nil }

// register makes a user of a session that has said all that is needed.
func (h *Hall) register(s *session) {
	r := s.registering()
	if r == nil || r.nick == "" || r.name == "" || r.negotiating {
		return
	}
	if h.config.Password && !r.admitted {
		h.askPassword(s, r)
		return
	}
	if s.rare.login != nil {
		h.abortLogin(s)
	}
	if h.config.RequireAccount && s.account() == "" {
		h.fail(s, "*", "ACCOUNT_REQUIRED", "You must log in with SASL to use this server")
		h.end(s, "You must log in with SASL", "")
		return
	}
	if ban := h.bannedOrigin(r.nick, r.name, s.origin); ban != nil {
		h.reply(s, nYoureBanned, "You are banned from this server: "+ban.reason)
		h.end(s, "Banned: "+ban.reason, "")
		return
	}
	other := h.users[h.nickKey(r.nick)]
	if staying := h.staying[fold(r.account)]; r.account != "" && staying != nil {
		other = staying
	}
	if other != nil && h.mayAttach(s, other) {
		h.attach(s, other, r)
		return
	}
	if other != nil || !h.mayHave(r.nick, r.account) {
		h.nickTaken(s, r.nick, other.at())
		r.nick = ""
		return
	}
	if h.net != nil {
		h.admitByClaim(s, r)
		return
	}
	h.admit(s, r)
}

func (h *Hall) askPassword(s *session, r *registration) {
	wrong := func() {
		h.reply(s, nPasswdMismatch, "Password incorrect")
		h.end(s, "Password incorrect", "")
	}
	if r.password == "" {
		wrong()
		return
	}
	h.begin(s, Work{Kind: CheckServer, Password: r.password}, func(result *Result) {
		if !result.OK {
			wrong()
			return
		}
		r.admitted, r.password = true, ""
		h.register(s)
	})
}

// admit makes a new user.
func (h *Hall) admit(s *session, r *registration) {
	now := uint32(h.seconds())
	u := &user{realname: r.realname, account: s.account(), home: s.origin, signon: now, active: now}
	u.sessions = append(u.one[:0], s)
	for i := range len(h.config.UserModes) {
		u.modes |= userModeOf(h.config.UserModes[i]) &^ (modeOperator | modeSecure)
	}
	if s.origin.Secure {
		u.modes |= modeSecure
	}
	u.identify(r.nick, r.name, h.cloak(s.origin.Host))
	s.user = u
	h.strange--
	h.here(u)
	h.enter(u)
	if r.away != "" {
		u.extra().away = r.away
	}
	h.gate.Registered(s.id)
	h.stayIfWanted(u)
	h.welcome(s)
	h.sayElsewhere(s)
	h.ownMetadata(s, r.metadata)
	h.notifyWatchers(h.nickKey(r.nick), nMonOnline, u.source)
	s.trim()
	h.replayMissed(s)
}

func (h *Hall) cloak(host string) string {
	if h.config.Cloak != nil {
		host = h.config.Cloak(host)
	}
	return onWire(host)
}

// mayAttach says whether a session becomes one more of a user that there is.
func (h *Hall) mayAttach(s *session, u *user) bool {
	return s.account() != "" && sameName(s.account(), u.account) && (u.more == nil || !u.more.alone) && (h.net == nil || u.net.node == nil)
}

// attach makes a session one more of a user: it is in all channels at once.
func (h *Hall) attach(s *session, u *user, r *registration) {
	h.setSecure(u, s.origin.Secure && (len(u.sessions) == 0 || u.is(modeSecure))) // the new one gets all modes
	if len(u.sessions) == 0 {
		u.home = s.origin
	}
	s.user = u
	h.strange--
	u.sessions = append(u.sessions, s)
	h.noteUser(u)
	if r.away == "" {
		h.updateAway(u)
	}
	h.gate.Registered(s.id)
	h.welcome(s)
	h.ownMetadata(s, r.metadata)
	for _, m := range u.channels {
		h.seat(s, m)
		h.write(s, "", joinMessage(u, m.channel, s.caps))
		h.describe(s, m.channel)
		h.syncOnJoin(s, m.channel)
		h.replayOnJoin(s, m, 0)
	}
	s.trim()
	h.replayMissed(s)
}

// welcome sends what comes at the end of the registration, in the order of
// modern.ircdocs.horse.
func (h *Hall) welcome(s *session) {
	u, c := s.user, &h.config
	h.reply(s, nWelcome, "Welcome to the "+c.Network+" IRC Network "+u.nick())
	h.reply(s, nYourHost, "Your host is "+c.Name+", running version "+c.Version)
	h.reply(s, nCreated, "This server was created "+c.Created.UTC().Format("Mon Jan 02 2006 at 15:04:05 UTC"))
	h.reply(s, nMyInfo, c.Name, strings.ReplaceAll(c.Version, " ", "-"), userModeLetters, h.flags()+listModes+"fkl"+rankModes, listModes+"fkl"+rankModes)
	h.sendTokens(s, h.isup)
	if s.has(CapWhoAmI) {
		h.write(s, "", &ircmsg.Message{Source: u.source, Command: "SETNAME", Params: []string{u.realname}, Text: true})
	}
	if s.has(CapPersistence) && u.account != "" {
		h.sendPersistence(s)
	}
	h.lusers(s, nil, nil)
	h.motd(s, nil, nil)
	if modes := u.modes.String(); modes != "+" {
		h.reply(s, nUModeIs, modes)
	}
}

func (h *Hall) quitCommand(s *session, params []string, _ *ircmsg.Message) {
	reason := "Quit"
	if text := param(params, 0); text != "" {
		reason = "Quit: " + ircmsg.Truncate(text, h.config.Kick)
	}
	if s.user != nil {
		h.write(s, "", &ircmsg.Message{Source: s.user.source, Command: "QUIT", Params: []string{reason}, Text: true})
	}
	h.end(s, reason, "")
}

func (h *Hall) ping(s *session, params []string, _ *ircmsg.Message) {
	if param(params, 0) == "" {
		h.reply(s, nNoOrigin, "No origin specified")
		return
	}
	h.say(s, "PONG", h.config.Name, params[0])
}

// pong is a sign of life, which the gate has seen already.
func (h *Hall) pong(*session, []string, *ircmsg.Message) {}

// webirc lets a gateway say where its client comes from.
func (h *Hall) webirc(s *session, params []string, _ *ircmsg.Message) {
	r := s.registering()
	if r == nil {
		h.reply(s, nAlreadyReg, "You may not reregister")
		return
	}
	refuse := func() { h.end(s, "WEBIRC is not allowed from here", "") }
	if !s.origin.Gateway || r.nick != "" || r.negotiating {
		refuse()
		return
	}
	host, address, options := params[2], params[3], param(params, 4)
	ip, err := netip.ParseAddr(address)
	if err != nil {
		refuse()
		return
	}
	h.begin(s, Work{Kind: CheckGateway, Account: params[1], Password: params[0]}, func(result *Result) {
		if !result.OK {
			refuse()
			return
		}
		s.origin = behindGateway(s.origin, host, ip, options)
	})
}

// proxied takes the header that a trusted proxy may send as the first line (version 1 of
// https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt, section 2.1), and says
// whether the line was one.
func (h *Hall) proxied(s *session, m *ircmsg.Message) bool {
	r := s.registering()
	if r == nil {
		return false
	}
	first := !r.begun
	r.begun = true
	if !first || !s.origin.Proxy || m.Command != "PROXY" {
		return false
	}
	words := proxyWords(m.Params)
	family := param(words, 0)
	if family == "UNKNOWN" {
		return true
	}
	ip, err := netip.ParseAddr(param(words, 1))
	if err != nil || len(words) != 5 || (family == "TCP4") != ip.Is4() || family != "TCP4" && family != "TCP6" {
		h.end(s, "Invalid PROXY header", "")
		return true
	}
	o := *s.origin
	o.Address = ip.Unmap().String()
	o.Host = onWire(o.Address)
	s.origin = &o
	return true
}

// proxyWords returns the words of a PROXY header, in which an address that begins with a
// colon was taken for text.
func proxyWords(params []string) []string {
	last := len(params) - 1
	if last < 1 || len(params) >= 5 {
		return params
	}
	return append(slices.Clone(params[:last]), strings.Fields(":"+params[last])...)
}

// behindGateway returns the origin of a gateway's client. It is secure only where both
// ways are.
func behindGateway(gateway *Origin, host string, ip netip.Addr, options string) *Origin {
	o := *gateway
	o.Gateway = false
	o.Address = ip.Unmap().String()
	if !ircmsg.ValidHostname(host) {
		host = o.Address
	}
	o.Host = onWire(host)
	secure := false
	o.Fingerprint = ""
	for option := range strings.FieldsSeq(options) {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "secure":
			secure = true
		case "certfp-sha-256":
			o.Fingerprint = strings.ToLower(ircmsg.Unescape(value))
		}
	}
	o.Secure = gateway.Secure && secure
	return &o
}
