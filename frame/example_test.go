package frame_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/epinet/epi/frame"
)

// A conn stands for an *epi.Conn.
type conn struct{ unread []byte }

func (c *conn) Unread() []byte { return c.unread }

func (c *conn) Discard(n int) int {
	c.unread = c.unread[n:]
	return n
}

func (c *conn) receive(s string) { c.unread = append(c.unread, s...) }

func ExampleReader_Messages() {
	in := frame.Reader{Framing: frame.Lines{}, Max: 512}
	c := new(conn)
	for _, piece := range []string{"NICK ann\r\nUS", "ER", " ann\r\nPING\r\n"} {
		c.receive(piece)
		for line, err := range in.Messages(c) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("%q\n", line)
		}
	}
	// Output:
	// "NICK ann"
	// "USER ann"
	// "PING"
}

func ExampleReader_Next() {
	in := frame.Reader{Framing: frame.Delimiter(';'), Max: 8}
	c := new(conn)
	c.receive("one;two")
	msg, err := in.Next(c)
	fmt.Printf("%q %v\n", msg, err)
	_, err = in.Next(c)
	fmt.Println(errors.Is(err, frame.ErrIncomplete))

	c.receive("hundred")
	_, err = in.Next(c)
	fmt.Println(err)
	// Output:
	// "one" <nil>
	// true
	// message is too long: at least 10 bytes, where Reader.Max allows 8
}

// The last line of a stream may lack its terminator.
func ExampleReader_Tail() {
	in := frame.Reader{Framing: frame.Lines{}}
	c := new(conn)
	c.receive("first\nlast")
	for {
		line, err := in.Tail(c)
		if err == io.EOF {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%q\n", line)
	}
	// Output:
	// "first"
	// "last"
}

func ExampleLengthPrefix() {
	framing := frame.LengthPrefix{Size: 2}
	c := new(conn)
	c.unread, _ = framing.Append(c.unread, []byte("hello"))
	c.unread, _ = framing.Append(c.unread, []byte("world"))
	fmt.Printf("%q\n", c.unread)

	in := frame.Reader{Framing: framing, Max: 1000}
	for msg := range in.Messages(c) {
		fmt.Printf("%q\n", msg)
	}
	// Output:
	// "\x00\x05hello\x00\x05world"
	// "hello"
	// "world"
}

func ExampleLines_Append() {
	irc := frame.Lines{CRLF: true}
	out, err := irc.Append(nil, []byte("PONG"))
	fmt.Printf("%q %v\n", out, err)
	_, err = irc.Append(nil, []byte("PONG\r\nQUIT"))
	fmt.Println(err)
	// Output:
	// "PONG\r\n" <nil>
	// message contains its terminator: LF at byte 5 of a line
}

// Every framing serves a bufio.Scanner as well, for a client that blocks.
func ExampleLengthPrefix_Split() {
	s := bufio.NewScanner(strings.NewReader("\x02hi\x05there"))
	s.Split(frame.LengthPrefix{Size: 1}.Split)
	for s.Scan() {
		fmt.Println(s.Text())
	}
	// Output:
	// hi
	// there
}

// Any bufio.SplitFunc is a framing: here, of records of eight bytes.
func ExampleSplitFunc() {
	records := func(data []byte, atEOF bool) (int, []byte, error) {
		if len(data) < 8 {
			return 0, nil, nil
		}
		return 8, data[:8], nil
	}
	in := frame.Reader{Framing: frame.SplitFunc(records)}
	c := new(conn)
	c.unread = binary.BigEndian.AppendUint64(c.unread, 42)
	c.receive("abc")
	for record := range in.Messages(c) {
		fmt.Println(binary.BigEndian.Uint64(record))
	}
	fmt.Println(len(c.unread), "bytes wait")
	// Output:
	// 42
	// 3 bytes wait
}
