package ws_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"log"
	"math"
	"net/http"

	"github.com/epinet/epi"
	"github.com/epinet/epi/ws"
)

type echo struct{}

func (echo) OnMessage(c *ws.Conn, op ws.Opcode, p []byte) error { return c.Write(op, p) }
func (echo) OnClose(*ws.Conn, error)                            {}

// A caller sends one message and closes when the answer is there.
type caller struct{ done chan error }

func (caller) OnOpen(c *ws.Conn) error { return c.Write(ws.Text, []byte("hello")) }

func (caller) OnMessage(c *ws.Conn, op ws.Opcode, p []byte) error {
	fmt.Printf("answer: %s\n", p)
	return c.Close(ws.Normal, "")
}

func (h caller) OnClose(c *ws.Conn, err error) { h.done <- err }

// An echo server that has a page on the same port, and a client, on one engine.
func ExampleServer() {
	var e epi.Engine
	page := http.NewServeMux()
	page.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a page") })
	server := &ws.Server{
		Path:    "/socket",
		HTTP:    page,
		Handler: func(*ws.Conn, *http.Request) ws.Handler { return echo{} },
	}
	ln, err := e.Listen("tcp://127.0.0.1:0", server.Serve)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	defer server.Close()

	r, err := http.Get("http://" + ln.Addr().String() + "/")
	if err != nil {
		log.Fatal(err)
	}
	text, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	fmt.Println(string(text))

	left := make(chan error)
	address := "ws://" + ln.Addr().String() + "/socket"
	if _, err := ws.Dial(ctx, &e, address, ws.Options{}, caller{done: left}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("left:", <-left)

	cancel()
	fmt.Println("run:", <-done)
	// Output:
	// a page
	// answer: hello
	// left: <nil>
	// run: <nil>
}

// A broadcast encodes, and compresses, a message once for all who get it.
func broadcast(to []*ws.Conn, text []byte) {
	m := ws.Prepare(ws.Text, text)
	for _, c := range to {
		_ = c.Send(m) // OnClose removes who has left
	}
}

func ExamplePrepare() {
	broadcast(nil, []byte("to nobody"))
	// Output:
}

// An upload is hashed as it arrives, and never held.
type upload struct {
	echo
	hash hash.Hash
}

func (u *upload) OnPart(c *ws.Conn, _ ws.Opcode, p []byte, last bool) error {
	u.hash.Write(p) // it never fails
	if !last {
		return nil
	}
	return c.Write(ws.Binary, u.hash.Sum(nil))
}

func ExamplePartHandler() {
	server := &ws.Server{
		MaxMessage: math.MaxInt,
		Handler:    func(*ws.Conn, *http.Request) ws.Handler { return &upload{hash: sha256.New()} },
	}
	_, streams := server.Handler(nil, nil).(ws.PartHandler)
	fmt.Println("in parts:", streams)
	// Output:
	// in parts: true
}

// Check sees a request before it becomes a WebSocket.
func ExampleRefusal() {
	server := &ws.Server{
		Handler: func(*ws.Conn, *http.Request) ws.Handler { return echo{} },
		Check: func(r *http.Request) error {
			if r.Header.Get("Authorization") == "" {
				return &ws.Refusal{Status: http.StatusUnauthorized, Reason: "log in first"}
			}
			return nil
		},
	}
	fmt.Println(server.Check(&http.Request{}))
	// Output:
	// upgrade refused: 401 Unauthorized: log in first
}
