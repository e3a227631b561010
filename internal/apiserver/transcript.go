package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	"github.com/sampan-dev/sampan/internal/record/wire"
)

const (
	// lookInterval is how long nothing is written until it is asked whether the task
	// has ended.
	lookInterval = 10 * time.Second
	// maxFollow bounds how long a log is followed, and so for how long a right that
	// was taken away goes on to be used.
	maxFollow = time.Hour
	// writeDeadline is how long a client may take for what it was sent last.
	writeDeadline = time.Minute
)

// readTranscript answers with the lines of a log.
func (p *people) readTranscript(ctx context.Context, name string, w http.ResponseWriter, req *http.Request) error {
	q, err := parseQuery(req.URL.Query(), "from", "to", "turn", "follow", "uid")
	if err != nil {
		return err
	}
	leave, err := p.enter()
	if err != nil {
		return err
	}
	defer leave()
	s, err := p.find(ctx, name, q.uid)
	if err != nil {
		return err
	}
	ctx, cancel := p.bounded(ctx)
	defer cancel()
	out := p.answer(w, wire.Lines)
	t := &tail{people: p, name: name, subject: s, query: q, next: q.from, out: out}
	if err := t.run(ctx); err != nil {
		return out.fail(ctx, err)
	}
	return out.begin()
}

// enter takes one of the places that there are for long answers.
func (p *people) enter() (leave func(), err error) {
	if !p.streams.TryAcquire(1) {
		return nil, apierrors.NewTooManyRequests(fmt.Sprintf("%d transcripts and outputs are being read, which is the most that this server does at once; try again", maxStreams), retryAfterSeconds)
	}
	return func() { p.streams.Release(1) }, nil
}

// bounded ends with the client, after maxFollow and with the server.
func (p *people) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, maxFollow)
	stop := context.AfterFunc(p.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// tail gives the lines of a log that somebody asked for, as they come.
type tail struct {
	*people
	name    string
	subject *subject
	query   query
	// next is the number of the first event that was not seen.
	next int64
	// last is the event before it.
	last head
	out  *answer
}

// run goes through the log once or, to follow it, until the run or the task has ended.
func (t *tail) run(ctx context.Context) error {
	over := !t.subject.live
	for {
		if err := t.pass(ctx); err != nil {
			return err
		}
		if !t.query.follow || over || t.done() || t.last.over {
			return nil
		}
		if err := t.out.flush(); err != nil {
			return err
		}
		grown, err := t.wait(ctx)
		if err != nil {
			return err
		}
		if grown {
			continue
		}
		// What was written before the task ended is read by one more pass.
		if over, err = t.over(ctx, t.name, t.subject.task); err != nil {
			klog.FromContext(ctx).Error(err, "The task whose transcript is followed cannot be read. It is tried again.")
		}
	}
}

// wait waits for some time for the log to grow.
func (t *tail) wait(ctx context.Context) (grown bool, err error) {
	some, cancel := context.WithTimeout(ctx, t.lookInterval)
	defer cancel()
	err = t.subject.store.Wait(some, t.subject.task, t.next-1)
	if err != nil && some.Err() != nil && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

func (t *tail) done() bool { return t.query.to != 0 && t.next > t.query.to }

// pass gives what the log has got since the last time.
func (t *tail) pass(ctx context.Context) (err error) {
	log, err := t.subject.store.Log(ctx, t.subject.task, t.next)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	in := newLines(log)
	for !t.done() {
		h, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var w io.Writer = t.out
		if t.query.turn >= 0 && h.turn != t.query.turn {
			w = io.Discard
		}
		if err := in.copyTo(w); err != nil {
			return err
		}
		t.next, t.last = t.next+1, h
	}
	return nil
}

// answer begins with the first byte, so that an error before it is one with a status.
type answer struct {
	w         http.ResponseWriter
	clock     interface{ Now() time.Time }
	mediaType string
	begun     bool
}

func (p *people) answer(w http.ResponseWriter, mediaType string) *answer {
	return &answer{w: w, clock: p.clock, mediaType: mediaType}
}

// begin sends the header.
func (a *answer) begin() error {
	if a.begun {
		return nil
	}
	a.begun = true
	h := a.w.Header()
	h.Set("Content-Type", a.mediaType)
	// What an agent has made is nobody's page: it must not run where somebody is
	// logged in, as behind kubectl proxy.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	a.w.WriteHeader(http.StatusOK)
	return nil
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	if err := errors.Join(a.begin(), a.patience()); err != nil {
		return 0, err
	}
	return a.w.Write(p)
}

// patience lets the client take some time for what comes next.
func (a *answer) patience() error {
	if err := http.NewResponseController(a.w).SetWriteDeadline(a.clock.Now().Add(writeDeadline)); err != nil {
		return fmt.Errorf("giving the client a deadline: %w", err)
	}
	return nil
}

// flush sends what is there, at least the header.
func (a *answer) flush() error {
	if err := errors.Join(a.begin(), a.patience()); err != nil {
		return err
	}
	if err := http.NewResponseController(a.w).Flush(); err != nil {
		return fmt.Errorf("sending what there is: %w", err)
	}
	return nil
}

// fail gives an error that can still be told. Afterwards the connection is cut, so
// that what was sent does not look like all there is; only one whose time is up, or
// whose client has left, ends in order.
func (a *answer) fail(ctx context.Context, err error) error {
	switch {
	case !a.begun:
		return err
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return nil
	}
	klog.FromContext(ctx).Error(err, "An answer was cut off")
	panic(http.ErrAbortHandler)
}

var _ io.Writer = &answer{}
