package apiserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// headBytes is where turn and type of an event are: before its data, which may be long.
const headBytes = 1 << 10

// head is what is looked at of an event. It is zero for a line that is none.
type head struct {
	turn int
	kind transcript.Type
	// over: it is the end of a run, and not only of an attempt that hands over to another.
	over bool
}

// readHead reads the beginning of a line up to the event's data.
func readHead(line []byte) head {
	var h head
	d := json.NewDecoder(bytes.NewReader(line))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return head{}
	}
	for {
		key, err := d.Token()
		if err != nil {
			return h
		}
		if key == "data" {
			h.over = h.kind == transcript.TypeRunEnded && !handsOver(d)
			return h
		}
		var into any
		switch key {
		case "turn":
			into = &h.turn
		case "type":
			into = &h.kind
		default:
			into = new(json.RawMessage)
		}
		if err := d.Decode(into); err != nil {
			return h
		}
	}
}

// handsOver reads the beginning of the data of a run's end, which is its reason.
func handsOver(d *json.Decoder) bool {
	var begin [3]json.Token
	for i := range begin {
		token, err := d.Token()
		if err != nil {
			return false
		}
		begin[i] = token
	}
	return begin[1] == "reason" && (begin[2] == v1alpha1.ReasonVerificationPending || begin[2] == v1alpha1.ReasonVerificationRejected)
}

// lines goes through a log line by line and holds no line as a whole.
type lines struct{ in *bufio.Reader }

func newLines(r io.Reader) *lines { return &lines{in: bufio.NewReaderSize(r, 64<<10)} }

// next gives the head of the next line, io.EOF after the last one. Its bytes are to be
// taken with copyTo before next is called again.
func (l *lines) next() (head, error) {
	begin, err := l.in.Peek(headBytes)
	if len(begin) == 0 {
		if err == nil || errors.Is(err, bufio.ErrBufferFull) {
			err = io.ErrNoProgress
		}
		return head{}, err
	}
	if end := bytes.IndexByte(begin, '\n'); end >= 0 {
		begin = begin[:end]
	}
	return readHead(begin), nil
}

// copyTo copies the line that next told of.
func (l *lines) copyTo(w io.Writer) error {
	for {
		part, err := l.in.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("reading the log: %w", err)
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		if err == nil {
			return nil
		}
	}
}
