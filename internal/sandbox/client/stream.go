package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
)

const (
	// streamPatience is how long a stream may be silent: some of the server's heartbeats.
	streamPatience = time.Minute
	// maxEventBytes bounds one line of an event; the server's are much shorter.
	maxEventBytes = 1 << 20
)

// Event is what a Stream gives; one of its fields beside Position is set.
type Event struct {
	// Position is behind the event: Follow goes on from there.
	Position       int64
	Stdout, Stderr *api.Output
	Lost           *api.Lost
	Exit           *api.Exit
}

// Stream is the output of a process. It must be closed; the process goes on.
type Stream struct {
	// Process is as it was when the stream began.
	Process api.Process

	c        *Client
	ctx      context.Context
	cancel   context.CancelFunc
	silence  *time.Timer
	resp     *http.Response
	lines    *bufio.Scanner
	position int64
	over     bool
	// data and decoded are the memory of an event.
	data, decoded []byte
}

// Start runs a command that goes on until it ends or is ended; the Stream has its
// output from the beginning. When ctx ends the stream does, not the command.
func (c *Client) Start(ctx context.Context, req api.StreamRequest) (*Stream, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tool.ErrInvalid, err)
	}
	return c.stream(ctx, http.MethodPost, "/v1/exec/stream", 0, body)
}

// Follow gives the output of a process after a position.
func (c *Client) Follow(ctx context.Context, id string, after int64) (*Stream, error) {
	return c.stream(ctx, http.MethodGet, processRoute(id)+"/stream?after="+strconv.FormatInt(after, 10), after, nil)
}

func (c *Client) stream(ctx context.Context, method, route string, after int64, body []byte) (*Stream, error) {
	ctx, end := context.WithCancelCause(ctx)
	s := &Stream{c: c, ctx: ctx, position: after, cancel: func() { end(nil) }}
	s.silence = time.AfterFunc(streamPatience, func() {
		end(fmt.Errorf("%w: nothing was heard of it for %v", tool.ErrExecutorGone, streamPatience))
	})
	var err error
	s.resp, err = c.send(ctx, method, route, nil, body) //nolint:bodyclose // Close closes it
	if err != nil {
		s.Close()
		return nil, err
	}
	s.lines = bufio.NewScanner(s.resp.Body)
	s.lines.Buffer(make([]byte, 64<<10), maxEventBytes)
	name, _, data, err := s.event()
	if err == nil && name != api.EventStart {
		err = fmt.Errorf("%w: a stream began with %q", tool.ErrExecutorGone, name)
	}
	if err == nil {
		err = s.decode(data, &s.Process)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the stream.
func (s *Stream) Close() {
	if s.over {
		drain(s.resp) // nothing but its end is left
	}
	s.silence.Stop()
	s.cancel()
	if s.resp != nil {
		_ = s.resp.Body.Close()
	}
}

// Position is behind what Next has given.
func (s *Stream) Position() int64 { return s.position }

// Next waits for the next event. The exit is the last, and io.EOF follows it. Any other
// error is about the stream: Follow may go on where it was. Data is valid until the
// next call.
func (s *Stream) Next() (Event, error) {
	if s.over {
		return Event{}, io.EOF
	}
	name, id, data, err := s.event()
	if err != nil {
		return Event{}, err
	}
	if id != "" {
		if s.position, err = strconv.ParseInt(id, 10, 64); err != nil {
			return Event{}, fmt.Errorf("%w: a position %q", tool.ErrExecutorGone, id)
		}
	}
	ev := Event{Position: s.position}
	var into any
	switch name {
	case api.EventStdout:
		ev.Stdout, err = s.output(data)
		return ev, err
	case api.EventStderr:
		ev.Stderr, err = s.output(data)
		return ev, err
	case api.EventLost:
		ev.Lost = new(api.Lost)
		into = ev.Lost
	case api.EventExit:
		ev.Exit, s.over = new(api.Exit), true
		into = ev.Exit
	case api.EventError:
		var e api.Error
		if err := s.decode(data, &e); err != nil {
			return Event{}, err
		}
		return Event{}, convert.ToError(e)
	default:
		return Event{}, fmt.Errorf("%w: an event %q", tool.ErrExecutorGone, name)
	}
	return ev, s.decode(data, into)
}

// output decodes what makes up nearly all of a stream, several times as fast as
// encoding/json where it is written as the server does.
func (s *Stream) output(data []byte) (*api.Output, error) {
	out := new(api.Output)
	rest, ok := bytes.CutPrefix(data, []byte(`{"offset":`))
	number, text, ok2 := bytes.Cut(rest, []byte(`,"data":"`))
	text, ok3 := bytes.CutSuffix(text, []byte(`"}`))
	offset, err := strconv.ParseInt(string(number), 10, 64)
	if !ok || !ok2 || !ok3 || err != nil {
		return out, s.decode(data, out)
	}
	s.decoded = slices.Grow(s.decoded[:0], base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(s.decoded[:cap(s.decoded)], text)
	if err != nil {
		return out, s.decode(data, out)
	}
	out.Offset, out.Data = offset, s.decoded[:n]
	return out, nil
}

func (s *Stream) decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return s.c.broken(s.ctx, err)
	}
	return nil
}

// event reads the next one; comments are signs of life and no more.
func (s *Stream) event() (name api.Event, id string, data []byte, err error) {
	for s.lines.Scan() {
		line := s.lines.Bytes()
		field, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case len(line) == 0:
			s.silence.Reset(streamPatience)
			if name != "" {
				return name, id, data, nil
			}
		case string(field) == "event":
			name = api.Event(value)
		case string(field) == "id":
			id = string(value)
		case string(field) == "data":
			s.data = append(s.data[:0], value...)
			data = s.data
		}
	}
	err = s.lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return "", "", nil, s.brokenOff(err)
}

