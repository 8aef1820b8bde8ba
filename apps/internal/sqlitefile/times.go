package sqlitefile

import "time"

// Millis is how moments are kept: milliseconds since 1970; 0 is the zero time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Moment is the time that Millis has made a number of, in UTC.
func Moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Kept is a moment as a database keeps it.
func Kept(t time.Time) time.Time { return Moment(Millis(t)) }
