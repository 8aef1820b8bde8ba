package hall

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// Metadata is what users and channels say of themselves beyond nick and topic, by key:
// draft/metadata-2 and its successor draft/metadata-3, which differ in how a change is
// announced (https://ircv3.net/specs/extensions/metadata).
type metadata map[string]string

// Limits of metadata. Values have room for their line whatever the target is called.
const (
	maxMetadataKeys  = 20 // of one target
	maxMetadataSubs  = 50 // of one session
	maxMetadataKey   = 64 // bytes
	maxMetadataValue = 300
	// metadataAtOnce is how many members a channel may have for a session to get all
	// that they say of themselves without asking.
	metadataAtOnce = 200
	// metadataLater is after how many seconds it may ask.
	metadataLater = 4
)

// whoisKeys are those that WHOIS shows.
var whoisKeys = []string{"display-name", "homepage", "pronouns", "status"}

func metadata2Limits(*Hall, *session) string {
	return "maxsub=" + strconv.Itoa(maxMetadataSubs) + ",maxkey=" + strconv.Itoa(maxMetadataKeys)
}

func metadata3Limits(*Hall, *session) string {
	return "before-connect,max-subs=" + strconv.Itoa(maxMetadataSubs) + ",max-keys=" + strconv.Itoa(maxMetadataKeys) +
		",max-value-bytes=" + strconv.Itoa(maxMetadataValue)
}

// A KeptDatum is one key of the metadata of an account or a registered channel, both in
// small letters.
type KeptDatum struct{ Owner, Key, Value string }

func (s *session) hasMetadata() bool { return s.caps&(CapMetadata|CapMetadata3) != 0 }

// A subject is what metadata is about.
type subject struct {
	name    string // as others read it
	user    *user
	channel *channel
	early   *registration // of a session that is not yet a user
}

// metadataOf returns what is known of a subject; it may be nil.
func (h *Hall) metadataOf(t subject) metadata {
	switch {
	case t.channel != nil:
		return t.channel.metadata
	case t.early != nil:
		return t.early.metadata
	case t.user.account != "":
		return h.metadata[fold(t.user.account)]
	case t.user.more != nil:
		return t.user.more.metadata
	}
	return nil
}

// putDatum changes metadata, and has it kept where it lasts. An empty value removes.
func (h *Hall) putDatum(t subject, key, value string) {
	m := h.metadataOf(t)
	if m == nil {
		m = metadata{}
		switch {
		case t.channel != nil:
			t.channel.metadata = m
		case t.early != nil:
			t.early.metadata = m
		case t.user.account != "":
			h.metadata[fold(t.user.account)] = m
		default:
			t.user.extra().metadata = m
		}
	}
	if value == "" {
		delete(m, key)
	} else {
		m[key] = strings.Clone(value)
	}
	switch {
	case t.channel != nil && t.channel.registered != nil:
		h.gate.Keep(KeepMetadata{KeptDatum{fold(t.channel.name), key, value}})
	case t.user != nil && t.user.account != "":
		h.gate.Keep(KeepMetadata{KeptDatum{fold(t.user.account), key, value}})
	}
}

// keepMetadata has all that is known of a channel kept under a name, or forgotten.
func (h *Hall) keepMetadata(c *channel, name string, forget bool) {
	for _, key := range slices.Sorted(maps.Keys(c.metadata)) {
		value := c.metadata[key]
		if forget {
			value = ""
		}
		h.gate.Keep(KeepMetadata{KeptDatum{fold(name), strings.Clone(key), value}})
	}
}

func (h *Hall) restoreDatum(d KeptDatum) {
	if c := h.findChannel(d.Owner); c != nil {
		if c.metadata == nil {
			c.metadata = metadata{}
		}
		if c.metadata[d.Key] = d.Value; d.Value == "" {
			delete(c.metadata, d.Key)
		}
		return
	}
	if h.metadata[d.Owner] == nil {
		h.metadata[d.Owner] = metadata{}
	}
	h.metadata[d.Owner][d.Key] = d.Value
}

