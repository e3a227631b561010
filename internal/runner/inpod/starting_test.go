package inpod

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/runner"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
)

// What needs the sandbox waits until it answers.
func TestStartingWaits(t *testing.T) {
	up := make(chan struct{})
	s := start(t.Context(), func(ctx context.Context) error {
		select {
		case <-up:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.wait(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait of a cancelled run gives %v", err)
	}
	if err := s.failure(); err != nil {
		t.Errorf("failure is %v before there is one", err)
	}
	close(up)
	if err := s.wait(t.Context()); err != nil {
		t.Errorf("the sandbox is there, and the wait gives %v", err)
	}
}

// A server that never comes is told with its cause.
func TestStartingFails(t *testing.T) {
	s := start(t.Context(), func(context.Context) error { return client.ErrProtocolMismatch })
	if err := s.wait(t.Context()); !errors.Is(err, client.ErrProtocolMismatch) {
		t.Errorf("the wait gives %v", err)
	}
	if !errors.Is(s.failure(), client.ErrProtocolMismatch) {
		t.Errorf("failure is %v", s.failure())
	}
}

// later is the sandbox, which is not there yet.
type later struct{ harness.Executor }

var errLater = errors.New("asked the sandbox")

func (later) ReadFile(context.Context, string, int64) (*tool.File, error) { return nil, errLater }

func TestPreToolFS(t *testing.T) {
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
			u := &preToolFS{Executor: later{}, dir: dir}
			f, err := u.ReadFile(t.Context(), tc.path, tc.max)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error is %v, want %v", err, tc.err)
			}
			if tc.err == nil && string(f.Data) != tc.want {
				t.Errorf("got %q, want %q", f.Data, tc.want)
			}
			if _, err := u.ReadFile(t.Context(), tc.path, tc.max); !errors.Is(err, errLater) {
				t.Errorf("the second read did not go through the sandbox: %v", err)
			}
		})
	}
}

// TestNotesOfAWorkspaceThatWasBrought: a workspace that came from an earlier pod is there
// before the sandbox is, and so are the project's notes.
func TestNotesOfAWorkspaceThatWasBrought(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &Runner{exec: client.New(filepath.Join(t.TempDir(), "none.sock")), guests: newGuests(), env: runner.TakeSecrets(&models.Registry{})}
	_, exec := p.executor(ctx, &v1alpha1.AgentTask{}, false)
	if _, early := exec.(*preToolFS); !early {
		t.Errorf("%T asks a server that has not answered yet", exec)
	}
}
