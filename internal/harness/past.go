package harness

import (
	"errors"
	"fmt"
	"time"

	"github.com/sampan-dev/sampan/internal/transcript"
)

// Past is what earlier processes have left of a run. It is made of their events, one
// after the other, and keeps what a run goes on from alone: not the events, nor what a
// compaction has replaced. The zero value is a run that has not begun.
type Past struct {
	state state
	// events is the number of the last event.
	events int64
	// results are those of calls that tools have answered, by the numbers of their events.
	results []pastResult
	began   *transcript.RunStarted
	err     error
}

// pastResult is a result without its content.
type pastResult struct {
	seq      int64
	id, name string
}

// PastOf is the past that consists of some events.
func PastOf(events []transcript.Event) *Past {
	p := &Past{}
	for _, e := range events {
		p.Add(e)
	}
	return p
}

// Add adds the next event. One that cannot be read makes the past one that no run can go
// on from, see Standing.
func (p *Past) Add(e transcript.Event) {
	if p.err == nil {
		p.err = p.add(e)
	}
	p.events = e.Seq
}

func (p *Past) add(e transcript.Event) error {
	data, err := e.Decode()
	if err != nil {
		return err
	}
	if p.events == 0 && e.Type != transcript.TypeRunStarted {
		return fmt.Errorf("it begins with %s, and not with %s", e.Type, transcript.TypeRunStarted)
	}
	decoded, known := data.(transcript.Data)
	if !known {
		return nil
	}
	if d, isResult := decoded.(*transcript.ToolResult); isResult && !d.Synthetic {
		p.results = append(p.results, pastResult{seq: e.Seq, id: d.ID, name: d.Name})
	}
	if d, first := decoded.(*transcript.RunStarted); first {
		p.began = d
	}
	p.state = apply(p.state, event{turn: e.Turn, time: e.Time, data: decoded})
	return nil
}

// Events is how many events there are, 0 for a run that has not begun.
func (p *Past) Events() int64 {
	if p == nil {
		return 0
	}
	return p.events
}

// Began is the event with which the run began, or why there is none.
func (p *Past) Began() (*transcript.RunStarted, error) {
	if p.began == nil && p.err == nil {
		return nil, errors.New("it holds no event")
	}
	if p.began == nil {
		return nil, p.err
	}
	return p.began, nil
}

// Standing is how far a run has come.
type Standing struct {
	// Progress has its counts, and Active the time that processes have spent on it.
	Progress Progress
	Active   time.Duration
	// Ended: it has come to an end that no process goes on after.
	Ended bool
	// Pending is the digest of the workspace that Separate verifications are to run on;
	// empty unless the run waits for them.
	Pending string
}

// Standing says how far the run has come, or why nobody can tell.
func (p *Past) Standing() (Standing, error) {
	ended, pending := p.state.ended, p.state.pending
	s := Standing{Progress: p.state.progress, Active: p.state.active, Ended: ended != nil && !resumable(ended)}
	if pending != nil && !s.Ended {
		s.Pending = pending.Checkpoint
	}
	return s, p.err
}
