// Package tree removes folders whatever somebody has made in them.
package tree

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// batch is how many entries of a folder are read at a time.
const batch = 1024

// Remove removes a folder in which nobody is at work any more, also where rights were taken
// from folders, or where they are nested deeper than a path or a process's files can reach:
// a folder's folders are moved to the top before it is removed. No link is followed.
func Remove(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return os.Remove(dir)
	}
	r := &remover{top: dir}
	err = r.each(dir, func(path string, e os.DirEntry) error {
		if !e.IsDir() {
			return os.Remove(path)
		}
		return r.flatten(path)
	})
	if err != nil {
		return err
	}
	return os.Remove(dir)
}

type remover struct {
	top   string
	moved int
}

// flatten removes a folder of the top, and moves its folders there.
func (r *remover) flatten(dir string) error {
	err := r.each(dir, func(path string, e os.DirEntry) error {
		if !e.IsDir() {
			return os.Remove(path)
		}
		if err := os.Chmod(path, 0o700); err != nil {
			return err
		}
		return r.move(path)
	})
	if err != nil {
		return err
	}
	return os.Remove(dir)
}

// move moves a folder to the top, by a name that is free.
func (r *remover) move(path string) error {
	for {
		r.moved++
		err := os.Rename(path, filepath.Join(r.top, fmt.Sprintf("moved-%d", r.moved)))
		if !errors.Is(err, os.ErrExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
	}
}

// each calls remove with what a folder has until it has nothing.
func (r *remover) each(dir string, remove func(path string, e os.DirEntry) error) error {
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	for {
		entries, err := read(dir)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if err := remove(filepath.Join(dir, e.Name()), e); err != nil {
				return err
			}
		}
	}
}

func read(dir string) ([]os.DirEntry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	entries, err := f.ReadDir(batch)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return entries, err
}
