package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/api"
	"github.com/sampan-dev/sampan/internal/sandbox/convert"
)

// streamPatience is how long a stream may be silent: some of the server's heartbeats.
const streamPatience = time.Minute

// Event is what a Stream gives.
type Event = api.StreamEvent

// Stream is the output of a process. It must be closed; the process goes on.
type Stream struct {
	// Process is as it was when the stream began.
	Process api.Process

	c       *Client
	ctx     context.Context
	cancel  context.CancelFunc
	silence *time.Timer
	resp    *http.Response
	events  *api.EventReader
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
	s := &Stream{c: c, ctx: ctx, cancel: func() { end(nil) }}
	s.silence = time.AfterFunc(streamPatience, func() {
		end(fmt.Errorf("%w: nothing was heard of it for %v", tool.ErrExecutorGone, streamPatience))
	})
	var err error
	s.resp, err = c.send(ctx, method, route, nil, body) //nolint:bodyclose // Close closes it
	if err != nil {
		s.Close()
		return nil, err
	}
	s.events = api.NewEventReader(s.resp.Body, after, func() { s.silence.Reset(streamPatience) })
	s.Process, err = s.events.Start()
	if err != nil {
		err = s.brokenOff(err)
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the stream.
func (s *Stream) Close() {
	if s.events != nil && s.events.Over() {
		drain(s.resp) // nothing but its end is left
	}
	s.silence.Stop()
	s.cancel()
	if s.resp != nil {
		_ = s.resp.Body.Close()
	}
}

// Position is behind what Next has given.
func (s *Stream) Position() int64 { return s.events.Position() }

// Next waits for the next event. The exit is the last, and io.EOF follows it. Any other
// error is about the stream: Follow may go on where it was. Data is valid until the
// next call.
func (s *Stream) Next() (Event, error) {
	ev, err := s.events.Next()
	return ev, s.brokenOff(err)
}

// brokenOff names why a stream ended before its process did.
func (s *Stream) brokenOff(err error) error {
	var said *api.Error
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.As(err, &said):
		return convert.ToError(*said)
	}
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
