package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

func TestJudge(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	// by is a message that a node has numbered at a moment, in ms.
	by := func(node, moment int64, text string) Message {
		return Message{ircmsg.FormatID(moment<<ircmsg.IDBits | node), text}
	}
	one, two, three := by(1, 100, "one"), by(1, 200, "two"), by(1, 300, "three")
	both := func(m ...Message) []History {
		return []History{{"a", "#x", m}, {"b", "#x", m}}
	}
	said := func(m Message) Said { return Said{Client: "ann", Channel: "#x", Text: m.Text, ID: m.ID} }
	for name, test := range map[string]struct {
		Evidence
		want string
	}{
		"all is well": {Evidence{
			Said:     []Said{said(one), {Client: "ann", Channel: "#x", Text: "lost"}},
			Sessions: []Session{{"ann", "#x", []Message{one, three}}, {"bob", "#x", []Message{two, three}}},
			Holds: []Hold{{"bob", "n", at(3), at(4)}, {"ann", "n", at(1), at(3)}, {"bob", "m", at(1), at(2)},
				{"cid", "m", at(2), at(3)}, {"cid", "m", at(2), at(3)}},
			Histories: append(both(one, two, three), History{"a", "#y", []Message{by(2, 150, "one")}}),
			Rosters:   []Roster{{"a", "#x", []string{"ann", "bob"}, []string{"ann", "bob"}}},
		}, ""},
		"an echo that is not kept":     {Evidence{Said: []Said{said(two)}, Histories: both(one)}, "not in the history"},
		"an echo with another text":    {Evidence{Said: []Said{said(Message{one.ID, "on"})}, Histories: both(one)}, "not in the history"},
		"shown and not kept":           {Evidence{Sessions: []Session{{"ann", "#x", []Message{two}}}, Histories: both(one)}, "not in the history"},
		"shown in another channel":     {Evidence{Sessions: []Session{{"ann", "#y", []Message{one}}}, Histories: both(one)}, "not in the history"},
		"shown with another text":      {Evidence{Sessions: []Session{{"ann", "#x", []Message{{one.ID, "on"}}}}, Histories: both(one)}, "not in the history"},
		"two orders":                   {Evidence{Sessions: []Session{{"ann", "#x", []Message{two, one}}}, Histories: both(one, two)}, "another order"},
		"shown twice":                  {Evidence{Sessions: []Session{{"ann", "#x", []Message{one, one}}}, Histories: both(one)}, "another order"},
		"kept twice":                   {Evidence{Histories: both(one, Message{two.ID, "one"})}, "twice"},
		"kept twice as the same":       {Evidence{Histories: append(both(one, two), History{"c", "#x", []Message{one, two, two}})}, "node c shows 3 messages"},
		"two of one number":            {Evidence{Histories: both(one, Message{one.ID, "other"})}, "the same msgid"},
		"a number that is none":        {Evidence{Histories: both(Message{"1", "one"})}, "no number"},
		"one node has more":            {Evidence{Histories: []History{{"a", "#x", []Message{one}}, {"b", "#x", []Message{one, two}}}}, "node a has 1 of 2"},
		"another node has more":        {Evidence{Histories: []History{{"a", "#x", []Message{one, two}}, {"b", "#x", []Message{two}}}}, "node b has 1 of 2"},
		"a member that is not shown":   {Evidence{Rosters: []Roster{{"a", "#x", []string{"ann"}, []string{"ann", "bob"}}}}, "node a shows [ann]"},
		"somebody else as a member":    {Evidence{Rosters: []Roster{{"a", "#x", []string{"ann"}, []string{"bob"}}}}, "node a shows [ann]"},
		"one who was put out":          {Evidence{PutOut: []string{"#x: ann was put out"}}, "put out"},
		"another owner":                {Evidence{Histories: both(by(1, 1000, "p"), by(2, 1100, "q"), by(2, 1200, "q2"), by(2, 9000, "r"), by(1, 9100, "s"))}, ""},
		"two owners at once":           {Evidence{Histories: both(by(1, 1000, "p"), by(2, 1100, "q"), by(1, 1200, "r"), by(2, 1300, "s"))}, "two nodes"},
		"a nick that two had":          {Evidence{Holds: []Hold{{"bob", "n", at(2), at(4)}, {"ann", "n", at(1), at(3)}}}, "nick n"},
		"a nick that two had for long": {Evidence{Holds: []Hold{{"ann", "n", at(1), at(9)}, {"cid", "m", at(2), at(3)}, {"bob", "n", at(4), at(5)}}}, "nick n"},
	} {
		faults := test.Judge()
		switch {
		case test.want == "" && len(faults) > 0, test.want != "" && len(faults) != 1:
			t.Errorf("%s: %q", name, faults)
		case test.want != "" && !strings.Contains(faults[0], test.want):
			t.Errorf("%s: %q does not say %q", name, faults[0], test.want)
		}
	}
}
