package transcript

import (
	"bufio"
	"bytes"
	"io"
	"iter"
)

// Runs gives the transcripts that follow one another in r, as in the log of a
// pod that served several tasks; at least one, which may be empty. Each is to be
// read before the next is asked for.
func Runs(r io.Reader) iter.Seq[io.Reader] {
	return func(yield func(io.Reader) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		for first := true; ; first = false {
			if _, err := in.Peek(1); err != nil && !first {
				return // an error other than the end was told by the run before
			}
			run := &oneRun{in: in}
			if !yield(run) {
				return
			}
			_, _ = io.Copy(io.Discard, run) // what its reader left unread
		}
	}
}

// oneRun ends before a line that begins another transcript.
type oneRun struct {
	in      *bufio.Reader
	pending []byte
	begun   bool
	// within: what comes next is not the beginning of a line.
	within bool
}

// Read implements io.Reader.
func (o *oneRun) Read(p []byte) (int, error) {
	if len(o.pending) == 0 {
		if o.begun && !o.within && beginsRun(o.in) {
			return 0, io.EOF
		}
		line, err := o.in.ReadSlice('\n')
		if len(line) == 0 {
			return 0, err
		}
		o.begun, o.within, o.pending = true, line[len(line)-1] != '\n', line
	}
	n := copy(p, o.pending)
	o.pending = o.pending[n:]
	return n, nil
}

// beginsRun looks whether the next line is the first event of a transcript, by
// how a Writer begins one.
func beginsRun(in *bufio.Reader) bool {
	head, _ := in.Peek(len(`{"v":1,"seq":1,`))
	return bytes.Equal(head, []byte(`{"v":1,"seq":1,`))
}
