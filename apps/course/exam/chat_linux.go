package exam

import (
	"fmt"
	"net"
	"strings"
)

var (
	piecesOfLines = check{name: "pieces", run: joinsLines}
	chatChecks    = []check{
		{name: "everybody", run: reachesEverybody},
		{name: "rooms", run: keepsRooms},
		{name: "one order", run: agreesOnOrder},
		{name: "slow reader", run: waitsForNobody},
	}
)

// people connects clients that are in the lobby: each has heard a line of its own.
func people(s *subject, n int) ([]net.Conn, error) {
	var all []net.Conn
	for i := range n {
		c, err := s.dial()
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		line := fmt.Sprintf("here is number %d", i)
		if err := s.send(c, lines(line)); err != nil {
			return nil, err
		}
		for _, hearer := range all {
			if err := s.expect(hearer, lines(line)); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

func joinsLines(s *subject) error {
	c, err := s.dial()
	if err != nil {
		return err
	}
	for _, piece := range []string{"a line", " in pieces", "\nand ", "two at once\nhere\n"} {
		if err := s.send(c, []byte(piece)); err != nil {
			return err
		}
	}
	return s.expect(c, []byte("a line in pieces\nand two at once\nhere\n"))
}

func reachesEverybody(s *subject) error {
	_, err := people(s, 10)
	return err
}

// keepsRooms: what is said in the lobby does not come into another room.
func keepsRooms(s *subject) error {
	all, err := people(s, 3)
	if err != nil {
		return err
	}
	away := all[2]
	if err := s.send(away, lines("/join elsewhere")); err != nil {
		return err
	}
	if err := s.expect(away, lines("joined elsewhere")); err != nil {
		return err
	}
	for range 2 {
		if err := s.send(all[0], lines("only for the lobby")); err != nil {
			return err
		}
		for _, member := range all[:2] {
			if err := s.expect(member, lines("only for the lobby")); err != nil {
				return err
			}
		}
	}
	if err := s.talk(away, "the first thing that I hear"); err != nil {
		return fmt.Errorf("in a room of its own: %w", err)
	}
	return nil
}

// agreesOnOrder: two speak at once, and all hear the same.
func agreesOnOrder(s *subject) error {
	const said = 200
	all, err := people(s, 3)
	if err != nil {
		return err
	}
	for i := range said {
		for speaker, c := range all[:2] {
			if err := s.send(c, lines(fmt.Sprintf("%d says %03d", speaker, i))); err != nil {
				return err
			}
		}
	}
	var first []byte
	for i, hearer := range all {
		heard := make([]byte, 2*said*len(lines("0 says 000")))
		if n, err := s.receive(hearer, heard); err != nil {
			return fmt.Errorf("client %d gets %d of %d bytes: %w", i, n, len(heard), err)
		}
		if i == 0 {
			first = heard
		} else if string(heard) != string(first) {
			return fmt.Errorf("client %d gets another order than client 0", i)
		}
	}
	return nil
}

// waitsForNobody: one member reads nothing while megabytes are said.
func waitsForNobody(s *subject) error {
	all, err := people(s, 3)
	if err != nil {
		return err
	}
	line := lines(strings.Repeat("x", 4000))
	for range bulk / len(line) {
		if err := s.send(all[0], line); err != nil {
			return fmt.Errorf("with a member that does not read: %w", err)
		}
		for _, member := range all[:2] {
			if err := s.expect(member, line); err != nil {
				return fmt.Errorf("with another member that does not read: %w", err)
			}
		}
	}
	return nil
}
