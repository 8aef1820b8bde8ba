package fabric

import "context"

// An Entry is what a Registry has for a key.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// A Registry has one value for each key, the same at all nodes, and keeps it for good: what
// is to be true of the network whichever nodes are up. It needs a majority, and no lease.
//
// Keys are any text of at most MaxKey bytes, values have at most MaxMessage. Nothing is
// removed: what is over has a value that says so, since a node that was away must learn it.
//
// Its methods may be called from any goroutine, and block.
type Registry interface {
	// Put writes the value of a key, if that still has the revision, 0 for a key without
	// value; and returns the new revision, which is greater than all that there were. This
	// decides who was first: ErrStale is for the others. After ErrUnavailable it may have
	// been written, or may be written yet.
	Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)

	// Last returns a revision that is not below that of anything written before the call.
	// ErrUnavailable.
	Last(ctx context.Context) (uint64, error)

	// Watch calls each for the latest entry of every key, and then for those that are
	// written, some at a time, in the order of their revisions; one that is not the latest
	// may be left out. It returns when ctx is over, with the error of each, or when it
	// cannot go on: the caller begins again.
	Watch(ctx context.Context, each func([]Entry) error) error
}

// MaxKey is the length of the longest key of a Registry.
const MaxKey = 512
