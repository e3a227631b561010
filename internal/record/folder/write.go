package folder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"gocloud.dev/blob/driver"
)

// writer is an object that is being written.
type writer struct {
	ctx  context.Context
	b    *bucket
	f    *os.File
	temp string
	key  string
	// create refuses to replace an object.
	create bool
	failed error
}

// NewTypedWriter implements driver.Bucket. Content types and metadata are not kept.
func (b *bucket) NewTypedWriter(ctx context.Context, key, _ string, opts *driver.WriterOptions) (driver.Writer, error) {
	if err := check(key); err != nil {
		return nil, err
	}
	if opts.BeforeWrite != nil {
		if err := opts.BeforeWrite(func(any) bool { return false }); err != nil {
			return nil, err
		}
	}
	temp := path.Join(temporary, rand.Text())
	f, err := b.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making a temporary file: %w", unplaced(err))
	}
	return &writer{ctx: ctx, b: b, f: f, temp: temp, key: key, create: opts.IfNotExist}, nil
}

// unplaced is an error of a file that is not the object: that it does not exist, or does
// already, says nothing of the object.
func unplaced(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		return errors.New(err.Error())
	}
	return err
}

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		w.failed = err
	}
	return n, err
}

// Close makes the object exist, unless a write has failed or the context has ended.
func (w *writer) Close() error {
	err := w.failed
	if err == nil {
		err = w.ctx.Err()
	}
	if err == nil {
		err = datasync(w.f)
	}
	if closeErr := w.f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = w.place()
	}
	if err != nil || w.create {
		// The temporary file is of no use to anybody; one that stays is cleaned up later.
		_ = w.b.root.Remove(w.temp)
	}
	return err
}

// maxTries bounds how often a folder is made that others remove again.
const maxTries = 100

// place gives the file its name. Its folder may be removed between being made and being
// used, when the last object in it is deleted.
func (w *writer) place() error {
	dir := path.Dir(w.key)
	var err error
	for range maxTries {
		if err = w.b.makeFolder(dir); err == nil {
			err = w.name()
			if err == nil || errors.Is(err, fs.ErrExist) {
				// Who has put the object there may not have come to flush its name.
				return w.flushed(dir, err)
			}
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return err
		}
		w.b.flushed.Remove(dir)
	}
	return unplaced(err)
}

// flushed waits until the object's name is on disk, and then gives the error of naming it.
func (w *writer) flushed(dir string, err error) error {
	if syncErr := w.b.flush(dir); syncErr != nil {
		return unplaced(syncErr)
	}
	return err
}

func (w *writer) name() error {
	if w.create {
		return w.b.root.Link(w.temp, w.key)
	}
	return w.b.root.Rename(w.temp, w.key)
}

// makeFolder makes a folder and those it is in, and flushes their names the first time.
func (b *bucket) makeFolder(dir string) error {
	if _, ok := b.flushed.Get(dir); ok {
		return nil
	}
	if err := b.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for up := dir; up != "."; {
		up = path.Dir(up)
		if err := b.flush(up); err != nil {
			return err
		}
	}
	b.flushed.Add(dir, nil)
	return nil
}

// flush waits until the names in a folder are on disk.
func (b *bucket) flush(dir string) error {
	f, err := b.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
