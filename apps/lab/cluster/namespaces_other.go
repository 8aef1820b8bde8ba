//go:build !linux

package cluster

import "errors"

// A namespaces is of Linux.
type namespaces struct{ loopback }

// Namespaces says why there can be none here.
func Namespaces() error { return errors.New("this system has no network namespaces") }

func (*namespaces) place([]*node) error { return Namespaces() }
