package recorded

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// Origin is the record of another task, to go on from.
type Origin interface {
	// Checkpoint gives the checkpoint of a turn, or the last one for record.Last;
	// record.ErrNotFound says which there are.
	Checkpoint(ctx context.Context, turn int) (record.Checkpoint, error)
	// Log gives the lines of the transcript from an event on.
	Log(ctx context.Context, from int64) (io.ReadCloser, error)
}

// From has a run go on from another task, as long as it has no checkpoint of its own:
// from then on its own record has it all. A run that has begun goes on from the
// checkpoint that it has begun with. Task and UID are the other task's.
func (j *Journal) From(ctx context.Context, o Origin, task, uid string, turn int) error {
	began, err := originOf(j.Past)
	switch {
	case err != nil:
		return err
	case began != nil && (began.Task != task || turn != record.Last && turn != began.Turn):
		return unusable("the run has begun with turn %d of the task %s", began.Turn, began.Task)
	case j.latest != nil || j.Standing.Ended:
		return nil
	case began != nil:
		turn = began.Turn
	}
	err = j.take(ctx, o, began, transcript.Origin{Task: task, UID: uid, Turn: turn})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("going on from the task %s: %w", task, err)
	if errors.As(err, new(*record.CorruptError)) {
		err = &UnusableError{err}
	}
	return err
}

// take takes the state of another task to begin with, and its conversation where the run
// has not begun.
func (j *Journal) take(ctx context.Context, o Origin, began *transcript.Origin, from transcript.Origin) error {
	c, err := o.Checkpoint(ctx, from.Turn)
	if err != nil {
		return err
	}
	j.origin = &c
	if began != nil {
		if began.Events != c.Events || began.Digest != c.LogDigest {
			return unusable("the checkpoint of turn %d is another one than that which this run has begun with", c.Turn)
		}
		return nil
	}
	past, err := pastUpTo(ctx, o, c)
	if err != nil {
		return fmt.Errorf("reading its transcript: %w", err)
	}
	from.Turn, from.Events, from.Digest = c.Turn, c.Events, c.LogDigest
	if j.fork, err = harness.ForkOf(from, past); err != nil {
		return unusable("its transcript: %w", err)
	}
	return nil
}

// UnusableError is a state of another task that nothing can go on from, however often it
// is tried.
type UnusableError struct{ err error }

func (e *UnusableError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *UnusableError) Unwrap() error { return e.err }

func unusable(format string, args ...any) error {
	return &UnusableError{fmt.Errorf(format, args...)}
}

// originOf is what a run has begun with; nil where it has not begun.
func originOf(past *harness.Past) (*transcript.Origin, error) {
	if past.Events() == 0 {
		return nil, nil
	}
	began, err := past.Began()
	if err != nil {
		return nil, err
	}
	if began.From == nil {
		return nil, unusable("the run has begun, and not with the state of another task")
	}
	return began.From, nil
}

// pastUpTo is what led to a checkpoint.
func pastUpTo(ctx context.Context, o Origin, c record.Checkpoint) (past *harness.Past, err error) {
	log, err := o.Log(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	in := transcript.NewReader(log)
	past = &harness.Past{}
	for past.Events() < c.Events {
		e, err := in.Next()
		var broken *transcript.Error
		switch {
		case errors.As(err, &broken), errors.Is(err, io.EOF), errors.Is(err, transcript.ErrCut):
			return nil, unusable("it has %d events that can be read, and the checkpoint of turn %d is of event %d: %w", past.Events(), c.Turn, c.Events, err)
		case err != nil:
			return nil, err
		}
		past.Add(e)
	}
	if got := in.Summary().Digest; got != c.LogDigest {
		return nil, unusable("up to event %d it has the digest %s, and the checkpoint of turn %d says %s", c.Events, got, c.Turn, c.LogDigest)
	}
	return past, nil
}
