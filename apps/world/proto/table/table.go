// Package table is the wire of a world: every message with its fields, their ranges
// and what they mean. The Go and the JavaScript codecs, the page
// docs/world-protocol.md and the golden vectors are generated from it, so that they
// cannot drift apart.
package table

// A Kind says how a field is written.
type Kind uint8

// The kinds. Numbers are little endian.
const (
	U8    Kind = iota // 1 byte
	U16               // 2 bytes
	U32               // 4 bytes
	Var               // an unsigned number of at most 32 bits, 7 bits a byte, the lowest first; the high bit of a byte says that another follows
	Text              // the length in bytes as Var, then UTF-8
	Bytes             // the length as Var, then the bytes
	List              // the number of elements as Var, then the elements
	Bits              // 4 bytes whose bits are the parts, the first part in the lowest bits
	One               // the fields of another struct, in place
)

// A Field is one value of a message or a struct. Values outside Min and Max are
// refused when they are read; of Text, Bytes and List these are lengths.
type Field struct {
	Name     string // in Go; in JavaScript it begins with a small letter
	Kind     Kind
	Min, Max uint32
	Of       *Struct // List and One: of what; nil: of U16
	Parts    []Part  // Bits
	Doc      string
}

// A Part is some bits of a field.
type Part struct {
	Name string
	Bits uint8
	Max  uint32
	Doc  string
}

// A Struct is a group of fields that messages share.
type Struct struct {
	Name   string
	Doc    string
	Fields []Field
}

// A Message is what one end says to the other.
type Message struct {
	ID         uint8
	FromServer bool
	Struct
}

// Version is that of the protocol, in Hello and Welcome.
const Version = 3

// Limits that several fields share.
const (
	MaxName   = 32  // bytes
	MaxText   = 200 // bytes of what is said
	MaxCell   = 64*64 - 1
	NoCell    = 0xffff    // where an entity comes from that was nowhere before
	MaxSpot   = 16*64 - 1 // units within a cell
	MaxPlace  = 64*16*64 - 1
	MaxID     = 1<<32 - 1
	Direction = 8 // the highest direction
	TokenSize = 16
	MaxTicks  = 10   // that one Move may say
	MaxOwn    = 1024 // bytes of what a game adds
	maxKey    = 128
	maxOnline = 1000 // names in one answer
	MaxBag    = 32   // items that a player or a chest has
	MaxKind   = 7    // of items
	maxStored = 4096 // items in one answer: a store may have more than MaxBag
)

func id(name, doc string) Field { return Field{Name: name, Kind: Var, Min: 1, Max: MaxID, Doc: doc} }

// number is that of an item.
func number(name, doc string) Field {
	return Field{Name: name, Kind: Var, Min: 1, Max: MaxID, Doc: doc}
}

func gold(doc string) Field { return Field{Name: "Gold", Kind: Var, Max: MaxID, Doc: doc} }

func items(most uint32, of *Struct, doc string) Field {
	return Field{Name: "Items", Kind: List, Max: most, Of: of, Doc: doc}
}

var place = Field{Name: "Place", Kind: Bits, Parts: []Part{
	{"X", 10, MaxSpot, "units from the left side of the cell"},
	{"Y", 10, MaxSpot, "units from the upper side of the cell"},
	{"Direction", 4, Direction, "where it goes: 0 it stands, 1 north, 2 north-east, and so on clockwise to 8, north-west"},
	{"Speed", 4, 15, "how fast: an index into Welcome.Steps"},
}, Doc: "where it is at this tick, and how it moves on from there each tick"}

