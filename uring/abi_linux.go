package uring

// The kernel's interface, include/uapi/linux/io_uring.h.

// An Op is the kind of an operation.
type Op uint8

// The operations that have a method of SQE.
const (
	OpNop       Op = 0
	OpPollAdd   Op = 6
	OpSendMsg   Op = 9
	OpAccept    Op = 13
	OpCancel    Op = 14
	OpConnect   Op = 16
	OpClose     Op = 19
	OpRead      Op = 22
	OpWrite     Op = 23
	OpSend      Op = 26
	OpRecv      Op = 27
	OpShutdown  Op = 34
	OpMsgRing   Op = 40
	OpSendZC    Op = 47
	OpSendMsgZC Op = 48
)

// SQEFlags change how one entry is treated (io_uring_enter(2), IOSQE_).
type SQEFlags uint8

// The flags of an entry.
const (
	FixedFile    SQEFlags = 1 << 0 // FD is a direct descriptor
	Drain        SQEFlags = 1 << 1 // start when everything before is done
	Link         SQEFlags = 1 << 2 // the next entry, submitted with it, starts when this one has succeeded
	HardLink     SQEFlags = 1 << 3 // the next entry, submitted with it, starts when this one has ended
	Async        SQEFlags = 1 << 4 // do not try at once, hand to a worker thread
	BufferSelect SQEFlags = 1 << 5 // the kernel takes a buffer of the group BufGroup
	SkipSuccess  SQEFlags = 1 << 6 // no completion unless it fails
)

// An SQE is an entry of the submission queue. The methods fill it; the fields
// are there for what the methods do not cover.
type SQE struct {
	Op       Op
	Flags    SQEFlags
	IOPrio   uint16 // flags of some operations
	FD       int32
	Off      uint64 // also a second address
	Addr     uint64
	Len      uint32
	OpFlags  uint32 // flags of most operations
	UserData uint64 // carried by the completions
	BufGroup uint16
	_        uint16
	File     uint32 // direct descriptor + 1 to be filled, or a limit of bytes
	Addr3    uint64
	_        uint64
}

// CQEFlags say more about a completion.
type CQEFlags uint32

// The flags of a completion.
const (
	HasBuffer    CQEFlags = 1 << 0 // a provided buffer was used, see BufferID
	HasMore      CQEFlags = 1 << 1 // the operation goes on: more completions follow
	SockNotEmpty CQEFlags = 1 << 2 // there is more to receive
	Notification CQEFlags = 1 << 3 // zero copy: the memory is free again
	BufferMore   CQEFlags = 1 << 4 // the kernel goes on filling the same buffer

	bufferShift = 16
)

// A CQE is a completion: what became of an operation.
type CQE struct {
	UserData uint64   // of the entry
	Res      int32    // what the system call would have returned; -errno after an error
	Flags    CQEFlags // see there
}

// Setup are flags of a ring (io_uring_setup(2), IORING_SETUP_).
type Setup uint32

// The flags of a ring.
const (
	// Disabled makes a ring that takes nothing before Enable.
	Disabled Setup = 1 << 6
	// SubmitAll goes on submitting behind an entry that is refused (5.18).
	SubmitAll Setup = 1 << 7
	// CoopTaskrun does not interrupt the program for completions (5.19).
	CoopTaskrun Setup = 1 << 8
	// TaskrunFlag lets WorkWaits report completions that wait to be posted (5.19).
	TaskrunFlag Setup = 1 << 9
	// SingleIssuer: one thread alone submits (6.0).
	SingleIssuer Setup = 1 << 12
	// DeferTaskrun posts completions only in Submit and Wait (6.1); it needs
	// SingleIssuer.
	DeferTaskrun Setup = 1 << 13

	setupCQSize Setup = 1 << 3

	// setupKnown are those for which this package is made: others change what
	// lies in the queues or who serves them.
	setupKnown = Disabled | SubmitAll | CoopTaskrun | TaskrunFlag | SingleIssuer | DeferTaskrun
)

