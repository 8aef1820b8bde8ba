package ircmsg

import (
	"errors"
	"fmt"
	"strings"
)

// MaxParams is the most parameters that a line has (RFC 2812, section 2.3.1).
// The last of them takes the rest of the line, with or without a colon.
const MaxParams = 15

// Limits bound what a line may be.
type Limits struct {
	// Line is the most bytes of a line without its tags, CR LF included.
	Line int

	// Tags is the most bytes of tag data: what is between "@" and the space.
	Tags int
}

// The limits of the standards: RFC 1459 for the line, message-tags for the
// tags: a client may send 4,094 bytes and a server may add as many.
var (
	FromClient = Limits{Line: 512, Tags: 4094}
	FromServer = Limits{Line: 512, Tags: 8189}
)

// What is wrong with a line or a message. Errors that say more wrap these.
var (
	ErrEmpty       = errors.New("line is empty")
	ErrNoCommand   = errors.New("line has no command")
	ErrBadByte     = errors.New("line has NUL, CR or LF in it")
	ErrTooLong     = errors.New("line is too long")
	ErrTagsTooLong = errors.New("tags are too long")
	ErrInvalid     = errors.New("message cannot be written as a line")
)

// A Message is a line in its parts.
type Message struct {
	// Tags is the tag data as it is on the wire, without "@".
	Tags Tags

	// Source is who it comes from, without ":": a server's name or
	// nick!user@host, which [SplitSource] splits.
	Source string

	// Command is as it was sent, in capital or small letters.
	Command string

	// Params are the parameters, at most MaxParams.
	Params []string

	// Text says that the last parameter is text for people: it may be cut at
	// a character where the line would become too long. Parse leaves it alone.
	Text bool
}

// Parse makes m the parts of line, which comes without its terminator. All of
// them are parts of line itself; Params is used again when it has room, so
// that a message parsed into over and over allocates nothing.
//
// The errors are ErrEmpty, which a server ignores (RFC 2812, section 2.3.1),
// ErrTooLong and ErrTagsTooLong (answered by 417), ErrNoCommand and
// ErrBadByte. Whether the line is UTF-8, whether its command is known, and
// whether a client may name a source at all is not looked at.
func (m *Message) Parse(line string, limits Limits) error {
	m.Tags, m.Source, m.Command, m.Params = "", "", "", m.Params[:0]
	if strings.IndexByte(line, 0) >= 0 || strings.IndexByte(line, '\r') >= 0 || strings.IndexByte(line, '\n') >= 0 {
		return ErrBadByte
	}
	rest := line
	if strings.HasPrefix(rest, "@") {
		m.Tags, rest = cutTags(rest)
		if len(m.Tags) > limits.Tags {
			return fmt.Errorf("%w: %d bytes, where %d are allowed", ErrTagsTooLong, len(m.Tags), limits.Tags)
		}
	}
	if size := len(rest) + len("\r\n"); size > limits.Line {
		return fmt.Errorf("%w: %d bytes, where %d are allowed", ErrTooLong, size, limits.Line)
	}
	rest = skipSpaces(rest)
	if strings.HasPrefix(rest, ":") {
		m.Source, rest = cutWord(rest[1:])
	}
	m.Command, rest = cutWord(rest)
	if m.Command == "" && m.Tags == "" && m.Source == "" {
		return ErrEmpty
	}
	if m.Command == "" || m.Command[0] == ':' || m.Command[0] == '@' {
		return ErrNoCommand
	}
	m.parseParams(rest)
	return nil
}

func (m *Message) parseParams(rest string) {
	for rest != "" {
		if rest[0] == ':' {
			m.Params = append(m.Params, rest[1:])
			return
		}
		if len(m.Params) == MaxParams-1 {
			m.Params = append(m.Params, rest)
			return
		}
		var word string
		word, rest = cutWord(rest)
		m.Params = append(m.Params, word)
	}
}

// Param returns the parameter i, counted from 0, or "" if there are fewer.
func (m *Message) Param(i int) string {
	if i >= len(m.Params) {
		return ""
	}
	return m.Params[i]
}

// cutTags cuts the tags off a line that begins with "@". The one space behind
// them belongs to them, as the limits of message-tags have it.
func cutTags(line string) (tags Tags, rest string) {
	data, rest, _ := strings.Cut(line[1:], " ")
	return Tags(data), rest
}

// cutWord cuts s behind its first word, and the spaces that follow.
func cutWord(s string) (word, rest string) {
	end := strings.IndexByte(s, ' ')
	if end < 0 {
		return s, ""
	}
	return s[:end], skipSpaces(s[end:])
}

