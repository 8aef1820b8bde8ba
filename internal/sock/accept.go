package sock

import (
	"errors"
	"slices"
	"syscall"
)

// lostClient are the errors that accept(2) has of the connection that it would have
// accepted: its client has gone again, or the network to it has. Errors of the
// system, such as a lack of descriptors, are not among them.
var lostClient = append([]syscall.Errno{
	syscall.ECONNABORTED,
	syscall.EHOSTDOWN,
	syscall.EHOSTUNREACH,
	syscall.ENETDOWN,
	syscall.ENETUNREACH,
	syscall.ENOPROTOOPT,
	syscall.EOPNOTSUPP,
	syscall.EPROTO,
	syscall.ETIMEDOUT,
}, lostClientHere...)

// ClientLost reports whether an error of accepting concerns one client, and the next
// can be accepted at once (accept(2): treat it like EAGAIN by retrying).
func ClientLost(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number) && slices.Contains(lostClient, number)
}