// Structs are what messages share.
var (
	Step = &Struct{"Step", "How far an entity of one speed moves in a tick, in units.", []Field{
		{Name: "Straight", Kind: U8, Max: 255, Doc: "along one axis"},
		{Name: "Diagonal", Kind: U8, Max: 255, Doc: "along each of two axes at once"},
	}}
	Entity = &Struct{"Entity", "All that is to be known of an entity.", []Field{
		id("ID", "its number; one that has gone is not used again soon"),
		{Name: "Kind", Kind: U8, Max: 255, Doc: "what it is: 0 a player, 1 a slime, 2 a wolf, 3 a ghost; 8 a chest; 9 to 15 an item that lies, of this kind less 8; from 16 on what a game adds"},
		place,
		{Name: "Health", Kind: U8, Max: 100, Doc: "per cent"},
		{Name: "Level", Kind: U8, Max: 100},
		{Name: "Name", Kind: Text, Max: MaxName, Doc: "of a player; empty for others"},
	}}
	Left = &Struct{"Left", "An entity that is in the cell no more.", []Field{
		id("ID", "its number"),
		{Name: "To", Kind: U16, Max: NoCell, Doc: "the cell that it is in now; 65535: none, it is gone"},
	}}
	Came = &Struct{"Came", "An entity that has come into the cell.", []Field{
		{Name: "From", Kind: U16, Max: NoCell, Doc: "the cell that it was in before; 65535: none, it is new"},
		{Name: "Entity", Kind: One, Of: Entity},
	}}
	Moved = &Struct{"Moved", "An entity that moves otherwise than before.", []Field{id("ID", "its number"), place}}

	Person = &Struct{"Person", "A player who is in the world.", []Field{
		{Name: "Name", Kind: Text, Min: 1, Max: MaxName},
		{Name: "Level", Kind: U8, Min: 1, Max: 100},
	}}

	Item = &Struct{"Item", "One thing that a player, a chest or the ground has.", []Field{
		number("Number", "it belongs to this item for ever, wherever it is"),
		{Name: "Kind", Kind: U8, Min: 1, Max: MaxKind, Doc: "1 a potion, 2 bread, 3 a pelt, 4 a pearl"},
	}}
	Offered = &Struct{"Offered", "An item of the player's bag.", []Field{number("Number", "of the item")}}
	Side    = &Struct{"Side", "What one of two who trade gives.", []Field{
		{Name: "Agreed", Kind: U8, Max: 1, Doc: "1: to this version of both sides"},
		gold(""),
		items(MaxBag, Item, ""),
	}}

	// Structs are in the order of the page.
	Structs = []*Struct{Step, Entity, Left, Came, Moved, Person, Item, Offered, Side}
)

// The most that one block of a cell can have: more do not fit into a frame.
const maxBlock = 65535

