package openai

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

var (
	errTruncated = errors.New("the reply ended before its end")
	errMalformed = errors.New("the reply is not valid JSON")
)

// saidError carries an error that the server sent inside a 200.
type saidError struct {
	serverError
	// stray says that these are words where JSON should be, not marked as an error.
	stray bool
}

func (e *saidError) Error() string { return "the server sent an error" }

// replyReader reads a reply: the events of a stream, or one JSON document, whatever
// was asked for and whatever its Content-Type says.
type replyReader struct {
	events eventReader
	// begun is called when the model has said something, finished once it has said
	// why it stopped, behind all else: what is still to come then is only usage and
	// the end mark, not worth failing for.
	begun, finished func()
	// toUTF8 decodes events that are not UTF-8; nil leaves them.
	toUTF8 func([]byte) []byte
	// whole says that a reply came in one piece: it is all there at the end of the
	// body, whether or not it can be used.
	whole bool
	// endsWell says whether a reply with such a finish reason is all there.
	endsWell func(word string) bool
}

// read joins all events to a. The error is a *saidError, one of the above, a
// tooLargeError, or the reader's.
func (r *replyReader) read(a *assembly) error {
	for {
		event, err := r.events.next()
		if err != nil || event == nil {
			return r.ended(a, err)
		}
		if !utf8.Valid(event) && r.toUTF8 != nil {
			event = r.toUTF8(event)
		}
		if r.events.isError {
			return &saidError{serverError: parseServerError(event)}
		}
		if err := r.event(a, event); err != nil {
			return err
		}
	}
}

// event takes one JSON value: an event, or a list of them.
func (r *replyReader) event(a *assembly, event []byte) error {
	if event[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(event, &list); err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
		for _, one := range list {
			if len(one) == 0 || one[0] != '{' {
				continue
			}
			if err := r.event(a, one); err != nil {
				return err
			}
		}
		return nil
	}
	var w wireResponse
	if err := tolerant(json.Unmarshal(event, &w)); err != nil {
		event = plainJSON(event)
		w = wireResponse{}
		if tolerant(json.Unmarshal(event, &w)) != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	if said, failed := w.failure(event); failed {
		return &saidError{serverError: said}
	}
	before := a.over
	a.add(&w)
	switch {
	case len(a.calls) > maxCalls:
		return moreThan(maxCalls, "tool calls")
	case a.size() > maxReplyBytes:
		return moreThan(maxReplyBytes, "of text and arguments")
	}
	if r.begun != nil && a.size() > 0 {
		r.begun()
		r.begun = nil
	}
	for i := range w.Choices {
		r.whole = r.whole || w.Choices[i].Message != nil && w.Choices[i].Delta == nil
	}
	if !before && a.over && r.finished != nil {
		r.finished()
	}
	return nil
}

// ended judges the end of a reply: with the end mark (err nil), at EOF, or by an
// error of the connection.
func (r *replyReader) ended(a *assembly, err error) error {
	var said *saidError
	switch {
	case errors.As(err, &said) && said.stray && a.over && r.finishedBy(a):
		return nil // an end mark of the server's own
	case errors.Is(err, errMalformed), errors.Is(err, errTooLarge), errors.As(err, new(*saidError)):
		return err
	case err == nil, a.finish != "" && !a.goesOn, r.whole && a.choices:
		return nil
	case errors.Is(err, io.EOF) && a.choices && r.events.stray == "" && (a.finish != "" || r.finishedBy(a)):
		return nil
	case !errors.Is(err, io.EOF):
		return err
	case r.events.bare && !a.choices && r.events.stray == "":
		return nil // a document without a reply
	case r.events.stray != "":
		// What stood in for the rest says why there is none.
		return &saidError{serverError: parseServerError([]byte(r.events.stray))}
	}
	return errTruncated
}

// finishedBy says that the word for the end, or that there is none, makes the reply
// whole.
func (r *replyReader) finishedBy(a *assembly) bool { return r.endsWell != nil && r.endsWell(a.finish) }

// eventReader reads server-sent events of JSON, and JSON that is not dressed as
// events. It takes one event per JSON value, as all servers send them and some
// without the blank line between; a value that is not whole goes on in the next
// data line, as the format has it.
type eventReader struct {
	r       *bufio.Reader
	pending []byte
	shape   jsonShape
	// rest is what followed a value on its line.
	rest []byte
	// name is that of the event, isError says that it is one of an error.
	name    string
	isError bool
	// bare says that a value came that was not dressed as an event.
	bare bool
	// stray is the first line that is neither.
	stray string
	// afterCR says that the last line ended with CR: an LF belongs to it.
	afterCR bool
	started bool
	long    []byte
	total   int
}

var (
	eventDone = []byte("[DONE]")
	byteOrder = []byte("\xef\xbb\xbf")
	pings     = []string{"", "ping", "pong", "keep-alive", "keepalive", "keep_alive", "heartbeat", "null", "ok", "processing", "-", ":", ".", "{}"}
)

// next gives the next event, nil at the end mark, io.EOF at the end of the body.
// It is valid until the next call.
func (s *eventReader) next() ([]byte, error) {
	s.isError, s.name, s.pending = false, "", s.pending[:0]
	s.shape.reset()
	dressed := true
	for {
		var line []byte
		var err error
		if len(s.rest) > 0 {
			line, s.rest = s.rest, nil
		} else if line, err = s.line(); err != nil && len(line) == 0 {
			if len(s.pending) > 0 && errors.Is(err, io.EOF) {
				err = errTruncated
			}
			return nil, err
		}
		data := line
		switch goesOn := len(s.pending) > 0 && !dressed; {
		case len(line) == 0 && len(s.pending) > 0 && dressed:
			return nil, errMalformed // the end of an event that is none
		case len(line) == 0 && s.isError:
			return nil, &saidError{serverError: saidWords("an error event without words", "")}
		case len(line) == 0:
			s.name = ""
			continue
		case goesOn:
		case len(s.pending) == 0 && isValue(line):
			dressed, s.bare = false, true
		default:
			if data, dressed = s.field(line); !dressed {
				dressed = true
				continue
			}
		}
		if event, whole, err := s.take(data); whole || err != nil {
			return event, err
		}
	}
}

// isValue says that a line begins a JSON object, or a list of them.
func isValue(line []byte) bool {
	if line[0] == '[' {
		line = bytes.TrimLeft(line[1:], " \t")
		return len(line) == 0 || line[0] == '{'
	}
	return line[0] == '{'
}

// field reads a line of an event; ok says that it holds data.
func (s *eventReader) field(line []byte) (data []byte, ok bool) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	switch string(name) {
	case "data":
		return value, true
	case "error":
		s.isError = true
		return value, true
	case "event":
		s.name = strings.ToLower(string(value[:min(len(value), 64)]))
		s.isError = s.name == "error"
	case "", "id", "retry": // a comment (keep-alive), or of no use
	default:
		if isDone(line) {
			return line, true
		}
		if s.stray == "" {
			s.stray = string(line[:min(len(line), maxErrorBytes)])
		}
	}
	return nil, false
}

