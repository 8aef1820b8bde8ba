package cluster

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func nodesNamed(names ...string) (nodes []*node) {
	for _, name := range names {
		nodes = append(nodes, &node{Place: Place{Name: name}})
	}
	return nodes
}

// TestNamespacesCarry: what a node sends another comes whole, though packets are lost and late.
func TestNamespacesCarry(t *testing.T) {
	if err := Namespaces(); err != nil {
		t.Skip(err)
	}
	defer goleak.VerifyNone(t)
	s, nodes := &namespaces{}, nodesNamed("a", "b")
	defer s.end()
	if err := s.place(nodes); err != nil {
		t.Fatal(err)
	}
	var listener net.Listener
	err := s.at(nodes[1], func() (err error) {
		listener, err = net.Listen("tcp", nodes[1].Listen)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, mend, err := s.disturb(Loss, nodes[0], rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	defer mend()
	want, sent := bytes.Repeat([]byte("carried "), 10_000), make(chan error, 1)
	go func() {
		sent <- s.at(nodes[0], func() error {
			conn, err := net.Dial("tcp", nodes[0].Peers[0])
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write(want)
			return err
		})
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes have come of %d, and %v", len(got), len(want), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestNamespacesDisturb: a fault is done to the links that its name says, and to none when it is mended.
func TestNamespacesDisturb(t *testing.T) {
	for f, possible := range map[Fault][]string{
		Cut:    {"b→a, a→b, b→c, c→b"},
		Loss:   {"b→a, a→b, b→c, c→b"},
		Delay:  {"b→a, a→b, b→c, c→b"},
		Split:  {"b→a, a→b", "b→c, c→b"},
		OneWay: {"b→a, b→c", "a→b, c→b", "b→a", "b→c", "a→b", "c→b"},
	} {
		seen := map[string]bool{}
		for seed := range uint64(100) {
			s, nodes := &namespaces{}, nodesNamed("a", "b", "c")
			for i, n := range nodes {
				s.ports = append(s.ports, newPort(n, i))
			}
			ways, mend, err := s.disturb(f, nodes[1], rand.New(rand.NewPCG(seed, seed)))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(possible, ways) {
				t.Fatalf("%s of b is done to %s", f, ways)
			}
			seen[ways] = true
			if mend(); len(s.bad) > 0 {
				t.Errorf("%s is mended, and %d links are bad", f, len(s.bad))
			}
		}
		if len(seen) != len(possible) {
			t.Errorf("of 100 times, %s of b was done to %v alone", f, seen)
		}
	}
}
