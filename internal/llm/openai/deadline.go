package openai

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

var (
	errIdle  = errors.New("idle deadline")
	errTotal = errors.New("total deadline")
)

// watch ends a request that takes too long: in all, or since the server last sent
// a byte. Which of the two it was is the cause of its context. Before the model's
// first word, a server that reads a long prompt may be silent for longer.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	total  *time.Timer

	mu      sync.Mutex
	idle    *time.Timer
	idleFor time.Duration
	// later is the idle deadline from the first word on.
	later time.Duration
}

// newWatch starts the clocks; 0 is no deadline. first is the idle deadline until
// the model has said something, idle the one from then on.
func newWatch(parent context.Context, first, idle, total time.Duration) *watch {
	w := &watch{idleFor: first, later: idle}
	w.ctx, w.cancel = context.WithCancelCause(parent)
	if first > 0 {
		w.idle = time.AfterFunc(first, func() { w.cancel(errIdle) })
	}
	if total > 0 {
		w.total = time.AfterFunc(total, func() { w.cancel(errTotal) })
	}
	return w
}

// stop stops the clocks and releases the context. The response must be read by then.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle != nil {
		w.idle.Stop()
	}
	if w.total != nil {
		w.total.Stop()
	}
	w.cancel(nil)
}

// alive notes that the server has sent something.
func (w *watch) alive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle != nil {
		w.idle.Reset(w.idleFor)
	}
}

// begun notes that the model has said its first word.
func (w *watch) begun() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.later <= 0 || w.idle == nil {
		return
	}
	w.idleFor = w.later
	w.idle.Reset(w.idleFor)
}

// waited is how long the server may be silent at this point.
func (w *watch) waited() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idleFor
}

// atMost shortens the idle deadline for the rest of the response.
func (w *watch) atMost(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle != nil && w.idleFor <= d {
		return
	}
	w.idleFor = d
	if w.idle == nil {
		w.idle = time.AfterFunc(d, func() { w.cancel(errIdle) })
	} else {
		w.idle.Reset(d)
	}
}

// body makes every read of a response's body a sign of life.
func (w *watch) body(r io.Reader) io.Reader { return &watchedBody{r, w} }

type watchedBody struct {
	r io.Reader
	w *watch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if n > 0 {
		b.w.alive()
	}
	return n, err
}
