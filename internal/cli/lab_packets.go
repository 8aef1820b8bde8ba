package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/epinet/epi"
)

// labPacketsCommand is the side of epi in the comparison of servers for
// datagrams: on one loop, every datagram goes back to where it came from.
func labPacketsCommand() *cobra.Command {
	var way way
	cmd := &cobra.Command{
		Use:    "packets ADDRESS",
		Short:  "Serve echo for datagrams",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e := &epi.Engine{Loops: 1, Driver: way.driver, Trigger: way.trigger}
			ln, err := e.ListenPacket(args[0], func(*epi.PacketConn) epi.PacketHandler { return packetEcho{} })
			if err != nil {
				return failure{err}
			}
			ctx, end := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer end()
			fmt.Fprintln(cmd.OutOrStdout(), "listening", ln.Addr())
			if err := e.Run(ctx); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	cmd.Flags().Var(wayValue(&way), "driver", "`name`: "+wayNames)
	return cmd
}

// packetEcho sends every datagram back. One that finds the queue full is lost.
type packetEcho struct{}

func (packetEcho) OnPacket(c *epi.PacketConn, p []byte, from epi.PacketAddr) { _ = c.WriteTo(p, from) }
func (packetEcho) OnClose(*epi.PacketConn, error)                            {}
