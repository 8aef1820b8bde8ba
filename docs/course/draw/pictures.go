package main

import (
	"fmt"
	"strings"
)

// pictures returns every picture by the name of its file.
func pictures() map[string]string {
	svgs := map[string]string{}
	for name, draw := range map[string]func() *canvas{
		"01-select": selectScan, "02-epoll": epollLists, "03-limits": limits, "04-register": duplicates,
		"05-wait": timeouts, "06-trigger": signal, "07-echo": echo, "08-chat": rooms,
		"09-lookup": lookup, "10-boss": boss, "11-systems": frames,
	} {
		svgs[name+".svg"] = draw().svg()
	}
	return svgs
}

func selectScan() *canvas {
	c := &canvas{height: 150, title: "select looks at each bit from the first to the last"}
	c.left(20, 30, "fd_set")
	for i := range 15 {
		class, bit := "box", "1"
		if i == 9 {
			class = "hot"
		}
		c.box(class, 20+i*36, 45, 34, 34, bit)
	}
	c.text(590, 67, "… 1023")
	c.arrow(22, 105, 560, 105)
	c.text(290, 135, "O(n)")
	return c
}

func epollLists() *canvas {
	c := &canvas{height: 210, title: "the kernel keeps the interest list; only what is ready goes to the ready list and to the program"}
	c.left(20, 25, "kernel")
	c.path("line", "M20,150H620")
	c.left(20, 172, "program")
	c.text(130, 55, "interest list")
	for i := range 5 {
		class := "box"
		if i == 1 || i == 3 {
			class = "hot"
		}
		c.box(class, 30+i*44, 68, 40, 34, fmt.Sprint(i+5))
	}
	c.arrow(260, 85, 375, 85)
	c.text(430, 55, "ready list")
	c.box("hot", 385, 68, 40, 34, "6")
	c.box("hot", 429, 68, 40, 34, "8")
	c.arrow(428, 108, 428, 172)
	c.text(428, 198, "epoll_wait → 6, 8")
	c.arrow(130, 172, 130, 110)
	c.text(130, 198, "epoll_ctl")
	return c
}

func limits() *canvas {
	c := &canvas{height: 200, title: "the limit of a process is inside that of a user, inside that of the machine"}
	c.box("box", 20, 15, 600, 170, "")
	c.left(35, 40, "fs.file-max, fs.epoll.max_user_watches")
	c.box("calm", 60, 55, 520, 115, "")
	c.left(75, 80, "fs.nr_open, hard RLIMIT_NOFILE")
	c.box("hot", 110, 95, 420, 60, "soft RLIMIT_NOFILE (ulimit -n) → EMFILE")
	return c
}

func duplicates() *canvas {
	c := &canvas{height: 190, title: "two descriptors name one open file description; epoll's registration is on the description"}
	c.box("box", 30, 30, 90, 40, "fd 7")
	c.box("box", 30, 120, 90, 40, "fd 9 (dup)")
	c.box("calm", 240, 65, 160, 60, "open file")
	c.arrow(120, 50, 238, 85)
	c.arrow(120, 140, 238, 105)
	c.box("hot", 490, 65, 130, 60, "epoll: 7")
	c.arrow(488, 95, 404, 95)
	return c
}

func timeouts() *canvas {
	c := &canvas{height: 190, title: "timeout 0 returns at once, a tick returns when it has passed, minus one waits for an event"}
	for i, row := range []struct {
		words string
		ends  []int
	}{
		{"0", []int{135, 160, 185, 210, 235, 260, 285, 310, 335, 360, 385, 410, 435, 460, 485, 510, 535, 560, 585, 610}},
		{"20 ms", []int{230, 330, 430, 530}},
		{"-1", []int{470}},
	} {
		y := 35 + i*50
		c.left(20, y+5, row.words)
		from := 110
		for _, end := range row.ends {
			c.path("line", fmt.Sprintf("M%d,%dH%d", from, y, end-6))
			c.path("mark", fmt.Sprintf("M%d,%dV%d", end-3, y-12, y+12))
			from = end
		}
		c.path("line", fmt.Sprintf("M%d,%dH620", from, y))
	}
	c.text(467, 178, "event")
	return c
}

