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
	if err := lock(f); err != nil {
		return nil, nil, err
	}
	reader := NewReader(f)
	var events []Event
	for {
		e, err := reader.Next()
		if err == nil {
			events = append(events, e)
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if !errors.Is(err, ErrCut) {
			return nil, nil, err
		}
		if err := f.Truncate(reader.size); err != nil {
			return nil, nil, fmt.Errorf("cutting off the last line: %w", err)
		}
		break
	}
	w := New(opts)
	w.file, w.seq, w.size, w.prev, w.sum = f, reader.seq, reader.size, reader.prev, reader.sum
	return w, events, nil
}
