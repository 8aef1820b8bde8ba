package cli

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/epinet/epi/apps/internal/webguard"
	"github.com/epinet/epi/apps/lab/show"
)

func labShowCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "show [" + strings.Join(show.Names, " | ") + "]",
		Short: "Play with select, poll, epoll and io_uring in the browser",
		Long: `Serve a page whose buttons are system calls on real descriptors of this kernel:
three half-read pipes under level, edge and one-shot (pipe), the signal
0000111000111000111 (signal), what a wait of select, poll and epoll costs among
idle descriptors (cost), a boss with a queue and workers (boss), which of several
threads wake (waiters), the same echo by readiness and by completion (twin), and what
hangs when one forgets that an edge comes once (trap).`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && !slices.Contains(show.Names, args[0]) {
				return fmt.Errorf("there is no page %q: choose one of %s", strings.Join(args, " "), strings.Join(show.Names, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, end := interruptible()
			defer end()
			s, err := show.New()
			if err != nil {
				return failure{err}
			}
			guard := &webguard.Guard{Methods: []string{http.MethodGet, http.MethodHead, http.MethodPost}}
			err = servePages(ctx, cmd, listen, "the page is at http://%s/"+strings.Join(args, ""), guard.Wrap(s.Handler()))
			if err := errors.Join(err, s.Close()); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:7101", "`address` of the page; port 0 takes a free one")
	return cmd
}
