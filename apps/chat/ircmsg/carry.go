package ircmsg

// A Carried is a Line as it is written for another machine, in JSON, which gives it to its
// sessions. Capabilities are the bits that they are: who reads them must know them by the same.
type Carried struct {
	Tags   []Tag         `json:"t,omitempty"`
	Bodies []CarriedBody `json:"b"`
}

// A CarriedBody is a Body.
type CarriedBody struct {
	Source  string   `json:"s,omitempty"`
	Command string   `json:"c"`
	Params  []string `json:"p,omitempty"`
	Text    bool     `json:"x,omitempty"`
	Need    Caps     `json:"n,omitempty"`
}

// Carry returns the line for another machine. It shares the line's tags and parameters.
func (l *Line) Carry() Carried {
	c := Carried{Tags: l.tags, Bodies: make([]CarriedBody, len(l.bodies))}
	for i := range l.bodies {
		b := &l.bodies[i]
		c.Bodies[i] = CarriedBody{b.Source, b.Command, b.Params, b.Text, b.Need}
	}
	return c
}

// Line returns the line that was carried. What a server could not send is refused as by
// [NewLine].
func (c *Carried) Line() (*Line, error) {
	bodies := make([]Body, len(c.Bodies))
	for i, b := range c.Bodies {
		bodies[i] = Body{Message: Message{Source: b.Source, Command: b.Command, Params: b.Params, Text: b.Text}, Need: b.Need}
	}
	return NewLine(FromServer, c.Tags, bodies...)
}
