package bench

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// programServers are programs of the directory examples beside the servers that people
// know, which the system has, and fasthttp. The first of a scheme is what the others
// are compared with.
func (b build) programServers(ctx context.Context) []Server {
	return []Server{
		packaged(references[schemeRedis], schemeRedis, "redis-server", redisConfig, dirMark+"/config"),
		b.example(ctx, "redis", schemeRedis),
		packaged(references[schemeMQTT], schemeMQTT, "mosquitto", mosquittoConfig, "-c", dirMark+"/config"),
		b.example(ctx, "mqtt", schemeMQTT),
		b.golang(ctx, references[schemeHTTP], "fasthttp", schemeHTTP),
		b.example(ctx, "http", schemeHTTP),
		packaged(references[schemeProxy], schemeProxy, "haproxy", haproxyConfig, "-f", dirMark+"/config"),
		b.example(ctx, "balancer", schemeProxy, "tcp://"+backendMark),
	}
}

// example builds a program of the directory examples.
func (b build) example(ctx context.Context, name, scheme string, args ...string) Server {
	program := filepath.Join(b.out, "example-"+name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./examples/"+name)
	cmd.Dir = filepath.Join(b.sources, "..", "..", "..") // of apps/lab/peers
	s := b.result("examples/"+name, program, cmd, "it needs the Go tool chain and a clone of epi")
	s.scheme, s.quiet = scheme, true
	s.argv = append([]string{program, "-listen", "tcp://" + addressMark}, args...)
	return s
}

const redisConfig = `
bind HOST
port PORT
save ""
appendonly no
`

const mosquittoConfig = `
listener PORT HOST
allow_anonymous true
max_queued_messages 0
set_tcp_nodelay true
`

const haproxyConfig = `
global
	nbthread 1
	maxconn 4000
defaults
	mode tcp
	timeout connect 10s
	timeout client 10m
	timeout server 10m
listen peer
	bind ADDRESS
	server backend BACKEND
`

// startBackend starts what balancers pass connections on to, on the CPU of the load
// generator, and gives them its address.
func (b *bench) startBackend(ctx context.Context) (end func(), err error) {
	end = func() {}
	if !b.measures(schemeProxy) {
		return end, nil
	}
	s := Server{Name: "the balancers' backend", argv: []string{b.Self, "echo", "--listen", "tcp://" + addressMark, "--loops", "1"}}
	p, address, err := startServer(ctx, s, b.clientCPU)
	if err != nil {
		return end, err
	}
	for i, s := range b.servers {
		b.servers[i].config = strings.ReplaceAll(s.config, backendMark, address)
		b.servers[i].argv = slices.Clone(s.argv)
		for j, arg := range s.argv {
			b.servers[i].argv[j] = strings.ReplaceAll(arg, backendMark, address)
		}
	}
	return func() { p.end() }, nil
}
