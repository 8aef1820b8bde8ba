package sim

import (
	"fmt"

	"github.com/epinet/epi/apps/world/proto"
)

// A CallKind is one of the calls that change a world.
type CallKind uint8

// The kinds.
const (
	CallStep CallKind = iota
	CallJoin
	CallLeave
	CallMove
	CallSay
	CallPlace
	CallRestart
	CallAttack
	CallLearn
	CallSpawn
	CallDespawn
	CallGo
	CallHealth
	CallPut
	CallTake
	CallHeal
)

// A Call is one call that changes a world, with its arguments.
type Call struct {
	Kind CallKind
	ID   ID
	Text string
	Move proto.Move
	X, Y int32
	// Target and Seen are those of an attack. Amount is what is given; of Spawn
	// and Put the kind, of Go the direction and, 8 bits higher, the speed.
	Target ID
	Seen   uint32
	Amount uint32
}

// Record lets to have every call that changes the world, before it is done; nil ends
// that.
func (w *World) Record(to func(Call)) { w.record = to }

func (w *World) note(c Call) {
	if w.record != nil {
		w.record(c)
	}
}

// Replay makes a recorded call again. Errors that the call had are had again, and
// mean nothing.
func (w *World) Replay(c Call, workers Workers) error {
	switch c.Kind {
	case CallStep:
		w.Step(workers)
	case CallJoin:
		_, _ = w.Join(c.Text)
	case CallLeave:
		_ = w.Leave(c.ID)
	case CallMove:
		_, _ = w.Move(c.ID, c.Move)
	case CallSay:
		_ = w.Say(c.ID, c.Text)
	case CallPlace:
		_ = w.Place(c.ID, c.X, c.Y)
	case CallRestart:
		_ = w.Restart(c.ID)
	case CallAttack:
		_, _ = w.Attack(c.ID, c.Target, c.Seen)
	case CallLearn:
		_ = w.Learn(c.ID, c.Amount)
	case CallSpawn:
		_, _ = w.Spawn(uint8(c.Amount), c.Text, c.X, c.Y)
	case CallDespawn:
		_ = w.Despawn(c.ID)
	case CallGo:
		_ = w.Go(c.ID, uint8(c.Amount), uint8(c.Amount>>8))
	case CallHealth:
		_ = w.SetHealth(c.ID, uint8(c.Amount))
	case CallPut:
		_, _ = w.Put(uint8(c.Amount), c.X, c.Y)
	case CallTake:
		_ = w.Take(c.ID)
	case CallHeal:
		_ = w.Heal(c.ID, uint8(c.Amount))
	default:
		return fmt.Errorf("a call of kind %d: there is none", c.Kind)
	}
	return nil
}
