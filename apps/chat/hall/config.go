package hall

import "time"

// A Config is what the operator decides. Every number that is 0 has its default, which
// is named behind it.
type Config struct {
	// Name is the server's, with a dot in it; Network is the network's, without
	// spaces.
	Name    string
	Network string
	// Version and Created are what VERSION and 003 say.
	Version string
	Created time.Time
	// Seed makes the nonces of SCRAM unpredictable; take it from crypto/rand.
	Seed [32]byte

	// Limits, in bytes where nothing else is said.
	Nick          int // 32
	User          int // 18
	RealName      int // 150
	ChannelName   int // 64
	Topic         int // 390
	Kick          int // 390
	Away          int // 390
	Key           int // 32
	Channels      int // 100, of a user
	List          int // 100, entries of each list of a channel
	Monitor       int // 100, nicks of a session
	Modes         int // 6, with parameters, in one MODE
	Targets       int // 4, of PRIVMSG, NOTICE and TAGMSG
	Accept        int // 100, nicks of a user
	Invites       int // 50, open at once of a user
	MultilineSize int // 4,096
	Multiline     int // 100, lines
	WhoWas        int // 1,000, users that have left

	// MOTD has the lines of the message of the day; without any there is none.
	MOTD []string
	// Admin is what ADMIN says: place, organisation, address for mail.
	Admin [3]string
	// Icon is a URL of an image for the network, or empty.
	Icon string
	// STS is the policy of strict transport security ("port=6697,duration=2592000")
	// or empty.
	STS string

	// Password: PASS is demanded, and CheckServer says whether it is right.
	Password bool
	// RequireAccount: nobody comes in without SASL.
	RequireAccount bool
	// Mechanisms are those of SASL that the gate can check, in the order in which
	// they are advertised; without any there are no accounts.
	Mechanisms []string
	// Registration says how accounts can be made by their owners.
	Registration Registration
	// Operators are the names that OPER knows, with what they may do.
	Operators map[string]Operator

	// DefaultModes are those of a new channel. "nt" if nil.
	DefaultModes *string
	// RelayMsg: who has the rank of an operator in a channel may use RELAYMSG.
	RelayMsg bool
	// Roleplay: channels can have the mode E, with which NPC and SCENE work.
	Roleplay bool
	// Cloak replaces the host of a user before it is shown to others, or is nil. It
	// must give the same for the same.
	Cloak func(host string) string
}

// Registration says how accounts can be made by their owners.
type Registration struct {
	Enabled bool
	// BeforeConnect: also before the registration of the connection is complete.
	BeforeConnect bool
	// Email: an address is required.
	Email bool
}

// An Operator is what an operator is shown as and may do.
type Operator struct {
	// Title ends the line "is ..." of WHOIS.
	Title string
	// Rights are the words below; empty is all of them.
	Rights []string
}

// The rights of operators.
const (
	RightKill     = "kill"     // KILL
	RightBan      = "ban"      // KLINE, DLINE and what takes them back
	RightRehash   = "rehash"   // REHASH
	RightDie      = "die"      // DIE, RESTART
	RightSee      = "see"      // hidden channels, users and addresses
	RightSA       = "sa"       // SAJOIN, SAMODE
	RightRelayMsg = "relaymsg" // RELAYMSG everywhere
	RightWallops  = "wallops"  // WALLOPS
)
