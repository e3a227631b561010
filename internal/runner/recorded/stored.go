package recorded

import (
	"context"
	"io"

	"github.com/sampan-dev/sampan/internal/record"
)

// Stored is the record of a task in a store that is at hand.
type Stored struct {
	Store *record.Store
	Task  record.Task
}

// Checkpoint implements Origin.
func (s Stored) Checkpoint(ctx context.Context, turn int) (record.Checkpoint, error) {
	return s.Store.Hold(ctx, s.Task, turn)
}

// Log implements Origin.
func (s Stored) Log(ctx context.Context, from int64) (io.ReadCloser, error) {
	return s.Store.Log(ctx, s.Task, from)
}

// Recorder is the record for one who writes it.
func (s Stored) Recorder(w record.Writer) record.Recorder {
	return written{s.Store.Recorder(s.Task, w), w}
}

// written says who writes.
type written struct {
	record.Recorder
	w record.Writer
}

// Commit implements record.Recorder.
func (r written) Commit(ctx context.Context, c record.Checkpoint) error {
	c.Writer = r.w
	return r.Recorder.Commit(ctx, c)
}

// PutOutput implements record.Recorder.
func (r written) PutOutput(ctx context.Context, o record.Output) error {
	o.Writer = r.w
	return r.Recorder.PutOutput(ctx, o)
}
