package load

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/epinet/epi/internal/sock"
)

// defaultPorts is the number of ephemeral ports where the system does not say
// (ip(7), ip_local_port_range).
const defaultPorts = 60999 - 32768 + 1

// thisMachine looks at the limits of this process.
func thisMachine() (machine, error) {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return machine{}, fmt.Errorf("count the open files: %w", err)
	}
	return machine{files: sock.OpenFiles(), open: len(open), ports: ephemeralPorts()}, nil
}

func ephemeralPorts() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var low, high int
	if err != nil {
		return defaultPorts
	}
	if n, err := fmt.Sscan(string(text), &low, &high); n != 2 || err != nil || high < low {
		return defaultPorts
	}
	return high - low + 1
}

// sharpenTimers lets the sleeps of this thread end on time: by default the
// kernel may add 50 µs to be able to wake several threads at once
// (prctl(2), PR_SET_TIMERSLACK).
func sharpenTimers() {
	// It fails only on kernels without timer slack, which are sharp.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
}
