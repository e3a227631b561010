package proc

import (
	"context"
	"fmt"
	"time"
)

// Poll calls check at once and then at every interval until it reports done or
// fails, or the context ends.
func Poll(ctx context.Context, interval time.Duration, check func() (done bool, err error)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		done, err := check()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
