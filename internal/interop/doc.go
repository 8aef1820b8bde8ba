// Package interop tests package ws against other implementations of WebSocket,
// gorilla/websocket, coder/websocket and Node's ws, as clients and as servers;
// and epi chat with the clients of others: irssi, WeeChat, irc-framework and nc,
// and its page in Chromium.
// It is a module of its own, so that they are no dependencies of epi.
package interop
