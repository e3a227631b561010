package harness

import (
	"context"
	"errors"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// Causes of a context's end that a run tells apart. Give them to the cancel
// function of context.WithCancelCause; any other cause is taken for
// ErrCancelled, except an expired deadline.
var (
	// ErrCancelled: somebody asked for the run to stop.
	ErrCancelled = errors.New("the run was cancelled")
	// ErrSuspended: somebody asked for the run to stop and may let it go on.
	ErrSuspended = errors.New("the run was suspended")
	// ErrInterrupted: nobody asked, but the run cannot go on where it is. An error
	// that wraps it says why; it is what people read.
	ErrInterrupted = errors.New("the run was interrupted")
	// ErrSandboxLost: the caller noticed that the sandbox is gone.
	ErrSandboxLost = errors.New("the sandbox is gone")
)

// errActive is the cause when Limits.Active is used up.
var errActive = errors.New("the time limit was reached")

// Tools are the tools of one run; *tool.Set is one.
type Tools interface {
	// Specs are what the model is told, in a stable order.
	Specs() []llm.ToolSpec
	// ReadOnly says that a tool may run beside others.
	ReadOnly(name string) bool
	// Run runs one call. What goes wrong in a tool is in the result; an error
	// means that ctx ended or the executor is gone.
	Run(ctx context.Context, call llm.ToolCall) (ToolResult, error)
	// Close ends what the tools left running.
	Close(ctx context.Context) error
}

// Executor is what the loop itself needs of the machine: verification commands
// and the project's AGENTS.md. Every
// tool.Executor is one.
type Executor interface {
	Exec(ctx context.Context, req tool.ExecRequest) (*tool.ExecResult, error)
	ReadFile(ctx context.Context, path string, maxBytes int64) (*tool.File, error)
}

// Config is all that a run needs.
type Config struct {
	Task   Task
	Models broker.Router
	// Budget is shared with other runs of this process, beside Task.Limits; it may be nil.
	Budget *broker.Ledger
	// Allow is asked before each model call whether the run may come to cost so much, in
	// US dollars, and waits where that takes a moment; an error pauses the run, and is what
	// people read. It may be nil. Models without a price are no candidates where it is not.
	Allow func(ctx context.Context, upTo decimal.Decimal) error
	// Rate is shared with other runs of this process, which keep to the models' rates
	// together; it may be nil.
	Rate *broker.Rate
	// Tools may be nil: the model then gets none. The run closes them.
	Tools Tools
	// Executor may be nil when the task has no verifications.
	Executor Executor
	// Ready waits until the sandbox is there; it returns soon after ctx ends. It
	// is called before the first tool call, or before a run without one counts
	// as Completed. Nil: the sandbox is there from the start.
	Ready func(context.Context) error
	// Transcript may be nil: the run is then not recorded. The caller closes it.
	Transcript *transcript.Writer
	// Reporter is told where the run stands after each recorded step, and closed
	// when it has ended; it may be nil.
	Reporter *Reporter
	// Clock is the wall clock when nil.
	Clock Clock
	Retry broker.Retry
	// CallTimeout bounds one attempt at a model call where its Model does not; 0 is
	// 31 min. It is the last resort: providers have deadlines of their own.
	CallTimeout time.Duration
	// WrapUp, once closed, asks the run to come to an end: the model is told so
	// before its next turn, and has a few turns left. It may be nil.
	WrapUp <-chan struct{}
	// Resume is made of the events of earlier processes that ran this task, as
	// transcript.Open gives them together with the Transcript to go on in; it may be
	// nil. A run that had ended is not run again: its result is returned. One that was
	// cancelled, or lost its sandbox, goes on.
	Resume *Past
	// Restored is set where the workspace is not as the earlier process left it,
	// but that of a checkpoint.
	Restored *Restored
	// Unkept: there is no checkpoint yet of the run to resume.
	Unkept bool
	// Fork is where a run begins that goes on from another one; the workspace is as it
	// was there. It may be nil, and counts only without Resume.
	Fork *Fork
	// Checkpoints keeps the workspace; it may be nil where no verification is Separate.
	Checkpoints Checkpointer
	// Verifying: this process runs the Separate verifications of Resume, whose run has
	// ended as VerificationPending, and asks no model. The workspace is that of the
	// checkpoint which Standing names.
	Verifying bool
}

// withDefaults fills in what was left out.
func (c Config) withDefaults() Config {
	c.Task.Verify = separateLast(c.Task.Verify)
	setDefault(&c.Task.Limits.Turns, DefaultTurns)
	setDefault(&c.Task.Limits.Tool, DefaultToolTimeout)
	setDefault(&c.Retry.Patience, 15*time.Minute)
	setDefault(&c.Retry.Base, 500*time.Millisecond)
	setDefault(&c.Retry.Cap, 15*time.Second)
	setDefault(&c.Retry.AfterCap, time.Minute)
	setDefault(&c.Retry.CoolDown, time.Minute)
	setDefault(&c.CallTimeout, 31*time.Minute)
	if c.Clock == nil {
		c.Clock = wallClock{}
	}
	if c.Transcript == nil {
		c.Transcript = transcript.New(transcript.Options{Now: c.Clock.Now})
	}
	return c
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
