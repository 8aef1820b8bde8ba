package uring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Features are what the running kernel has beyond what this package needs.
type Features struct {
	Incremental bool // buffers that are filled by several receives (6.12)
	RecvLimit   bool // RecvMultishot takes a limit (6.17)
	Bundle      bool // SendBundle (6.10)
	MinWait     bool // WaitBatch (6.12)
	SendZC      bool // SendZC and SendMsgZC (6.1)
}

// Probe finds out whether a server can run on io_uring here: rings with
// SingleIssuer and DeferTaskrun, multishot accept and receive, buffer rings
// (all there since Linux 6.1). The error says what is missing or forbidden and
// what can be done about it. It finds out by trying: once, unless the answer is
// no, which may have been for lack of descriptors or memory.
func Probe() (Features, error) {
	probed.mu.Lock()
	defer probed.mu.Unlock()
	if probed.features == nil {
		f, err := try()
		if err != nil {
			return Features{}, err
		}
		probed.features = &f
	}
	return *probed.features, nil
}

// probed is what Probe has found; nil while it has not.
var probed struct {
	mu       sync.Mutex
	features *Features // guarded by mu
}

func try() (Features, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := New(Config{Entries: 8, Setup: SingleIssuer | DeferTaskrun | TaskrunFlag | SubmitAll})
	if err != nil {
		return Features{}, err
	}
	defer func() { _ = r.Close() }() // nothing is under way
	f, err := r.probe()
	if err != nil {
		return Features{}, fmt.Errorf("uring: %w; Linux 6.1 has all that is needed", err)
	}
	return f, nil
}

// neededOps are the operations of a server.
var neededOps = []struct {
	op   Op
	name string
}{{OpAccept, "accept"}, {OpRecv, "recv"}, {OpSend, "send"}, {OpSendMsg, "sendmsg"}, {OpCancel, "cancel"}, {OpPollAdd, "poll"}}

func (r *Ring) probe() (Features, error) {
	var ops probeArg
	if _, err := r.register(registerProbe, unsafe.Pointer(&ops), uintptr(len(ops.ops))); err != nil {
		return Features{}, err
	}
	has := func(op Op) bool { return op <= ops.lastOp && ops.ops[op].flags&opSupported != 0 }
	for _, needed := range neededOps {
		if !has(needed.op) {
			return Features{}, fmt.Errorf("the kernel lacks the operation %s", needed.name)
		}
	}
	f := Features{
		Bundle:  r.features&featBundle != 0,
		MinWait: r.features&featMinTimeout != 0,
		SendZC:  has(OpSendMsgZC),
	}
	plain, err := r.NewBuffers(1, 2, 16, false)
	if err != nil {
		return Features{}, err
	}
	if err := r.tryRecv(plain, 0); err != nil {
		return Features{}, fmt.Errorf("multishot receive: %w", err)
	}
	f.RecvLimit = r.tryRecv(plain, 1) == nil
	incremental, err := r.NewBuffers(2, 2, 16, true)
	f.Incremental = err == nil && r.tryRecv(incremental, 0) == nil
	return f, nil
}

// tryRecv receives one byte by RecvMultishot, which a limit must end. Without a
// limit the end of the stream does.
func (r *Ring) tryRecv(b *Buffers, limit int) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer func() { _ = unix.Close(pair[0]) }()
	_, err = unix.Write(pair[1], []byte{1})
	_ = unix.Close(pair[1])
	if err != nil {
		return os.NewSyscallError("write", err)
	}
	r.SQE().RecvMultishot(pair[0], b.Group(), limit)
	received := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if err := r.Wait(1, time.Second); err != nil {
			return err
		}
		c, ok := r.Next()
		if !ok {
			continue // a signal
		}
		received += len(b.Bytes(c))
		b.Recycle(c)
		if c.More() {
			continue
		}
		if received != 1 {
			return errors.Join(errors.New("the byte did not arrive"), c.Err())
		}
		return c.Err()
	}
	return errors.New("it does not end")
}
