package socket_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi"
	"github.com/epinet/epi/internal/epitest"
)

func init() { roles["forbidden"] = forbiddenRole }

// What auto chooses depends on what else the engine is asked for.
func TestDriver_Auto(t *testing.T) {
	best := "uring"
	if epitest.UringMissing() != "" {
		best = "epoll-edge"
	}
	cases := []struct {
		name   string
		engine *epi.Engine
		driver string
	}{
		{"nothing else", &epi.Engine{}, best},
		{"one loop that spins", &epi.Engine{Loops: 1, Wait: epi.Spin()}, best},
		{"workers", &epi.Engine{Workers: 2}, "epoll-oneshot"},
		{"a trigger", &epi.Engine{Trigger: epi.TriggerLevel}, "epoll-level"},
		{"no threads", &epi.Engine{LockOSThread: epi.No}, "epoll-edge"},
		{"portable", &epi.Engine{Driver: epi.DriverPortable}, "portable"},
		{"portable with workers", &epi.Engine{Driver: epi.DriverPortable, Workers: 2}, "portable"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			e := tc.engine
			epitest.Start(t, e, epitest.EchoHandler)
			if s := e.Stats(); s.Driver != tc.driver || s.Reason == "" {
				t.Errorf("the driver is %q (%s), want %q", s.Driver, s.Reason, tc.driver)
			}
		})
	}
}

