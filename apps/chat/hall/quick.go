package hall

import (
	"encoding/json"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/ircmsg"
	"github.com/epinet/epi/apps/chat/quickjson"
)

// A quick body is of an op that comes for every message, and is read without encoding/json,
// if it is written as this version does.
type quick interface{ read(r *quickjson.Reader) }

// decode reads what another node has written.
func decode[T any](data []byte) (*T, error) {
	body := new(T)
	if q, ok := any(body).(quick); ok {
		r := quickjson.NewReader(data)
		if q.read(r); r.Ended() {
			return body, nil
		}
		body = new(T)
	}
	return body, json.Unmarshal(data, body)
}

func (p *parcel) read(r *quickjson.Reader) {
	for name := range r.Fields() {
		switch string(name) {
		case "l":
			p.Last = r.Int()
		case "t":
			p.Now = r.Int()
		case "o":
			p.Ops = quickjson.Slice(r, readOp)
		default:
			r.Fail()
		}
	}
}

func readOp(r *quickjson.Reader) (o op) {
	for name := range r.Fields() {
		switch string(name) {
		case "k":
			o.Kind = r.String()
		case "b":
			o.Body = r.Raw()
		default:
			r.Fail()
		}
	}
	return o
}

func (far *farItem) read(r *quickjson.Reader) {
	for name := range r.Fields() {
		switch string(name) {
		case "r":
			far.Reign = r.Int()
		case "n":
			far.Number = r.Uint()
		case "c":
			far.Reach = quickjson.Slice(r, readReach)
		case "s":
			far.Sessions = quickjson.Slice(r, readSession)
		case "e":
			far.Except = quickjson.Slice(r, readSession)
		case "d":
			far.Need = Caps(r.Uint())
		case "u":
			far.Unless = Caps(r.Uint())
		case "l":
			far.Lines = quickjson.Slice(r, readLine)
		case "p":
			far.Said = r.Bool()
		default:
			r.Fail()
		}
	}
}

func readReach(r *quickjson.Reader) (far farReach) {
	for name := range r.Fields() {
		switch string(name) {
		case "c":
			far.Channel = r.String()
		case "r":
			far.Rank = readRank(r)
		default:
			r.Fail()
		}
	}
	return far
}

func readRank(r *quickjson.Reader) Rank {
	n := r.Uint()
	if uint64(Rank(n)) != n {
		r.Fail()
	}
	return Rank(n)
}

func readSession(r *quickjson.Reader) (far farSession) {
	for name := range r.Fields() {
		switch string(name) {
		case "n":
			far.Node = fabric.Node(r.String())
		case "i":
			far.ID = SessionID(r.Uint())
		default:
			r.Fail()
		}
	}
	return far
}

// readLine fails for a line that cannot be: encoding/json says why.
func readLine(r *quickjson.Reader) *ircmsg.Line {
	line := new(ircmsg.Line)
	if line.UnmarshalJSON(r.Raw()) != nil {
		r.Fail()
	}
	return line
}

func (rec *Record) read(r *quickjson.Reader) {
	for name := range r.Fields() {
		switch string(name) {
		case "ID":
			rec.ID = r.Int()
		case "Target":
			rec.Target = r.String()
		case "Command":
			rec.Command = r.String()
		case "Params":
			rec.Params = r.Strings()
		case "Source":
			rec.Source = r.String()
		case "Account":
			rec.Account = r.String()
		case "Bot":
			rec.Bot = r.Bool()
		case "Rank":
			rec.Rank = readRank(r)
		case "Tags":
			rec.Tags = r.String()
		case "Text":
			rec.Text = r.String()
		case "Joined":
			rec.Joined = r.Ints()
		case "Reply":
			rec.Reply = r.Int()
		case "Reaction":
			rec.Reaction = r.Bool()
		case "Edited":
			rec.Edited = r.Int()
		case "As":
			rec.As = r.Int()
		case "Shown":
			rec.Shown = r.String()
		case "Notify":
			rec.Notify = r.Strings()
		case "Copy":
			rec.Copy = r.Bool()
		default:
			r.Fail()
		}
	}
}

func (o *runOp) read(r *quickjson.Reader) {
	for name := range r.Fields() {
		switch string(name) {
		case "r":
			o.Run = r.Uint()
		case "s":
			o.Session = SessionID(r.Uint())
		case "l":
			o.Label = r.String()
		case "c":
			o.Command = r.String()
		case "p":
			o.Params = r.Strings()
		case "t":
			o.Tags = r.String()
		default:
			r.Fail()
		}
	}
}

func (d *doneOp) read(r *quickjson.Reader) {
	for name := range r.Fields() {
		switch string(name) {
		case "r":
			d.Run = r.Uint()
		case "o":
			d.Out = r.String()
		case "b":
			d.Begins = r.Ints()
		case "f":
			d.Refused = r.Bool()
		default:
			r.Fail()
		}
	}
}
