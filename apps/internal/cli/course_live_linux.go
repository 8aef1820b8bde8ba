package cli

import (
	"net/http"

	"github.com/epinet/epi/apps/lab/show"
)

// livePages returns those that stand beside the course's chapters, and what closes them.
func livePages() (http.Handler, func() error, error) {
	s, err := show.New()
	if err != nil {
		return nil, nil, err
	}
	return s.Handler(), s.Close, nil
}
