package harness

import (
	"context"
	"time"

	"github.com/sampan-dev/sampan/internal/llm/broker"
)

// Clock is where the loop's time comes from.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in its own goroutine after d, unless stopped before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// wallClock is the default Clock.
type wallClock = broker.Wall

// withTimeout is context.WithTimeoutCause on a Clock.
func withTimeout(ctx context.Context, clock Clock, d time.Duration, cause error) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := clock.AfterFunc(d, func() { cancel(cause) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
