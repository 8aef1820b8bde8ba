package epitest

import (
	"github.com/epinet/epi"
	"github.com/epinet/epi/uring"
)

// UringMissing says why this machine has no io_uring; it is empty when it has.
func UringMissing() string {
	if _, err := uring.Probe(); err != nil {
		return err.Error()
	}
	return ""
}

// nativeModes returns the drivers that make system calls by themselves.
func nativeModes(workers int) []Mode {
	modes := []Mode{
		{Driver: epi.DriverSelect, Workers: workers},
		{Driver: epi.DriverPoll, Workers: workers},
		{Driver: epi.DriverEpoll, Trigger: epi.TriggerLevel, Workers: workers},
		{Driver: epi.DriverEpoll, Trigger: epi.TriggerEdge, Workers: workers},
		{Driver: epi.DriverEpoll, Trigger: epi.TriggerOneShot, Workers: workers},
	}
	if UringMissing() == "" {
		modes = append(modes, Mode{Driver: epi.DriverUring, Workers: workers})
	}
	return modes
}
