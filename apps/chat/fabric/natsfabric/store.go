package natsfabric

import (
	"context"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/epinet/epi/apps/chat/fabric"
	"github.com/epinet/epi/apps/chat/fabric/member"
)

// requests is how many operations on the store one node has under way: more wait.
// Those of leases do not.
const requests = 256

// markerLife is how long a deleted key leaves its mark in the bucket.
const markerLife = time.Hour

// A store is the bucket of leases and names. Each operation has a goroutine while it
// lasts; its result is an event of the member.
type store struct {
	fabric *Fabric
	bucket jetstream.KeyValue
	stream jetstream.Stream // below the bucket
	room   chan struct{}
}

// streamOf is the name of the stream below a bucket (NATS ADR-8).
func streamOf(bucket string) string { return "KV_" + bucket }

func bucketName(network string) string { return "EPI_" + network }

// open finds the bucket or makes it. Nothing else is called before it has succeeded.
func (s *store) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	config := jetstream.KeyValueConfig{
		Bucket:         bucketName(s.fabric.config.Network),
		Description:    "leases and names of an epi chat",
		History:        1,
		Replicas:       s.fabric.config.Replicas,
		LimitMarkerTTL: markerLife,
	}
	bucket, err := s.fabric.stream.KeyValue(ctx, config.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		bucket, err = s.fabric.stream.CreateKeyValue(ctx, config)
	}
	if err != nil {
		return err
	}
	stream, err := s.fabric.stream.Stream(ctx, streamOf(config.Bucket))
	if err != nil {
		return err
	}
	s.bucket, s.stream = bucket, stream
	return nil
}

// run does an operation apart, and gives what it returns to the member, which must be
// called for it.
func (s *store) run(key string, operation func(context.Context) (result func())) {
	f := s.fabric
	ctx, cancel := context.WithTimeout(f.life, f.config.Lease/answersPerLease)
	f.work.Go(func() {
		defer cancel()
		if !strings.HasPrefix(key, "node.") {
			select {
			case s.room <- struct{}{}:
				defer func() { <-s.room }()
			case <-ctx.Done():
			}
		}
		result := operation(ctx)
		f.enter(result)
	})
}

// kept translates the errors of NATS.
func kept(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists), errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return member.ErrConflict
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return member.ErrNotFound
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return member.ErrConflict
	}
	return err
}

// Create implements member.Store.
func (s *store) Create(key string, value []byte, done func(uint64, error)) {
	s.run(key, func(ctx context.Context) func() {
		revision, err := s.bucket.Create(ctx, key, value)
		return func() { done(revision, kept(err)) }
	})
}

// Update implements member.Store.
func (s *store) Update(key string, value []byte, revision uint64, done func(uint64, error)) {
	s.run(key, func(ctx context.Context) func() {
		revision, err := s.bucket.Update(ctx, key, value, revision)
		return func() { done(revision, kept(err)) }
	})
}

// Delete implements member.Store.
func (s *store) Delete(key string, revision uint64, done func(error)) {
	s.run(key, func(ctx context.Context) func() {
		err := s.bucket.Purge(ctx, key, jetstream.LastRevision(revision), jetstream.PurgeTTL(markerLife))
		return func() { done(kept(err)) }
	})
}

// Get implements member.Store.
func (s *store) Get(key string, done func([]byte, uint64, error)) {
	s.run(key, func(ctx context.Context) func() {
		entry, err := s.bucket.Get(ctx, key)
		if err != nil {
			return func() { done(nil, 0, kept(err)) }
		}
		return func() { done(entry.Value(), entry.Revision(), nil) }
	})
}

// Nodes implements member.Store.
func (s *store) Nodes(done func([]member.Entry, error)) {
	s.run("node.", func(ctx context.Context) func() {
		records, err := s.nodes(ctx)
		return func() { done(records, err) }
	})
}

func (s *store) nodes(ctx context.Context) (records []member.Entry, err error) {
	prefix := "$KV." + bucketName(s.fabric.config.Network) + "."
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(prefix+"node.*"))
	if err != nil {
		return nil, err
	}
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, prefix)
		name, err := base32.HexEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimPrefix(key, "node."))
		if err != nil {
			continue // not one of ours
		}
		entry, err := s.bucket.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		records = append(records, member.Entry{Node: fabric.Node(name), Value: entry.Value(), Revision: entry.Revision()})
	}
	return records, nil
}
