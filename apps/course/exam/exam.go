// Package exam holds a server program against the exercises of the course. The
// program may be in any language: it is started as a process, talked to over TCP,
// stopped and continued by signals, and watched through /proc, and by strace where
// that is there. It needs Linux.
//
// No verdict depends on how fast the machine is. A server is said to hang when all its
// threads sleep and nothing has come, and to spin by the CPU time that it uses.
package exam

// A Verdict is what became of one check.
type Verdict string

// The verdicts.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped" // it cannot be made here; the text says why
)

// A Result is the verdict of one check on a program.
type Result struct {
	Check   string // its name
	Verdict Verdict
	Text    string // what a failed server has done, or why the check was skipped
}

// An Exercise is a chapter that has checks.
type Exercise struct {
	Chapter int
	Title   string
}
