package api

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// maxEventBytes bounds one line of an event; the server's are much shorter.
const maxEventBytes = 1 << 20

// Error implements error.
func (e *Error) Error() string { return e.Message }

// StreamEvent is what a stream gives after its start; one of its fields beside Position
// is set.
type StreamEvent struct {
	// Position is behind the event: the stream of the process after it goes on there.
	Position       int64
	Stdout, Stderr *Output
	Lost           *Lost
	Exit           *Exit
}

// EventReader reads the events of a stream. Only an event that came whole is given.
type EventReader struct {
	lines    *bufio.Scanner
	alive    func()
	position int64
	over     bool
	// data and decoded are the memory of an event.
	data, decoded []byte
}

// NewEventReader gives the reader of a stream that goes on after a position. alive is
// called for each sign of life: comments, and events that Next gives.
func NewEventReader(r io.Reader, after int64, alive func()) *EventReader {
	e := &EventReader{lines: bufio.NewScanner(r), alive: alive, position: after}
	e.lines.Buffer(make([]byte, 64<<10), maxEventBytes)
	return e
}

// Position is behind what Next has given.
func (r *EventReader) Position() int64 { return r.position }

// Over says that the exit has come.
func (r *EventReader) Over() bool { return r.over }

// Start reads the first event.
func (r *EventReader) Start() (Process, error) {
	var p Process
	name, _, data, err := r.event()
	switch {
	case err != nil:
	case name == EventError:
		err = failed(data)
	case name != EventStart:
		err = fmt.Errorf("a stream began with %q", name)
	default:
		err = json.Unmarshal(data, &p)
	}
	return p, err
}

// Next waits for the next event. The exit is the last, and io.EOF follows it. An Error
// is the server's own word; any other is about the stream. Data is valid until the next
// call.
func (r *EventReader) Next() (StreamEvent, error) {
	if r.over {
		return StreamEvent{}, io.EOF
	}
	name, id, data, err := r.event()
	if err != nil {
		return StreamEvent{}, err
	}
	ev := StreamEvent{Position: r.position}
	if id != "" {
		if ev.Position, err = strconv.ParseInt(id, 10, 64); err != nil {
			return StreamEvent{}, fmt.Errorf("a position %q", id)
		}
	}
	switch name {
	case EventStdout:
		ev.Stdout, err = r.output(data)
	case EventStderr:
		ev.Stderr, err = r.output(data)
	case EventLost:
		ev.Lost = new(Lost)
		err = json.Unmarshal(data, ev.Lost)
	case EventExit:
		ev.Exit = new(Exit)
		err = json.Unmarshal(data, ev.Exit)
		r.over = err == nil
	case EventError:
		err = failed(data)
	case EventStart:
		fallthrough
	default:
		err = fmt.Errorf("an event %q", name)
	}
	if err != nil {
		return StreamEvent{}, err
	}
	r.position = ev.Position
	r.alive()
	return ev, nil
}

// failed is the error that an event says.
func failed(data []byte) error {
	e := new(Error)
	if err := json.Unmarshal(data, e); err != nil {
		return err
	}
	return e
}

// output decodes what makes up nearly all of a stream, several times as fast as
// encoding/json where it is written as the server does.
func (r *EventReader) output(data []byte) (*Output, error) {
	out := new(Output)
	rest, ok := bytes.CutPrefix(data, []byte(`{"offset":`))
	number, text, ok2 := bytes.Cut(rest, []byte(`,"data":"`))
	text, ok3 := bytes.CutSuffix(text, []byte(`"}`))
	offset, err := strconv.ParseInt(string(number), 10, 64)
	if !ok || !ok2 || !ok3 || err != nil {
		return out, json.Unmarshal(data, out)
	}
	r.decoded = slices.Grow(r.decoded[:0], base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(r.decoded[:cap(r.decoded)], text)
	if err != nil {
		return out, json.Unmarshal(data, out)
	}
	out.Offset, out.Data = offset, r.decoded[:n]
	return out, nil
}

// event reads the next one; comments are signs of life and no more.
func (r *EventReader) event() (name Event, id string, data []byte, err error) {
	for r.lines.Scan() {
		line := r.lines.Bytes()
		field, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case len(line) == 0 && name != "":
			return name, id, data, nil
		case len(line) == 0:
			r.alive()
		case string(field) == "event":
			name = Event(value)
		case string(field) == "id":
			id = string(value)
		case string(field) == "data":
			r.data = append(r.data[:0], value...)
			data = r.data
		}
	}
	if err := r.lines.Err(); err != nil {
		return "", "", nil, err
	}
	return "", "", nil, io.ErrUnexpectedEOF
}
