package driver

import (
	"errors"
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
	cfg := Config{MaxEvents: 1 + w.Choose(6), AcceptBudget: 1 + w.Choose(3), ReadBudget: 1 + w.Choose(40), Shared: &Shared{}}
	d := newCompletionOn(cfg, w, fakeRing{k}, k, fakeWaker{k})
	d.scratch = make([]byte, 64)
	return &session{world: w, d: d, kernel: k}
}

func playCompletion(r *schedule.Run) { play(r, 150, completionSession) }

// TestSim_Completion plays an engine to the completion driver, on an io_uring that
// completes operations in any order, ends them in any way, and has little room.
func TestSim_Completion(t *testing.T) {
	t.Parallel()
	schedule.Program{Seeds: 3_000, Play: playCompletion}.Test(t)
}

// FuzzCompletion lets the fuzzer choose.
func FuzzCompletion(f *testing.F) {
	f.Fuzz(func(t *testing.T, script []byte, seed uint64) {
		schedule.TestScript(t, script, seed, playCompletion)
	})
}
