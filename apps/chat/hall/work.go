package hall

// A WorkKind is what is to be done outside the hall.
type WorkKind uint8

const (
	// CheckPassword asks whether Work.Password is that of Work.Account. The Result
	// has OK and the account's name as its owner writes it.
	CheckPassword WorkKind = iota
	// FindCertificate asks whose certificate Work.Fingerprint is, and, where
	// Work.Account is not empty, whether it is that account's. Result as above.
	FindCertificate
	// FindVerifier asks for the SCRAM-SHA-256 verifier of Work.Account. OK is false
	// where there is none.
	FindVerifier
	// CheckToken asks whose bearer token Work.Password is. Result as above.
	CheckToken
	// RegisterAccount asks for a new account Work.Account with Work.Password and the
	// address Work.Email, which may be empty.
	RegisterAccount
	// VerifyAccount finishes the registration of Work.Account with the code
	// Work.Password.
	VerifyAccount
	// FindAccount asks whether there is an account Work.Account, and how its owner
	// writes it.
	FindAccount
	// SetPassword gives Work.Account, whose password is Work.Password, the password
	// Work.New.
	SetPassword
	// RemoveAccount removes Work.Account, whose password is Work.Password.
	RemoveAccount
	// SuspendAccount keeps everybody from using Work.Account, for Work.Reason;
	// UnsuspendAccount ends that.
	SuspendAccount
	UnsuspendAccount
	// DescribeAccount asks for what there is to say of Work.Account in Result.Lines: what
	// its owner may know, if Work.Whole.
	DescribeAccount
	// ListAccounts asks for the accounts whose names match the mask Work.Account, one in
	// each of Result.Lines.
	ListAccounts
	// AddCertificate lets Work.Account in with the certificate Work.Fingerprint, and
	// RemoveCertificate no longer.
	AddCertificate
	RemoveCertificate
	// AddDevice gives Work.Account one password more, for a device called Work.Label; it is
	// the only one of Result.Lines. RemoveDevice takes it back.
	AddDevice
	RemoveDevice
	// ListCredentials asks for the certificates and devices of Work.Account in
	// Result.Lines.
	ListCredentials
	// Subscribe lets messages for Work.Account be pushed to Work.Endpoint, encrypted with
	// Work.Keys; Unsubscribe ends that.
	Subscribe
	Unsubscribe
	// CheckOperator asks whether Work.Password is that of the operator Work.Account
	// in the configuration.
	CheckOperator
	// CheckServer asks whether Work.Password is the server's password.
	CheckServer
	// CheckGateway asks whether Work.Password is that of the WEBIRC gateway
	// Work.Account, coming from Work.Address.
	CheckGateway
	// ClaimChannel registers Work.Channel, unless it is registered already, maybe by another
	// node.
	ClaimChannel
	// Rehash reads the configuration again. The gate calls Hall.Configure before
	// the Result comes; an error is in Result.Text.
	Rehash
	// Die ends the server in order. It has no Result.
	Die
	// Restart ends the server in order and begins it again. It has no Result.
	Restart

	// ReadHistory asks for a page of a history, Work.Page, in Result.Records. Without OK
	// it could not be read.
	ReadHistory
	// ListHistories asks which of Work.Scopes have something between Work.After and
	// Work.Before, and when they had it last, in Result.Targets; with Work.Account, also
	// of its conversations.
	ListHistories
	// FindRecord asks for the record that Work.Lookup names, alone in Result.Records, or
	// none.
	FindRecord
	// RemoveRecord takes the record Work.Lookup.ID out, and what reacts to it: out of the
	// history and of what is found in it.
	RemoveRecord
	// EditRecord gives the record Work.Record.ID the text, the lines and the time of its
	// change that Work.Record has.
	EditRecord
	// SearchHistory asks for the records of Work.Find in Work.Scopes, and with Work.Account
	// in the account's conversations, in Result.Records, the latest first.
	SearchHistory
	// ReadMarkers asks for the read markers of Work.Account, in Result.Markers.
	ReadMarkers
)

// IsHistory says whether a work is about history: it waits for a disk, where most of
// the others take the time of a hash.
func (k WorkKind) IsHistory() bool { return k >= ReadHistory }

// IsPush says whether a work is about push messages.
func (k WorkKind) IsPush() bool { return k == Subscribe || k == Unsubscribe }

// Work is something that the gate does for the hall, apart from all loops, with a
// bound on how much is done at once. Passwords in it must reach no log.
type Work struct {
	Kind    WorkKind
	Session SessionID
	// Number comes back in the Result. No two works of a hall have the same.
	Number uint64
	// Copy: another node has done it, an EditRecord or a RemoveRecord, and nobody waits for a
	// Result.
	Copy bool

	Account     string
	Password    string
	New         string
	Reason      string
	Whole       bool
	Email       string
	Fingerprint string
	Label       string
	Endpoint    string
	Keys        string

	Channel       *KeepChannel
	Page          *Page
	Lookup        *Lookup
	Record        *Record
	Find          *Find
	Scopes        []Scope
	Out           *Outgoing // what others are to know of an EditRecord or a RemoveRecord
	After, Before int64     // numbers of messages, neither included; 0 is no bound

	// Address is where the session comes from, for limits on guessing.
	Address string
}

// A Result is what has become of a Work.
type Result struct {
	Session SessionID
	Number  uint64
	OK      bool
	// Account is the account's name as its owner writes it.
	Account string
	// Code and Text say why not, for FAIL and for people; Code is a word of the
	// specification (ACCOUNT_EXISTS), and both may be empty. When RegisterAccount
	// is OK and has the Code VERIFICATION_REQUIRED, VerifyAccount is to follow.
	Code string
	Text string
	// Lines are the answer to DescribeAccount and ListAccounts.
	Lines []string
	// Verifier is the answer to FindVerifier.
	Verifier *Verifier
	// Records and Targets are the answers to works about history.
	Records []Record
	Targets []Latest
	Markers []Marker
	// Pending says that there are too many to be checked at once; the client may
	// try later.
	Pending bool
}

// A Verifier is what SCRAM-SHA-256 keeps instead of a password (RFC 5802).
type Verifier struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}