// Messages are all that there are. Numbers 32 to 63 and 96 to 255 are kept for what
// a game adds to the table itself; Act and Event need no other table.
var Messages = []Message{
	{1, false, Struct{"Hello", "The first message of a client: who it is.", []Field{
		{Name: "Version", Kind: U8, Max: 255, Doc: "of the protocol: 3"},
		{Name: "Name", Kind: Text, Min: 1, Max: MaxName, Doc: "of the player, 1 to 16 characters"},
		{Name: "Token", Kind: Bytes, Max: TokenSize, Doc: "16 random bytes that the client has chosen for this name and keeps; empty: the server chooses, and Welcome says what"},
	}}},
	{2, false, Struct{"Move", "For how many ticks the player went in a direction. Sent when that changes, and at least every MaxTicks ticks.", []Field{
		{Name: "Epoch", Kind: U8, Max: 255, Doc: "that of the last Correction, or of Welcome"},
		{Name: "Sequence", Kind: U32, Max: MaxID, Doc: "counts the Moves of this connection, from 1; after 2^32 - 1 comes 0"},
		{Name: "Direction", Kind: U8, Max: Direction, Doc: "as in Place"},
		{Name: "Ticks", Kind: U8, Min: 1, Max: MaxTicks, Doc: "how many ticks"},
	}}},
	{3, false, Struct{"Say", "Something for everybody near to read.", []Field{
		{Name: "Text", Kind: Text, Min: 1, Max: MaxText},
	}}},
	{4, false, Struct{"Ping", "Answered by Pong, to measure the way and back.", []Field{
		{Name: "Time", Kind: U32, Max: MaxID, Doc: "comes back as it is"},
	}}},
	{6, false, Struct{"Attack", "The player strikes another entity.", []Field{
		id("Target", "whom"),
		{Name: "Seen", Kind: U32, Max: MaxID, Doc: "the tick that the player saw when it struck: that of the last frame, less how far in the past others are drawn"},
	}}},
	{7, false, Struct{"Whisper", "Something for one player to read, wherever it is.", []Field{
		{Name: "To", Kind: Text, Min: 1, Max: MaxName, Doc: "the name, or one that looks like it"},
		{Name: "Text", Kind: Text, Min: 1, Max: MaxText},
	}}},
	{8, false, Struct{"Who", "Answered by Online.", nil}},
	{9, false, Struct{"Order", "What a moderator wants done; who is none gets Notice with code 5.", []Field{
		{Name: "Kind", Kind: U8, Min: 1, Max: 6, Doc: "1 mute, 2 let speak again, 3 send away, 4 ban, 5 bring to a place, 6 ban no more"},
		{Name: "Name", Kind: Text, Min: 1, Max: MaxName, Doc: "of the player whom it is about"},
		{Name: "X", Kind: U16, Max: MaxPlace, Doc: "with kind 5, where; otherwise 0"},
		{Name: "Y", Kind: U16, Max: MaxPlace},
	}}},
	{10, false, Struct{"Moderate", "The player is a moderator from now on, if the key is right. After three wrong ones the connection ends.", []Field{
		{Name: "Key", Kind: Bytes, Min: 1, Max: maxKey},
	}}},
	{11, false, Struct{"PickUp", "The player takes what lies near.", []Field{id("Thing", "the entity")}}},
	{12, false, Struct{"PutDown", "The player lays an item on the ground, where it is.", []Field{number("Item", "of its bag")}}},
	{13, false, Struct{"Use", "The player uses an item up.", []Field{number("Item", "of its bag")}}},
	{14, false, Struct{"Trade", "The player wants to trade with another, or agrees to: when both have said so, Deal follows.", []Field{id("With", "the other's entity")}}},
	{16, false, Struct{"Offer", "All that the player gives in the trade that is under way. Both must agree anew.", []Field{
		gold("at most what the player has"),
		items(MaxBag, Offered, "of its bag, each once"),
	}}},
	{17, false, Struct{"Confirm", "The player agrees to what both give. When both have, it is done.", []Field{
		{Name: "Version", Kind: U32, Max: MaxID, Doc: "that of the last Deal; with another one it is ignored"},
	}}},
	{18, false, Struct{"Cancel", "No trade, or none any more.", nil}},
	{19, false, Struct{"Open", "The player looks into a chest that is near: Contents follows, now and with each change until it opens another one or goes away.", []Field{id("Chest", "the entity")}}},
	{20, false, Struct{"PutIn", "The player puts an item into a chest that is near.", []Field{id("Chest", "the entity"), number("Item", "of its bag")}}},
	{21, false, Struct{"TakeOut", "The player takes an item out of a chest that is near.", []Field{id("Chest", "the entity"), number("Item", "of the chest")}}},
	{22, false, Struct{"Give", "A moderator makes gold or items for a player; who is none gets Notice with code 5.", []Field{
		{Name: "Name", Kind: Text, Min: 1, Max: MaxName, Doc: "of the player"},
		{Name: "Kind", Kind: U8, Max: MaxKind, Doc: "0 gold, or the kind of items"},
		{Name: "Amount", Kind: Var, Max: MaxID, Doc: "pieces of gold, or how many items"},
	}}},
	{15, false, Struct{"Act", "What a game adds: see the page of that game.", []Field{
		{Name: "Kind", Kind: U8, Max: 255},
		{Name: "Data", Kind: Bytes, Max: MaxOwn},
	}}},
	{5, false, Struct{"Bye", "The player leaves the world at once. Without it, the player stays for a while after the connection has ended.", nil}},

	{64, true, Struct{"Welcome", "The answer to Hello: the client is in the world.", []Field{
		{Name: "Version", Kind: U8, Max: 255, Doc: "of the protocol: 3"},
		id("Self", "the player's own entity"),
		{Name: "Token", Kind: Bytes, Min: TokenSize, Max: TokenSize, Doc: "the player's, for the next Hello"},
		{Name: "Resumed", Kind: U8, Max: 1, Doc: "1: the player was in the world all the time"},
		{Name: "Tick", Kind: U32, Max: MaxID, Doc: "the number of the last tick; it begins again at 0 after 2^32"},
		{Name: "Hz", Kind: U8, Min: 1, Max: 60, Doc: "ticks in a second"},
		{Name: "Seed", Kind: U32, Max: MaxID, Doc: "of the map"},
		{Name: "Width", Kind: U8, Min: 1, Max: 64, Doc: "of the world, in cells"},
		{Name: "Height", Kind: U8, Min: 1, Max: 64, Doc: "of the world, in cells"},
		{Name: "Day", Kind: U32, Min: 1, Max: MaxID, Doc: "ticks in a day: the time of day is Tick modulo Day"},
		{Name: "Steps", Kind: List, Min: 1, Max: 16, Of: Step, Doc: "by speed"},
		{Name: "Epoch", Kind: U8, Max: 255, Doc: "for Move"},
		{Name: "X", Kind: U16, Max: MaxPlace, Doc: "where the player is, in units from the left side of the world"},
		{Name: "Y", Kind: U16, Max: MaxPlace, Doc: "and from its upper side"},
	}}},
	{65, true, Struct{"Refused", "The server ends the connection after this.", []Field{
		{Name: "Reason", Kind: U8, Max: 255, Doc: "1 version, 2 name, 3 name in use, 4 token in use, 5 world is full, 6 bad message, 7 too slow, 8 taken over by another connection, 9 shutting down, 10 too late with Hello, 11 flooding, 12 sent away by a moderator, 13 banned, 14 too many new names from one address"},
		{Name: "Text", Kind: Text, Max: MaxText, Doc: "for people, in English"},
	}}},
	{66, true, Struct{"Tick", "The first message of every frame of the world: what follows it is of this tick.", []Field{
		{Name: "Tick", Kind: U32, Max: MaxID, Doc: "its number"},
		{Name: "Sequence", Kind: U32, Max: MaxID, Doc: "the last Move that was carried out whole, 0 before the first"},
		{Name: "Done", Kind: U8, Max: MaxTicks, Doc: "ticks of the Move after it that were carried out, too"},
		{Name: "Epoch", Kind: U8, Max: 255},
		{Name: "X", Kind: U16, Max: MaxPlace, Doc: "where the player is after that"},
		{Name: "Y", Kind: U16, Max: MaxPlace},
		{Name: "Health", Kind: U8, Max: 100, Doc: "per cent"},
	}}},
	{67, true, Struct{"Full", "All that is in a cell. It takes the place of what the client has in that cell.", []Field{
		{Name: "Cell", Kind: U16, Max: MaxCell, Doc: "row times Width plus column"},
		{Name: "Entities", Kind: List, Max: maxBlock, Of: Entity},
	}}},
	{68, true, Struct{"Delta", "What has changed in a cell since the end of the tick Base ticks before this one.", []Field{
		{Name: "Cell", Kind: U16, Max: MaxCell},
		{Name: "Base", Kind: U8, Min: 1, Max: 8, Doc: "in ticks"},
		{Name: "Left", Kind: List, Max: maxBlock, Of: Left},
		{Name: "Came", Kind: List, Max: maxBlock, Of: Came},
		{Name: "Moved", Kind: List, Max: maxBlock, Of: Moved},
	}}},
	{69, true, Struct{"Drop", "Cells that the client gets nothing of any more.", []Field{
		{Name: "Cells", Kind: List, Min: 1, Max: 256, Doc: "their numbers"},
	}}},
	{70, true, Struct{"Correction", "The player is elsewhere than the client thinks: Moves of another epoch are ignored.", []Field{
		{Name: "Epoch", Kind: U8, Max: 255, Doc: "for Move from now on"},
		{Name: "X", Kind: U16, Max: MaxPlace},
		{Name: "Y", Kind: U16, Max: MaxPlace},
		{Name: "Reason", Kind: U8, Max: 255, Doc: "1 more ticks than have passed, 2 moved by the world"},
	}}},
	{71, true, Struct{"Said", "Somebody near says something.", []Field{
		id("ID", "the speaker's entity"),
		{Name: "Name", Kind: Text, Min: 1, Max: MaxName},
		{Name: "Text", Kind: Text, Min: 1, Max: MaxText},
	}}},
	{72, true, Struct{"Pong", "The answer to Ping.", []Field{
		{Name: "Time", Kind: U32, Max: MaxID},
		{Name: "Tick", Kind: U32, Max: MaxID, Doc: "the number of the last tick"},
		{Name: "Late", Kind: U16, Max: 65535, Doc: "how late that tick was, in tenths of a millisecond"},
	}}},
	{73, true, Struct{"Notice", "A line from the server itself, which nobody can say.", []Field{
		{Name: "Code", Kind: U8, Max: 255, Doc: "1 welcome, 2 you say too much, 3 the world is ending soon, 4 nobody of that name is here, 5 that is for moderators, 6 you are muted, 7 an order was carried out, 8 you are a moderator now, 9 what a game says, 10 the store is busy: try again, 11 that is too far away, 12 there is no such thing, or not any more, 13 there is no room for it, 14 that cannot be used, or not now, 15 there is not so much gold, 16 there is no such trade, or none of that, 17 the ban holds only until the world ends, because nobody of that name has an account, 18 the configuration bans that name"},
		{Name: "Text", Kind: Text, Max: MaxText, Doc: "for people, in English"},
	}}},
	{74, true, Struct{"Hit", "Somebody near has struck somebody.", []Field{
		id("By", "who"),
		id("Target", "whom"),
		{Name: "Damage", Kind: U8, Max: 100, Doc: "per cent of its whole health"},
		{Name: "Health", Kind: U8, Max: 100, Doc: "what is left; 0: it falls. A player that has fallen lies for 3 seconds, and returns in a town"},
	}}},
	{75, true, Struct{"Whispered", "Something was whispered: to the player, or by it.", []Field{
		{Name: "From", Kind: Text, Min: 1, Max: MaxName},
		{Name: "To", Kind: Text, Min: 1, Max: MaxName},
		{Name: "Text", Kind: Text, Min: 1, Max: MaxText},
	}}},
	{76, true, Struct{"Online", "Who is in the world.", []Field{
		{Name: "Count", Kind: Var, Max: MaxID, Doc: "of all"},
		{Name: "People", Kind: List, Max: maxOnline, Of: Person, Doc: "by name; not all, when there are too many"},
	}}},
	{77, true, Struct{"Standing", "The player's own figures, when they change and after Welcome.", []Field{
		{Name: "Level", Kind: U8, Min: 1, Max: 100},
		{Name: "Experience", Kind: Var, Max: MaxID},
		{Name: "Next", Kind: Var, Max: MaxID, Doc: "what the next level needs; 0: there is none"},
	}}},
	{78, true, Struct{"Bag", "All that the player has and that lasts: after Welcome, and whenever it is other than before.", []Field{
		gold("2^32 - 1: so much or more"),
		items(maxStored, Item, ""),
	}}},
	{80, true, Struct{"Asked", "Another player wants to trade. Trade says yes, Cancel no.", []Field{id("By", "its entity")}}},
	{81, true, Struct{"Deal", "The trade that is under way, when it begins and with each change.", []Field{
		{Name: "Version", Kind: U32, Max: MaxID, Doc: "for Confirm: one more with each change of what is given"},
		id("With", "the other's entity"),
		{Name: "Yours", Kind: One, Of: Side},
		{Name: "Theirs", Kind: One, Of: Side},
	}}},
	{82, true, Struct{"Dealt", "The trade is over; Bag says what the player has.", []Field{
		{Name: "Result", Kind: U8, Max: 255, Doc: "0 done; otherwise nothing has changed hands: 1 one of the two did not want to, 2 one has gone, 3 they are too far from each other, 4 something offered is there no more, 5 a bag or a purse has no room, 6 the store is busy: try again"},
	}}},
	{83, true, Struct{"Contents", "What is in the chest that the player has opened.", []Field{
		id("Chest", "the entity"),
		items(maxStored, Item, ""),
	}}},
	{79, true, Struct{"Event", "What a game adds: see the page of that game.", []Field{
		{Name: "Kind", Kind: U8, Max: 255},
		{Name: "Data", Kind: Bytes, Max: MaxOwn},
	}}},
}
