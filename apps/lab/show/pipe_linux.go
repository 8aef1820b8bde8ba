package show

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/poll"
)

var modes = []struct {
	name string
	mode poll.Mode
}{{"level", poll.Level}, {"edge", poll.Edge}, {"one-shot", poll.OneShot}}

// A pipe is watched by an epoll of its own.
type pipe struct {
	name        string
	mode        poll.Mode
	poller      poll.Poller
	read, write int
}

func newPipe(name string, mode poll.Mode) (*pipe, error) {
	poller, err := poll.New(poll.BackendEpoll)
	if err != nil {
		return nil, err
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("pipe2: %w", err), poller.Close())
	}
	p := &pipe{name, mode, poller, ends[0], ends[1]}
	if err := poller.Add(p.read, 1, poll.Readable, mode); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pipe) close() error {
	return errors.Join(p.poller.Close(), unix.Close(p.read), unix.Close(p.write))
}

// unread is how many bytes are in the pipe.
func (p *pipe) unread() (int, error) { return unix.IoctlGetInt(p.read, unix.TIOCINQ) }

// acts are what the buttons do. They return what was said, and the events of a wait.
var acts = map[string]func(p *pipe) (said string, events int, err error){
	"write": func(p *pipe) (string, int, error) {
		n, err := unix.Write(p.write, make([]byte, 1024))
		return said("write", n, err)
	},
	"read": func(p *pipe) (string, int, error) {
		n, err := unix.Read(p.read, make([]byte, 1024))
		return said("read", n, err)
	},
	"drain": func(p *pipe) (string, int, error) { // until EAGAIN
		for buf, all := make([]byte, 4096), 0; ; {
			n, err := unix.Read(p.read, buf)
			if err == unix.EAGAIN {
				return fmt.Sprintf("read … = %d, then EAGAIN", all), 0, nil
			}
			if err != nil {
				return "", 0, fmt.Errorf("read: %w", err)
			}
			all += n
		}
	},
	"arm": func(p *pipe) (string, int, error) {
		return "epoll_ctl(MOD) = 0", 0, p.poller.Modify(p.read, 1, poll.Readable, p.mode)
	},
	"wait": func(p *pipe) (string, int, error) {
		n, err := p.poller.Wait(make([]poll.Event, 1), 0)
		if err == nil && n == 0 {
			return "epoll_wait = 0: without a timeout it would block", 0, nil
		}
		return fmt.Sprintf("epoll_wait = %d: readable", n), n, err
	},
}

// said is the result of a system call; EAGAIN is one, too.
func said(call string, n int, err error) (string, int, error) {
	if err == unix.EAGAIN {
		return call + " = EAGAIN", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", call, err)
	}
	return fmt.Sprintf("%s = %d", call, n), 0, nil
}
