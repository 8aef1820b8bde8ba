// Package lookalike finds names that people take for one another: the idea of the
// skeletons of UTS 39, for the letters of the scripts that names may have.
package lookalike

import (
	"strings"
	"unicode"
)

// others has small letters of other scripts, and of Latin beyond ASCII, that look like
// one of ASCII.
var others = func() map[rune]rune {
	table := map[rune]rune{}
	for latin, letters := range map[rune]string{
		'a': "аαɑᴀ", 'b': "ьƅʙ", 'c': "сϲᴄ", 'd': "ԁɗᴅ", 'e': "еҽєᴇɛε", 'f': "ꜰẝƒ", 'g': "ɡցǥɢ", 'h': "һհʜн",
		'i': "іıιɩɪ", 'j': "јϳᴊ", 'k': "кκᴋ", 'l': "ӏǀʟ", 'm': "мᴍ", 'n': "ոпηɴ", 'o': "оοօσᴏ", 'p': "рρᴘ", 'q': "ԛգ",
		'r': "гʀᴦ", 's': "ѕʂꜱ", 't': "тτᴛ", 'u': "υսцᴜʋ", 'v': "ѵνᴠ", 'w': "ѡԝաωᴡ", 'x': "хχ", 'y': "уγүʏ", 'z': "ᴢ",
	} {
		for _, r := range letters {
			table[unicode.ToLower(r)] = latin
		}
	}
	return table
}()

// Skeleton returns what is the same for names that look alike, in any case.
func Skeleton(name string) string {
	return strings.Map(func(r rune) rune {
		r = unicode.ToLower(r)
		if plain, ok := others[r]; ok {
			return plain
		}
		return r
	}, name)
}
