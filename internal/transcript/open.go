package transcript

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Open goes on with a transcript that another process left behind: it checks
// the chain, cuts off a half-written last line, and appends after it. The
// events that were there are given to each, to rebuild the run from. The tee gets
// new events only.
func Open(path string, opts Options, each func(Event)) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("opening transcript: %w", err)
	}
	w, err := open(f, opts, each)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening transcript %s: %w", path, err), f.Close())
	}
	return w, nil
}

func open(f *os.File, opts Options, each func(Event)) (*Writer, error) {
	if err := Lock(f); err != nil {
		return nil, err
	}
	reader := NewReader(f)
	cut, err := readEach(reader, each)
	if err != nil {
		return nil, err
	}
	if cut {
		if err := f.Truncate(reader.size); err != nil {
			return nil, fmt.Errorf("cutting off the last line: %w", err)
		}
	}
	w := after(reader, opts)
	w.file = f
	return w, nil
}

// Continue goes on with a transcript whose lines so far are in r and in the record:
// it checks the chain and appends after it. The events that were there are given to
// each, to rebuild the run from. Tee and record get new events only.
func Continue(r io.Reader, opts Options, each func(Event)) (*Writer, error) {
	reader := NewReader(r)
	cut, err := readEach(reader, each)
	if cut {
		err = ErrCut
	}
	if err != nil {
		return nil, fmt.Errorf("reading the transcript so far: %w", err)
	}
	return after(reader, opts), nil
}

// after gives a Writer of what follows on what was read.
func after(r *Reader, opts Options) *Writer {
	w := New(opts)
	w.seq, w.size, w.prev, w.sum, w.recorded = r.seq, r.size, r.prev, r.sum, r.seq
	return w
}
