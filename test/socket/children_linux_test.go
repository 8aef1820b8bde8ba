package socket_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func init() {
	roles["server"] = serverRole
	roles["clients"] = clientsRole
}

// A serverConfig says what the role "server" serves.
type serverConfig struct {
	Modes     []epitest.Mode // one echo server for each
	Address   string
	OpenFiles uint64 // the limit of open files, soft and hard; 0: as it is
}

// serverRole is echo servers. It answers their addresses, and each line with
// the counters of their engines.
func serverRole(args []string) error {
	var cfg serverConfig
	if err := json.Unmarshal([]byte(args[0]), &cfg); err != nil {
		return err
	}
	if n := cfg.OpenFiles; n > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, len(cfg.Modes))
	var engines []*epi.Engine
	var addrs []string
	for _, m := range cfg.Modes {
		e := m.Engine()
		ln, err := e.Listen(cfg.Address, epitest.EchoHandler)
		if err != nil {
			return err
		}
		engines, addrs = append(engines, e), append(addrs, ln.Addr().String())
		go func() { result <- e.Run(ctx) }()
	}
	fmt.Println(strings.Join(addrs, " "))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var stats []epi.Stats
		for _, e := range engines {
			stats = append(stats, e.Stats())
		}
		if err := json.NewEncoder(os.Stdout).Encode(stats); err != nil {
			return err
		}
	}
	cancel()
	var err error
	for range engines {
		err = errors.Join(err, <-result)
	}
	return err
}

// A serverChild is a process with the role "server".
type serverChild struct {
	*epitest.Child
	t     *testing.T
	addrs []string // one for each mode
}

// startServer starts one, under another command if that is not empty.
func startServer(t *testing.T, cfg serverConfig, under ...string) *serverChild {
	t.Helper()
	if cfg.Address == "" {
		cfg.Address = "tcp://127.0.0.1:0"
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &serverChild{Child: epitest.StartChildUnder(t, under, "server", string(text)), t: t}
	s.addrs = strings.Fields(s.ReadLine())
	return s
}

// stats returns the counters of each mode.
func (s *serverChild) stats() []epi.Stats {
	s.t.Helper()
	s.Say("stats")
	var stats []epi.Stats
	if err := json.Unmarshal([]byte(s.ReadLine()), &stats); err != nil {
		s.t.Fatal(err)
	}
	return stats
}

// dial connects to the server of a mode, counted from 0.
func (s *serverChild) dial(mode int) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addrs[mode])
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(epitest.Patience))
	return c
}

// clientsRole is many clients of an echo server. It answers each of its
// commands when that is done:
//
//	connect address number source batch   connect from 127.0.0.source, with an echo on each, batch at a time
//	echo                                  send on all, then expect the echo on all
//	close                                 close all
func clientsRole([]string) error {
	var all []epitest.RawClient
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var err error
		switch command := strings.Fields(in.Text()); command[0] {
		case "connect":
			all, err = connectAll(in.Text())
		case "echo":
			err = echoAll(all)
		case "close":
			for _, c := range all {
				c.Close()
			}
		}
		if err != nil {
			return err
		}
		fmt.Println("done")
	}
	return nil
}

func connectAll(command string) ([]epitest.RawClient, error) {
	var address string
	var number, batch int
	var source byte
	if _, err := fmt.Sscanf(command, "connect %s %d %d %d", &address, &number, &source, &batch); err != nil {
		return nil, err
	}
	to, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	// The echo shows that a batch is accepted before the next fills the backlog.
	all := make([]epitest.RawClient, number)
	for i := range all {
		if all[i], err = epitest.DialRaw(to, source); err != nil {
			return nil, fmt.Errorf("client %d: %w", i, err)
		}
		if begin := i / batch * batch; i == begin+batch-1 || i == number-1 {
			if err := echoAll(all[begin : i+1]); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func echoAll(all []epitest.RawClient) error {
	message := make([]byte, 8)
	for i, c := range all {
		if _, err := c.Write(fmt.Appendf(message[:0], "%08d", i)); err != nil {
			return err
		}
	}
	got := make([]byte, len(message))
	for i, c := range all {
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if want := fmt.Appendf(message[:0], "%08d", i); string(got) != string(want) {
			return fmt.Errorf("client %d gets %q", i, got)
		}
	}
	return nil
}

// A crowd is a process with the role "clients".
type crowd struct{ child *epitest.Child }

func startCrowd(t *testing.T) crowd { return crowd{epitest.StartChild(t, "clients")} }

// connect has a batch of requests in flight.
func (c crowd) connect(address string, number, source, batch int) {
	c.command("connect %s %d %d %d", address, number, source, batch)
}
func (c crowd) echo()  { c.command("echo") }
func (c crowd) close() { c.command("close") }

func (c crowd) command(format string, args ...any) {
	c.child.Say(format, args...)
	c.child.ReadLine()
}
