package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// stopOnSignal ends the context on SIGTERM and SIGINT, with a cause that wraps
// the given one: on a laptop a signal is a wish of the user, and in a pod nobody's.
func stopOnSignal(ctx context.Context, cause error) (context.Context, func()) {
	return onSignals(ctx, cause, nil)
}

// onSignals ends the context on SIGTERM, and on SIGINT; where askFirst is set,
// the first SIGINT calls that instead.
func onSignals(ctx context.Context, cause error, askFirst func()) (context.Context, func()) {
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
				cancel(fmt.Errorf("%w: the runner was told to stop (signal: %s)", cause, s))
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
