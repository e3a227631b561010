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

// processSet lists commands by id: those that run, and the last of those whose
// output can be read after their end.
type processSet struct {
	maxRunning, maxEnded int

	mu      sync.Mutex
	running map[string]*Process
	// ended are the oldest first.
	ended []*Process
}

func (s *processSet) init(maxRunning, maxEnded int) {
	s.maxRunning, s.maxEnded, s.running = maxRunning, maxEnded, map[string]*Process{}
}

func newProcess(id string, req tool.ExecRequest, cancel context.CancelCauseFunc) *Process {
	const shown = 200
	text := req.Shell
	if text == "" {
		text = strings.Join(req.Argv, " ")
	}
	if len(text) > shown {
		text = strings.ToValidUTF8(text[:shown], "") + "…"
	}
	return &Process{ID: id, Command: text, Started: time.Now().UTC(), cancel: cancel,
		done: make(chan struct{}), feeding: make(chan struct{}, 1)}
}

func (s *processSet) add(p *Process) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.ID == "" || s.running[p.ID] != nil || s.indexEnded(p.ID) >= 0 {
		return fmt.Errorf("%w: command id %q is empty or in use", tool.ErrInvalid, p.ID)
	}
	if len(s.running) >= s.maxRunning {
		return fmt.Errorf("%w: %d commands run", tool.ErrTooMany, len(s.running))
	}
	s.running[p.ID] = p
	return nil
}

// remove forgets one that runs.
func (s *processSet) remove(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(p.done)
	delete(s.running, p.ID)
}

// end keeps one that has ended.
func (s *processSet) end(p *Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(p.done)
	delete(s.running, p.ID)
	s.ended = append(s.ended, p)
	if n := len(s.ended) - s.maxEnded; n > 0 {
		s.ended = slices.Delete(s.ended, 0, n)
	}
}

// forgetEnded forgets one that has ended, or all with an empty id.
func (s *processSet) forgetEnded(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" {
		s.ended = nil
		return true
	}
	i := s.indexEnded(id)
	if i >= 0 {
		s.ended = slices.Delete(s.ended, i, i+1)
	}
	return i >= 0
}

func (s *processSet) indexEnded(id string) int {
	return slices.IndexFunc(s.ended, func(p *Process) bool { return p.ID == id })
}

func (s *processSet) find(id string) (*Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.running[id]; p != nil {
		return p, nil
	}
	if i := s.indexEnded(id); i >= 0 {
		return s.ended[i], nil
	}
	return nil, fmt.Errorf("command %q: %w", id, tool.ErrNotFound)
}

func (s *processSet) all(alsoEnded bool) []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Process, 0, len(s.running)+len(s.ended))
	for _, p := range s.running {
		out = append(out, p)
	}
	if alsoEnded {
		out = append(out, s.ended...)
	}
	slices.SortFunc(out, func(a, b *Process) int {
		if c := a.Started.Compare(b.Started); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Running lists the commands that have not ended, oldest first.
func (e *Engine) Running() []*Process { return e.running.all(false) }

// Processes lists also those that have ended, as far as their output is kept.
func (e *Engine) Processes() []*Process { return e.running.all(true) }

// Process finds one of those.
func (e *Engine) Process(id string) (*Process, error) { return e.running.find(id) }

// Forget drops what is kept of commands that have ended.
func (e *Engine) Forget() { e.running.forgetEnded("") }

// Kill ends a command and all it started, and returns when that is done or
// ctx ends. Its Exec returns tool.ErrKilled. What is kept of one that has ended is
// dropped.
func (e *Engine) Kill(ctx context.Context, id string) error {
	if e.running.forgetEnded(id) {
		return nil
	}
	p, err := e.running.find(id)
	if err != nil {
		return err
	}
	p.cancel(tool.ErrKilled)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