// metadataCommand answers METADATA.
func (h *Hall) metadataCommand(s *session, params []string, _ *ircmsg.Message) {
	if len(params) < 2 {
		h.fail(s, "METADATA", "NEED_MORE_PARAMS", "Missing parameters")
		return
	}
	command, args := strings.ToUpper(params[1]), params[2:]
	t, ok := h.subjectOf(s, params[0])
	if !ok {
		h.fail(s, "METADATA", "INVALID_TARGET", printable(params[0]), "There is no such target")
		return
	}
	run, ok := map[string]func(*session, subject, []string){
		"GET": h.metadataGet, "LIST": h.metadataList, "SET": h.metadataSet, "CLEAR": h.metadataClear,
		"SUB": h.metadataSub, "UNSUB": h.metadataUnsub, "SUBS": h.metadataSubs, "SYNC": h.metadataSync,
	}[command]
	switch {
	case !ok:
		h.fail(s, "METADATA", "INVALID_SUBCOMMAND", printable(params[1]), "There is no such subcommand")
	case len(args) == 0 && (command == "GET" || command == "SET" || command == "SUB" || command == "UNSUB"):
		h.fail(s, "METADATA", "NEED_MORE_PARAMS", "Missing parameters")
	default:
		run(s, t, args)
	}
}

// subjectOf finds what a client means: itself by "*", a user, or a channel that it may
// know of.
func (h *Hall) subjectOf(s *session, name string) (t subject, ok bool) {
	if s.user == nil {
		return subject{name: "*", early: s.registering()}, name == "*"
	}
	if name == "*" {
		return h.subjectOfUser(s.user), true
	}
	if u := h.mentioned(name); u != nil {
		return h.subjectOfUser(u), true
	}
	c := h.findChannel(name)
	if c == nil || !h.knows(s.user, c) {
		return subject{}, false
	}
	return subject{name: c.name, channel: c}, true
}

func (h *Hall) subjectOfUser(u *user) subject { return subject{name: u.nick(), user: u} }

// mayRead says whether a session may read what is known of a subject: of a channel that
// not everybody may join, members alone.
func (h *Hall) mayRead(s *session, t subject) bool {
	c := t.channel
	return c == nil || s.user.in(c) != nil || !c.is(modeInviteOnly) && c.password == ""
}

// mayWrite says whether a session may change it: its own, or that of a channel whose
// operator it is.
func (h *Hall) mayWrite(s *session, t subject) bool {
	if t.channel == nil {
		return t.user == s.user
	}
	m := s.user.in(t.channel)
	return m != nil && m.rank >= Op
}

func (h *Hall) deny(s *session, t subject, key string) {
	h.fail(s, "METADATA", "KEY_NO_PERMISSION", t.name, key, "You may not do that")
}

// metadataKey returns a key in small letters, if it is one: a-z, 0-9 and "_.:/-", and
// does not begin with ":".
func metadataKey(key string) (folded string, ok bool) {
	folded = strings.ToLower(key)
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("_.:/-", r))
	}
	return folded, folded != "" && len(folded) <= maxMetadataKey && folded[0] != ':' && !strings.ContainsFunc(folded, bad)
}

func (h *Hall) badKey(s *session, key string) {
	h.fail(s, "METADATA", "INVALID_KEY", orStar(printable(ircmsg.Truncate(key, maxMetadataKey))), "A key has the letters a to z, digits, and _ . : / -")
}

// value sends one key as an answer.
func (h *Hall) value(s *session, tag string, t subject, key, value string) {
	if value == "" {
		h.numeric(s, tag, nNoMatchingKey, t.name, key, "There is no such key")
		return
	}
	h.numeric(s, tag, nKeyValue, t.name, key, "*", value)
}

// removed answers the removal of a key.
func (h *Hall) removed(s *session, tag string, t subject, key string) {
	if s.has(CapMetadata3) || !s.has(CapMetadata) {
		h.value(s, tag, t, key, "")
		return
	}
	h.write(s, tag, &ircmsg.Message{Source: h.config.Name, Command: nKeyValue, Params: []string{s.name(), t.name, key, "*"}})
}

// numeric is reply with tags.
func (h *Hall) numeric(s *session, tag, numeric string, params ...string) {
	h.write(s, tag, &ircmsg.Message{Source: h.config.Name, Command: numeric, Params: append([]string{s.name()}, params...), Text: true})
}

// metadataBatch answers with a batch, which names the subject.
func (h *Hall) metadataBatch(s *session, t subject, lines func(tag string)) {
	if !s.has(CapBatch) {
		lines("")
		return
	}
	h.batch(s, []string{"metadata", t.name}, lines)
}

func (h *Hall) metadataGet(s *session, t subject, keys []string) {
	if !h.mayRead(s, t) {
		h.deny(s, t, "*")
		return
	}
	m := h.metadataOf(t)
	h.metadataBatch(s, t, func(tag string) {
		for _, name := range keys {
			key, ok := metadataKey(name)
			if !ok {
				h.write(s, tag, &ircmsg.Message{Source: h.config.Name, Command: "FAIL", Params: []string{"METADATA", "INVALID_KEY", orStar(printable(ircmsg.Truncate(name, maxMetadataKey))), "This is no key"}, Text: true})
				continue
			}
			h.value(s, tag, t, key, m[key])
		}
	})
}

