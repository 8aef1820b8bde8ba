//go:build !linux

package load

import "math"

// defaultPorts is the number of ephemeral ports where the system does not say
// (RFC 6335, section 6).
const defaultPorts = 65535 - 49152 + 1

// thisMachine knows no limits of this process: the system reports one when it is
// met.
func thisMachine() (machine, error) { return machine{files: math.MaxInt32, ports: defaultPorts}, nil }

// sharpenTimers has nothing to sharpen.
func sharpenTimers() {}
