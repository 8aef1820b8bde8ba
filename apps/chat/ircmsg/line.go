package ircmsg

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Caps is a set of capabilities, those that change the form of a line. Which
// bit stands for which is up to the caller.
type Caps uint64

// A Line is one message to many receivers. Its form depends on their
// capabilities: which tags they get, and which of several bodies (such as a
// JOIN with and without an account). Each form is built when it is first
// asked for, once, and shared by all who ask.
//
// A Line may be used by several goroutines at once after NewLine.
type Line struct {
	tags   []Tag
	bodies []Body
	uses   Caps // what the form depends on

	forms atomic.Pointer[Form] // the list of those that are built
	build sync.Mutex           // held by who adds to it
}

// A Body is what a line says to sessions that have the capabilities Need.
type Body struct {
	Message
	Need Caps

	last string // the last parameter, cut to fit
}

// A Form is a Line as sessions with certain capabilities get it.
type Form struct {
	caps Caps
	line []byte
	next *Form // built earlier

	once  sync.Once
	other any // made of line by Other
}

// NewLine checks a message with its tags and returns it as a Line. Of several
// bodies, a session gets the first for which it has all capabilities; the last
// must need none. The tags of the bodies' messages are not used. Both slices
// are the line's from now on.
//
// The errors are those of [Message.Append]; tags are limited as if all of them
// went to somebody.
func NewLine(limits Limits, tags []Tag, bodies ...Body) (*Line, error) {
	if len(bodies) == 0 || bodies[len(bodies)-1].Need != 0 {
		return nil, fmt.Errorf("%w: no body is for sessions without capabilities", ErrInvalid)
	}
	l := &Line{tags: tags, bodies: bodies}
	if err := checkTags(tags, limits); err != nil {
		return nil, err
	}
	for _, t := range tags {
		l.uses |= t.Need
	}
	for i := range bodies {
		last, err := bodies[i].fit(limits)
		if err != nil {
			return nil, err
		}
		bodies[i].last = last
		l.uses |= bodies[i].Need
	}
	return l, nil
}

func checkTags(tags []Tag, limits Limits) error {
	size := max(0, len(tags)-1) // semicolons
	for _, t := range tags {
		if !ValidTagKey(t.Key) {
			return fmt.Errorf("%w: a tag's key is %q", ErrInvalid, t.Key)
		}
		if hasNUL(t.Value) {
			return fmt.Errorf("%w: the tag %s is %q", ErrInvalid, t.Key, t.Value)
		}
		size += tagSize(t.Key, t.Value)
	}
	if size > limits.Tags {
		return fmt.Errorf("%w: %d bytes, where %d are allowed", ErrTagsTooLong, size, limits.Tags)
	}
	return nil
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// Form returns the line for a session that has the capabilities caps.
func (l *Line) Form(caps Caps) *Form {
	caps &= l.uses
	if f := l.built(caps); f != nil {
		return f
	}
	l.build.Lock()
	defer l.build.Unlock()
	if f := l.built(caps); f != nil { // by another goroutine, meanwhile
		return f
	}
	f := &Form{caps: caps, line: l.Append(make([]byte, 0, l.size(caps)), caps), next: l.forms.Load()}
	l.forms.Store(f)
	return f
}

func (l *Line) built(caps Caps) *Form {
	for f := l.forms.Load(); f != nil; f = f.next {
		if f.caps == caps {
			return f
		}
	}
	return nil
}

// Append appends the form for one session, with tags that it alone gets, such
// as a label, before the others. These are not checked.
func (l *Line) Append(dst []byte, caps Caps, more ...Tag) []byte {
	first := true
	for _, tags := range [...][]Tag{more, l.tags} {
		for _, t := range tags {
			if t.Need&^caps != 0 {
				continue
			}
			dst = append(dst, separator(first))
			dst = appendTag(dst, t.Key, t.Value)
			first = false
		}
	}
	if !first {
		dst = append(dst, ' ')
	}
	body := l.body(caps)
	return body.appendBody(dst, body.last)
}

func (l *Line) body(caps Caps) *Body {
	return &l.bodies[slices.IndexFunc(l.bodies, func(b Body) bool { return b.Need&^caps == 0 })]
}

// size returns the bytes of a form; it may have counted one that is not there.
func (l *Line) size(caps Caps) int {
	body := l.body(caps)
	n := len("@") + body.Message.size(body.last)
	for _, t := range l.tags {
		if t.Need&^caps == 0 {
			n += tagSize(t.Key, t.Value) + len(" ")
		}
	}
	return n
}

func separator(first bool) byte {
	if first {
		return '@'
	}
	return ';'
}

// Line returns the line with its CR LF. It is shared: it must not be changed.
func (f *Form) Line() []byte { return f.line }

// Other returns what make has made of the line without its CR LF, such as a
// frame for WebSockets. It is made once; all callers must give the same make.
func (f *Form) Other(make func(line []byte) any) any {
	f.once.Do(func() {
		end := len(f.line) - len("\r\n")
		f.other = make(f.line[:end:end])
	})
	return f.other
}
