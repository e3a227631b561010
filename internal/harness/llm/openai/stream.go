package openai

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// maxLineBytes caps one line of a stream; a whole file may come in one.
	maxLineBytes = 8 << 20
	// maxEventLines caps the lines over which one event is spread.
	maxEventLines = 256
	// maxBodyBytes caps a whole response and a whole stream.
	maxBodyBytes = 64 << 20
)

var (
	errTooLarge  = errors.New("the reply is larger than this client takes")
	errTruncated = errors.New("the reply ended before its end")
	errMalformed = errors.New("the reply is not valid JSON")
)

// saidError carries an error that the server sent inside a 200.
type saidError struct{ serverError }

func (e *saidError) Error() string { return e.message }

// readStream joins the events of a stream. finished is called once the model has
// said why it stopped: what is still to come is only usage and the end mark, not
// worth failing for. The error is a *saidError, one of the above, or the reader's.
func readStream(body *bufio.Reader, a *assembly, finished func()) error {
	s := eventReader{r: body}
	for {
		event, err := s.next()
		if err != nil || event == nil {
			return ended(a, err)
		}
		var r wireResponse
		if err := tolerant(json.Unmarshal(event, &r)); err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
		if said, failed := r.failure(event); failed || s.isError {
			if !failed {
				said = parseServerError(event)
			}
			return &saidError{said}
		}
		before := a.finish
		a.add(&r)
		if before == "" && a.finish != "" {
			finished()
		}
	}
}

// ended judges the end of a stream: with the end mark (err nil), at EOF, or by an
// error of the connection.
func ended(a *assembly, err error) error {
	switch {
	case errors.Is(err, errMalformed), errors.Is(err, errTooLarge):
		return err
	case err == nil || a.finish != "":
		return nil
	case errors.Is(err, io.EOF):
		return errTruncated
	default:
		return err
	}
}

// eventReader reads server-sent events of JSON. It takes one event per data line,
// as all servers send them and some without the blank line between; a data line
// that is not whole JSON continues on the next, as the format has it.
type eventReader struct {
	r       *bufio.Reader
	pending []byte
	// isError says that the event was named an error.
	isError bool
	lines   int
	total   int
}

var (
	eventData  = []byte("data:")
	eventName  = []byte("event:")
	eventError = []byte("error:")
	eventDone  = []byte("[DONE]")
)

// next gives the next event, nil at the end mark, io.EOF at the end of the body.
// It is valid until the next call.
func (s *eventReader) next() ([]byte, error) {
	s.isError, s.pending, s.lines = false, s.pending[:0], 0
	for {
		line, err := s.line()
		if len(line) == 0 && err != nil {
			if len(s.pending) > 0 && errors.Is(err, io.EOF) {
				return nil, errTruncated
			}
			return nil, err
		}
		var data []byte
		switch {
		case len(line) == 0: // the end of an event
			if len(s.pending) > 0 {
				return nil, errMalformed
			}
			continue
		case bytes.HasPrefix(line, eventData):
			data = bytes.TrimSpace(line[len(eventData):])
		case bytes.HasPrefix(line, eventName):
			s.isError = bytes.Equal(bytes.TrimSpace(line[len(eventName):]), []byte("error"))
			continue
		case bytes.HasPrefix(line, eventError):
			s.isError, data = true, bytes.TrimSpace(line[len(eventError):])
		case line[0] == '{': // an error that was not dressed as an event
			data = line
		default: // comments (keep-alive), id, retry
			continue
		}
		if bytes.Equal(data, eventDone) {
			return nil, nil
		}
		if event, whole := s.append(data); whole {
			return event, nil
		}
		if s.lines > maxEventLines {
			return nil, errMalformed
		}
		if errors.Is(err, io.EOF) {
			return nil, errTruncated
		}
	}
}

// append adds a data line and says whether the event is whole.
func (s *eventReader) append(data []byte) ([]byte, bool) {
	if len(data) == 0 {
		return nil, false
	}
	s.lines++
	if len(s.pending) > 0 {
		s.pending = append(s.pending, '\n')
	}
	s.pending = append(s.pending, data...)
	// An error may be plain words.
	return s.pending, s.isError || json.Valid(s.pending)
}

// line reads a line without its end and spaces around; the error is io.EOF with
// the last one. It is valid until the next call.
func (s *eventReader) line() ([]byte, error) {
	var long []byte
	for {
		part, err := s.r.ReadSlice('\n')
		if s.total += len(part); s.total > maxBodyBytes || len(long)+len(part) > maxLineBytes {
			return nil, errTooLarge
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if long != nil {
			part = append(long, part...)
		}
		return bytes.TrimSpace(part), err
	}
}
