package buffer

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestPoolGivesRoom(t *testing.T) {
	var p Pool
	for _, n := range []int{0, 1, 511, 512, 513, 4096, 4097, MaxPooled - 1, MaxPooled, MaxPooled + 1, 10 * MaxPooled} {
		b := p.Get(n)
		if len(b) != 0 || cap(b) < n {
			t.Errorf("Get(%d) has length %d and capacity %d", n, len(b), cap(b))
		}
		p.Put(b)
	}
}

func TestPoolRetainsBoundedBytes(t *testing.T) {
	var p Pool
	for range 2 * retainBytes / MaxPooled {
		p.Put(make([]byte, 0, MaxPooled))
	}
	if p.retained != retainBytes {
		t.Errorf("the pool keeps %d bytes, want %d", p.retained, retainBytes)
	}
	p.Get(MaxPooled)
	if p.retained != retainBytes-MaxPooled {
		t.Errorf("the pool counts %d bytes after Get", p.retained)
	}
}

func TestPoolIgnoresForeignBuffers(t *testing.T) {
	var p Pool
	for _, b := range [][]byte{nil, make([]byte, 0, 100), make([]byte, 0, 700), make([]byte, 0, 2*MaxPooled)} {
		p.Put(b)
	}
	if p.retained != 0 {
		t.Errorf("the pool keeps %d foreign bytes", p.retained)
	}
}

// TestQueueModel compares a Queue with a plain byte slice.
func TestQueueModel(t *testing.T) {
	var p Pool
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		q := p.Queue()
		var model []byte
		for range 100 {
			data := make([]byte, rng.IntN(1<<rng.IntN(18)))
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			switch rng.IntN(3) {
			case 0:
				q.Write(&p, data)
				model = append(model, data...)
			case 1:
				half := len(data) / 2
				q.Append(data[:half], nil, data[half:])
				model = append(model, data...)
			case 2:
				n := rng.IntN(len(model) + 1)
				checkHead(t, q, model, rng.IntN(1<<18))
				q.Discard(&p, n)
				model = model[n:]
			}
			if q.Len() != len(model) {
				t.Fatalf("Len is %d, want %d", q.Len(), len(model))
			}
		}
		q.Discard(&p, q.Len())
		if len(q.Buffers(make([][]byte, 0, 4), 100)) != 0 {
			t.Fatal("an empty queue has buffers")
		}
		p.PutQueue(q)
	}
}

// checkHead compares what Buffers shows with the model.
func checkHead(t *testing.T, q *Queue, model []byte, maxBytes int) {
	t.Helper()
	bufs := q.Buffers(make([][]byte, 0, 5), maxBytes)
	head := bytes.Join(bufs, nil)
	if len(head) > maxBytes || !bytes.HasPrefix(model, head) {
		t.Fatalf("Buffers shows %d bytes that are not the queue's first", len(head))
	}
	if len(head) == 0 && len(model) > 0 && maxBytes > 0 {
		t.Fatal("Buffers shows nothing of a queue that is not empty")
	}
}

func TestQueueGathersSmallWrites(t *testing.T) {
	var p Pool
	q := p.Queue()
	for range 100 {
		q.Write(&p, []byte("five!"))
	}
	if n := len(q.Buffers(make([][]byte, 0, 64), 1<<20)); n != 1 {
		t.Errorf("100 small writes lie in %d buffers, want 1", n)
	}
}

func TestQueueAppendDoesNotCopy(t *testing.T) {
	var p Pool
	q := p.Queue()
	owned := []byte("owned")
	q.Append(owned)
	if got := q.Buffers(make([][]byte, 0, 1), 100)[0]; &got[0] != &owned[0] {
		t.Error("Append copied the buffer")
	}
}

func TestQueueSteadyStateAllocatesNothing(t *testing.T) {
	var p Pool
	data := make([]byte, 64)
	vec := make([][]byte, 0, 4)
	allocs := testing.AllocsPerRun(100, func() {
		q := p.Queue()
		q.Write(&p, data)
		q.Discard(&p, len(q.Buffers(vec, 1<<20)[0]))
		p.PutQueue(q)
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a write and its discard", allocs)
	}
}

// TestInboxModel compares an Inbox with a plain byte slice.
func TestInboxModel(t *testing.T) {
	var p Pool
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		first := []byte("first")
		in := p.Inbox(first)
		model := bytes.Clone(first)
		for range 100 {
			data := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(1<<rng.IntN(15)))
			in.Append(&p, data)
			model = append(model, data...)
			keep := rng.IntN(len(model) + 1)
			in.Keep(keep)
			model = model[len(model)-keep:]
			if !bytes.Equal(in.Bytes(), model) {
				t.Fatalf("the inbox holds %d bytes that differ from the model's %d", len(in.Bytes()), len(model))
			}
		}
		p.PutInbox(in)
	}
}
