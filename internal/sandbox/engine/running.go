package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// Running is a command that has not ended.
type Running struct {
	ID      string    `json:"id"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Started time.Time `json:"started"`

	cancel context.CancelCauseFunc
	done   chan struct{}
}

// runningSet lists commands by id.
type runningSet struct {
	mu   sync.Mutex
	byID map[string]*Running
}

func (s *runningSet) init() { s.byID = map[string]*Running{} }

func (s *runningSet) add(id string, req tool.ExecRequest, cancel context.CancelCauseFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[id]; ok || id == "" {
		return fmt.Errorf("%w: command id %q is empty or in use", tool.ErrInvalid, id)
	}
	const shown = 200
	text := req.Shell
	if text == "" {
		text = strings.Join(req.Argv, " ")
	}
	if len(text) > shown {
		text = strings.ToValidUTF8(text[:shown], "") + "…"
	}
	s.byID[id] = &Running{ID: id, Command: text, Started: time.Now().UTC(), cancel: cancel, done: make(chan struct{})}
	return nil
}

func (s *runningSet) started(id string, pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byID[id].PID = pid
}

func (s *runningSet) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.byID[id].done)
	delete(s.byID, id)
}

// Running lists the commands that have not ended, oldest first.
func (e *Engine) Running() []Running {
	e.running.mu.Lock()
	defer e.running.mu.Unlock()
	out := make([]Running, 0, len(e.running.byID))
	for _, r := range e.running.byID {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Running) int {
		if c := a.Started.Compare(b.Started); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Kill ends a command and all it started, and returns when that is done or
// ctx ends. Its Exec returns tool.ErrKilled.
func (e *Engine) Kill(ctx context.Context, id string) error {
	e.running.mu.Lock()
	r := e.running.byID[id]
	e.running.mu.Unlock()
	if r == nil {
		return fmt.Errorf("command %q: %w", id, tool.ErrNotFound)
	}
	r.cancel(tool.ErrKilled)
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
