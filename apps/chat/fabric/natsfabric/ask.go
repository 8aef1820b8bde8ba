package natsfabric

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/epinet/epi/apps/chat/fabric"
)

// maxAnswers is how many questions of other nodes a node answers at once. More wait.
const maxAnswers = 8

// An answerer answers questions. It is called from several goroutines, and may block; ctx is
// over when the node is closed.
type answerer func(ctx context.Context, question []byte) []byte

// Answer gives the questions of other nodes to a function, from now on. It may be called once,
// at any time.
func (f *Fabric) Answer(answer func(ctx context.Context, question []byte) []byte) {
	a := answerer(answer)
	f.answerer.Store(&a)
}

// Ask asks another node, and waits for the answer, without regard to leases. Questions and
// answers have at most fabric.MaxMessage. fabric.ErrDown: the node is not there;
// fabric.ErrUnavailable: it does not answer in time.
func (f *Fabric) Ask(ctx context.Context, to fabric.Node, question []byte) ([]byte, error) {
	if len(question) > fabric.MaxMessage {
		return nil, fabric.ErrTooLarge
	}
	select {
	case <-f.connected:
	default:
		return nil, fabric.ErrUnavailable
	}
	m, err := f.conn.RequestWithContext(ctx, f.config.subjectOfQuestions(to), question)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w: %s", fabric.ErrDown, to)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", fabric.ErrUnavailable, err)
	case len(m.Data) == 0:
		return nil, fmt.Errorf("%w: node %s answers no questions", fabric.ErrUnavailable, to)
	}
	return m.Data, nil
}

// asked answers a question, apart from the connection's goroutine.
func (f *Fabric) asked(m *nats.Msg) {
	select {
	case f.answering <- struct{}{}:
	case <-f.life.Done():
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.work.Go(func() {
		defer func() { <-f.answering }()
		var data []byte
		if answer := f.answerer.Load(); answer != nil {
			data = (*answer)(f.life, m.Data)
		}
		_ = m.Respond(data) // whoever asked gives up waiting
	})
}
