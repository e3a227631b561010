package transcript

import (
	"errors"
	"fmt"
	"io"
)

// Report is what Verify found.
type Report struct {
	Summary
	// Cut is true where the last line is not whole; Summary leaves it out.
	Cut bool
	// Ended is the terminal event's data, nil when the run did not end.
	Ended *RunEnded
}

// Verify checks that a transcript is unbroken: numbering, hash chain, version,
// that it begins with run_started, that every event's data is readable, and
// that nothing follows the terminal event, unless another process went on
// with the run. A transcript that was tampered with as a whole still passes: compare Digest with the one in
// the task's status.
func Verify(r io.Reader) (Report, error) {
	reader := NewReader(r)
	var rep Report
	for {
		e, err := reader.Next()
		rep.Summary = reader.Summary()
		switch {
		case errors.Is(err, io.EOF) && rep.Events == 0:
			return rep, &Error{Line: 1, Reason: "is missing: a transcript that was begun has an event"}
		case errors.Is(err, io.EOF):
			return rep, nil
		case errors.Is(err, ErrCut):
			rep.Cut = true
			return rep, nil
		case err != nil:
			return rep, err
		}
		if e.Seq == 1 && e.Type != TypeRunStarted {
			return rep, &Error{Line: 1, Reason: fmt.Sprintf("begins with %s, want %s", e.Type, TypeRunStarted)}
		}
		if rep.Ended != nil && e.Type != TypeRunResumed {
			return rep, &Error{Line: e.Seq, Reason: fmt.Sprintf("%s after the terminal event", e.Type)}
		}
		data, err := e.Decode()
		if err != nil {
			return rep, &Error{Line: e.Seq, Reason: err.Error()}
		}
		rep.Ended, _ = data.(*RunEnded)
	}
}
