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
		{epi.DriverSelect, epi.TriggerAuto, workers},
		{epi.DriverPoll, epi.TriggerAuto, workers},
		{epi.DriverEpoll, epi.TriggerLevel, workers},
		{epi.DriverEpoll, epi.TriggerEdge, workers},
		{epi.DriverEpoll, epi.TriggerOneShot, workers},
	}
	if UringMissing() == "" {
		modes = append(modes, Mode{epi.DriverUring, epi.TriggerAuto, workers})
	}
	return modes
}
