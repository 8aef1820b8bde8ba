package cli

import (
	"math"
	"syscall"
	"testing"
	"testing/fstest"
)

func TestMemoryRoom(t *testing.T) {
	const machine, group = 8 << 30, 512 << 20
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	meminfo := file("MemTotal:        8388608 kB\nMemFree:          100000 kB\n")
	for _, row := range []struct {
		name string
		root fstest.MapFS
		want int
	}{
		{"nothing is known", fstest.MapFS{}, math.MaxInt},
		{"the machine's", fstest.MapFS{"proc/meminfo": meminfo}, machine},
		{"the group's", fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("536870912\n"), "sys/fs/cgroup/a/memory.max": file("max\n"),
		}, group},
		{"that of the group above", fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("1:cpu:/x\n0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.max": file("536870912\n"),
		}, group},
		{"that of a container, whose group is the root", fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("536870912\n"),
		}, group},
		{"above the machine's", fstest.MapFS{
			"proc/meminfo": meminfo, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("9223372036854771712\n"),
		}, machine},
		{"garbage", fstest.MapFS{"proc/meminfo": file("MemTotal: much\n"), "proc/self/cgroup": file("0::/../..\n")}, math.MaxInt},
	} {
		if got := memoryRoomIn(row.root); got != row.want {
			t.Errorf("%s: %d bytes, want %d", row.name, got, row.want)
		}
	}
}

func TestHostile05_ServersBoundTheirMemory(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want int
	}{
		{"default", nil, memoryRoom() / memoryShare},
		{"a flag", []string{"--max-memory", "3GiB"}, 3 << 30},
		{"none", []string{"--max-memory", "0"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := start(t, append([]string{"echo", "--json", "--listen", "tcp://127.0.0.1:0"}, test.args...)...)
			if begun := await[startEvent](p, "start"); begun.MaxMemory != test.want || test.want == math.MaxInt/memoryShare {
				t.Errorf("the connections may hold %d bytes, want %d", begun.MaxMemory, test.want)
			}
			p.signal(syscall.SIGTERM)
			p.end(exitDone)
		})
	}
}
