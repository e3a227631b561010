package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness"
)

// In a pod SIGTERM is nobody's wish: the pod goes away.
func TestSignalMessages(t *testing.T) {
	for want, cause := range map[string]error{
		"The run was interrupted: the runner was told to stop (signal: terminated).": harness.ErrInterrupted,
		"The run was cancelled.": harness.ErrCancelled,
	} {
		ctx, stop := stopOnSignal(t.Context(), cause)
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-ctx.Done()
		stop()
		if res := harness.Stopped(ctx); res.Message != want || res.Reason != harness.Cancelled {
			t.Errorf("%v gives %+v, want %q", cause, res, want)
		}
	}
}
