package cli

import (
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// memoryRoom returns the bytes of memory that this process can have at most: what
// the machine has, or its control group allows (cgroups(7), version 2). It is
// math.MaxInt where that is not known.
func memoryRoom() int { return memoryRoomIn(os.DirFS("/")) }

func memoryRoomIn(root fs.FS) int {
	room := math.MaxInt
	meminfo, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(meminfo)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err == nil && kib > 0 && kib <= math.MaxInt>>10 {
				room = kib << 10
			}
		}
	}
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/")
		if !ok {
			continue
		}
		// A group has the limits of those above it, too.
		for dir := path.Join("sys/fs/cgroup", group); strings.HasPrefix(dir, "sys/fs/cgroup"); dir = path.Dir(dir) {
			text, _ := fs.ReadFile(root, path.Join(dir, "memory.max"))
			if limit, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && limit > 0 { // not "max"
				room = min(room, limit)
			}
		}
	}
	return room
}
