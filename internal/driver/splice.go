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

// mostPipes bounds the pipes of a loop that hold bytes, of two descriptors each.
// Other bytes are copied.
const mostPipes = 64

// Pipes are what a loop has for splice(2). They are of the loop goroutine.
//
//	source ─ splice ─► spare ─ splice ─► destination        all of it was taken
//	                     └─► that of the destination  it has no more room
//
// A pipe that holds bytes belongs to the connection that they are to be sent on, and
// its queue counts them. They go before all that is written meanwhile.
type Pipes struct {
	Splicer Splicer // nil where there is none
	spare   *Pipe   // empty; nil until one is needed
	filled  int     // those that connections have
	refused bool    // the system does not splice
}

// Offer returns the spare pipe, or nil when there is none to be had.
func (p *Pipes) Offer() *Pipe {
	if p.spare != nil && p.spare.Unfit() {
		p.refused = true
		p.Release()
	}
	if p.spare == nil && p.Usable() {
		p.spare = p.Splicer.NewPipe()
	}
	return p.spare
}

// Usable reports whether a pipe is likely to be had.
func (p *Pipes) Usable() bool { return p.Splicer != nil && !p.refused && p.filled < mostPipes }

// Take makes the spare pipe a connection's.
func (p *Pipes) Take() *Pipe {
	pipe := p.spare
	p.spare = nil
	p.filled++
	return pipe
}

// Put takes a pipe back from a connection.
func (p *Pipes) Put(pipe *Pipe) {
	p.filled--
	if p.spare == nil && pipe.Held() == 0 {
		p.spare = pipe
		return
	}
	p.Splicer.ClosePipe(pipe)
}

// Release closes the spare pipe.
func (p *Pipes) Release() {
	if p.spare != nil {
		p.Splicer.ClosePipe(p.spare)
		p.spare = nil
	}
}