func (h *Hall) metadataList(s *session, t subject, _ []string) {
	if !h.mayRead(s, t) {
		h.deny(s, t, "*")
		return
	}
	m := h.metadataOf(t)
	h.metadataBatch(s, t, func(tag string) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			h.value(s, tag, t, key, m[key])
		}
	})
}

func (h *Hall) metadataSet(s *session, t subject, args []string) {
	key, ok := metadataKey(args[0])
	if !ok {
		h.badKey(s, args[0])
		return
	}
	if !h.mayWrite(s, t) {
		h.deny(s, t, key)
		return
	}
	value, m := param(args, 1), h.metadataOf(t)
	switch _, set := m[key]; {
	case len(value) > maxMetadataValue || !utf8.ValidString(value):
		h.fail(s, "METADATA", "INVALID_VALUE", key, "A value has at most "+strconv.Itoa(maxMetadataValue)+" bytes of UTF-8")
		return
	case value != "" && !set && len(m) >= maxMetadataKeys:
		h.fail(s, "METADATA", "LIMIT_REACHED", t.name, "There are at most "+strconv.Itoa(maxMetadataKeys)+" keys")
		return
	case value == "" && !set && s.has(CapMetadata) && !s.has(CapMetadata3):
		h.reply(s, nKeyNotSet, t.name, key, "The key is not set")
		return
	case value == "" && !set:
		h.value(s, "", t, key, "")
		return
	}
	key = strings.Clone(key)
	h.putDatum(t, key, value)
	if value == "" {
		h.removed(s, "", t, key)
	} else {
		h.value(s, "", t, key, value)
	}
	h.notifyDatum(s, t, key, value)
}

func (h *Hall) metadataClear(s *session, t subject, _ []string) {
	if !h.mayWrite(s, t) {
		h.deny(s, t, "*")
		return
	}
	keys := slices.Sorted(maps.Keys(h.metadataOf(t)))
	h.metadataBatch(s, t, func(tag string) {
		for _, key := range keys {
			h.putDatum(t, key, "")
			h.removed(s, tag, t, key)
		}
	})
	for _, key := range keys {
		h.notifyDatum(s, t, key, "")
	}
}

func (s *session) subscribes(key string) bool {
	return s.rare != nil && s.hasMetadata() && slices.Contains(s.rare.subs, key)
}

func (h *Hall) metadataSub(s *session, t subject, keys []string) {
	if t.early == nil && t.user != s.user {
		h.fail(s, "METADATA", "INVALID_TARGET", t.name, "Only * has subscriptions")
		return
	}
	var done []string
	for _, name := range keys {
		key, ok := metadataKey(name)
		if !ok {
			h.badKey(s, name)
			continue
		}
		subs := s.extra().subs
		if !slices.Contains(subs, key) {
			if len(subs) >= maxMetadataSubs {
				h.fail(s, "METADATA", "TOO_MANY_SUBS", key, "There are at most "+strconv.Itoa(maxMetadataSubs)+" subscriptions")
				break
			}
			s.rare.subs = append(subs, strings.Clone(key))
		}
		done = append(done, key)
	}
	h.keyLines(s, nMetadataSubOK, done)
	if s.user == nil || len(done) == 0 {
		return
	}
	for _, m := range s.user.channels {
		h.syncOnJoin(s, m.channel)
	}
}

func (h *Hall) metadataUnsub(s *session, _ subject, keys []string) {
	var done []string
	for _, name := range keys {
		key, ok := metadataKey(name)
		if !ok {
			h.badKey(s, name)
			continue
		}
		if s.rare != nil {
			s.rare.subs = slices.DeleteFunc(s.rare.subs, func(sub string) bool { return sub == key })
		}
		done = append(done, key)
	}
	h.keyLines(s, nMetadataUnsubOK, done)
	s.trim()
}

func (h *Hall) metadataSubs(s *session, _ subject, _ []string) {
	if s.rare != nil {
		h.keyLines(s, nMetadataSubs, s.rare.subs)
	}
}

// keyLines sends keys, each as a parameter, in as many lines as it takes.
func (h *Hall) keyLines(s *session, numeric string, keys []string) {
	for some := range slices.Chunk(keys, 5) { // 5 of the longest fit
		h.reply(s, numeric, some...)
	}
}

