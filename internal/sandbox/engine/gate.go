package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// gate lets requests in side by side, and lets one of them be exclusive.
type gate struct {
	mu sync.Mutex
	// inside are the requests that were let in, and how to end each.
	inside map[*visit]struct{}
	closed bool
	// opened is closed when a closed gate opens again.
	opened chan struct{}
	// empty is closed when the last request leaves a closed gate.
	empty chan struct{}
}

type visit struct{ end context.CancelCauseFunc }

func newGate() *gate { return &gate{inside: map[*visit]struct{}{}} }

// enter lets a request in, until it calls leave. Its context ends with
// tool.ErrKilled when another request wants to be exclusive; while one is,
// the error is tool.ErrIsolated.
func (g *gate) enter(ctx context.Context) (inner context.Context, leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, nil, tool.ErrIsolated
	}
	inner, end := context.WithCancelCause(ctx)
	v := &visit{end: end}
	g.inside[v] = struct{}{}
	return inner, func() {
		end(nil)
		g.left(v)
	}, nil
}

func (g *gate) left(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.inside, v)
	if len(g.inside) == 0 && g.closed {
		close(g.empty)
	}
}

// close shuts the gate for all others, ends the contexts of those inside, and
// says so by calling ended. It returns when they have left, or fails when ctx ends
// before; the gate is then open again. While another is exclusive it waits for that.
func (g *gate) close(ctx context.Context, ended func()) (reopen func(), err error) {
	empty, busy := g.shut()
	for busy != nil {
		select {
		case <-busy:
			empty, busy = g.shut()
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another exclusive request: %w", ctx.Err())
		}
	}
	ended()
	select {
	case <-empty:
		return g.reopen, nil
	case <-ctx.Done():
		g.reopen()
		return nil, fmt.Errorf("waiting for the requests before it to end: %w", ctx.Err())
	}
}

// shut closes the gate, or says when it opens where another has closed it.
func (g *gate) shut() (empty, busy <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, g.opened
	}
	g.closed, g.empty, g.opened = true, make(chan struct{}), make(chan struct{})
	if len(g.inside) == 0 {
		close(g.empty)
	}
	for v := range g.inside {
		v.end(tool.ErrKilled)
	}
	return g.empty, nil
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
	close(g.opened)
}