func isDone(data []byte) bool {
	return bytes.EqualFold(bytes.Trim(data, `"`), eventDone) || bytes.EqualFold(data, eventDone[1:5])
}

// isOwnMark says that data is a word in brackets, such as [END], which is no JSON.
func isOwnMark(data []byte) bool { return len(data) < 64 && ownMark.MatchString(string(data)) }

var ownMark = compile(`^\[[A-Za-z_][A-Za-z_ -]*\]$`)

// take adds data, and says whether the event is whole.
func (s *eventReader) take(data []byte) ([]byte, bool, error) {
	if len(s.pending) == 0 {
		switch {
		case isDone(data):
			return nil, true, nil
		case len(data) > 0 && (data[0] == '{' || data[0] == '[') && !isOwnMark(data):
		case s.isError && len(data) > 0:
			s.pending = append(s.pending, data...)
			return s.pending, true, nil
		case s.isPing(data):
			return nil, false, nil
		default:
			// Words where JSON should be are never the model's.
			return nil, false, &saidError{serverError: parseServerError(data), stray: true}
		}
	} else {
		s.pending = append(s.pending, '\n')
	}
	s.pending = append(s.pending, data...)
	if s.total += len(data); s.total > maxStreamBytes {
		return nil, false, moreThan(maxStreamBytes, "of data")
	}
	if len(s.pending) > maxEventBytes {
		return nil, false, moreThan(maxEventBytes, "in one event")
	}
	end, err := s.shape.next(s.pending)
	if end == 0 || err != nil {
		return nil, false, err
	}
	if rest := bytes.TrimSpace(s.pending[end:]); len(rest) > 0 {
		s.rest = bytes.Clone(rest)
	}
	return s.pending[:end], true, nil
}

func (s *eventReader) isPing(data []byte) bool {
	if strings.Contains(s.name, "ping") || strings.Contains(s.name, "heartbeat") || strings.Contains(s.name, "alive") {
		return true
	}
	var scalar any
	if json.Unmarshal(data, &scalar) == nil {
		if _, words := scalar.(string); !words {
			return true // null, a number
		}
	}
	for _, ping := range pings {
		if strings.EqualFold(strings.Trim(string(data[:min(len(data), 32)]), ` :"[]`), ping) {
			return true
		}
	}
	return false
}

// line reads a line without its end and spaces around; lines end with LF, CR LF or
// CR. The error is io.EOF with the last one. It is valid until the next call.
func (s *eventReader) line() ([]byte, error) {
	s.long = s.long[:0]
	for {
		if s.r.Buffered() == 0 {
			if _, err := s.r.Peek(1); err != nil {
				return s.tidy(s.long), err
			}
		}
		part, _ := s.r.Peek(s.r.Buffered())
		if s.afterCR && part[0] == '\n' {
			s.afterCR = false
			s.discard(1)
			continue
		}
		s.afterCR = false
		end := bytes.IndexByte(part, '\n')
		if cr := bytes.IndexByte(part[:max(end, 0)], '\r'); end < 0 || cr >= 0 {
			if end < 0 {
				cr = bytes.IndexByte(part, '\r')
			}
			end, s.afterCR = cr, cr >= 0
		}
		if end < 0 {
			s.long = append(s.long, part...)
			s.discard(len(part))
			if len(s.long) > maxEventBytes {
				return nil, moreThan(maxEventBytes, "in one line")
			}
			continue
		}
		line := part[:end]
		s.discard(end + 1)
		if len(s.long) > 0 {
			s.long = append(s.long, line...)
			line = s.long
		}
		return s.tidy(line), nil
	}
}

// tidy takes spaces off a line, and the byte order mark off the first one.
func (s *eventReader) tidy(line []byte) []byte {
	if !s.started {
		s.started = true
		line = bytes.TrimPrefix(line, byteOrder)
	}
	return bytes.TrimSpace(line)
}

func (s *eventReader) discard(n int) {
	s.r.Discard(n) //nolint:errcheck // n bytes are buffered
}
