// Package ws speaks WebSocket (RFC 6455), with compression of messages
// (RFC 7692), on the connections of an epi.Engine: [Server] on its listeners,
// [Dial] to other servers. Requests that ask for no WebSocket can go to a
// net/http handler on the same port.
//
// A connection has no goroutine, and one that is idle holds no buffer:
//
//	Unread ──► request ──► frames ──► message ──► OnMessage, OnPart
//	           (opening)   (reader)   (inflate)
//	Write  ──► deflate ──► frame ──► epi.Conn.Writev
package ws
