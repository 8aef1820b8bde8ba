package ircmsg

import (
	"encoding/json"

	"github.com/epinet/epi/apps/chat/quickjson"
)

// carried is a Line on its way to another machine.
type carried struct {
	Tags   []Tag         `json:"t,omitempty"`
	Bodies []carriedBody `json:"b"`
}

type carriedBody struct {
	Source  string   `json:"s,omitempty"`
	Command string   `json:"c"`
	Params  []string `json:"p,omitempty"`
	Text    bool     `json:"x,omitempty"`
	Need    Caps     `json:"n,omitempty"`
}

// MarshalJSON writes a line so that another machine can give it to its sessions.
// Capabilities are the bits that they are: who reads them must know them by the same.
func (l *Line) MarshalJSON() ([]byte, error) {
	c := carried{Tags: l.tags, Bodies: make([]carriedBody, len(l.bodies))}
	for i := range l.bodies {
		b := &l.bodies[i]
		c.Bodies[i] = carriedBody{b.Source, b.Command, b.Params, b.Text, b.Need}
	}
	return json.Marshal(c)
}

// UnmarshalJSON reads what MarshalJSON has written. What a server could not send is
// refused as by [NewLine].
func (l *Line) UnmarshalJSON(data []byte) error {
	r := quickjson.NewReader(data)
	c := readCarried(r)
	if !r.Ended() {
		c = carried{}
		if err := json.Unmarshal(data, &c); err != nil {
			return err
		}
	}
	bodies := make([]Body, len(c.Bodies))
	for i, b := range c.Bodies {
		bodies[i] = Body{Message: Message{Source: b.Source, Command: b.Command, Params: b.Params, Text: b.Text}, Need: b.Need}
	}
	made, err := NewLine(FromServer, c.Tags, bodies...)
	if err != nil {
		return err
	}
	l.tags, l.bodies, l.uses = made.tags, made.bodies, made.uses
	return nil
}

func readCarried(r *quickjson.Reader) (c carried) {
	for name := range r.Fields() {
		switch string(name) {
		case "t":
			c.Tags = quickjson.Slice(r, readTag)
		case "b":
			c.Bodies = quickjson.Slice(r, readBody)
		default:
			r.Fail()
		}
	}
	return c
}

func readTag(r *quickjson.Reader) (t Tag) {
	for name := range r.Fields() {
		switch string(name) {
		case "Key":
			t.Key = r.String()
		case "Value":
			t.Value = r.String()
		case "Need":
			t.Need = Caps(r.Uint())
		default:
			r.Fail()
		}
	}
	return t
}

func readBody(r *quickjson.Reader) (b carriedBody) {
	for name := range r.Fields() {
		switch string(name) {
		case "s":
			b.Source = r.String()
		case "c":
			b.Command = r.String()
		case "p":
			b.Params = r.Strings()
		case "x":
			b.Text = r.Bool()
		case "n":
			b.Need = Caps(r.Uint())
		default:
			r.Fail()
		}
	}
	return b
}