// metadataSync sends a session all that it subscribes to of a subject, and of the
// members if it is a channel.
func (h *Hall) metadataSync(s *session, t subject, _ []string) {
	if !h.mayRead(s, t) || t.early != nil {
		h.deny(s, t, "*")
		return
	}
	h.metadataBatch(s, t, func(tag string) {
		h.sync(s, tag, t)
		if t.channel == nil || s.user.in(t.channel) == nil {
			return
		}
		for _, m := range t.channel.members {
			if h.full(s, "METADATA") {
				return
			}
			if !h.sees(s.user, m) {
				continue
			}
			h.sync(s, tag, h.subjectOfUser(m.user))
		}
	})
}

// sync sends a session what it subscribes to of one subject.
func (h *Hall) sync(s *session, tag string, t subject) {
	m := h.metadataOf(t)
	if len(m) == 0 || s.rare == nil {
		return
	}
	for _, key := range s.rare.subs {
		if value := m[key]; value != "" {
			h.announce(s, tag, h.config.Name, t, key, value)
		}
	}
}

// announce sends one key that has changed, or that the session did not know.
func (h *Hall) announce(s *session, tag, source string, t subject, key, value string) {
	if s.has(CapMetadata3) {
		h.value(s, tag, t, key, value)
		return
	}
	h.write(s, tag, &ircmsg.Message{Source: source, Command: "METADATA", Params: []string{t.name, key, "*", value}, Text: true})
}

// syncOnJoin sends a session that is in a channel now what it subscribes to there, or
// says that it may ask later.
func (h *Hall) syncOnJoin(s *session, c *channel) {
	if s.rare == nil || len(s.rare.subs) == 0 || !s.hasMetadata() {
		return
	}
	if len(c.members) > metadataAtOnce {
		h.reply(s, nMetadataLater, c.name, strconv.Itoa(metadataLater))
		return
	}
	h.sync(s, "", subject{name: c.name, channel: c})
	for _, m := range c.members {
		if m.user != s.user && h.sees(s.user, m) {
			h.sync(s, "", h.subjectOfUser(m.user))
		}
	}
}

// notifyMembers sends those in a channel what somebody says of themselves who has joined.
func (h *Hall) notifyMembers(joined *member) {
	t := h.subjectOfUser(joined.user)
	if len(h.metadataOf(t)) == 0 {
		return
	}
	for _, m := range joined.channel.members {
		if m == joined || !h.sees(m.user, joined) {
			continue
		}
		for _, s := range m.user.sessions {
			if s.hasMetadata() {
				h.sync(s, "", t)
			}
		}
	}
}

// notifyDatum notifies those who subscribe to a key that it has changed: who share a channel
// with the subject, or are in it, or watch it, but not the session that changed it, nil for one
// of another node.
func (h *Hall) notifyDatum(by *session, t subject, key, value string) {
	if t.early != nil {
		return
	}
	notified, source := map[*session]bool{by: true}, ""
	if by != nil {
		source = by.user.source
	} else if t.user != nil {
		source = t.user.source
	}
	notify := func(sessions []*session) {
		for _, s := range sessions {
			if !notified[s] && s.subscribes(key) {
				notified[s] = true
				h.announce(s, "", source, t, key, value)
			}
		}
	}
	if t.channel != nil {
		for _, m := range t.channel.members {
			notify(m.user.sessions)
		}
		return
	}
	notify(t.user.sessions)
	for _, own := range t.user.channels {
		for _, m := range own.channel.members {
			if h.sees(m.user, own) {
				notify(m.user.sessions)
			}
		}
	}
	notify(h.watchers[h.nickKey(t.user.nick())])
}

// ownMetadata sends a session that has become a user what is known of that, after what
// it has set before is there.
func (h *Hall) ownMetadata(s *session, early metadata) {
	t := h.subjectOfUser(s.user)
	for _, key := range slices.Sorted(maps.Keys(early)) {
		if m := h.metadataOf(t); m[key] != "" || len(m) < maxMetadataKeys {
			h.putDatum(t, key, early[key])
			h.notifyDatum(s, t, key, early[key])
		}
	}
	if s.hasMetadata() {
		h.metadataList(s, t, nil)
	}
}

// whoisMetadata sends what WHOIS shows of a user's metadata.
func (h *Hall) whoisMetadata(s *session, u *user) {
	m := h.metadataOf(h.subjectOfUser(u))
	for _, key := range whoisKeys {
		if value := m[key]; value != "" {
			h.reply(s, nWhoisKeyValue, u.nick(), key, "*", value)
		}
	}
}
