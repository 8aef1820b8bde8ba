package natsfabric

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/epinet/epi/apps/chat/fabric"
)

// duplicates is for how long the id of a record is known.
const duplicates = 2 * time.Minute

// appendTimeout is how long a record may take: longer than an election of a leader.
const appendTimeout = 12 * time.Second

// idle is how long some records of a replay may take. Those that have come count.
const idle = 5 * time.Second

// A replay reads at most so many records, or bytes, at a time.
const (
	batch      = 256
	batchBytes = 1 << 20
)

// subjectOf is where a node gets what is for it alone.
func (c Config) subjectOf(n fabric.Node) string { return fmt.Sprintf("epi.%s.to.%s", c.Network, n) }

// subjectOfAll is the subject that all nodes subscribe to.
func (c Config) subjectOfAll() string { return fmt.Sprintf("epi.%s.all", c.Network) }

// subjectOfQuestions is where a node is asked.
func (c Config) subjectOfQuestions(n fabric.Node) string {
	return fmt.Sprintf("epi.%s.ask.%s", c.Network, n)
}

func (c Config) historyName(shard uint32) string {
	return fmt.Sprintf("EPI_%s_HISTORY_%d", c.Network, shard)
}

func (c Config) historySubject(shard uint32) string {
	return fmt.Sprintf("epi.%s.history.%d", c.Network, shard)
}

// openHistory finds the streams or makes them.
func (f *Fabric) openHistory() {
	for shard := range uint32(fabric.Shards) {
		for err := f.openShard(shard); err != nil; err = f.openShard(shard) {
			f.config.Logger.Debug("cluster: a stream of the history", "shard", shard, "error", err)
			if !f.sleep(jitter()) {
				return
			}
		}
	}
	close(f.history)
}

func (f *Fabric) openShard(shard uint32) error {
	ctx, cancel := context.WithTimeout(f.life, askTimeout)
	defer cancel()
	config := jetstream.StreamConfig{
		Name:        f.config.historyName(shard),
		Description: "history of an epi chat",
		Subjects:    []string{f.config.historySubject(shard)},
		Replicas:    f.config.Replicas,
		MaxAge:      f.config.Retention,
		Duplicates:  min(duplicates, f.config.Retention),
		AllowDirect: true,
	}
	stream, err := f.stream.Stream(ctx, config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = f.stream.CreateStream(ctx, config)
		return err
	}
	if err != nil {
		return err
	}
	if is := stream.CachedInfo().Config; is.MaxAge != config.MaxAge || is.Replicas != config.Replicas {
		_, err = f.stream.UpdateStream(ctx, config)
	}
	return err
}

