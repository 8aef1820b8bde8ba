package driver

import (
	"errors"
	"io"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/schedule"
)

const (
	errNoMemory = unix.ENOMEM // any operation may end with it
	errNoFiles  = unix.EMFILE
)

func errorOf(err error) unix.Errno {
	var number unix.Errno
	_ = errors.As(err, &number)
	return number
}

func completionSession(w *world) *session {
	k := newFakeKernel(w)
	cfg := Config{
		Backend: Uring, MaxDatagram: 1 + w.Choose(40), PacketBatch: 1 + w.Choose(3),
		MaxEvents: 1 + w.Choose(6), AcceptBudget: 1 + w.Choose(3), ReadBudget: 1 + w.Choose(40), Shared: &Shared{},
	}
	d := newCompletionOn(cfg, w, fakeRing{k}, k, fakeWaker{k})
	d.scratch = make([]byte, 64)
	return &session{world: w, d: d, kernel: k, budgets: budgets{accept: cfg.AcceptBudget}, maxDatagram: cfg.MaxDatagram}
}

func playCompletion(r *schedule.Run) { play(r, 150, completionSession) }

// TestSim_Completion plays an engine to the completion driver, on an io_uring that
// completes operations in any order, ends them in any way, and has little room.
func TestSim_Completion(t *testing.T) {
	t.Parallel()
	schedule.Program{Seeds: 1_500, Play: playCompletion}.Test(t)
}

// What is surrendered belongs to another: nothing more is done to it, or reported.
func TestCompletion_SurrenderedIsNotClosed(t *testing.T) {
	for seed := range uint64(16) { // some surrender it
		s := newSession(schedule.New(seed, nil), completionSession)
		s.quiet, s.calm = true, true
		s.connect()
		s.settleConnect(s.streams[0].file, connected)
		s.finish()
	}
}

// Unlisten waits for the kernel with all entries submitted, however many there are.
func TestCompletion_UnlistenSubmitsBeforeItSleeps(t *testing.T) {
	s := calmSession(completionSession)
	k := s.kernel.(*fakeKernel)
	s.relisten()
	for range len(k.entries) + 1 {
		s.open(s.socket().fd)
	}
	for range 2 * len(k.entries) {
		s.turn(0)
	}
	for _, st := range s.streams {
		st.file.room = 0
		bufs := [][]byte{{1}}
		if _, _, err := s.d.Send(&st.sock, bufs); err != nil {
			t.Fatal(err)
		}
		st.pending = bufs
	}
	s.unlisten()
}

// A watch for the end that fails is begun anew, and so is one that was completed by a
// notice that another call has taken.
func TestCompletion_WatchThatHasSeenNoEndIsRepeated(t *testing.T) {
	for _, result := range []int32{-int32(unix.ENOMEM), unix.POLLERR} {
		repeatWatch(t, result)
	}
}

func repeatWatch(t *testing.T, result int32) {
	t.Helper()
	s := calmSession(completionSession)
	k := s.kernel.(*fakeKernel)
	s.open(s.socket().fd)
	watch := func() (i int) {
		for range 1000 {
			k.progress() // a turn with nothing to submit makes no call in which the kernel moves on
			s.turn(0)
			i = slices.IndexFunc(k.ops, func(op *fakeOp) bool { return kindOf(op) == kindHangUp })
			if i >= 0 {
				break
			}
		}
		return i
	}
	i := watch()
	if i < 0 {
		t.Fatal("its end is not watched for")
	}
	k.end(k.ops[i], result)
	if watch() < 0 {
		t.Errorf("its end is not watched for again after %d", result)
	}
}

// FuzzCompletion lets the fuzzer choose.
func FuzzCompletion(f *testing.F) {
	f.Fuzz(func(t *testing.T, script []byte, seed uint64) {
		schedule.TestScript(t, script, seed, playCompletion)
	})
}

// A heldStream notes what it is handed, and stops receiving when it is to.
type heldStream struct {
	Stream
	sock  Socket
	d     *completion
	stops bool
	got   int
	ended error
}

func (h *heldStream) Received(p []byte) {
	h.got += len(p)
	if h.stops {
		h.d.Receive(&h.sock, false)
	}
}

func (h *heldStream) ReceiveEnded(err error) { h.ended = err }

// holdingStream returns a stream that receives again, after n bytes that came while it did not.
func holdingStream(n int) *heldStream {
	d := calmSession(completionSession).d.(*completion)
	d.cfg.ReadBudget = 2 * bufferSize
	h := &heldStream{d: d}
	h.sock.Stream = h
	h.sock.token = d.open.Insert(&h.sock)
	d.deliver(&h.sock, make([]byte, n))
	d.Receive(&h.sock, true)
	return h
}

// The end comes behind what is held, also when the stream receives again.
func TestCompletion_EndWaitsForWhatIsHeld(t *testing.T) {
	h := holdingStream(3)
	h.d.endOfStream(&h.sock, io.EOF)
	if h.ended != nil {
		t.Fatalf("the end was reported before %d bytes", 3-h.got)
	}
	h.d.deliverHeld(&h.sock)
	if h.got != 3 || h.ended != io.EOF {
		t.Errorf("%d bytes of 3, and the end is %v", h.got, h.ended)
	}
}

// A stream that stops receiving is handed no more of what is held, until it receives
// again.
func TestCompletion_WhatIsHeldWaitsForReceive(t *testing.T) {
	const held = bufferSize + 5
	h := holdingStream(held)
	h.stops = true
	h.d.deliverHeld(&h.sock)
	if h.got != bufferSize {
		t.Fatalf("%d bytes, want %d", h.got, bufferSize)
	}
	h.stops = false
	h.d.Receive(&h.sock, true)
	h.d.deliverHeld(&h.sock)
	if h.got != held {
		t.Errorf("%d bytes of %d", h.got, held)
	}
}
