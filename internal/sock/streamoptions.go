package sock

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// StreamOptions are what a stream socket can have besides its address. Connections
// inherit them from a listening one.
type StreamOptions struct {
	// Of listening sockets.
	ReusePort bool        // several may have one port, over which the kernel spreads connections
	Mode      fs.FileMode // of a Unix socket's file; 0: what the umask leaves

	// What is 0 is left to the system.
	NoKeepAlive               bool
	KeepIdle, KeepInterval    time.Duration
	KeepCount                 int
	UserTimeout               time.Duration
	ReceiveBuffer, SendBuffer int // bytes
	DSCP                      int

	// Control comes last, before bind and connect; or nil.
	Control func(network, address string, c syscall.RawConn) error
}

// KeepAlive is the part of package net: probes at the system's intervals, where
// nothing else is said, so that the connection of a peer that has vanished ends some
// day.
func (o *StreamOptions) KeepAlive() net.KeepAliveConfig {
	if o.NoKeepAlive {
		return net.KeepAliveConfig{}
	}
	config := net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}
	if o.KeepIdle > 0 {
		config.Idle = min(o.KeepIdle, maxProbeTime)
	}
	if o.KeepInterval > 0 {
		config.Interval = min(o.KeepInterval, maxProbeTime)
	}
	if o.KeepCount > 0 {
		config.Count = o.KeepCount
	}
	return config
}

// maxProbeTime is the longest interval that all systems know (Linux'
// MAX_TCP_KEEPIDLE).
const maxProbeTime = math.MaxInt16 * time.Second

// Prepare is the Control of a socket of package net, and of those that are made
// here: it comes before bind and connect.
func (o *StreamOptions) Prepare(network, address string, c syscall.RawConn) error {
	var err error
	failed := c.Control(func(fd uintptr) { err = o.set(network, fd) })
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	if o.Control == nil {
		return nil
	}
	return o.Control(network, address, c)
}

// PrepareListening is Prepare for a listening socket of package net.
func (o *StreamOptions) PrepareListening(network, address string, c syscall.RawConn) error {
	if o.ReusePort {
		if err := ReusePort(network, address, c); err != nil {
			return err
		}
	}
	return o.Prepare(network, address, c)
}

// PrepareDialing is Prepare for a socket of package net that connects.
func (o *StreamOptions) PrepareDialing(network, address string, c syscall.RawConn) error {
	if err := BindNoPort(network, address, c); err != nil {
		return err
	}
	return o.Prepare(network, address, c)
}

// set sets all that is not about keep-alive.
func (o *StreamOptions) set(network string, fd uintptr) error {
	if err := o.setBuffers(fd); err != nil {
		return err
	}
	if !strings.HasPrefix(network, "tcp") {
		if o.Mode != 0 {
			limitMode(fd, o.Mode.Perm())
		}
		return nil
	}
	if o.UserTimeout > 0 {
		if err := setUserTimeout(fd, milliseconds(o.UserTimeout)); err != nil {
			return fmt.Errorf("user timeout: %w", err)
		}
	}
	if o.DSCP > 0 {
		if err := setTrafficClass(fd, network == "tcp6", o.DSCP<<dscpShift); err != nil {
			return fmt.Errorf("DSCP: %w", err)
		}
	}
	return nil
}

// Chmod gives the file of a Unix socket its mode. Abstract names have none.
func (o *StreamOptions) Chmod(path string) error {
	if o.Mode == 0 || path == "" || strings.HasPrefix(path, "@") {
		return nil
	}
	return os.Chmod(path, o.Mode.Perm())
}

// dscpShift is where the code point lies in the traffic class (RFC 2474, section 3).
const dscpShift = 2

// milliseconds rounds up.
func milliseconds(d time.Duration) int {
	return int(min((d-1)/time.Millisecond+1, math.MaxInt32))
}
