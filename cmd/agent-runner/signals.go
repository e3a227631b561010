package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// stopOnSignal ends the context on a signal, with a cause that wraps the given one: on a laptop a signal is a wish of the user, and in a pod nobody's.
func stopOnSignal(ctx context.Context, cause error) (context.Context, func()) {
	return onSignals(ctx, cause, nil)
}

// onSignals ends the context on SIGTERM, SIGQUIT, SIGHUP unless it was ignored
// from the beginning (nohup), and on SIGINT; where askFirst is set, the first
// SIGINT calls that instead.
func onSignals(ctx context.Context, cause error, askFirst func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
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

// outliveReaders lets a write to a pipe that nobody reads fail, as any other
// write may, where Go would end the process. What is started is not affected, as
// it would be by ignoring the signal.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
