package recorded

import (
	"context"
	"errors"
	"time"

	"github.com/sampan-dev/sampan/internal/record"
)

// Graceful ends some time after ctx does: what a run has to record at its end.
func Graceful(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(out, func() { timer.Stop() })
	})
	return out, func() { stop(); cancel() }
}

// Fencing is a record whose writer ends the run when the record belongs to another.
func Fencing(rec record.Recorder, fenced func()) record.Recorder { return fencing{rec, fenced} }

type fencing struct {
	record.Recorder
	fenced func()
}

func (f fencing) fence(err error) error {
	if errors.Is(err, record.ErrFenced) {
		f.fenced()
	}
	return err
}

// Append implements record.Recorder.
func (f fencing) Append(ctx context.Context, first int64, lines []byte) error {
	return f.fence(f.Recorder.Append(ctx, first, lines))
}

// Latest implements record.Recorder.
func (f fencing) Latest(ctx context.Context) (record.Checkpoint, error) {
	c, err := f.Recorder.Latest(ctx)
	return c, f.fence(err)
}

// Commit implements record.Recorder.
func (f fencing) Commit(ctx context.Context, c record.Checkpoint) error {
	return f.fence(f.Recorder.Commit(ctx, c))
}

// PutOutput implements record.Recorder.
func (f fencing) PutOutput(ctx context.Context, o record.Output) error {
	return f.fence(f.Recorder.PutOutput(ctx, o))
}
