package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Server is one contestant: a server that runs as a process of its own.
type Server struct {
	Name   string
	Absent string // why it cannot run here, with the remedy; empty when it can

	scheme string   // what it speaks; empty: TCP
	argv   []string // with marks
	config string   // with marks: a file that it reads
	quiet  bool     // it does not say on its standard output that it listens
}

// Marks in the command lines and configurations of servers.
const (
	addressMark = "ADDRESS" // IPv4:PORT
	hostMark    = "HOST"
	portMark    = "PORT"
	backendMark = "BACKEND" // of a balancer: IPv4:PORT
	dirMark     = "DIR"     // a directory of its own, in which its configuration is the file "config"
)

// Reference is the server that the others are compared with.
const Reference = "C epoll"

// marks returns what puts values in the place of marks.
func marks(address, dir string) *strings.Replacer {
	host, port, _ := strings.Cut(address, ":")
	return strings.NewReplacer(addressMark, address, hostMark, host, portMark, port, dirMark, dir)
}

// command returns the server's command line.
func (s Server) command(r *strings.Replacer) []string {
	argv := make([]string, len(s.argv))
	for i, arg := range s.argv {
		argv[i] = r.Replace(arg)
	}
	return argv
}

// epiModes are the drivers and models of epi that take part.
var epiModes = []struct {
	name  string
	flags []string
}{
	{"epi epoll-edge", []string{"--driver", "epoll-edge"}},
	{"epi epoll-level", []string{"--driver", "epoll-level"}},
	{"epi epoll-oneshot", []string{"--driver", "epoll-oneshot"}},
	{"epi workers", []string{"--driver", "epoll", "--workers", "2"}},
	{"epi poll", []string{"--driver", "poll"}},
	{"epi select", []string{"--driver", "select"}},
	{"epi uring", []string{"--driver", "uring"}},
	{"epi uring workers", []string{"--driver", "uring", "--workers", "2"}},
}

// cPrograms are the C programs of apps/lab/peers/c.
var cPrograms = []struct {
	name, source string
	library, pkg string // what it is linked with, and Debian's package of it
}{
	{Reference, "epoll", "", "libc6-dev"},
	{"C io_uring", "uring", "-luring", "liburing-dev"},
	{"libuv", "uv", "-luv", "libuv1-dev"},
	{"libevent", "event", "-levent", "libevent-dev"},
}

// A build makes the programs of the peers.
type build struct {
	sources string // apps/lab/peers
	out     string // where the programs go
}

// Servers builds the peers found in the directory sources into out and returns
// all contestants, with those that are absent. self is the epi binary.
func Servers(ctx context.Context, self, sources, out string) []Server {
	b := build{sources, out}
	var list []Server
	for _, p := range cPrograms {
		list = append(list, b.c(ctx, p.name, p.source, p.library, p.pkg))
	}
	for _, m := range epiModes {
		argv := append([]string{self, "echo", "--listen", "tcp://" + addressMark, "--loops", "1"}, m.flags...)
		list = append(list, Server{Name: m.name, argv: argv})
	}
	list = append(list,
		b.golang(ctx, "Go net", "net", schemeTCP),
		b.golang(ctx, "netpoll", "netpoll", schemeTCP),
		b.golang(ctx, references[schemeTLS], "nettls", schemeTLS),
		b.golang(ctx, references[schemeWS], "gorilla", schemeWS),
		b.golang(ctx, "coder", "coder", schemeWS),
		b.golang(ctx, references[schemeUDP], "netudp", schemeUDP),
	)
	list = append(list, epiSchemes(self)...)
	list = append(list, chatServers(self)...)
	return append(list, b.programServers(ctx)...)
}

// epiSchemes are epi's servers for what is not plain TCP, on the two drivers
// that it chooses by itself.
func epiSchemes(self string) []Server {
	var list []Server
	for _, driver := range []string{"uring", "epoll-edge"} {
		for _, scheme := range []string{schemeTLS, schemeWS, schemeUDP} {
			argv := []string{self, "echo", "--listen", scheme + "://" + addressMark, "--loops", "1", "--driver", driver}
			if scheme == schemeUDP {
				argv = append(argv, "--packet-rate", "0") // all that comes
			}
			list = append(list, Server{Name: "epi " + driver + " " + scheme, scheme: scheme, argv: argv})
		}
	}
	return list
}

// speaks returns the scheme of s.
func (s Server) speaks() string { return cmp.Or(s.scheme, schemeTCP) }

// golang builds a program of the module apps/lab/peers.
func (b build) golang(ctx context.Context, name, dir, scheme string) Server {
	program := filepath.Join(b.out, dir)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "./"+dir)
	cmd.Dir = b.sources
	cmd.Env = append(os.Environ(), "GOWORK=off") // the peers are no part of the workspace
	s := b.result(name, program, cmd, "it needs the Go tool chain and its module "+dir)
	s.scheme = scheme
	return s
}

// c builds a C program with the system's compiler.
func (b build) c(ctx context.Context, name, source, library, pkg string) Server {
	program := filepath.Join(b.out, source)
	args := []string{"-O2", "-o", program, filepath.Join(b.sources, "c", source+".c")}
	if library != "" {
		args = append(args, library)
	}
	return b.result(name, program, exec.CommandContext(ctx, "gcc", args...), "apt-get install gcc "+pkg)
}

func (b build) result(name, program string, cmd *exec.Cmd, remedy string) Server {
	text, err := cmd.CombinedOutput()
	if err == nil {
		return Server{Name: name, argv: []string{program, addressMark}}
	}
	why := firstLine(string(text))
	if errors.Is(err, exec.ErrNotFound) || why == "" {
		why = err.Error()
	}
	return Server{Name: name, Absent: fmt.Sprintf("%s (%s)", remedy, why)}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// FindSources returns the directory of the peers' sources: named itself, the one in the
// clone that named is, or, where nothing is named, the one looked for from the working
// directory upwards.
func FindSources(named string) (string, error) {
	if named != "" {
		for _, sources := range []string{named, inClone(named)} {
			if areSources(sources) {
				return sources, nil
			}
		}
		return "", fmt.Errorf("--sources %s has no sources of the peers: name a clone of epi, or its apps/lab/peers", named)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for start := dir; ; dir = filepath.Dir(dir) {
		if sources := inClone(dir); areSources(sources) {
			return sources, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("the peers' sources are not at or above %s: run in a clone of epi or name them with --sources", start)
		}
	}
}

// inClone is where a clone of epi has the peers' sources.
func inClone(dir string) string { return filepath.Join(dir, "apps", "lab", "peers") }

func areSources(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "c", "epoll.c"))
	return err == nil
}
