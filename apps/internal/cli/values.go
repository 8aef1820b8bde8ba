package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/epinet/epi"
)

// A value is a flag whose text is checked when the command line is read. It is
// a pflag.Value.
type value[T any] struct {
	to    *T
	text  string // as given; first the default, for the help
	parse func(text string) (T, error)
}

func (v *value[T]) Set(text string) error {
	got, err := v.parse(text)
	if err != nil {
		return err
	}
	*v.to, v.text = got, text
	return nil
}

func (v *value[T]) String() string { return v.text }

// Type is what the help shows where a flag's description has no name for it.
func (v *value[T]) Type() string { return "value" }

// maxCount is far above what any count of this program can be good for, and
// leaves room to compute with.
const maxCount = math.MaxInt32

// count is a number that cannot be negative.
func count(to *int) *value[int] {
	return &value[int]{to: to, parse: func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxCount {
			return 0, fmt.Errorf("write a whole number from 0 to %d", maxCount)
		}
		return n, nil
	}}
}

// countFrom1 is a number of what there must be some of: 0 must not mean what is
// meant without the flag.
func countFrom1(to *int) *value[int] {
	return &value[int]{to: to, parse: func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxCount {
			return 0, fmt.Errorf("write a whole number from 1 to %d", maxCount)
		}
		return n, nil
	}}
}

// sizeUnits are what numbers of bytes can be written with.
var sizeUnits = []struct {
	name  string
	bytes int
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}, {"", 1}}

// sizeValue is a number of bytes above 0; text is the default.
func sizeValue(to *int, text string) *value[int] {
	return &value[int]{to: to, text: text, parse: func(text string) (int, error) {
		n, err := parseSize(text, maxCount)
		if err != nil || n < 1 {
			return 0, errors.New("write a number of bytes above 0 and below 2GiB, such as 4096, 64KiB or 16MiB")
		}
		return n, nil
	}}
}

// memoryValue is a number of bytes; 0 means any.
func memoryValue(to *int) *value[int] {
	return &value[int]{to: to, parse: func(text string) (int, error) {
		n, err := parseSize(text, math.MaxInt)
		if err != nil || n < 0 {
			return 0, errors.New("write a number of bytes such as 512MiB or 4GiB; 0 for any")
		}
		return n, nil
	}}
}

// parseSize reads a number of bytes, with one of the sizeUnits.
func parseSize(text string, most int) (int, error) {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n > most/unit.bytes {
			break
		}
		return n * unit.bytes, nil
	}
	return 0, strconv.ErrSyntax
}

// timeout is a duration; 0 means none.
func timeout(to *time.Duration) *value[time.Duration] {
	return &value[time.Duration]{to: to, parse: func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return 0, errors.New("write a duration such as 500ms, 30s or 5m; 0 for none")
		}
		return d, nil
	}}
}

// limit is a duration that is always there.
func limit(to *time.Duration) *value[time.Duration] {
	return &value[time.Duration]{to: to, parse: func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return 0, errors.New("write a duration above 0 such as 500ms, 30s or 5m")
		}
		return d, nil
	}}
}

// fileValue is the name of a file. An empty one is a mistake, of a variable that
// is not set perhaps, and must not mean what is meant without the flag.
func fileValue(to *string) *value[string] {
	return &value[string]{to: to, parse: func(text string) (string, error) {
		if text == "" {
			return "", errors.New("write the name of a file")
		}
		return text, nil
	}}
}

// A way is how I/O is done: the engine's driver and its trigger.
type way struct {
	driver  epi.Driver
	trigger epi.Trigger
}

var ways = map[string]way{
	"auto":          {epi.DriverAuto, epi.TriggerAuto},
	"select":        {epi.DriverSelect, epi.TriggerAuto},
	"poll":          {epi.DriverPoll, epi.TriggerAuto},
	"epoll":         {epi.DriverEpoll, epi.TriggerAuto},
	"epoll-level":   {epi.DriverEpoll, epi.TriggerLevel},
	"epoll-edge":    {epi.DriverEpoll, epi.TriggerEdge},
	"epoll-oneshot": {epi.DriverEpoll, epi.TriggerOneShot},
	"uring":         {epi.DriverUring, epi.TriggerAuto},
	"portable":      {epi.DriverPortable, epi.TriggerAuto},
}

// wayNames are the keys of ways, in the order of the help.
const wayNames = "auto, select, poll, epoll, epoll-{level,edge,oneshot}, uring or portable"

func wayValue(to *way) *value[way] {
	return &value[way]{to: to, text: "auto", parse: func(text string) (way, error) {
		w, ok := ways[text]
		if !ok {
			return way{}, errors.New("write " + wayNames)
		}
		return w, nil
	}}
}

func choiceValue(to *epi.Choice) *value[epi.Choice] {
	choices := map[string]epi.Choice{"auto": epi.Auto, "yes": epi.Yes, "no": epi.No}
	return &value[epi.Choice]{to: to, text: "auto", parse: func(text string) (epi.Choice, error) {
		choice, ok := choices[text]
		if !ok {
			return 0, errors.New("write auto, yes or no")
		}
		return choice, nil
	}}
}

func waitValue(to *epi.WaitPolicy) *value[epi.WaitPolicy] {
	return &value[epi.WaitPolicy]{to: to, text: "block", parse: parseWait}
}

// parseWait is the inverse of WaitPolicy.String.
func parseWait(text string) (epi.WaitPolicy, error) {
	switch text {
	case "block":
		return epi.Block(), nil
	case "spin":
		return epi.Spin(), nil
	}
	period, spin := strings.CutPrefix(text, "spin:")
	d, err := time.ParseDuration(period)
	if err != nil || d <= 0 {
		return epi.WaitPolicy{}, errors.New("write block, spin, spin:DURATION or DURATION, with a duration above 0 such as 50us or 100ms")
	}
	if spin {
		return epi.SpinFor(d), nil
	}
	return epi.WaitEvery(d), nil
}

func levelValue(to *slog.Level) *value[slog.Level] {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug,
		"info":  slog.LevelInfo,
		"warn":  slog.LevelWarn,
		"error": slog.LevelError,
	}
	*to = slog.LevelWarn
	return &value[slog.Level]{to: to, text: "warn", parse: func(text string) (slog.Level, error) {
		level, ok := levels[text]
		if !ok {
			return 0, errors.New("write debug, info, warn or error")
		}
		return level, nil
	}}
}

// prefixesValue is networks, one each time that the flag is given.
func prefixesValue(to *[]netip.Prefix) *value[[]netip.Prefix] {
	return &value[[]netip.Prefix]{to: to, parse: func(text string) ([]netip.Prefix, error) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, errors.New("write a network in CIDR form such as 10.0.0.0/8 or 127.0.0.1/32")
		}
		return append(*to, p.Masked()), nil
	}}
}

// usersValue is users of this machine, one each time that the flag is given.
func usersValue(to *[]uint32) *value[[]uint32] {
	return &value[[]uint32]{to: to, parse: func(text string) ([]uint32, error) {
		number := text
		if u, err := user.Lookup(text); err == nil {
			number = u.Uid
		}
		id, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil, errors.New("write the name of a user of this machine, or a number")
		}
		return append(*to, uint32(id)), nil
	}}
}
