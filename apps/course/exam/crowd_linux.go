package exam

import (
	"fmt"
	"math"
	"net"
	"os"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// setSize is how many descriptors a select can watch (FD_SETSIZE, select(2)), and
	// beyondSet how many clients come to a server that must not use it.
	setSize   = 1024
	beyondSet = setSize + 76
	// watched is how many clients are connected while the waits are looked at.
	watched = 200
	// manyClients are connected while the cost of messages is compared, in so many rounds
	// of so many messages.
	manyClients  = 2000
	costRounds   = 10
	costMessages = 30
	// mostApart is how many times as much a message of one client may cost as one of
	// another: with equal records it would be once.
	mostApart = 2
)

// withManyFiles lets the server have descriptors for all clients.
func withManyFiles(command []string) ([]string, error) {
	const need = manyClients + 200
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Max < need {
		return nil, fmt.Errorf("%w: it takes %d open files, and the hard limit is %d (ulimit -Hn)", errSkip, need, limit.Max)
	}
	return append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, need), "sh"}, command...), nil
}

// crowdIn connects so many clients, who say nothing more. Now and then it waits until
// the server has accepted those that are there: a backlog is not without end.
func (s *subject) crowdIn(clients int) error {
	const together = 100
	for len(s.clients) < clients {
		c, err := s.dial()
		if err == nil && len(s.clients)%together == 0 {
			err = s.talk(c, "hello")
		}
		if err != nil {
			return fmt.Errorf("with %d clients: %w", len(s.clients), err)
		}
	}
	return nil
}

// servesBeyondSet: the last of more clients than a select can watch.
func servesBeyondSet(s *subject) error {
	if err := s.crowdIn(beyondSet); err != nil {
		return err
	}
	for _, i := range []int{0, setSize - 100, beyondSet - 1} {
		if err := s.talk(s.clients[i], "hello"); err != nil {
			return fmt.Errorf("of %d clients, number %d: %w", beyondSet, i+1, err)
		}
	}
	return s.quiet("with more clients than a select can watch")
}

// handedOver finds how many descriptors a wait hands to the kernel: poll's and ppoll's
// second argument is their number, select's first the highest one and one more.
var handedOver = regexp.MustCompile(`(?m)\b(?:ppoll|poll)\(\[.*\], (\d+)|\b(?:select|pselect6)\((\d+),`)

// asksOnce: no wait hands over every client.
func asksOnce(s *subject) error {
	if err := s.crowdIn(watched); err != nil {
		return err
	}
	for range 5 {
		if err := s.talk(s.clients[watched-1], "hello"); err != nil {
			return err
		}
	}
	trace, err := os.ReadFile(s.trace)
	if err != nil {
		return err
	}
	for _, found := range handedOver.FindAllSubmatch(trace, -1) {
		n, err := strconv.Atoi(string(found[1]) + string(found[2])) // one of them is empty
		if err == nil && n >= watched {
			return fmt.Errorf("with %d clients a wait hands over %d descriptors, which the kernel looks at one by one: have it keep them (epoll), and hand over changes", watched, n)
		}
	}
	return nil
}

// staysCheap: a message of the first client costs the server as much as one of the last.
// Who searches the records from one end on finds those of the other late. The two take
// turns, and of each the cheapest round counts, so that what else the machine does has
// no part in it.
func staysCheap(s *subject) error {
	if err := s.crowdIn(manyClients); err != nil {
		return err
	}
	ends := [2]net.Conn{s.clients[0], s.clients[manyClients-1]}
	least := [2]time.Duration{math.MaxInt64, math.MaxInt64}
	for range costRounds {
		for i, c := range ends {
			spent, err := s.cost(c)
			if err != nil {
				return err
			}
			least[i] = min(least[i], spent)
		}
	}
	first, last := least[0]/costMessages, least[1]/costMessages
	if max(first, last) <= mostApart*min(first, last) {
		return nil
	}
	return fmt.Errorf("of %d clients, a message of the first costs %v of CPU time and one of the last %v: find a client's record without a search", manyClients, first, last)
}

// cost is the CPU time of the server for a round of messages.
func (s *subject) cost(c net.Conn) (time.Duration, error) {
	before, err := s.settled()
	if err != nil {
		return 0, err
	}
	for range costMessages {
		if err := s.talk(c, "hello"); err != nil {
			return 0, err
		}
	}
	after, err := s.settled()
	return after - before, err
}

// settled returns the CPU time of the server when it sleeps: of a thread that runs the
// kernel says what it has used only now and then.
func (s *subject) settled() (time.Duration, error) {
	last := time.Duration(-1)
	for range 100 {
		l, err := s.look()
		if err != nil {
			return 0, err
		}
		if l.sleeps && l.cpu == last {
			break
		}
		last = l.cpu
		time.Sleep(time.Millisecond)
	}
	return last, nil
}
