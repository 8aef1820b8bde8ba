package driver

// PipeSize bounds what a pipe holds.
const PipeSize = 1 << 20

// A Pipe holds bytes in the kernel on their way from one socket to another.
type Pipe struct {
	read, write int // its descriptors
	held        int // how many bytes are in it
	unfit       bool
}

// Held returns how many bytes are in the pipe.
func (p *Pipe) Held() int { return p.held }

// Unfit reports that the system does not move bytes by this pipe; it will not by
// another.
func (p *Pipe) Unfit() bool { return p.unfit }

// A Splicer is a Driver that can pass bytes on from socket to socket without
// copying them (splice(2)). Stream.Room offers it an empty pipe for what arrives;
// SendPipe is Send for what lies in one.
type Splicer interface {
	Driver
	// NewPipe returns an empty pipe, or nil when descriptors are used up.
	NewPipe() *Pipe
	// ClosePipe throws away the pipe and what is in it.
	ClosePipe(p *Pipe)
	// Relay says whether Room is likely to offer pipes from now on.
	Relay(s *Socket, on bool)
	// SendPipe offers what lies in the pipe to the kernel, as Send does. No Send
	// may be pending.
	SendPipe(s *Socket, p *Pipe) (n int, pending bool, err error)
	// ReadPipe empties an unfit pipe.
	ReadPipe(p *Pipe) ([]byte, error)
}
