package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/course/site"
	"github.com/epinet/epi/apps/internal/webguard"
)

const courseHelp = `Serve the course as pages: select, poll, epoll and io_uring, explained with small
programs that run, in English and in Korean. The pages need nothing from elsewhere.

epi course check holds your own server program against an exercise.`

// pageTimeout bounds each part of a request.
const pageTimeout = 10 * time.Second

func courseCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "course",
		Short: "A course on select, poll, epoll and io_uring, as pages",
		Long:  courseHelp,
		Example: `  epi course
  epi course check 7 -- ./myserver {port}`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, end := interruptible()
			defer end()
			live, closeLive, err := livePages()
			if err != nil {
				return failure{err}
			}
			guard := &webguard.Guard{Links: true, Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}}
			err = servePages(ctx, cmd, listen, "the course is at http://%s/", guard.Wrap(site.Handler(live)))
			if err := errors.Join(err, closeLive()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:7100", "`address` of the pages; port 0 takes a free one")
	cmd.AddCommand(courseCheckCommand())
	return cmd
}

// servePages serves the handler until ctx ends, and says where; said has a place for
// the address.
func servePages(ctx context.Context, cmd *cobra.Command, listen, said string, handler http.Handler) error {
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address with --listen", err)
	}
	server := &http.Server{Handler: handler, ReadTimeout: pageTimeout, WriteTimeout: pageTimeout, IdleTimeout: time.Minute}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- server.Shutdown(context.WithoutCancel(ctx)) })
	defer stop()
	fmt.Fprintf(cmd.OutOrStdout(), said+"\n", ln.Addr())
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
