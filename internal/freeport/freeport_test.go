package freeport

import (
	"net"
	"testing"
)

func TestNoPortIsGivenTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 50 {
		address, err := Next()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address] {
			t.Errorf("%s was given twice", address)
		}
		seen[address] = true
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
	}
}
