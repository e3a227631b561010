package inpod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// starting is a sandbox whose container may still be starting. The runner's
// container starts first, and a model takes its time to answer: so the loop
// begins at once, and the first tool call waits for the sandbox.
type starting struct {
	// ready is closed when err is set: the server answers, or never will.
	ready chan struct{}
	err   error
}

// start begins to wait for the server; the wait ends with ctx at the latest.
func start(ctx context.Context, waitReady func(context.Context) error) *starting {
	s := &starting{ready: make(chan struct{})}
	go func() {
		defer close(s.ready)
		s.err = waitReady(ctx)
	}()
	return s
}

// wait implements harness.Config.Ready.
func (s *starting) wait(ctx context.Context) error {
	select {
	case <-s.ready:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failure is why the server never answered; nil while it may still do so.
func (s *starting) failure() error {
	select {
	case <-s.ready:
		return s.err
	default:
		return nil
	}
}

// preToolFS is the loop's view of a workspace in which no tool has run yet: the
// first file that it asks for, the project's notes, it gets without the sandbox.
type preToolFS struct {
	harness.Executor
	dir  string
	read atomic.Bool
}

// ReadFile implements harness.Executor. os.Root keeps a symlink of the
// repository from leading out of the workspace.
func (p *preToolFS) ReadFile(ctx context.Context, path string, maxBytes int64) (*tool.File, error) {
	if p.read.Swap(true) {
		return p.Executor.ReadFile(ctx, path, maxBytes)
	}
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // only read
	info, err := root.Lstat(path)
	if errors.Is(err, os.ErrNotExist) || (err == nil && !info.Mode().IsRegular()) {
		return nil, fmt.Errorf("%s: %w", path, tool.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	f, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if int64(len(data)) > maxBytes {
		return nil, fmt.Errorf("%s: %w", path, tool.ErrTooLarge)
	}
	return &tool.File{FileInfo: tool.FileInfo{Path: path, Size: int64(len(data)), Mode: info.Mode()}, Data: data}, err
}