func skipSpaces(s string) string {
	for s != "" && s[0] == ' ' {
		s = s[1:]
	}
	return s
}

// Append appends m to dst as a line with its CR LF, and returns it. Text that
// is too long for the line is cut where m allows it; anything else that does
// not fit is ErrTooLong or ErrTagsTooLong. A message that another one would be
// read from, or two, is ErrInvalid. With an error dst comes back as it was.
func (m *Message) Append(dst []byte, limits Limits) ([]byte, error) {
	body, err := m.fit(limits)
	if err != nil {
		return dst, err
	}
	if err := m.Tags.check(limits.Tags); err != nil {
		return dst, err
	}
	if m.Tags != "" {
		dst = append(dst, '@')
		dst = append(dst, m.Tags...)
		dst = append(dst, ' ')
	}
	return m.appendBody(dst, body), nil
}

// fit checks all of m but its tags, and returns its last parameter, cut so
// that the line is within the limits.
func (m *Message) fit(limits Limits) (last string, err error) {
	if err := m.check(); err != nil {
		return "", err
	}
	if len(m.Params) == 0 {
		return "", within(m.size(""), limits)
	}
	last = m.Params[len(m.Params)-1]
	if over := m.size(last) - limits.Line; over > 0 && m.Text {
		last = Truncate(last, len(last)-over)
	}
	return last, within(m.size(last), limits)
}

func within(size int, limits Limits) error {
	if size > limits.Line {
		return fmt.Errorf("%w: %d bytes, where %d are allowed", ErrTooLong, size, limits.Line)
	}
	return nil
}

// size returns the bytes of m as a line without tags when its last parameter
// is last. A last parameter that might need a colon is counted with one, so
// that cutting it does not change whether it does.
func (m *Message) size(last string) int {
	n := len(m.Command) + len("\r\n")
	if m.Source != "" {
		n += len(": ") + len(m.Source)
	}
	if len(m.Params) == 0 {
		return n
	}
	for _, p := range m.Params[:len(m.Params)-1] {
		n += len(" ") + len(p)
	}
	n += len(" ") + len(last)
	if m.Text || needsColon(last) {
		n += len(":")
	}
	return n
}

// appendBody appends m without its tags; it was checked, and last is its last
// parameter.
func (m *Message) appendBody(dst []byte, last string) []byte {
	if m.Source != "" {
		dst = append(dst, ':')
		dst = append(dst, m.Source...)
		dst = append(dst, ' ')
	}
	dst = append(dst, m.Command...)
	if len(m.Params) == 0 {
		return append(dst, '\r', '\n')
	}
	for _, p := range m.Params[:len(m.Params)-1] {
		dst = append(dst, ' ')
		dst = append(dst, p...)
	}
	dst = append(dst, ' ')
	if m.Text || needsColon(last) {
		dst = append(dst, ':')
	}
	dst = append(dst, last...)
	return append(dst, '\r', '\n')
}

// needsColon says whether a last parameter is read as it was only with a colon
// before it.
func needsColon(p string) bool {
	return p == "" || p[0] == ':' || strings.IndexByte(p, ' ') >= 0
}

// check refuses what would not be read as it was written.
func (m *Message) check() error {
	if !isWord(m.Command) || m.Command[0] == '@' {
		return fmt.Errorf("%w: its command is %q", ErrInvalid, m.Command)
	}
	if m.Source != "" && !isSource(m.Source) {
		return fmt.Errorf("%w: its source is %q", ErrInvalid, m.Source)
	}
	if len(m.Params) > MaxParams {
		return fmt.Errorf("%w: it has %d parameters, where %d are allowed", ErrInvalid, len(m.Params), MaxParams)
	}
	for i, p := range m.Params {
		if i < len(m.Params)-1 && !isWord(p) || hasBadByte(p) {
			return fmt.Errorf("%w: parameter %d of %s is %q", ErrInvalid, i+1, m.Command, p)
		}
	}
	return nil
}

// isWord says whether s can be a part of a line that a space ends.
func isWord(s string) bool {
	return s != "" && s[0] != ':' && strings.IndexByte(s, ' ') < 0 && !hasBadByte(s)
}

func isSource(s string) bool { return strings.IndexByte(s, ' ') < 0 && !hasBadByte(s) }

func hasBadByte(s string) bool {
	for i := range len(s) {
		if s[i] <= '\r' && (s[i] == '\r' || s[i] == '\n' || s[i] == 0) {
			return true
		}
	}
	return false
}
