//go:build !linux

package cluster

import "errors"

// A namespaces is of Linux.
type namespaces struct{ loopback }

func (*namespaces) place([]*node) error { return errors.New("this system has no network namespaces") }
