package hall

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/epinet/epi/apps/internal/lookalike"
)

// validNick says whether a user may have a nick: letters, digits and []\^_`{|}-, of
// which the first is neither a digit nor a hyphen; with UnicodeNicks also the letters
// of one script.
func (h *Hall) validNick(nick string) bool { return h.wellFormed(nick) && oneScript(nick) }

// wellFormed is validNick, but for letters of several scripts.
func (h *Hall) wellFormed(nick string) bool {
	if nick == "" || len(nick) > h.config.Nick || nick[0] == '-' || isDigit(nick[0]) {
		return false
	}
	if !utf8.ValidString(nick) {
		return false
	}
	for _, r := range nick {
		switch {
		case r >= utf8.RuneSelf:
			if !h.config.UnicodeNicks || !unicode.In(r, mixedScripts...) && scriptOf(r) == nil {
				return false
			}
		case !isNickByte(byte(r)):
			return false
		}
	}
	return true
}

// own notes that a nick belongs to an account of that name.
func (h *Hall) own(account string) { h.owned[h.nickKey(account)] = true }

func (h *Hall) ownConfigured() {
	for _, account := range h.config.Accounts {
		h.own(account)
	}
}

// isOwned says whether a nick is that of an account, or looks like one.
func (h *Hall) isOwned(nick string) bool { return h.config.ReserveNicks && h.owned[h.nickKey(nick)] }

// mayHave says whether somebody with an account, or none, may have a nick that nobody
// has.
func (h *Hall) mayHave(nick, account string) bool {
	return !h.reserved(nick) && (!h.isOwned(nick) || account != "" && h.nickKey(account) == h.nickKey(nick))
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

func isNickByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || isDigit(b) || strings.IndexByte("[]\\^_`{|}-", b) >= 0
}

// scripts are those that a nick may be of.
var scripts = []*unicode.RangeTable{
	unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Armenian, unicode.Hebrew, unicode.Arabic,
	unicode.Devanagari, unicode.Bengali, unicode.Tamil, unicode.Telugu, unicode.Thai, unicode.Georgian,
	unicode.Hangul, unicode.Ethiopic,
}

// mixedScripts may stand together in a nick, as in Japanese.
var mixedScripts = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana}

// oneScript says whether all letters of a nick are of one script. Letters of ASCII
// beside another script are refused: that is how look-alikes are made.
func oneScript(nick string) bool {
	var found *unicode.RangeTable
	mixed := false
	for _, r := range nick {
		if r < utf8.RuneSelf && !unicode.IsLetter(r) {
			continue
		}
		if !unicode.IsLetter(r) {
			return false
		}
		if unicode.In(r, mixedScripts...) {
			mixed = true
			continue
		}
		script := scriptOf(r)
		if script == nil || found != nil && script != found {
			return false
		}
		found = script
	}
	return !mixed || found == nil
}

func scriptOf(r rune) *unicode.RangeTable {
	for _, script := range scripts {
		if unicode.Is(script, r) {
			return script
		}
	}
	return nil
}

// nickKey returns what is the same for all nicks that are equal: by ASCII, and with
// UnicodeNicks also those that look alike.
func (h *Hall) nickKey(nick string) string {
	if !h.config.UnicodeNicks {
		return fold(nick)
	}
	return lookalike.Skeleton(nick)
}

// userName returns what a client wants as its user name, as it may be.
func (h *Hall) userName(wanted string) string {
	name := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (isNickByte(byte(r)) || r == '.' || r == '~' || r == '+') {
			return r
		}
		return -1
	}, wanted)
	return name[:min(len(name), h.config.User)]
}
