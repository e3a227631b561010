package sandboxclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sampan-dev/sampan/internal/sandbox/api"
)

const (
	// streamPatience is how long a stream may be silent: some of the Sandbox's heartbeats,
	// which come every 15 seconds.
	streamPatience = time.Minute
	// maxResumes is how often in a row a stream is taken up without a sign of life from
	// it, with pauses that grow up to maxPause: for about two minutes.
	maxResumes           = 30
	firstPause, maxPause = 100 * time.Millisecond, 5 * time.Second
)

// ErrBroken is wrapped by the error of a stream that could not be taken up again.
var ErrBroken = errors.New("the stream was broken off")

// Stream is the output of a command, from some position to its end. Where the connection
// breaks it goes on by another at the very byte, by itself. It is for one goroutine, and
// must be closed; the command goes on.
type Stream struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelFunc
	// process is as it was when the stream was last taken up.
	process  Process
	position int64
	over     bool
	pauses   *backoff.ExponentialBackOff
	// resumes counts those without a sign of life since.
	resumes int
	// now is the connection; nil where there is none.
	now *connection
}

// connection is one response of a stream.
type connection struct {
	resp    *http.Response
	events  *api.EventReader
	silence *time.Timer
	cancel  context.CancelFunc
}

func (n *connection) close() {
	n.silence.Stop()
	if n.resp != nil {
		if n.events != nil && n.events.Over() {
			drain(n.resp) // nothing but its end is left
		}
		_ = n.resp.Body.Close()
	}
	n.cancel()
}

// Start starts a command that goes on until it ends or is ended, and gives its output from
// the beginning. When ctx ends the stream does, not the command.
func (c *Client) Start(ctx context.Context, req StreamRequest) (*Stream, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	// An id of our own finds the command also where the answer was lost.
	id := rand.Text()
	s := c.newStream(ctx, id, 0)
	err = s.connect(http.MethodPost, "/exec/stream", http.Header{api.HeaderExecID: {id}}, body) //nolint:contextcheck // the stream's own, which is made of ctx
	if err != nil && s.ctx.Err() == nil && unsettled(err) {
		began := err
		if err = s.resume(); CodeOf(err) == NotFound { //nolint:contextcheck // the stream's own, which is made of ctx
			err = fmt.Errorf("it is not known whether the command was started: %w", began)
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Follow gives the output of a command after a position; 0 is the beginning.
func (c *Client) Follow(ctx context.Context, id string, after int64) (*Stream, error) {
	s := c.newStream(ctx, id, after)
	if err := s.follow(); err != nil { //nolint:contextcheck // the stream's own, which is made of ctx
		s.Close()
		return nil, err
	}
	return s, nil
}

func (c *Client) newStream(ctx context.Context, id string, after int64) *Stream {
	s := &Stream{c: c, position: after, process: Process{ID: id}, pauses: backoff.NewExponentialBackOff()}
	s.pauses.InitialInterval, s.pauses.MaxInterval = firstPause, maxPause
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// Process is the command as it was when the stream was last taken up.
func (s *Stream) Process() Process { return s.process }

// Position is behind what Next has given; Follow goes on there.
func (s *Stream) Position() int64 { return s.position }

// Close ends the stream, and not the command.
func (s *Stream) Close() {
	s.drop()
	s.cancel()
}

func (s *Stream) drop() {
	if s.now != nil {
		s.now.close()
		s.now = nil
	}
}

// Next waits for the next event: output, the exit, or that some output is lost, which is
// only where the stream was away for longer than the Sandbox keeps it. The exit is the
// last, and io.EOF follows it. After any other error there is no more; what has been given
// was without loss or repeat, and Follow may go on at Position.
func (s *Stream) Next() (Event, error) {
	for !s.over {
		if s.now == nil {
			if err := s.resume(); err != nil {
				return Event{}, err
			}
		}
		ev, err := s.now.events.Next()
		var said *api.Error
		switch {
		case err == nil:
			s.position, s.over = ev.Position, ev.Exit != nil
			for _, out := range []*Output{ev.Stdout, ev.Stderr} {
				if out != nil {
					out.Data = bytes.Clone(out.Data) // it is the reader's
				}
			}
			return ev, nil
		case errors.As(err, &said):
			s.drop()
			return Event{}, statusOf(said)
		}
		s.drop()
	}
	return Event{}, io.EOF
}

// resume connects again at the position, until that works or is no use.
func (s *Stream) resume() error {
	for {
		if err := s.pause(); err != nil {
			return err
		}
		s.resumes++
		err := s.follow()
		switch {
		case err == nil:
			return nil
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case !passing(err):
			return err
		case s.resumes >= maxResumes:
			return fmt.Errorf("%w at position %d, and %d attempts to go on failed: %w", ErrBroken, s.position, s.resumes, err)
		}
	}
}

func (s *Stream) follow() error {
	return s.connect(http.MethodGet, processRoute(s.process.ID)+"/stream?after="+strconv.FormatInt(s.position, 10), nil, nil)
}

// pause waits before another attempt, and not before the first after a sign of life.
func (s *Stream) pause() error {
	if s.resumes == 0 {
		return s.ctx.Err()
	}
	wait := time.NewTimer(s.pauses.NextBackOff())
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// connect makes a request the connection of the stream.
func (s *Stream) connect(method, route string, h http.Header, body []byte) error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	n := &connection{cancel: func() { cancel(nil) }}
	n.silence = time.AfterFunc(streamPatience, func() { cancel(fmt.Errorf("nothing was heard for %v", streamPatience)) })
	var err error
	n.resp, err = s.c.send(ctx, method, route, h, bytes.NewReader(body)) //nolint:bodyclose // close closes it
	if err == nil {
		n.events = api.NewEventReader(n.resp.Body, s.position, func() {
			n.silence.Reset(streamPatience)
			s.resumes = 0
			s.pauses.Reset()
		})
		s.process, err = n.started(s.process)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && s.ctx.Err() == nil {
			err = cause
		}
		n.close()
		return err
	}
	s.now = n
	return nil
}

// started reads the first event; where that fails the process stays as it was.
func (n *connection) started(before Process) (Process, error) {
	p, err := n.events.Start()
	var said *api.Error
	switch {
	case errors.As(err, &said):
		return before, statusOf(said)
	case err != nil:
		return before, err
	}
	return p, nil
}

// unsettled reports whether it is open what came of a request.
func unsettled(err error) bool {
	code := statusCode(err)
	return code == 0 || code == http.StatusBadGateway || code == http.StatusGatewayTimeout
}

// passing reports whether an error may be over soon.
func passing(err error) bool {
	code := statusCode(err)
	return unsettled(err) || code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable
}

// statusCode is that of an answer; an error of the connection has none.
func statusCode(err error) int32 {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return 0
	}
	return status.Status().Code
}
