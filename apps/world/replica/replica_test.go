package replica_test

import (
	"errors"
	"testing"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/replica"
)

const (
	width = 16
	own   = 8*width + 8 // the player's cell
	self  = 5
)

func entity(id uint32, x uint16) proto.Entity {
	return proto.Entity{ID: id, X: x, Y: 100, Name: "anna"}
}

func tick(n uint32) *proto.Tick { return &proto.Tick{Tick: n, X: 8*1024 + 100, Y: 8*1024 + 100} }

// TestFramesThatBreakTheRules are found, each by itself.
func TestFramesThatBreakTheRules(t *testing.T) {
	full := &proto.Full{Cell: own, Entities: []proto.Entity{entity(self, 100)}}
	for what, c := range map[string]struct {
		before, frame []proto.Message
	}{
		"a tick again":             {[]proto.Message{tick(2)}, []proto.Message{tick(2)}},
		"Tick inside":              {nil, []proto.Message{&proto.Pong{}, tick(1)}},
		"a block without Tick":     {nil, []proto.Message{full}},
		"a cell too far":           {nil, []proto.Message{tick(1), &proto.Full{Cell: own + 5}}},
		"Delta of an unknown cell": {nil, []proto.Message{tick(1), &proto.Delta{Cell: own, Base: 1}}},
		"Drop of an unknown cell":  {nil, []proto.Message{tick(1), &proto.Drop{Cells: []uint16{own}}}},
		"an entity twice":          {nil, []proto.Message{tick(1), &proto.Full{Cell: own, Entities: []proto.Entity{entity(6, 1), entity(6, 1)}}}},
		"the player elsewhere":     {nil, []proto.Message{tick(1), &proto.Full{Cell: own, Entities: []proto.Entity{entity(self, 101)}}}},
		"an unknown one moves":     {[]proto.Message{tick(1), full}, []proto.Message{tick(2), &proto.Delta{Cell: own, Base: 1, Moved: []proto.Moved{{ID: 7}}}}},
		"another name":             {[]proto.Message{tick(1), full}, []proto.Message{tick(2), &proto.Full{Cell: own, Entities: []proto.Entity{{ID: self, Name: "bert"}}}}},
		"an unknown speed":         {nil, []proto.Message{tick(1), &proto.Full{Cell: own, Entities: []proto.Entity{{ID: 6, Speed: 9}}}}},
	} {
		var r replica.Replica
		r.Begin(&proto.Welcome{Self: self, Width: width, Steps: []proto.Step{{Straight: 14, Diagonal: 10}}})
		if err := r.Frame(frame(c.before), nil); err != nil {
			t.Errorf("%s: what comes before: %v", what, err)
		}
		if err := r.Frame(frame(c.frame), nil); !errors.Is(err, replica.ErrRules) {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
}

func frame(messages []proto.Message) (p []byte) {
	for _, m := range messages {
		p = m.Append(p)
	}
	return p
}
