package server

import (
	"errors"

	"github.com/epinet/epi/apps/world/proto"
	"github.com/epinet/epi/apps/world/proto/table"
	"github.com/epinet/epi/apps/world/sim"
)

// A Game is another game on the same server: its own kinds of entities, its own rules,
// and its own messages, in Act and Event. All of its methods are called on the loop of
// the world, where they may use the world, and must not wait.
type Game interface {
	// Begin is called once, by New, before the first tick.
	Begin(s *Server)
	// Joined is called when a player has come into the world, Left when it is about
	// to go.
	Joined(id sim.ID, name string)
	Left(id sim.ID)
	// Act is what a player wants to do. data is valid until it returns. An error ends
	// the player's connection.
	Act(id sim.ID, kind uint8, data []byte) error
	// Tick is called after each step of the world, before the players see it.
	Tick()
}

// World returns the world, for a Game.
func (s *Server) World() *sim.World { return s.world }

// Tell sends a player an Event of a Game. Who has no connection at this time gets
// nothing. It is for the methods of a Game.
func (s *Server) Tell(id sim.ID, kind uint8, data []byte) {
	if p := s.players[id]; p != nil && p.session != nil {
		m := proto.Event{Kind: kind, Data: data}
		p.session.send(m.Append(nil))
	}
}

// Notice sends a player a line of text from the game, as Tell does.
func (s *Server) Notice(id sim.ID, text string) {
	if p := s.players[id]; p != nil && p.session != nil {
		p.session.notice(noticeGame, text[:min(len(text), table.MaxText)])
	}
}

var errNoGame = errors.New("there is no game here that knows Act")

func (se *session) act(m *proto.Act) {
	g := se.server.config.Game
	if g == nil {
		se.bad(errNoGame)
		return
	}
	if err := g.Act(se.player.id, m.Kind, m.Data); err != nil {
		se.bad(err)
	}
}