// historyIsThere waits for the streams.
func (f *Fabric) historyIsThere(ctx context.Context) error {
	select {
	case <-f.history:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Append implements fabric.Fabric.
func (f *Fabric) Append(shard uint32, id string, data []byte, done func(error)) {
	result := func(err error) { f.member.Call(func(fabric.Handler) { done(err) }) }
	f.enter(func() {
		if err := f.mayAppend(data); err != nil {
			result(err)
			return
		}
		data = append([]byte(nil), data...)
		ctx, cancel := context.WithTimeout(f.life, appendTimeout)
		f.work.Go(func() {
			defer cancel()
			err := f.historyIsThere(ctx)
			if err == nil {
				_, err = f.stream.Publish(ctx, f.config.historySubject(shard), data, jetstream.WithMsgID(id))
			}
			f.enter(func() {
				if err == nil {
					f.counts.Appended++
				} else {
					f.counts.Failed++
				}
				result(unavailable(err))
			})
		})
	})
}

func (f *Fabric) mayAppend(data []byte) error {
	switch {
	case len(data) > fabric.MaxMessage:
		return fabric.ErrTooLarge
	case !f.member.Valid():
		return fabric.ErrFenced
	}
	return nil
}

func unavailable(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", fabric.ErrUnavailable, err)
	}
	return nil
}

// replayWithin is for how long a replay is tried in vain: a node that was away asks when its
// server may not have found a leader yet.
const replayWithin = time.Minute

// Replay implements fabric.Fabric.
func (f *Fabric) Replay(shard uint32, after fabric.Position, each func(fabric.Position, []byte) bool, done func(error)) {
	f.enter(func() {
		f.work.Go(func() {
			err := f.replayAll(shard, after, each)
			f.enter(func() { f.member.Call(func(fabric.Handler) { done(unavailable(err)) }) })
		})
	})
}

// replayAll replays, and goes on after an error where that has come.
func (f *Fabric) replayAll(shard uint32, after fabric.Position, each func(fabric.Position, []byte) bool) error {
	var enough atomic.Bool // each has returned false
	for end := now() + replayWithin; ; {
		err := f.replay(shard, after, func(behind fabric.Position, data []byte) bool {
			after, end = behind, now()+replayWithin
			f.mu.Lock()
			defer f.mu.Unlock()
			f.awaitHandler()
			f.enterLocked(func() {
				f.member.Call(func(fabric.Handler) {
					if !enough.Load() && !each(behind, data) {
						enough.Store(true)
					}
				})
			})
			return !enough.Load()
		})
		if err == nil || now() > end || !f.sleep(jitter()) {
			return err
		}
	}
}

func (f *Fabric) replay(shard uint32, after fabric.Position, each func(fabric.Position, []byte) bool) error {
	if err := f.historyIsThere(f.life); err != nil {
		return err
	}
	last, err := f.mark(shard)
	if err != nil {
		return err
	}
	name := f.config.historyName(shard)
	stream, err := f.stream.Stream(f.life, name)
	if err != nil {
		return err
	}
	made := stream.CachedInfo().Created.UnixNano()
	if after.Stream != made || after.Number > last {
		after = fabric.Position{Stream: made}
	}
	err = f.readStream(name, after, last, each)
	if errors.Is(err, errOther) {
		f.config.Logger.Warn("the replicated history is not the one that was read before: it is read from its beginning", "shard", shard)
		err = f.readStream(name, fabric.Position{Stream: made}, last, each)
	}
	return err
}

// errOther is for a record that is not the one that had its number before.
var errOther = errors.New("the history has lost its end, and has another now")

// readStream reads the records behind a position, up to the one of the last number. The first that
// is read is the one of the position, to see that it is the same. It gets them by number (ADR-31)
// and has no consumer: of those that killed nodes leave, NATS keeps a thousand for a stream, and
// then refuses any more.
func (f *Fabric) readStream(name string, after fabric.Position, last uint64, each func(fabric.Position, []byte) bool) error {
	for from := max(after.Number, 1); from <= last; {
		next, more, err := f.readBatch(name, from, after, last, each)
		switch {
		case err != nil:
			return err
		case !more:
			return nil
		case next == from:
			return errors.New("the stream has stopped to answer")
		}
		from = next
	}
	return nil
}

// readBatch reads some records from a number on. It returns the number to go on from, and whether
// more are wanted.
func (f *Fabric) readBatch(name string, from uint64, after fabric.Position, last uint64, each func(fabric.Position, []byte) bool) (next uint64, more bool, err error) {
	ctx, cancel := context.WithTimeout(f.life, idle)
	defer cancel()
	records, err := jetstreamext.GetBatch(ctx, f.stream, name, batch, jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchMaxBytes(batchBytes))
	if err != nil {
		return from, false, err
	}
	for m, err := range records {
		if err != nil {
			return from, false, err
		}
		is := fabric.Position{Stream: after.Stream, Number: m.Sequence, At: m.Time.UnixNano()}
		switch {
		case is.Number == after.Number && is.At != after.At:
			return from, false, errOther
		case is.Number > last, is.Number > after.Number && !each(is, m.Data):
			return from, false, nil
		}
		from = is.Number + 1
	}
	return from, true, nil
}

// mark returns the number of a record without data that it appends: the end of what was
// appended before. Where that is, only a write can say. A leader that was away answers what
// was true before, until it knows that there is another, and a replica that is behind has
// nothing more to deliver.
func (f *Fabric) mark(shard uint32) (last uint64, err error) {
	ctx, cancel := context.WithTimeout(f.life, appendTimeout)
	defer cancel()
	ack, err := f.stream.Publish(ctx, f.config.historySubject(shard), nil)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}
