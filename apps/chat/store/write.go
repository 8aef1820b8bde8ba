package store

import "time"

// A Write is one change. The types below are all that there are.
type Write interface{ isWrite() }

type (
	// AddMessage puts a message into the history. Its ID must be above all before.
	AddMessage struct{ Message Message }
	// CopyMessage puts in a message of another machine's history, in any order. One whose
	// ID is there already stays as it is. One that was removed before it came, or replies to such
	// a message as a reaction, is left out, and one that was edited has the later text.
	CopyMessage struct{ Message Message }
	// PutPosition notes that what comes before a place in the history of other machines is here.
	PutPosition struct{ Position Position }
	// Announce does a write, and with it keeps what other machines are to know of that, until
	// PutShared says that they do. It is refused if the write is.
	Announce struct {
		Write Write
		Out   Outgoing
	}
	// PutShared notes that the messages of this machine up to an ID are in the history that several
	// machines share, and so is what was announced by these numbers.
	PutShared struct {
		UpTo      ID
		Announced []ID
	}
	// EditMessage changes a message's text. It changes nothing if the message has a later edit.
	// Without the message it is ErrNotFound, and kept for a CopyMessage.
	EditMessage struct {
		ID, Edited ID
		Text       string
		Joined     []int
	}
	// RemoveMessage takes a message out, and what reacted to it: ErrNotFound
	// without it. In either case no CopyMessage brings it back.
	RemoveMessage struct{ ID ID }
	// RemoveBefore takes out a target's messages below an ID; of all targets for
	// "", and what is known then of edits and removals below it.
	RemoveBefore struct {
		Target string
		Before ID
	}
	// RenameTarget moves a history to another name.
	RenameTarget struct{ From, To string }

	// AddAccount makes an account with its credentials: ErrExists if the name is
	// taken, without regard to case. Invitation is the hash of one that is used for
	// it, "" for none: ErrNotFound if it is not there, has expired when the account
	// is made, or was used as often as it may be.
	AddAccount struct {
		Account     Account
		Credentials []Credential
		Invitation  string
	}
	// SetRole, SetSuspended and SetVerified change one thing of an account, and so take
	// back nothing that another writes meanwhile: ErrNotFound without the account. A
	// reason of "" ends a suspension.
	SetRole      struct{ Account, Role string }
	SetSuspended struct{ Account, Reason string }
	SetVerified  struct{ Account string }
	// ReplaceAccount makes an account what another machine knows of it, with these
	// credentials and no others. A certificate or an identity that another account has is
	// taken from that: the later one has it.
	ReplaceAccount struct {
		Account     Account
		Credentials []Credential
	}
	// RemoveAccount removes an account and what belongs to it, but for what it
	// said: ErrNotFound without it.
	RemoveAccount struct{ Name string }
	// PutCredential adds a credential, or replaces that of the same account, kind
	// and label: ErrNotFound without the account, ErrExists when another account
	// has the same certificate or identity.
	PutCredential struct{ Credential Credential }
	// RemoveCredential removes one: ErrNotFound without it.
	RemoveCredential struct {
		Account string
		Kind    CredentialKind
		Label   string
	}
	// TouchCredential notes when a credential was used.
	TouchCredential struct {
		Account string
		Kind    CredentialKind
		Label   string
		Used    time.Time
	}

	// PutChannel registers a channel, or changes it. The order is for a Sharer.
	PutChannel struct {
		Channel Channel
		Order   Order
	}
	// AddChannel registers a channel: ErrExists if it is registered. The order is for a Sharer.
	AddChannel struct {
		Channel Channel
		Order   Order
	}
	// RemoveChannel ends a registration: ErrNotFound without it. The order is for a Sharer.
	RemoveChannel struct {
		Name  string
		Order Order
	}
	// PutBan adds a ban, or replaces that of the same mask.
	PutBan struct{ Ban Ban }
	// RemoveBan removes one: ErrNotFound without it.
	RemoveBan struct{ Mask string }
	// PutPresence keeps a user, or changes it.
	PutPresence struct{ Presence Presence }
	// RemovePresence forgets one.
	RemovePresence struct{ Account string }
	// PutMarker moves a read marker forward, never back.
	PutMarker struct{ Marker Marker }
	// PutDatum sets metadata; an empty value removes the key.
	PutDatum struct{ Datum Datum }
	// PutUpload adds or changes a file's description.
	PutUpload struct{ Upload Upload }
	// RemoveUpload removes one: ErrNotFound without it.
	RemoveUpload struct{ ID string }
	// PutSubscription adds a push subscription, or replaces that of the endpoint.
	PutSubscription struct{ Subscription Subscription }
	// RemoveSubscription removes one.
	RemoveSubscription struct{ Account, Endpoint string }
	// PutInvitation adds an invitation, or changes it.
	PutInvitation struct{ Invitation Invitation }
	// RemoveInvitation removes one: ErrNotFound without it.
	RemoveInvitation struct{ Hash string }
	// AddDeed adds to the log of what administrators did.
	AddDeed struct{ Deed Deed }
)

// An Order is the place of a change of a channel among the others, in a network: each owner of
// the channel has a greater reign than the one before, and counts in it. Zero is before all.
type Order struct {
	Reign  int64
	Number uint64
}

// Before says whether o is before another one.
func (o Order) Before(other Order) bool {
	return o.Reign < other.Reign || o.Reign == other.Reign && o.Number < other.Number
}

func (AddMessage) isWrite()         {}
func (CopyMessage) isWrite()        {}
func (PutPosition) isWrite()        {}
func (Announce) isWrite()           {}
func (PutShared) isWrite()          {}
func (EditMessage) isWrite()        {}
func (RemoveMessage) isWrite()      {}
func (RemoveBefore) isWrite()       {}
func (RenameTarget) isWrite()       {}
func (AddAccount) isWrite()         {}
func (SetRole) isWrite()            {}
func (SetSuspended) isWrite()       {}
func (SetVerified) isWrite()        {}
func (ReplaceAccount) isWrite()     {}
func (RemoveAccount) isWrite()      {}
func (PutCredential) isWrite()      {}
func (RemoveCredential) isWrite()   {}
func (TouchCredential) isWrite()    {}
func (PutChannel) isWrite()         {}
func (AddChannel) isWrite()         {}
func (RemoveChannel) isWrite()      {}
func (PutBan) isWrite()             {}
func (RemoveBan) isWrite()          {}
func (PutPresence) isWrite()        {}
func (RemovePresence) isWrite()     {}
func (PutMarker) isWrite()          {}
func (PutDatum) isWrite()           {}
func (PutUpload) isWrite()          {}
func (RemoveUpload) isWrite()       {}
func (PutSubscription) isWrite()    {}
func (RemoveSubscription) isWrite() {}
func (PutInvitation) isWrite()      {}
func (RemoveInvitation) isWrite()   {}
func (AddDeed) isWrite()            {}
