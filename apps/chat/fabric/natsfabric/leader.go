package natsfabric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/epinet/epi/apps/chat/fabric"
)

// StepDown has the leaders of all streams of the network end their leadership, wherever they
// are; NATS chooses others, at once in the rule (JetStream API, STREAM.LEADER.STEPDOWN).
// Until then nothing can be written to those streams. It may be called from any goroutine,
// and is for tests, and before the machine of a leader is touched. The leader of NATS's
// cluster itself, which makes streams, stays: only its system account may ask that.
func (f *Fabric) StepDown(ctx context.Context) error {
	if err := f.historyIsThere(ctx); err != nil { // from then on there is a connection
		return err
	}
	names := []string{streamOf(bucketName(f.config.Network)), streamOf(commonName(f.config.Network))}
	for shard := range uint32(fabric.Shards) {
		names = append(names, f.config.historyName(shard))
	}
	var failed []error
	for _, name := range names {
		if err := f.stepDown(ctx, name); err != nil {
			failed = append(failed, fmt.Errorf("stream %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

func (f *Fabric) stepDown(ctx context.Context, stream string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout) // a stream without a leader does not answer
	defer cancel()
	m, err := f.conn.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil)
	if err != nil {
		return err
	}
	var answer struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return errors.New(answer.Error.Description)
	}
	return nil
}
