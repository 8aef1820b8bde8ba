//go:build !linux

package driver

import "github.com/epinet/epi/poll"

func newSystem(s *Shared, _ poll.Backend) System { return (*portableSystem)(s) }
