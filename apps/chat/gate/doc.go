// Package gate connects a chat's hall to clients: sessions on the connections of
// an epi.Engine, over TCP, TLS, Unix sockets and WebSocket.
//
// The hall decides, on loop 0 of the engine. Each loop has a shard: the sessions
// of its connections, and for every channel the list of those in it.
//
//	loop i:  OnData ─► lines ─► events ──┐ one task a turn
//	loop 0:                              └─► Hall.Apply ─► Gate calls
//	                                                         │ one task a turn for each loop
//	loop i:  shard.deliver ◄── ops ◄─────────────────────────┘
//	             └─► session.pending ─► flush: one Conn.Send a session and turn
//
// On loop 0 itself nothing is handed over: an event goes to the hall when it is
// read, and what the hall says is done at once. So a server with one loop has no
// queue between a line and its delivery.
//
// A message to a channel is one hall.Item for each loop that has members, and one
// encoded buffer for each combination of capabilities that makes a difference; the
// buffer is shared by all sessions that get it.
package gate