func TestDriver_PortableHasNoTrigger(t *testing.T) {
	const want = `epi: the portable driver has no trigger, and "edge" was asked for: choose epoll, on Linux`
	_, err := (&epi.Engine{Driver: epi.DriverPortable, Trigger: epi.TriggerEdge}).Loop(0)
	if err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

func TestDriver_UnknownChoiceOfThreads(t *testing.T) {
	const want = "epi: Engine.LockOSThread is 9: choose epi.Auto, epi.Yes or epi.No"
	for _, m := range epitest.Modes() {
		e := m.Engine()
		e.LockOSThread = 9
		if _, err := e.Loop(0); err == nil || err.Error() != want {
			t.Errorf("%s: the error is %v, want %s", m, err, want)
		}
	}
}

func TestDriver_UringRefuses(t *testing.T) {
	if why := epitest.UringMissing(); why != "" {
		t.Skip(why)
	}
	for _, tc := range []struct {
		engine *epi.Engine
		want   string
	}{
		{&epi.Engine{Driver: epi.DriverUring, Trigger: epi.TriggerEdge}, `epi: the uring driver has no trigger, and "edge" was asked for: choose epoll`},
		{&epi.Engine{Driver: epi.DriverUring, LockOSThread: epi.No}, "epi: the uring driver needs a thread for each loop: LockOSThread cannot be No; choose epoll"},
		{&epi.Engine{Driver: epi.DriverUring, BufferPool: -1}, "epi: Engine.BufferPool is -1: it cannot be negative; 0 chooses the default"},
	} {
		if _, err := tc.engine.Loop(0); err == nil || err.Error() != tc.want {
			t.Errorf("the error is %v, want %s", err, tc.want)
		}
	}
}

// TestDriver_UringForbidden runs where io_uring_setup(2) fails, as in many
// containers.
func TestDriver_UringForbidden(t *testing.T) {
	for _, tc := range []struct {
		errno unix.Errno
		why   string
	}{
		{unix.EPERM, "seccomp"},
		{unix.ENOSYS, "seccomp"},
		{unix.ENOMEM, "KiB"},
		{unix.EINVAL, "Linux 6.1"},
	} {
		t.Run(tc.errno.Error(), func(t *testing.T) {
			c := epitest.StartChild(t, "forbidden", "setup", strconv.Itoa(int(tc.errno)))
			var found []string // of auto: driver, reason, echo; of uring: its error
			if err := json.Unmarshal([]byte(c.ReadLine()), &found); err != nil {
				t.Fatal(err)
			}
			c.End()
			if found[0] != "epoll-edge" || !strings.Contains(found[1], tc.why) || found[2] != "hello" {
				t.Errorf("auto has chosen %s: %q and echoes %q", found[0], found[1], found[2])
			}
			if !strings.Contains(found[3], tc.why) || !strings.Contains(found[3], "choose auto or epoll") {
				t.Errorf("the error of the uring driver is %q", found[3])
			}
		})
	}
}

// TestHunt03_AutoServesWithoutMoreRings runs where the kernel has given a ring,
// and then gives none, or no buffers for it.
func TestHunt03_AutoServesWithoutMoreRings(t *testing.T) {
	if why := epitest.UringMissing(); why != "" {
		t.Skip(why)
	}
	for _, call := range []string{"setup", "register"} {
		for _, errno := range []unix.Errno{unix.ENOMEM, unix.ENOSYS, unix.EPERM, unix.EMFILE} {
			t.Run(call+"/"+unix.ErrnoName(errno), func(t *testing.T) {
				c := epitest.StartChild(t, "forbidden", call, strconv.Itoa(int(errno)), "later")
				var found []string // as in TestDriver_UringForbidden
				if err := json.Unmarshal([]byte(c.ReadLine()), &found); err != nil {
					t.Fatal(err)
				}
				c.End()
				if found[0] != "epoll-edge" || !strings.Contains(found[1], errno.Error()) || found[2] != "hello" {
					t.Errorf("auto has chosen %s: %q and echoes %q", found[0], found[1], found[2])
				}
				if !strings.Contains(found[3], "make loop 1 of ") || !strings.Contains(found[3], errno.Error()) {
					t.Errorf("the error of the uring driver is %q", found[3])
				}
				const limit = "all programs of this user may lock 64 KiB together (RLIMIT_MEMLOCK): raise the limit"
				if errno == unix.ENOMEM && !strings.Contains(found[3], limit) {
					t.Errorf("the error of the uring driver is %q, without the limit", found[3])
				}
			})
		}
	}
}

// forbiddenRole forbids a system call of io_uring to itself, from the start or
// after an engine has had its rings, and reports what becomes of an engine.
func forbiddenRole(args []string) error {
	errno, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if len(args) > 2 {
		if _, err := echoOnce(&epi.Engine{Driver: epi.DriverUring, Logger: epitest.NoLog()}, "hello"); err != nil {
			return err
		}
		limit := unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
			return err
		}
	}
	call := map[string]uint32{"setup": unix.SYS_IO_URING_SETUP, "register": unix.SYS_IO_URING_REGISTER}[args[0]]
	if err := forbid(call, unix.Errno(errno)); err != nil {
		return err
	}
	e := epi.Engine{Logger: epitest.NoLog()}
	heard, err := echoOnce(&e, "hello")
	if err != nil {
		return err
	}
	stats := e.Stats()
	_, err = (&epi.Engine{Driver: epi.DriverUring}).Loop(0)
	return json.NewEncoder(os.Stdout).Encode([]string{stats.Driver, stats.Reason, heard, fmt.Sprint(err)})
}

// echoOnce runs the engine for one client that sends text, and returns what
// comes back.
func echoOnce(e *epi.Engine, text string) (string, error) {
	ln, err := e.Listen("tcp://127.0.0.1:0", epitest.EchoHandler)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return "", err
	}
	_, err = io.WriteString(c, text)
	heard, readErr := io.ReadAll(io.LimitReader(c, int64(len(text))))
	err = errors.Join(err, readErr, c.Close())
	cancel()
	return string(heard), errors.Join(err, <-ended)
}

// forbid makes a system call fail in all threads of this process, by a seccomp
// filter (seccomp(2)).
func forbid(call uint32, errno unix.Errno) error {
	const number = 0 // of the system call in seccomp_data
	return install([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	})
}

func install(filter []unix.SockFilter) error {
	runtime.LockOSThread() // the first call is for the thread, the second for all
	defer runtime.UnlockOSThread()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if failed != 0 {
		return failed
	}
	return nil
}
