package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// ThisMachine describes the machine that the program runs on. What cannot be
// found out stays zero.
func ThisMachine() Machine {
	m := Machine{CPU: processor(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Ports: ports()}
	m.askSystem()
	return m
}

// processor returns the model of the first CPU, proc_cpuinfo(5), or the
// architecture where there is none.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, model, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}

// ports returns the number of ephemeral ports for one source address, ip(7).
func ports() int {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0
	}
	var first, last int
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		return 0
	}
	return last - first + 1
}
