package engine

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// TestThreadsEnd: a command dies with this process, and not with one of its threads.
func TestThreadsEnd(t *testing.T) {
	e, err := New(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	const commands = 20
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, commands)
	for i := range commands {
		go func() {
			_, err := e.Exec(ctx, tool.ExecRequest{Argv: []string{"sleep", "1000"}})
			ended <- err
		}()
		waitRunning(t, e, i+1, ended)
		endThreads(20)
	}
	// Time for a signal to be seen, were there one.
	select {
	case err := <-ended:
		t.Errorf("a command ended with a thread (%v)", err)
	case <-time.After(200 * time.Millisecond):
	}
	cancel()
	for range commands {
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled command gave %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("a command has not ended")
		}
	}
}

// waitRunning waits until n commands run; none may end meanwhile.
func waitRunning(t *testing.T, e *Engine, n int, ended <-chan error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		started := 0
		for _, r := range e.Running() {
			if r.PID() > 0 {
				started++
			}
		}
		switch {
		case started >= n:
			return
		case len(ended) > 0:
			t.Fatalf("a command ended with a thread (%v)", <-ended)
		case time.Now().After(deadline):
			t.Fatalf("running: %+v, want %d", e.Running(), n)
		}
	}
}

// endThreads makes the runtime end n threads: a goroutine that ends while it
// is locked to its thread takes it along.
func endThreads(n int) {
	var locked, gone sync.WaitGroup
	locked.Add(n)
	for range n {
		gone.Go(func() {
			runtime.LockOSThread()
			locked.Done()
			locked.Wait()
		})
	}
	gone.Wait()
}