// what the kernel allows, IORING_MAX_ENTRIES and IORING_MAX_CQ_ENTRIES.
const (
	maxEntries   = 1 << 15
	maxCQEntries = 1 << 16
)

// FeatureBits are the kernel's features (io_uring_setup(2), IORING_FEAT_).
type FeatureBits uint32

// Features that this package looks at.
const (
	featSingleMmap   FeatureBits = 1 << 0
	featNoDrop       FeatureBits = 1 << 1
	featSubmitStable FeatureBits = 1 << 2
	featExtArg       FeatureBits = 1 << 8
	featBundle       FeatureBits = 1 << 14
	featMinTimeout   FeatureBits = 1 << 15
	featNoIowait     FeatureBits = 1 << 17
)

// flags of io_uring_enter.
const (
	enterGetEvents      = 1 << 0
	enterExtArg         = 1 << 3
	enterRegisteredRing = 1 << 4
	enterNoIowait       = 1 << 7
)

// flags in the submission queue that the kernel sets.
const (
	sqCQOverflow = 1 << 1
	sqTaskrun    = 1 << 2
)

// opcodes of io_uring_register.
const (
	unregisterFiles      = 3
	registerFilesUpdate  = 6
	registerProbe        = 8
	registerEnableRings  = 12
	registerFiles2       = 13
	registerRingFDs      = 20
	unregisterRingFDs    = 21
	registerBufferRing   = 22
	unregisterBufferRing = 23
	registerSyncCancel   = 24

	rsrcSparse = 1 << 0
)

// flags of single operations.
const (
	recvMultishot   = 1 << 1 // IOPrio
	sendBundle      = 1 << 4
	acceptMultishot = 1 << 0
	pollMulti       = 1 << 0 // Len

	cancelAll = 1 << 0 // OpFlags
	cancelFD  = 1 << 1
	cancelAny = 1 << 2

	bufferRingIncremental = 1 << 1

	fileIndexAlloc = ^uint32(0)
)

// offsets for mmap.
const (
	offSQRing = 0
	offCQRing = 0x8000000
	offSQEs   = 0x10000000
)

type params struct {
	sqEntries, cqEntries uint32
	flags                Setup
	sqThreadCPU          uint32
	sqThreadIdle         uint32
	features             FeatureBits
	wqFD                 uint32
	_                    [3]uint32
	sq                   struct {
		head, tail, mask, entries, flags, dropped, array uint32
		_                                                uint32
		_                                                uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags uint32
		_                                                uint32
		_                                                uint64
	}
}

type getEventsArg struct {
	sigmask   uint64
	sigmaskSz uint32
	minWait   uint32 // µs
	timeout   uint64 // address of a kernelTime
}

// A kernelTime is a __kernel_timespec. Unlike unix.Timespec it is the same on
// machines of 32 bits.
type kernelTime struct {
	seconds, nanoseconds int64
}

type syncCancelArg struct {
	userData uint64
	fd       int32
	flags    uint32
	timeout  kernelTime
	op       Op
	_        [7]uint8
	_        [3]uint64
}

type bufferRingArg struct {
	addr    uint64
	entries uint32
	group   uint16
	flags   uint16
	_       [3]uint64
}

// A bufferEntry is a buffer in a buffer ring. The tail of the ring lies in the
// last two bytes of the first entry.
type bufferEntry struct {
	addr uint64
	len  uint32
	id   uint16
	tail uint16
}

type filesArg struct {
	count uint32
	flags uint32
	_     uint64
	data  uint64
	tags  uint64
}

type updateArg struct {
	offset uint32
	resv   uint32
	data   uint64
}

type probeOp struct {
	op    Op
	_     uint8
	flags uint16
	_     uint32
}

// opSupported is a flag of a probeOp.
const opSupported = 1 << 0

type probeArg struct {
	lastOp Op
	opsLen uint8
	_      uint16
	_      [3]uint32
	ops    [256]probeOp
}
