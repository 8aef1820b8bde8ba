// Package epi is an event-driven network engine for servers with very many
// long-lived connections: chat, push, games, IoT, gateways. A few loops serve
// all connections; one that is idle has no goroutine and no buffer.
//
// # A server
//
// An [Engine] accepts connections and calls a [Handler] for each. This one
// sends back what it receives:
//
//	type session struct{} // one value per connection: its state goes here
//
//	func (s *session) OnData(c *epi.Conn) error {
//		_, err := c.Write(c.Unread())
//		c.Discard(len(c.Unread()))
//		return err
//	}
//
//	func (s *session) OnClose(c *epi.Conn, err error) {}
//
//	func main() {
//		var e epi.Engine
//		if _, err := e.Listen("tcp://127.0.0.1:7000", func(*epi.Conn) epi.Handler { return &session{} }); err != nil {
//			log.Fatal(err)
//		}
//		log.Fatal(e.Run(context.Background()))
//	}
//
// Whatever OnData does not consume stays unread and is offered again with the
// bytes that follow, so a handler that needs a whole message returns until it is
// there. Package frame finds lines and length-prefixed messages; package ws
// speaks WebSocket on the same connections; [Engine.Dial] is the client's side;
// [Engine.ListenPacket] receives datagrams. To use TLS, set [Engine.TLS] and
// listen on a tls:// address: the handler sees plain bytes.
//
// # The loop
//
// Each [Loop] has one goroutine and goes through the same phases, in this order,
// until the engine ends:
//
//	┌► wait         sleep until there is something to do
//	│  completions  what the sockets did: OnOpen, OnData, OnEOF
//	│  tasks        functions given to Loop.Do
//	│  timers       Loop.After, Loop.Every, the timeouts of connections
//	│  flush        send what was written; OnDrain
//	└─ close        the only place where sockets are closed; OnClose follows
//
// What was written to a connection during one iteration leaves together in the
// flush phase. Every phase is bounded, so that no connection, task or timer can
// keep the others waiting for long.
//
// # The life of a connection
//
//	opening ─► [PROXY header, TLS handshake] ─► open ─► closing ─► closed
//	                                             │  what is queued is sent
//	                                             ├─ the peer has ended its half: OnEOF
//	                                             └─ CloseWrite has ended ours
//
// The function given to Listen makes the handler when the connection is open.
// OnClose is the last call, made exactly once, with the reason: nil after
// [Conn.Close], io.EOF when the peer ended in order, else why.
// [Conn.Close] delivers what is queued first and [Conn.Abort] does not.
//
// # Goroutines
//
// The callbacks of one connection never run at the same time, and never inside a
// method of this package, so a handler needs no lock for state of its own.
//
//	Conn.Unread, Read, Discard, TLS     in the connection's callbacks only
//	all other methods of Conn           any goroutine; they never block
//	Loop.Do, After, Every               any goroutine
//	Engine.Listen, Dial, Loop, Stats    any goroutine, before and during Run
//
// By default callbacks run on the loop and must not block: a callback that does
// holds up every connection of its loop ([Stats] has the length of the loops'
// iterations). With [Engine.Workers] they run on worker goroutines and may block.
//
// # Bounds
//
// Everything that can grow has a bound, a default for it, and a counter: open
// connections, queued bytes, unread bytes, tasks, handshakes, and the time that
// each may take. A peer that does not read is not read from above
// [Engine.HighWater], and writes to it fail above [Engine.MaxQueued].
//
// # What is not promised
//
//   - A write that succeeded was queued. It has reached the peer only if OnClose
//     reports no reason why it may not have; only an answer from the peer proves
//     that its program read it.
//   - Pieces of a stream: one Write may arrive as several OnData, several as one.
//   - Order between connections. Within one, bytes and callbacks are in order.
//   - When exactly a timer runs: never early, and late by as much as the loop is busy.
//   - Which loop serves a connection: it is chosen when the connection begins, and stays.
//   - Counters of [Stats] that were read at one moment need not fit together.
package epi
