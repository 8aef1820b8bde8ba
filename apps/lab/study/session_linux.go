package study

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// A session is a server and a client with connections between them.
type session struct {
	b              *bench
	server, client *child
	address        string
	conns          int
}

// pair runs do with a server and a client on their CPUs, and ends them.
func (b *bench) pair(serverCPU, clientCPU, conns int, do func(*session) error) error {
	server, err := b.start("server", serverCPU)
	if err != nil {
		return err
	}
	defer server.end()
	client, err := b.start("client", clientCPU)
	if err != nil {
		return err
	}
	defer client.end()
	var listening listenResult
	if err := server.call("listen", struct{}{}, &listening); err != nil {
		return err
	}
	s := &session{b: b, server: server, client: client, address: listening.Address}
	if err := s.grow(conns); err != nil {
		return err
	}
	return do(s)
}

// connectStep bounds the connections of one command, so that a study that is
// interrupted ends soon and the backlog does not overflow.
const connectStep = 1000

// grow opens connections until there are so many, or until a limit is reached:
// then it notes which, and the session has fewer.
func (s *session) grow(conns int) error {
	for s.conns < conns {
		limit, err := s.growBy(min(connectStep, conns-s.conns))
		if err != nil {
			return err
		}
		if limit != "" && s.conns == 0 {
			return errors.New(limit)
		}
		if limit != "" {
			s.b.note("%s: %d connections instead of %d: %s", s.b.name, s.conns, conns, limit)
			return nil
		}
	}
	return nil
}

// growBy opens n connections, or says what does not allow them.
func (s *session) growBy(n int) (limit string, err error) {
	if err := s.server.send("gather", gatherArgs{s.conns + n}); err != nil {
		return "", err
	}
	var from connectResult
	if err := s.client.call("connect", connectArgs{Address: s.address, Count: n}, &from); err != nil {
		return "", err
	}
	if from.Limit != "" {
		if err := s.server.send("stop", nil); err != nil {
			return "", err
		}
	}
	var to gatherResult
	if err := s.server.receive(&to, gatherLimit); err != nil {
		return "", err
	}
	// A stop may have come before the last connections that there are.
	for to.Limit == "" && to.Open < from.Open {
		if err := s.server.send("gather", gatherArgs{from.Open}); err != nil {
			return "", err
		}
		if err := s.server.receive(&to, gatherLimit); err != nil {
			return "", err
		}
	}
	s.conns = min(from.Open, to.Open)
	return cmp.Or(from.Limit, to.Limit), nil
}

// during runs do while the server is busy with a command that stop ends.
func (s *session) during(command string, args, result any, do func() error) error {
	if err := s.server.send(command, args); err != nil {
		return err
	}
	if err := s.server.receive(nil, 0); err != nil {
		return err
	}
	failed := do()
	if err := s.server.send("stop", nil); err != nil {
		return err
	}
	if err := s.server.receive(result, 0); err != nil {
		return err
	}
	return failed
}

// load has the client make requests.
func (s *session) load(args loadArgs) (loadResult, error) {
	var result loadResult
	if err := s.client.send("load", args); err != nil {
		return result, err
	}
	err := s.client.receive(&result, 2*args.Limit+replyLimit)
	return result, err
}

// serve runs a program under a load.
func (s *session) serve(args serveArgs, under loadArgs) (served serveResult, loaded loadResult, err error) {
	under.Conns, under.Request, under.Reply = max(under.Conns, 1), args.Request, args.Reply
	err = s.during("serve", args, &served, func() error {
		loaded, err = s.load(under)
		return err
	})
	return served, loaded, err
}

// workPatience bounds how long a boss and workers may be without any answer.
const workPatience = 10 * time.Second

// work runs a boss and workers under full load for a while and returns requests
// per second. Where the machine gave them no CPU in that time, they have longer.
func (s *session) work(args workArgs, d time.Duration) (float64, error) {
	for ; ; d *= 4 {
		rate, err := s.workFor(args, d)
		if err != nil || rate > 0 {
			return rate, err
		}
		if d >= workPatience {
			return 0, fmt.Errorf("no request was answered within %v", d)
		}
	}
}

func (s *session) workFor(args workArgs, d time.Duration) (float64, error) {
	var loaded loadResult
	err := s.during("work", args, nil, func() (err error) {
		loaded, err = s.load(loadArgs{
			Conns: args.Conns, Iterations: 1 << 20, InFlight: args.Conns,
			Request: args.Request, Reply: args.Request, Limit: d,
		})
		return err
	})
	if err != nil || loaded.Done == 0 {
		return 0, err
	}
	return float64(loaded.Done) / loaded.Elapsed.Seconds(), nil
}
