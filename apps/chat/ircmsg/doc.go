// Package ircmsg turns lines of IRC into messages and back. It knows bytes, and
// no socket, session or clock.
//
// [Message.Parse] splits a line; [Message.Append] writes one. What goes to many
// receivers whose capabilities ask for different forms of it is a [Line], which
// builds each form once. [Casemapping] says which names are equal and which
// masks match; [Truncate] cuts text at a character.
//
// The grammar is that of https://modern.ircdocs.horse/#messages, tags that of
// https://ircv3.net/specs/extensions/message-tags.
package ircmsg
