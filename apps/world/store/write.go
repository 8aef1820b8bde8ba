package store

import "time"

// A Write is a change: one of the types of this file.
type Write interface {
	// check refuses what makes no sense, without looking at the store.
	check() error
	sql(t *transaction) error
	memory(m *Memory) error
}

// AddAccount makes an account and its character, whose identifier the caller has
// chosen. The character has no gold and epoch 0.
type AddAccount struct {
	Account   Account
	Character Character
}

// Forget ends an account and its character, with all the items and gold that it has.
// Its identifier is not used again.
type Forget struct{ Key string }

// Mute says until when the account with that key is muted. The zero time ends it. It
// changes nothing else, so that it takes back no ban that comes at the same time.
type Mute struct {
	Key   string
	Until time.Time
}

// Ban is for bans what Mute is for mutes.
type Ban struct {
	Key   string
	Until time.Time
}

// Enter begins a session of a character: its epoch becomes Epoch, which must be one
// more than it was.
type Enter struct{ Character, Epoch int64 }

// Save keeps soft state, when the epoch is that of the character's last Enter and the
// version higher than the kept one.
type Save struct {
	Character, Epoch int64
	Soft             Soft
}

// Make makes an item, of version 1. The caller has chosen the identifier.
type Make struct{ Item Item }

// Destroy ends an item that is as given.
type Destroy struct{ Item Item }

// Move gives an item, as it is known, to another owner. Its version rises by one.
type Move struct {
	Item Item
	To   Owner
}

// MakeGold puts new gold into a purse.
type MakeGold struct{ Character, Amount int64 }

// DestroyGold takes gold out of a purse and out of the world.
type DestroyGold struct{ Character, Amount int64 }

// A Trade gives what A offers to B and what B offers to A: all of it or nothing.
type Trade struct {
	ID   string // can be used once
	A, B Offer
}

// An Offer is what one side of a trade gives.
type Offer struct {
	Character int64
	Items     []Item // of the character
	Gold      int64
}

// AddChest makes a chest.
type AddChest struct{ Chest Chest }

// Note keeps a deed.
type Note struct{ Deed Deed }

func (w AddAccount) check() error { return sensible(w.Account.Key != "" && w.Character.ID > 0) }
func (w Forget) check() error     { return nil }
func (w Mute) check() error       { return nil }
func (w Ban) check() error        { return nil }
func (w Enter) check() error      { return nil }
func (w Save) check() error       { return nil }
func (w Destroy) check() error    { return nil }
func (w Move) check() error       { return sensible(w.To.valid()) }
func (w AddChest) check() error   { return sensible(w.Chest.ID > 0) }
func (w Note) check() error       { return nil }

func (w Make) check() error {
	return sensible(w.Item.ID > 0 && w.Item.Kind > 0 && w.Item.Owner.valid())
}

func (w MakeGold) check() error    { return payable(w.Amount) }
func (w DestroyGold) check() error { return payable(w.Amount) }

func (w Trade) check() error {
	if w.ID == "" || w.A.Character == w.B.Character {
		return ErrInvalid
	}
	if w.A.empty() && w.B.empty() {
		return ErrInvalid
	}
	for _, offer := range []Offer{w.A, w.B} {
		if offer.Gold < 0 || offer.Gold > MaxGold {
			return ErrAmount
		}
		seen := map[int64]bool{}
		for _, item := range offer.Items {
			if item.Owner != Of(offer.Character) || seen[item.ID] {
				return ErrInvalid
			}
			seen[item.ID] = true
		}
	}
	return nil
}

func (o Offer) empty() bool { return len(o.Items) == 0 && o.Gold == 0 }

func sensible(ok bool) error {
	if !ok {
		return ErrInvalid
	}
	return nil
}

func payable(amount int64) error {
	if amount < 1 || amount > MaxGold {
		return ErrAmount
	}
	return nil
}
