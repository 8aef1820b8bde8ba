package hall

import (
	"fmt"
	"slices"

	"github.com/epinet/epi/apps/chat/ircmsg"
)

// errUnreached is for a channel whose owner is another node that does not answer.
var errUnreached = fmt.Errorf("%w: the part of the network that has the channel is not reached", ErrPost)

// A posting is what a program here says in a channel of another node.
type posting struct {
	number uint64
	node   *node
	then   func(id string, err error)
}

// postOp asks the owner of a channel to say something for a program; postedOp is the end.
type (
	postOp struct {
		Number  uint64 `json:"n"`
		Channel string `json:"c"`
		Name    string `json:"p"`
		Text    string `json:"t"`
	}
	postedOp struct {
		Number uint64 `json:"n"`
		ID     string `json:"i,omitempty"`
		Why    string `json:"e,omitempty"`
	}
)

// PostFor is Post for a channel that another node may have: then is called at once, or when
// that node has answered.
func (h *Hall) PostFor(at int64, channel, name, text string, then func(id string, err error)) {
	c := h.channels[fold(channel)]
	if h.net == nil || c == nil || c.net.mine {
		then(h.Post(at, channel, name, text))
		return
	}
	n := h.net
	if c.net.owner == nil || !n.live {
		then("", errUnreached)
		return
	}
	n.last++
	n.posts = append(n.posts, &posting{n.last, c.net.owner, then})
	n.post(c.net.owner, "post", postOp{n.last, channel, name, text}, nil)
	h.conclude()
}

func (h *Hall) gotPost(from *node, p *postOp) {
	c := h.channels[fold(p.Channel)]
	if c == nil || !c.net.mine {
		h.net.post(from, "posted", postedOp{Number: p.Number, Why: errUnreached.Error()}, nil)
		return
	}
	id, err := h.Post(h.now, p.Channel, p.Name, p.Text)
	if err != nil {
		h.net.post(from, "posted", postedOp{Number: p.Number, Why: err.Error()}, nil)
		return
	}
	var records []int64
	if number, ok := ircmsg.ParseID(id); ok && h.config.History.Enabled {
		records = []int64{number}
	}
	h.net.post(from, "posted", postedOp{Number: p.Number, ID: id}, records)
}

func (h *Hall) gotPosted(from *node, p *postedOp) {
	i := slices.IndexFunc(h.net.posts, func(o *posting) bool { return o.number == p.Number && o.node == from })
	if i < 0 {
		return
	}
	then := h.net.posts[i].then
	h.net.posts = slices.Delete(h.net.posts, i, i+1)
	if p.Why != "" {
		then("", refusal(p.Why))
		return
	}
	then(p.ID, nil)
}

// A refusal is what another node has against a message.
type refusal string

func (r refusal) Error() string { return string(r) }

func (refusal) Is(target error) bool { return target == ErrPost }

// failPosts ends those that wait for a node that is down.
func (h *Hall) failPosts(at *node) {
	waiting := h.net.posts
	h.net.posts = nil
	for _, p := range waiting {
		if p.node == at {
			p.then("", errUnreached)
			continue
		}
		h.net.posts = append(h.net.posts, p)
	}
}
