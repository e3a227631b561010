package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// Digest is how a file's content is named.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// open opens a regular file for reading. O_NONBLOCK keeps a FIFO from blocking
// the open; whether it is one is asked of the open file, not of its name.
func (e *Engine) open(p string) (*os.File, *tool.FileInfo, error) {
	rel, err := e.clean(p)
	if err != nil {
		return nil, nil, err
	}
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	f, err := e.root.OpenFile(rel, flags, 0)
	if at := e.otherPath(rel, err); at != rel {
		f, err = e.root.OpenFile(at, flags, 0)
	}
	if err != nil {
		return nil, nil, mapError(rel, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = notRegular(rel, st.Mode())
	} else {
		err = mapError(rel, err)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, fileInfo(rel, st), nil
}

func notRegular(rel string, m fs.FileMode) error {
	if m.IsDir() {
		return fmt.Errorf("%s: %w", rel, tool.ErrIsDirectory)
	}
	return fmt.Errorf("%s: %w (%s)", rel, tool.ErrNotRegular, m.Type())
}

func tooLarge(rel string, size, limit int64) error {
	return fmt.Errorf("%s: %w: %d bytes, the limit is %d", rel, tool.ErrTooLarge, size, limit)
}

func fileInfo(rel string, st fs.FileInfo) *tool.FileInfo {
	return &tool.FileInfo{Path: rel, Size: st.Size(), Mode: st.Mode(), ModTime: st.ModTime().UTC()}
}

// Open opens a regular file for a reader that does not want it in memory. The
// digest is of what it held just now; one of more than maxBytes is ErrTooLarge.
func (e *Engine) Open(ctx context.Context, p string, maxBytes int64) (*os.File, *tool.FileInfo, error) {
	e.touch()
	f, info, err := e.open(p)
	if err != nil {
		return nil, nil, err
	}
	if info.Size > maxBytes {
		_ = f.Close()
		return nil, nil, tooLarge(info.Path, info.Size, maxBytes)
	}
	h := sha256.New()
	if info.Size, err = io.Copy(h, io.LimitReader(ctxReader{ctx, f}, maxBytes)); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, mapError(info.Path, err)
	}
	info.Digest = digestOf(h.Sum(nil))
	return f, info, nil
}

// ReadFile implements tool.Executor.
func (e *Engine) ReadFile(ctx context.Context, p string, maxBytes int64) (*tool.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.touch()
	f, info, err := e.open(p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info.Size > maxBytes {
		return nil, tooLarge(info.Path, info.Size, maxBytes)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, mapError(info.Path, err)
	}
	if int64(len(data)) > maxBytes {
		return nil, tooLarge(info.Path, int64(len(data)), maxBytes)
	}
	info.Size = int64(len(data)) // it may have grown since the stat
	info.Digest = Digest(data)
	return &tool.File{FileInfo: *info, Data: data}, nil
}

// Stat implements tool.Executor.
func (e *Engine) Stat(ctx context.Context, p string) (*tool.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.touch()
	rel, err := e.clean(p)
	if err != nil {
		return nil, err
	}
	st, err := e.root.Lstat(rel)
	if err != nil {
		return nil, mapError(rel, err)
	}
	return fileInfo(rel, st), nil
}

// Remove implements tool.Executor.
func (e *Engine) Remove(ctx context.Context, p string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.touch()
	rel, err := e.clean(p)
	if err != nil {
		return err
	}
	if rel == "." {
		return fmt.Errorf("%w: the workspace itself cannot be removed", tool.ErrInvalid)
	}
	return mapError(rel, e.root.Remove(rel))
}
