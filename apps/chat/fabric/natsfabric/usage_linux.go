//go:build !race

package natsfabric

import _ "unsafe" // for go:linkname

// NATS' server samples the process's CPU time from the first second on, once a second,
// in every program that it is linked into. A program that has no cluster is to sleep when it
// has nothing to do. Sampling ends when its file cannot be read; it serves pages of
// NATS' monitoring alone, which a node does not have.
//
// (With the race detector the file's name is left alone: sampling reads it without
// synchronization.)
//
//go:linkname sampled github.com/nats-io/nats-server/v2/server/pse.procStatFile
var sampled string

func init() { sampled = "" }
