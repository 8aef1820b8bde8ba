package epitest

import (
	"regexp"
	"runtime"
)

// CallOnStack returns the function that the caller runs inside and whose name
// matches, or "".
func CallOnStack(name *regexp.Regexp) string {
	pcs := make([]uintptr, 100)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		f, more := frames.Next()
		if name.MatchString(f.Function) {
			return f.Function
		}
		if !more {
			return ""
		}
	}
}
