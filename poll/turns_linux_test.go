package poll_test

import (
	"testing"

	"github.com/epinet/epi/poll"
)

// readyPipes registers n pipes that stay readable, with tokens from 0.
func readyPipes(tb testing.TB, p poll.Poller, n int) {
	tb.Helper()
	for token := range uint64(n) {
		r, w := newPipe(tb)
		must(tb, p.Add(r.fd, token, poll.Readable, poll.Level))
		w.write(1)
	}
}

func TestP17_MoreReadyThanRoom(t *testing.T) {
	const files, room, waits = 50, 7, 500
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		readyPipes(t, p, files)
		var served [files]int
		for range waits {
			events := next(t, p, room)
			if len(events) != room {
				t.Fatalf("%d events, want %d", len(events), room)
			}
			seen := map[uint64]bool{}
			for _, event := range events {
				served[event.Token]++
				seen[event.Token] = true
			}
			if len(seen) != room {
				t.Fatalf("one descriptor twice in %v", events)
			}
		}
		for token, times := range served {
			if times != waits*room/files {
				t.Errorf("token %d served %d times, want %d", token, times, waits*room/files)
			}
		}
	})
}

func TestP17_RoomForOne(t *testing.T) {
	const files = 5
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		readyPipes(t, p, files)
		for round := range 3 {
			var served [files]bool
			for range files {
				served[next(t, p, 1)[0].Token] = true
			}
			if served != [files]bool{true, true, true, true, true} {
				t.Fatalf("round %d served %v", round, served)
			}
		}
	})
}

func TestP17_ARemovedOneLeavesTheOthersTheirTurn(t *testing.T) {
	const files = 6
	eachBackend(t, func(t *testing.T, b poll.Backend) {
		p := newPoller(t, b)
		readyPipes(t, p, files)
		extra := newEventFD(t, 1)
		for range 50 { // the ready set changes between any two waits
			must(t, p.Add(extra.fd, files, poll.Readable, poll.Level))
			next(t, p, 1)
			must(t, p.Remove(extra.fd))
			next(t, p, 1)
		}
		var served [files]bool
		for range 2 * files {
			served[next(t, p, 1)[0].Token] = true
		}
		if served != [files]bool{true, true, true, true, true, true} {
			t.Fatalf("served %v", served)
		}
	})
}
