package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sampan-dev/sampan/internal/harness"
)

// stopOnSignal ends the context on SIGTERM and SIGINT, with the cause that the
// harness takes for a wish of the user.
func stopOnSignal(ctx context.Context) (context.Context, func()) {
	return onSignals(ctx, nil)
}

// onSignals ends the context on SIGTERM, and on SIGINT; where askFirst is set,
// the first SIGINT calls that instead.
func onSignals(ctx context.Context, askFirst func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case s := <-signals:
				if s == syscall.SIGINT && askFirst != nil {
					askFirst()
					askFirst = nil
					continue
				}
				cancel(fmt.Errorf("received %s: %w", s, harness.ErrCancelled))
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