func signal() *canvas {
	const bits = "0000111000111000111"
	c := &canvas{height: 170, title: "for the signal 0000111000111000111 level reports nine times and edge three times"}
	var line strings.Builder
	line.WriteString("M90,60")
	last := '0'
	for i, bit := range bits {
		x := 90 + i*28
		y := 60
		if bit == '1' {
			y = 25
			c.path("mark", fmt.Sprintf("M%d,90v20", x+14))
			if last == '0' {
				c.path("mark", fmt.Sprintf("M%d,130v20", x+3))
			}
		}
		fmt.Fprintf(&line, "L%d,%dH%d", x, y, x+28)
		last = bit
	}
	c.path("line", line.String())
	c.left(15, 106, "level 9")
	c.left(15, 146, "edge 3")
	return c
}

func echo() *canvas {
	c := &canvas{height: 160, title: "what was read waits in the server's own buffer until it is written back"}
	c.box("box", 20, 55, 90, 50, "client")
	c.box("calm", 200, 20, 130, 40, "receive buffer")
	c.box("calm", 200, 100, 130, 40, "send buffer")
	c.box("hot", 450, 55, 160, 50, "pending bytes")
	c.arrow(110, 70, 196, 42)
	c.arrow(332, 40, 446, 68)
	c.text(410, 38, "read")
	c.arrow(448, 92, 334, 118)
	c.text(415, 128, "write")
	c.arrow(198, 118, 112, 92)
	return c
}

func rooms() *canvas {
	c := &canvas{height: 170, title: "a line goes to those in the speaker's room only"}
	c.box("calm", 20, 20, 290, 130, "")
	c.left(35, 45, "lobby")
	c.box("hot", 50, 80, 60, 40, "a")
	c.box("box", 140, 60, 60, 36, "b")
	c.box("box", 220, 105, 60, 36, "c")
	c.arrow(112, 95, 138, 82)
	c.arrow(112, 108, 218, 122)
	c.box("calm", 340, 20, 280, 130, "")
	c.left(355, 45, "epoll")
	c.box("box", 390, 80, 60, 40, "d")
	c.box("box", 500, 80, 60, 40, "e")
	return c
}

func lookup() *canvas {
	c := &canvas{height: 170, title: "a scan looks at each record before the right one, a slot at that alone"}
	for row, words := range []string{"scan", "slot"} {
		y := 25 + row*75
		c.left(20, y+22, words)
		for i := range 12 {
			class := "box"
			if i == 9 {
				class = "hot"
			} else if row == 0 && i < 9 {
				class = "calm"
			}
			c.box(class, 100+i*43, y, 40, 32, fmt.Sprint(i))
		}
	}
	c.arrow(105, 72, 505, 72)
	c.arrow(507, 165, 507, 136)
	return c
}

func boss() *canvas {
	c := &canvas{height: 200, title: "the boss waits and queues, a worker takes a session and arms it again"}
	c.box("calm", 20, 50, 100, 50, "boss")
	c.arrow(122, 75, 188, 75)
	for i := range 4 {
		c.box("hot", 192+i*36, 58, 34, 34, "")
	}
	c.text(262, 45, "queue")
	c.arrow(340, 75, 418, 45)
	c.arrow(340, 75, 418, 105)
	c.box("box", 420, 25, 110, 40, "worker")
	c.box("box", 420, 85, 110, 40, "worker")
	c.path("line", "M475,128V165H70")
	c.arrow(70, 165, 70, 103)
	c.text(280, 187, "EPOLL_CTL_MOD (ONESHOT)")
	return c
}

func frames() *canvas {
	c := &canvas{height: 120, title: "a frame that has come by half waits for the rest"}
	c.box("hot", 20, 30, 90, 44, "00000005")
	c.box("calm", 112, 30, 120, 44, "hello")
	c.box("hot", 250, 30, 90, 44, "00000009")
	c.box("calm", 342, 30, 70, 44, "half")
	c.path("line", "M414,30h120v44h-120")
	c.text(474, 57, "…")
	c.text(126, 100, "length + bytes")
	c.text(440, 100, "EAGAIN → wait")
	return c
}
