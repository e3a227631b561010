package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
)

// stop is how the loop ends: an error to its steps, a Result to the caller.
type stop struct {
	reason   End
	category llm.Category
	message  string
	// checkpoint is the workspace's that is handed over.
	checkpoint string
	// detail is for finding a bug; it goes to the transcript only.
	detail string
	// verifications, if set, are those of a round that the end came in the middle of.
	verifications []VerificationResult
}

// Error implements error.
func (s *stop) Error() string { return string(s.reason) + ": " + s.message }

func stopf(reason End, format string, args ...any) *stop {
	return &stop{reason: reason, message: fmt.Sprintf(format, args...)}
}

// asStop turns what ended the loop into a stop: anything that is not one yet
// is a failure of the harness itself.
func asStop(err error) *stop {
	if err == nil {
		return nil
	}
	var s *stop
	if errors.As(err, &s) {
		return s
	}
	return stopf(Internal, "%v", err)
}

// Stopped is the result of a run that did not begin, since its context ended.
func Stopped(ctx context.Context) Result {
	s := stopFromContext(ctx)
	return Result{Reason: s.reason, Message: s.message}
}

// stopFromContext says why a context that is done ended.
func stopFromContext(ctx context.Context) *stop {
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errActive):
		return stopf(DeadlineExceeded, "The time limit of the task was reached.")
	case errors.Is(cause, context.DeadlineExceeded):
		return stopf(DeadlineExceeded, "The deadline of the run was reached.")
	case errors.Is(cause, ErrSandboxLost):
		return stopf(SandboxLost, "The sandbox is gone.")
	case errors.Is(cause, ErrSuspended):
		return stopf(Cancelled, "The run was stopped on request and can go on.")
	case errors.Is(cause, ErrInterrupted):
		return stopf(Cancelled, "%s.", strings.Replace(cause.Error(), "the run", "The run", 1))
	}
	return stopf(Cancelled, "The run was cancelled.")
}
