package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandboxd/client"
	"github.com/sampan-dev/sampan/internal/sandboxd/engine"
)

// The first command waits until the sandbox answers, and then runs.
func TestStartingWaits(t *testing.T) {
	e, err := engine.New(t.TempDir(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close() //nolint:errcheck // the test is over
	up := make(chan struct{})
	s := start(t.Context(), e, func(ctx context.Context) error {
		select {
		case <-up:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	done := make(chan error, 1)
	go func() {
		_, err := s.Exec(t.Context(), tool.ExecRequest{Argv: []string{"true"}})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the command ran before the sandbox was there: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(up)
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("the command failed: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the command did not run")
	}
}

// A server that never comes is a lost sandbox, with its cause.
func TestStartingFails(t *testing.T) {
	s := start(t.Context(), nil, func(context.Context) error { return client.ErrProtocolMismatch })
	_, err := s.Stat(t.Context(), "x")
	if !errors.Is(err, tool.ErrExecutorGone) || !errors.Is(err, client.ErrProtocolMismatch) {
		t.Errorf("error is %v", err)
	}
	if !errors.Is(s.failure(), client.ErrProtocolMismatch) {
		t.Errorf("failure is %v", s.failure())
	}
}

func TestUntouched(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for path, text := range map[string]string{filepath.Join(dir, "AGENTS.md"): "notes", outside: "secret"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path string
		max  int64
		want string
		err  error
	}{
		"there":     {path: "AGENTS.md", max: 100, want: "notes"},
		"not there": {path: "OTHER.md", max: 100, err: tool.ErrNotFound},
		"a symlink": {path: "link", max: 100, err: tool.ErrNotFound},
		"too large": {path: "AGENTS.md", max: 4, err: tool.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			never := &starting{ready: make(chan struct{})}
			u := &untouched{starting: never, dir: dir}
			f, err := u.ReadFile(t.Context(), tc.path, tc.max)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error is %v, want %v", err, tc.err)
			}
			if tc.err == nil && string(f.Data) != tc.want {
				t.Errorf("got %q, want %q", f.Data, tc.want)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := u.ReadFile(ctx, tc.path, tc.max); !errors.Is(err, context.Canceled) {
				t.Errorf("the second read did not go through the sandbox: %v", err)
			}
		})
	}
}
