package hall

import "github.com/epinet/epi/apps/chat/ircmsg"

// Caps is a set of the capabilities that a client has asked for.
type Caps = ircmsg.Caps

// The capabilities. The comment says which lines they change.
const (
	CapAccountNotify    Caps = 1 << iota // ACCOUNT
	CapAccountTag                        // the tag account
	CapAwayNotify                        // AWAY
	CapBatch                             // BATCH
	CapCapNotify                         // CAP NEW, CAP DEL
	CapChannelRename                     // RENAME instead of PART and JOIN
	CapChghost                           // CHGHOST instead of QUIT and JOIN
	CapEchoMessage                       // own messages
	CapExtendedISupport                  // 005 before registration, and in a batch
	CapExtendedJoin                      // JOIN with account and real name
	CapExtendedMonitor                   // AWAY, ACCOUNT, CHGHOST, SETNAME of monitored users
	CapInviteNotify                      // INVITE of others
	CapLabeledResponse                   // the tag label
	CapMessageTags                       // the tags msgid and bot, client-only tags, TAGMSG
	CapMultiPrefix                       // all prefixes in 353 and 352
	CapMultiline                         // multiline batches as such
	CapNoImplicitNames                   // no 353 after JOIN
	CapOperTag                           // the tag draft/oper
	CapPreAway                           // AWAY before registration
	CapRelayMsg                          // the tag draft/relaymsg
	CapSASL
	CapServerTime // the tag time
	CapSetname    // SETNAME
	CapStandardReplies
	CapSTS
	CapUserhostInNames     // nick!user@host in 353
	CapAccountRegistration // REGISTER
	CapWhoAmI              // SETNAME at the end of the registration
)
