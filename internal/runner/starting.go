package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// starting is the sandbox's executor while its container may still be starting.
// The runner's container starts first, and a model takes its time to answer: so
// the loop begins at once, and the first tool call waits for the sandbox.
type starting struct {
	tool.Executor
	// ready is closed when err is set: the server answers, or never will.
	ready chan struct{}
	err   error
}

// start begins to wait for the server; the wait ends with ctx at the latest.
func start(ctx context.Context, exec tool.Executor, waitReady func(context.Context) error) *starting {
	s := &starting{Executor: exec, ready: make(chan struct{})}
	go func() {
		defer close(s.ready)
		if err := waitReady(ctx); err != nil {
			s.err = fmt.Errorf("%w: %w", tool.ErrExecutorGone, err)
		}
	}()
	return s
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

func (s *starting) wait(ctx context.Context) error {
	select {
	case <-s.ready:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Exec implements tool.Executor, as do the methods below.
func (s *starting) Exec(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error) {
	return afterStart(ctx, s, func() (*tool.ExecResult, error) { return s.Executor.Exec(ctx, req) })
}

// ReadFile reads a whole file.
func (s *starting) ReadFile(ctx context.Context, path string, maxBytes int64) (*tool.File, error) {
	return afterStart(ctx, s, func() (*tool.File, error) { return s.Executor.ReadFile(ctx, path, maxBytes) })
}

// WriteFile writes a whole file.
func (s *starting) WriteFile(ctx context.Context, path string, data []byte, opts tool.WriteOptions) (*tool.FileInfo, error) {
	return afterStart(ctx, s, func() (*tool.FileInfo, error) { return s.Executor.WriteFile(ctx, path, data, opts) })
}

// Stat describes a path.
func (s *starting) Stat(ctx context.Context, path string) (*tool.FileInfo, error) {
	return afterStart(ctx, s, func() (*tool.FileInfo, error) { return s.Executor.Stat(ctx, path) })
}

// Remove removes a file.
func (s *starting) Remove(ctx context.Context, path string) error {
	_, err := afterStart(ctx, s, func() (struct{}, error) { return struct{}{}, s.Executor.Remove(ctx, path) })
	return err
}

// ReadLines reads a part of a file.
func (s *starting) ReadLines(ctx context.Context, path string, r tool.LineRange) (*tool.Lines, error) {
	return afterStart(ctx, s, func() (*tool.Lines, error) { return s.Executor.ReadLines(ctx, path, r) })
}

// Grep searches in files.
func (s *starting) Grep(ctx context.Context, req tool.GrepRequest) (*tool.GrepResult, error) {
	return afterStart(ctx, s, func() (*tool.GrepResult, error) { return s.Executor.Grep(ctx, req) })
}

// Glob searches for files.
func (s *starting) Glob(ctx context.Context, req tool.GlobRequest) (*tool.GlobResult, error) {
	return afterStart(ctx, s, func() (*tool.GlobResult, error) { return s.Executor.Glob(ctx, req) })
}

func afterStart[T any](ctx context.Context, s *starting, do func() (T, error)) (T, error) {
	if err := s.wait(ctx); err != nil {
		var none T
		return none, err
	}
	return do()
}

// untouched is the loop's view of a workspace in which no tool has run yet: the
// first file that it asks for, the project's notes, it gets without the sandbox.
type untouched struct {
	*starting
	dir  string
	read atomic.Bool
}

// ReadFile implements harness.Executor. os.Root keeps a symlink of the
// repository from leading out of the workspace.
func (u *untouched) ReadFile(ctx context.Context, path string, maxBytes int64) (*tool.File, error) {
	if u.read.Swap(true) {
		return u.starting.ReadFile(ctx, path, maxBytes)
	}
	root, err := os.OpenRoot(u.dir)
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
