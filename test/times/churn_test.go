package times_test

import (
	"flag"
	"io"
	"net"
	"testing"
	"time"

	"github.com/epinet/epi/internal/epitest"
)

// soak makes R4 as long as the case says:
//
//	go test -run TestR04 ./test/times -soak
var soak = flag.Bool("soak", false, "R4 for 20 s")

// TestR04_Churn connects and closes 1,000 times a second.
func TestR04_Churn(t *testing.T) {
	const perSecond = 1_000
	duration := time.Second
	if *soak {
		duration = 20 * time.Second
	}
	before := epitest.UsageNow(t)
	t.Run("modes", func(t *testing.T) {
		epitest.Each(t, func(t *testing.T, m epitest.Mode) {
			t.Parallel()
			e := m.Engine()
			s := epitest.Start(t, e, epitest.EchoHandler)
			number := int(duration.Seconds() * perSecond)
			begin := time.Now()
			for i := range number {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / perSecond)))
				comeAndGo(t, s, i)
			}
			epitest.WaitUntil(t, "all have come and gone", func() bool {
				return e.Stats().Closed == uint64(number)
			})
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			if now := e.Stats(); now.Accepted != uint64(number) || now.Conns != 0 || now.Shed != 0 {
				t.Errorf("of %d clients %d were accepted and %d shed; %d connections are left", number, now.Accepted, now.Shed, now.Conns)
			}
		})
	})
	before.Await(t)
}

// comeAndGo is a client that, by turns, gets an answer, leaves at once or resets.
func comeAndGo(t *testing.T, s *epitest.Server, i int) {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(epitest.Patience))
	switch i % 3 {
	case 0:
		epitest.RoundTrip(t, c, "x")
	case 1:
		_, _ = io.WriteString(c, "nobody waits for the answer")
	case 2:
		epitest.Reset(t, c)
	}
	_ = c.Close()
}
