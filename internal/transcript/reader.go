package transcript

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// maxLine bounds one event; nothing that the writer makes comes near it.
const maxLine = 64 << 20

// ErrCut is returned for a last line that was not written to its end: the
// writer died in the middle. What came before it is whole.
var ErrCut = errors.New("the last line of the transcript is cut off")

// Error is a transcript that is not what its writer wrote.
type Error struct {
	// Line counts from 1.
	Line   int64
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("transcript line %d: %s", e.Line, e.Reason) }

// Reader gives the events of a transcript and checks their chain on the way.
type Reader struct {
	r    *bufio.Reader
	line []byte
	prev string
	seq  int64
	size int64
	sum  hash.Hash
}

// NewReader reads a transcript from its beginning.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
}

// Next gives the next event; io.EOF after the last, ErrCut at a cut last line,
// an *Error where the chain is broken.
func (r *Reader) Next() (Event, error) {
	if err := r.readLine(); err != nil {
		return Event{}, err
	}
	var e Event
	body := bytes.TrimSuffix(r.line, []byte("\n"))
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, r.broken("is not an event: " + err.Error())
	}
	switch {
	case e.Seq != r.seq+1:
		return Event{}, r.broken(fmt.Sprintf("seq is %d, want %d: lines are missing, doubled or out of order", e.Seq, r.seq+1))
	case e.Prev != r.prev:
		return Event{}, r.broken("prev is not the hash of the line before: one of the two was changed")
	case r.seq == 0 && (e.V < 1 || e.V > SchemaVersion):
		return Event{}, r.broken(fmt.Sprintf("version %d is not one this program reads (1 to %d)", e.V, SchemaVersion))
	case e.Type == "":
		return Event{}, r.broken("has no type")
	}
	hashed := sha256.Sum256(body)
	r.prev = hex.EncodeToString(hashed[:])
	r.sum.Write(r.line)
	r.size += int64(len(r.line))
	r.seq++
	return e, nil
}

// Summary counts the events that Next gave.
func (r *Reader) Summary() Summary {
	return Summary{Events: r.seq, Bytes: r.size, Digest: digest(r.sum)}
}

func (r *Reader) broken(reason string) error { return &Error{Line: r.seq + 1, Reason: reason} }

// readLine fills r.line with one line and its newline.
func (r *Reader) readLine() error {
	r.line = r.line[:0]
	for {
		part, err := r.r.ReadSlice('\n')
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			if len(r.line) > maxLine {
				return r.broken("is too long")
			}
		case errors.Is(err, io.EOF) && len(r.line) == 0:
			return io.EOF
		case errors.Is(err, io.EOF):
			return ErrCut
		default:
			return fmt.Errorf("reading transcript line %d: %w", r.seq+1, err)
		}
	}
}

// ReadAll gives all whole events. A cut last line is reported by cut, not as
// an error.
func ReadAll(r io.Reader) (events []Event, cut bool, err error) {
	cut, err = readEach(NewReader(r), func(e Event) { events = append(events, e) })
	return events, cut, err
}

// readEach gives all whole events to each, one after the other.
func readEach(reader *Reader, each func(Event)) (cut bool, err error) {
	for {
		e, err := reader.Next()
		switch {
		case err == nil:
			each(e)
		case errors.Is(err, io.EOF):
			return false, nil
		case errors.Is(err, ErrCut):
			return true, nil
		default:
			return false, err
		}
	}
}
