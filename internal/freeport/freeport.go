// Package freeport finds ports for programs that have to be given one to listen on.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range is below the ports that Linux gives to clients, and to those that listen on
// port 0, by default (ip(7), ip_local_port_range): nobody gets one of them by chance
// before the program that it is for.
const (
	lowest = 20000
	count  = 12000
	tries  = 1000
)

// given are the ports that this process was given. None is given twice: its program may
// not be up yet when it is tried again.
var given struct {
	sync.Mutex
	ports map[int]bool // guarded by Mutex
}

// Next returns an address of 127.0.0.1, as host:port, where nobody listens. It is safe
// for concurrent use.
func Next() (string, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil || len(given.ports) > count/2 {
		given.ports = map[int]bool{}
	}
	for range tries {
		port := lowest + rand.IntN(count)
		if given.ports[port] {
			continue
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		ln, err := net.Listen("tcp", address)
		if err != nil {
			continue // somebody has it
		}
		given.ports[port] = true
		return address, ln.Close()
	}
	return "", errors.New("no free port was found")
}