// brokenOff names why a stream ended before its process did.
func (s *Stream) brokenOff(err error) error {
	if cause := context.Cause(s.ctx); errors.Is(cause, tool.ErrExecutorGone) {
		return cause
	}
	return s.c.broken(s.ctx, err)
}

func processRoute(id string) string { return "/v1/processes/" + url.PathEscape(id) }

// Processes lists the commands that run and those that have ended and are kept.
func (c *Client) Processes(ctx context.Context) ([]api.Process, error) {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	var out []api.Process
	return out, c.call(ctx, http.MethodGet, "/v1/processes", nil, nil, &out)
}

// Process describes one.
func (c *Client) Process(ctx context.Context, id string) (*api.Process, error) {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	out := new(api.Process)
	return out, c.call(ctx, http.MethodGet, processRoute(id), nil, nil, out)
}

// Kill ends a process and all it started, and returns when that is done; what is kept
// of one that has ended is dropped.
func (c *Client) Kill(ctx context.Context, id string) error {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	return c.call(ctx, http.MethodDelete, processRoute(id), nil, nil, nil)
}

// Signal sends a signal, such as SIGINT, to a process and its group.
func (c *Client) Signal(ctx context.Context, id, signal string) error {
	return c.tell(ctx, processRoute(id)+"/signal", api.SignalRequest{Signal: signal})
}

// Resize changes the size of a process's terminal.
func (c *Client) Resize(ctx context.Context, id string, size api.Window) error {
	return c.tell(ctx, processRoute(id)+"/window", size)
}

// tell sends a request that has no answer but its success.
func (c *Client) tell(ctx context.Context, route string, req any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("%w: %w", tool.ErrInvalid, err)
	}
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	return c.call(ctx, http.MethodPost, route, nil, body, nil)
}

// Feed gives a process some of its standard input, and its end where that is said.
func (c *Client) Feed(ctx context.Context, id string, data []byte, end bool) (*api.StdinResult, error) {
	ctx, cancel := patience(ctx, fileDeadline)
	defer cancel()
	route := processRoute(id) + "/stdin"
	if end {
		route += "?eof"
	}
	out := new(api.StdinResult)
	return out, c.call(ctx, http.MethodPost, route, nil, data, out)
}
