package cli

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi"
	"github.com/epinet/epi/apps/internal/live"
	"github.com/epinet/epi/apps/internal/webguard"
)

const labLiveHelp = `Serve a page that shows running loops: what each phase of their turns takes, how late
they are, what they move, the connections, and why those have ended. It comes with an
echo server and a few clients of every kind: some that talk, one in bulk, one that
reads slowly, some that come and go, and a task that holds up its loop.

Each server has the same page about itself: epi echo --admin :9090, then /live.`

func labLiveCommand() *cobra.Command {
	var listen string
	var way way
	cmd := &cobra.Command{
		Use:     "live",
		Short:   "Watch the loops of a running server in the browser",
		Long:    labLiveHelp,
		Example: "  epi lab live --driver epoll-edge",
		Args:    unexpectedArgument,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, end := interruptible()
			defer end()
			e := &epi.Engine{Loops: liveLoops, Driver: way.driver, Trigger: way.trigger, DrainTimeout: time.Second}
			if err := serveLive(ctx, cmd, listen, e); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:7102", "`address` of the page; port 0 takes a free one")
	cmd.Flags().Var(wayValue(&way), "driver", "`name` of the driver: "+wayNames)
	return cmd
}

const (
	liveLoops   = 2
	liveTalkers = 12
	// liveTask is how long the task holds up its loop, and livePause how often.
	liveTask  = 20 * time.Millisecond
	livePause = 2 * time.Second
)

// serveLive serves the page, about an echo server and clients of its own, until ctx
// ends.
func serveLive(ctx context.Context, cmd *cobra.Command, listen string, e *epi.Engine) error {
	ln, err := e.Listen("tcp://127.0.0.1:0", func(*epi.Conn) epi.Handler { return echo{} })
	if err != nil {
		return err
	}
	inner, end := context.WithCancel(ctx)
	defer end()
	var running sync.WaitGroup
	var failed error
	running.Go(func() { failed = e.Run(inner) })
	running.Go(func() { holdUp(inner, e) })
	for _, client := range liveClients {
		for range client.count {
			running.Go(func() { keepComing(inner, ln.Addr().String(), client.talk) })
		}
	}
	view := live.New(e, live.Options{Name: "epi lab", Write: true})
	context.AfterFunc(inner, view.Close)
	mux := http.NewServeMux()
	mux.Handle("/", http.RedirectHandler("/live", http.StatusFound))
	handler := view.Handler()
	mux.Handle("/live", handler)
	mux.Handle("/live/", handler)
	guard := &webguard.Guard{Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}}
	err = servePages(ctx, cmd, listen, "the page is at http://%s/live", guard.Wrap(mux))
	end()
	running.Wait()
	if errors.Is(failed, epi.ErrDrainTimeout) {
		failed = nil // the slow reader
	}
	return errors.Join(err, failed)
}

// holdUp gives the first loop a task that takes long, again and again.
func holdUp(ctx context.Context, e *epi.Engine) {
	for pause(ctx, livePause) {
		l, err := e.Loop(0)
		if err != nil {
			return
		}
		_ = l.Do(func() { time.Sleep(liveTask) }) // an error is the end
	}
}

// pause waits, and reports false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// liveClients are what there is to see.
var liveClients = []struct {
	count int
	talk  func(ctx context.Context, c net.Conn)
}{
	{liveTalkers, func(ctx context.Context, c net.Conn) { exchange(ctx, c, 20*time.Millisecond, 200) }},
	{1, func(ctx context.Context, c net.Conn) { exchange(ctx, c, 5*time.Millisecond, 64<<10) }},
	{1, readSlowly},
	{2, comeAndGo},
}

// keepComing connects for a client of liveClients, over and over until ctx ends.
func keepComing(ctx context.Context, address string, talk func(context.Context, net.Conn)) {
	for ctx.Err() == nil {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			talk(ctx, c)
			stop()
			_ = c.Close()
		}
		pause(ctx, time.Second/10) // also where the server refuses
	}
}

// exchange sends messages and waits for each to come back, with pauses around one that
// is given.
func exchange(ctx context.Context, c net.Conn, around time.Duration, size int) {
	out, in := make([]byte, size), make([]byte, size)
	for pause(ctx, around/2+rand.N(around)) {
		if _, err := c.Write(out); err != nil {
			return
		}
		if _, err := io.ReadFull(c, in); err != nil {
			return
		}
	}
}

// readSlowly sends as fast as the server takes it, and reads little of what comes
// back: the server stops reading from it.
func readSlowly(ctx context.Context, c net.Conn) {
	go func() { // ends with c
		for out := make([]byte, 16<<10); ; {
			if _, err := c.Write(out); err != nil {
				return
			}
		}
	}()
	for in := make([]byte, 4<<10); pause(ctx, 50*time.Millisecond); {
		if _, err := c.Read(in); err != nil {
			return
		}
	}
}

// comeAndGo talks for a while, and every second time breaks the connection.
func comeAndGo(ctx context.Context, c net.Conn) {
	short, end := context.WithTimeout(ctx, time.Second/2+rand.N(time.Second))
	defer end()
	exchange(short, c, 50*time.Millisecond, 100)
	if rand.N(2) == 0 {
		_ = c.(*net.TCPConn).SetLinger(0) // by RST
	}
}
