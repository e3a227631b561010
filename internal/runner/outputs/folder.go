package outputs

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// InFolder keeps outputs as files of a folder, each with its name and the ending of what
// it is.
type InFolder struct{ Dir string }

// Put implements Store.
func (s InFolder) Put(_ context.Context, c Content, write func(io.Writer) error) (Content, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return Content{}, err
	}
	f, err := os.CreateTemp(s.Dir, ".output-*")
	if err != nil {
		return Content{}, err
	}
	whole := sha256.New()
	w := &bounded{w: bufio.NewWriter(io.MultiWriter(f, whole))}
	err = write(w)
	if err == nil {
		err = w.w.Flush()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.Dir, c.Name+c.Ending))
	}
	if err != nil {
		return Content{}, errors.Join(err, removeIfThere(f.Name()))
	}
	c.Size, c.Digest = w.n, digestOf(whole)
	return c, nil
}

func removeIfThere(name string) error {
	if err := os.Remove(name); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Kept implements Store: a run that has ended is not run again on a laptop.
func (s InFolder) Kept(context.Context, string) (Content, bool, error) { return Content{}, false, nil }

// Earlier implements Store: nothing is pushed from a laptop.
func (s InFolder) Earlier(context.Context, string, int64) ([]byte, error) {
	return nil, fmt.Errorf("%s keeps no branches", s.Dir)
}

// bounded is a writer that takes what an output may have.
type bounded struct {
	w *bufio.Writer
	n int64
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.n += int64(len(p)); b.n > maxContent {
		return 0, errTooLarge
	}
	return b.w.Write(p)
}
