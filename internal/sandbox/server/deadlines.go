package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// farewellDeadline is how long the answer of a request that was ended may take.
const farewellDeadline = time.Second

// ended is the answer of a request that ends with its context, whatever its client
// does: one that does not take the answer, or send the rest of a body, would keep
// others waiting.
type ended struct {
	http.ResponseWriter
	rc *http.ResponseController

	mu sync.Mutex
	// last is when it has to be over, once it was ended.
	last time.Time
	// over says that it was answered: w may not be used any more.
	over bool
}

// endWith must be told by a call of answered when the request is over.
func endWith(ctx context.Context, w http.ResponseWriter) (e *ended, answered func()) {
	e = &ended{ResponseWriter: w, rc: http.NewResponseController(w)}
	stop := context.AfterFunc(ctx, e.end)
	return e, func() {
		stop()
		e.mu.Lock()
		defer e.mu.Unlock()
		e.over = true
	}
}

func (e *ended) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	e.last = time.Now().Add(farewellDeadline)
	_ = e.rc.SetReadDeadline(time.Unix(1, 0))
	_ = e.rc.SetWriteDeadline(e.last)
}

// extend lets an answer whose client does take it go on for as long again.
func (e *ended) extend() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.last.IsZero() {
		e.last = time.Now().Add(farewellDeadline)
	}
}

// SetReadDeadline is for http.ResponseController.
func (e *ended) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.last.IsZero() {
		return nil // it has passed
	}
	return e.rc.SetReadDeadline(t)
}

// SetWriteDeadline is for http.ResponseController.
func (e *ended) SetWriteDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.last.IsZero() && (t.IsZero() || t.After(e.last)) {
		t = e.last
	}
	return e.rc.SetWriteDeadline(t)
}

// Unwrap is for http.ResponseController.
func (e *ended) Unwrap() http.ResponseWriter { return e.ResponseWriter }
