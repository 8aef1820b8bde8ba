package natsfabric

import (
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/member"
)

// maxEntries is how many entries a Watch gives at once.
const maxEntries = 256

// putTimeout is how long an entry may take: no election of a leader is waited for, since
// somebody waits for the answer.
const putTimeout = 5 * time.Second

// A registry is the bucket of what all nodes have in common. Unlike the one of leases and
// names it forgets nothing.
type registry struct {
	fabric *Fabric
	bucket jetstream.KeyValue // set before opened is closed
	stream jetstream.Stream   // below the bucket; the same
	opened chan struct{}      // closed when the bucket is there
}

func commonName(network string) string { return "EPI_" + network + "_COMMON" }

var _ fabric.Registry = (*registry)(nil)

// Registry is what the nodes have in common. It may be used before Start, and waits.
func (f *Fabric) Registry() fabric.Registry { return f.registry }

// find finds the bucket or makes it, however long that takes.
func (r *registry) find() {
	for err := r.open(); err != nil; err = r.open() {
		r.fabric.config.Logger.Debug("cluster: the bucket of what all nodes have in common", "error", err)
		if !r.fabric.sleep(jitter()) {
			return
		}
	}
	close(r.opened)
}

func (r *registry) open() error {
	ctx, cancel := context.WithTimeout(r.fabric.life, askTimeout)
	defer cancel()
	config := jetstream.KeyValueConfig{
		Bucket:      commonName(r.fabric.config.Network),
		Description: "accounts and registered channels of an epi chat",
		History:     1,
		Replicas:    r.fabric.config.Replicas,
	}
	bucket, err := r.fabric.stream.KeyValue(ctx, config.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		bucket, err = r.fabric.stream.CreateKeyValue(ctx, config)
	}
	if err != nil {
		return err
	}
	stream, err := r.fabric.stream.Stream(ctx, streamOf(config.Bucket))
	if err != nil {
		return err
	}
	r.bucket, r.stream = bucket, stream
	return nil
}

// isThere waits for the bucket.
func (r *registry) isThere(ctx context.Context) error {
	select {
	case <-r.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.fabric.life.Done():
		return r.fabric.life.Err()
	}
}

// Keys are written in the alphabet of NATS' subjects.
var keyEncoding = base32.HexEncoding.WithPadding(base32.NoPadding)

// Put implements fabric.Registry.
func (r *registry) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if len(value) > fabric.MaxMessage || len(key) > fabric.MaxKey {
		return 0, fabric.ErrTooLarge
	}
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	if err := r.isThere(ctx); err != nil {
		return 0, unavailable(err)
	}
	// Not Create, also for 0: the result of a write that expects none is what decides.
	written, err := r.bucket.Update(ctx, keyEncoding.EncodeToString([]byte(key)), value, revision)
	if errors.Is(kept(err), member.ErrConflict) {
		return 0, fabric.ErrStale
	}
	return written, unavailable(err)
}

// Last implements fabric.Registry. The leader answers, which has all that was acknowledged.
func (r *registry) Last(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	if err := r.isThere(ctx); err != nil {
		return 0, unavailable(err)
	}
	info, err := r.stream.Info(ctx)
	if err != nil {
		return 0, unavailable(err)
	}
	return info.State.LastSeq, nil
}

// Watch implements fabric.Registry.
func (r *registry) Watch(ctx context.Context, each func([]fabric.Entry) error) error {
	if err := r.isThere(ctx); err != nil {
		return err
	}
	watcher, err := r.bucket.WatchAll(ctx)
	if err != nil {
		return unavailable(err)
	}
	defer func() {
		_ = watcher.Stop()
		for range watcher.Updates() { // until it is closed: who fills it waits for room
		}
	}()
	for {
		select {
		case e, ok := <-watcher.Updates():
			if !ok {
				return fmt.Errorf("%w: what is written does not come any more", fabric.ErrUnavailable)
			}
			if err := each(gather(e, watcher.Updates())); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-r.fabric.life.Done():
			return r.fabric.life.Err()
		}
	}
}

// gather returns an entry, and those that are there already. NATS has nil between the
// entries that there were and those that come.
func gather(e jetstream.KeyValueEntry, updates <-chan jetstream.KeyValueEntry) (entries []fabric.Entry) {
	for {
		if e != nil {
			if key, err := keyEncoding.DecodeString(e.Key()); err == nil { // otherwise it is none of ours
				entries = append(entries, fabric.Entry{Key: string(key), Value: e.Value(), Revision: e.Revision()})
			}
		}
		if len(entries) == maxEntries {
			return entries
		}
		select {
		case next, ok := <-updates:
			if !ok {
				return entries
			}
			e = next
		default:
			return entries
		}
	}
}
