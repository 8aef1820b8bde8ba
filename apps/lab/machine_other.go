//go:build !linux

package lab

import "runtime"

// askSystem fills in what is known without system calls.
func (m *Machine) askSystem() { m.Kernel = runtime.GOOS }
