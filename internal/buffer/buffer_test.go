package buffer

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"
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
	for _, b := range [][]byte{nil, make([]byte, 0, 100), make([]byte, 0, 700), make([]byte, 0, 2*retainLargeBytes)} {
		p.Put(b)
	}
	if p.retained+p.retainedLarge != 0 {
		t.Errorf("the pool keeps %d foreign bytes", p.retained+p.retainedLarge)
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
				q.Append(&p, data[:half], nil, data[half:])
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
	q.Append(&p, owned)
	if got := q.Buffers(make([][]byte, 0, 1), 100)[0]; &got[0] != &owned[0] {
		t.Error("Append copied the buffer")
	}
}

func TestQueueOfShortBuffersCostsLittle(t *testing.T) {
	const count = 1 << 20
	var p Pool
	q := p.Queue()
	one := []byte("x")
	for range count {
		q.Append(&p, one)
	}
	room := 0
	for _, s := range q.segments {
		room += cap(s.buf)
	}
	if held := room + cap(q.segments)*int(unsafe.Sizeof(segment{})); q.Len() != count || held > 3*count {
		t.Errorf("%d buffers of one byte cost %d bytes", q.Len(), held)
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

// An inbox that knows what is to come makes room for it once, and no more.
func TestInboxExpects(t *testing.T) {
	const size = 300_000
	var p Pool
	in := p.EmptyInbox()
	in.Expect(size)
	in.Append(&p, []byte("header"))
	first := &in.Bytes()[0]
	for len(in.Bytes()) < size/2 {
		in.Append(&p, make([]byte, 1000))
	}
	for in.Waits() {
		room := in.Room(&p)
		if fits := in.Fitting(2 * size); fits != size-len(in.Bytes()) {
			t.Fatalf("%d bytes fit where %d are missing", fits, size-len(in.Bytes()))
		}
		if room == nil {
			in.Append(&p, make([]byte, size-len(in.Bytes())))
			break
		}
		n := min(len(room), 7000)
		copy(room, bytes.Repeat([]byte{7}, n))
		in.Filled(n)
	}
	if n := len(in.Bytes()); n != size || cap(in.base) != size || &in.Bytes()[0] != first {
		t.Errorf("%d bytes in a buffer of %d, want %d in the first buffer", n, cap(in.base), size)
	}
	if in.Waits() || in.Room(&p) != nil {
		t.Error("it waits for more")
	}
	in.Expect(0)
	in.Append(&p, []byte("next"))
	if n := len(in.Bytes()); n != size+4 {
		t.Errorf("%d bytes", n)
	}
}

// What is most of a buffer is given away with it, other parts are copied.
func TestInboxTake(t *testing.T) {
	var p Pool
	body := bytes.Repeat([]byte{1}, 100_000)
	in := p.EmptyInbox()
	in.Expect(len(body) + 4)
	in.Append(&p, []byte("head"))
	in.Append(&p, body[:len(body)-8])
	in.Append(&p, []byte("next one"))
	first := &in.base[4]
	taken := in.Take(&p, len(body)-8, len("next one"))
	if !bytes.Equal(taken, body[8:]) || cap(taken) != len(taken) || &taken[0] != first {
		t.Errorf("%d bytes were taken, or copied", len(taken))
	}
	small := in.Take(&p, 4, len(" one"))
	if string(small) != "next" || string(in.Bytes()) != " one" {
		t.Errorf("took %q, %q is left", small, in.Bytes())
	}
	if last := in.Take(&p, 4, 0); string(last) != " one" || len(in.Bytes()) != 0 {
		t.Errorf("took %q, %q is left", last, in.Bytes())
	}
}

// TestPoolUsesLargeBuffersAgain keeps a few of those put back last.
func TestPoolUsesLargeBuffersAgain(t *testing.T) {
	var p Pool
	b := p.Get(300_000)
	if cap(b) != 300_000 {
		t.Errorf("a capacity of %d", cap(b))
	}
	p.Put(b)
	if again := p.Get(200_000); &again[:1][0] != &b[:1][0] {
		t.Error("it is not used again")
	}
	p.Put(b)
	if c := p.Get(100_000); cap(c) != 100_000 {
		t.Errorf("a buffer of %d bytes for 100,000", cap(c))
	}
	for range 100 {
		p.Put(make([]byte, 0, 1<<20))
		if p.retainedLarge > retainLargeBytes || len(p.large) > retainLarge {
			t.Fatalf("the pool keeps %d bytes in %d large buffers", p.retainedLarge, len(p.large))
		}
	}
	before := p.retainedLarge
	p.Put(make([]byte, 0, 2*retainLargeBytes))
	if p.retainedLarge != before {
		t.Errorf("the pool keeps %d bytes after %d", p.retainedLarge, before)
	}
	small := p.Get(1000)
	p.Put(small)
	if again := p.Get(1000); &again[:1][0] != &small[:1][0] {
		t.Error("large buffers leave no room for small ones")
	}
}

// Bytes that were sent before they were queued are the first to be discarded.
func TestQueueSkips(t *testing.T) {
	var p Pool
	q := p.Queue()
	q.Skip(100)
	q.Skip(20)
	q.Write(&p, []byte("rest"))
	if q.Len() != 124 || q.Skipped() != 120 {
		t.Errorf("%d bytes, %d skipped", q.Len(), q.Skipped())
	}
	checkHead(t, q, []byte("rest"), 1000)
	q.Discard(&p, 110)
	q.Discard(&p, 12)
	if q.Len() != 2 || q.Skipped() != 0 {
		t.Errorf("%d bytes, %d skipped", q.Len(), q.Skipped())
	}
	checkHead(t, q, []byte("st"), 1000)
	p.PutQueue(q)
	if again := p.Queue(); again.Len() != 0 || again.Skipped() != 0 {
		t.Error("a queue that is used again is not empty")
	}
}
