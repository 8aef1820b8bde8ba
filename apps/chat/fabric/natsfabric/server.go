package natsfabric

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

// tlsTimeout is how long the handshake of a route may take.
const tlsTimeout = 5 // seconds

// newServer makes the node's own server, for one client alone: the node, which connects
// within the process and has the token. The port that NATS wants to open for clients
// before it opens the one for routes is on the loopback interface.
func newServer(c Config, token string) (*server.Server, error) {
	options := &server.Options{
		ServerName:             string(c.Node),
		Host:                   "127.0.0.1",
		Port:                   server.RANDOM_PORT,
		Authorization:          token,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               c.Directory,
		SyncAlways:             true, // acknowledged is on disk, also when the power fails
		DisableJetStreamBanner: true,
		MaxPayload:             server.MAX_PAYLOAD_SIZE,
	}
	if len(c.Peers) > 0 {
		host, port, err := splitAddress(c.Listen)
		if err != nil {
			return nil, err
		}
		options.Cluster = server.ClusterOpts{
			Name: c.Network, Host: host, Port: port, Advertise: c.Advertise,
			NoAdvertise: true, TLSConfig: c.TLS, TLSTimeout: tlsTimeout,
			PingInterval: c.Lease / 5, MaxPingsOut: 2, // a route that is cut is given up within a lease
		}
		options.Routes = c.routes()
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("the node's NATS server: %w", err)
	}
	s.SetLoggerV2(logger{c.Logger}, false, false, false)
	return s, nil
}

func splitAddress(address string) (host string, port int, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("address for the other nodes: %w", err)
	}
	if port, err = strconv.Atoi(service); err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("address for the other nodes %q: the port must be a number", address)
	}
	return host, port, nil
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// A logger gives what NATS says to the node's log. What NATS calls notices are steps of
// its own, of no use to an operator who looks for what is wrong.
type logger struct{ to *slog.Logger }

func (l logger) Noticef(format string, v ...any) { l.to.Debug("nats: " + fmt.Sprintf(format, v...)) }
func (l logger) Warnf(format string, v ...any)   { l.to.Info("nats: " + fmt.Sprintf(format, v...)) }
func (l logger) Errorf(format string, v ...any)  { l.to.Warn("nats: " + fmt.Sprintf(format, v...)) }
func (l logger) Fatalf(format string, v ...any)  { l.to.Error("nats: " + fmt.Sprintf(format, v...)) }
func (l logger) Debugf(format string, v ...any)  {}
func (l logger) Tracef(format string, v ...any)  {}
