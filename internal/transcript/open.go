package transcript

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Open goes on with a transcript that another process left behind: it checks
// the chain, cuts off a half-written last line, and appends after it. The
// events that were there are returned, to rebuild the run from. The tee gets
// new events only.
func Open(path string, opts Options) (*Writer, []Event, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening transcript: %w", err)
	}
	w, events, err := open(f, opts)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening transcript %s: %w", path, err), f.Close())
	}
	return w, events, nil
}

func open(f *os.File, opts Options) (*Writer, []Event, error) {
	if err := Lock(f); err != nil {
		return nil, nil, err
	}
	reader := NewReader(f)
	events, cut, err := readAll(reader)
	if err != nil {
		return nil, nil, err
	}
	if cut {
		if err := f.Truncate(reader.size); err != nil {
			return nil, nil, fmt.Errorf("cutting off the last line: %w", err)
		}
	}
	w := after(reader, opts)
	w.file = f
	return w, events, nil
}

// Continue goes on with a transcript whose lines so far are in r and in the record:
// it checks the chain and appends after it. The events that were there are
// returned, to rebuild the run from. Tee and record get new events only.
func Continue(r io.Reader, opts Options) (*Writer, []Event, error) {
	reader := NewReader(r)
	events, cut, err := readAll(reader)
	if cut {
		err = ErrCut
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading the transcript so far: %w", err)
	}
	return after(reader, opts), events, nil
}

// after gives a Writer of what follows on what was read.
func after(r *Reader, opts Options) *Writer {
	w := New(opts)
	w.seq, w.size, w.prev, w.sum, w.recorded = r.seq, r.size, r.prev, r.sum, r.seq
	return w
}
