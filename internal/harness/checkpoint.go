package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// Checkpointer keeps the workspace of a run where another process finds it, should
// this one be lost with its machine. Its methods are called from one goroutine.
type Checkpointer interface {
	// Begin begins to keep what the workspace is after a turn, 0 before the first,
	// and returns at once. log is the transcript up to there.
	Begin(turn int, log TranscriptSummary)
	// Wait waits until what was begun is kept; it returns soon after ctx ends. An
	// error ends the run.
	Wait(ctx context.Context) error
	// Seal keeps what the workspace is now, at the end of a turn of which nothing was kept
	// yet, and gives the digest of it; it returns soon after ctx ends. An error ends the
	// run; why says that it cannot be kept, for people.
	Seal(ctx context.Context, turn int, log TranscriptSummary) (digest, why string, err error)
}

// Restored says what the workspace of a resumed run is: that of a checkpoint.
type Restored struct {
	// Turn is the checkpoint's, and Events the number of the last event whose
	// effects are in the workspace.
	Turn   int
	Events int64
	// Home tells that the home directory was restored with the workspace.
	Home bool
}

// keep begins a checkpoint: the model thinks meanwhile, and no tool runs.
func (r *run) keep() { r.keepAs(r.log.state.progress.Turns) }

func (r *run) keepAs(turn int) {
	if r.cfg.Checkpoints != nil {
		r.cfg.Checkpoints.Begin(turn, r.log.synced)
	}
}

// keepResumed begins the checkpoint that a resumed run needs before it goes on. The turn of
// a reply that is still to be acted on has one of its own, at its end.
func (r *run) keepResumed() {
	switch pending := r.log.state.pendingReply() != nil; {
	case r.cfg.Unkept && pending:
		r.keepAs(r.log.state.progress.Turns - 1)
	case r.cfg.Unkept, r.cfg.Restored == nil && !pending:
		r.keep() // also what the earlier process has changed since its last checkpoint
	}
}

// kept waits for the checkpoint: what changes the workspace comes after it.
func (r *run) kept(ctx context.Context) error {
	if r.cfg.Checkpoints == nil {
		return nil
	}
	err := r.cfg.Checkpoints.Wait(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return stopFromContext(ctx)
	}
	return stopf(Internal, "The workspace could not be kept: %v", err)
}

// lostCalls are the calls that had results and whose effects on the workspace are
// gone with the machine.
func (r *run) lostCalls() []pastResult {
	return slices.DeleteFunc(slices.Clone(r.cfg.Resume.results), func(res pastResult) bool {
		return res.seq <= r.cfg.Restored.Events || r.tools.readOnly(res.name)
	})
}

// reconcile brings the conversation and a restored workspace together. A reply to
// what is no longer so is not acted on.
func (r *run) reconcile() error {
	if r.cfg.Restored == nil {
		return nil
	}
	lost := r.lostCalls()
	pending := r.log.state.pendingReply()
	if len(lost) == 0 && pending != nil {
		r.untold = true // until it was acted on
		return nil
	}
	if pending != nil {
		if err := r.answerUnbegun(pending.Message.ToolCalls); err != nil {
			return err
		}
	}
	return r.tellRestored(lost)
}

// tellRestored tells the model what became of the machine.
func (r *run) tellRestored(lost []pastResult) error {
	r.untold = false
	var words strings.Builder
	_, _ = fmt.Fprintf(&words, "[harness] The run goes on in a new container. The workspace is as it was after turn %d; ", r.cfg.Restored.Turn)
	if r.cfg.Restored.Home {
		words.WriteString("so is the home directory, without caches; ")
	}
	words.WriteString("other files, and programs that were running, are gone.")
	if len(lost) > 0 {
		names := make([]string, len(lost))
		for i, l := range lost {
			names[i] = fmt.Sprintf("%s (%s)", l.name, l.id)
		}
		_, _ = fmt.Fprintf(&words, " What these later calls changed in the workspace is gone, too: %s. What they did elsewhere stays. "+
			"Look before you repeat them.", strings.Join(names, ", "))
	}
	return r.log.notice(transcript.NoticeWorkspaceRestored, words.String())
}

// answerUnbegun answers calls that no process began.
func (r *run) answerUnbegun(calls []llm.ToolCall) error {
	for _, c := range calls {
		if err := r.log.record(&transcript.ToolCall{ID: c.ID, Name: c.Name, Arguments: c.Arguments}); err != nil {
			return err
		}
		if err := r.answer(c, synthetic(neverRunText)); err != nil {
			return err
		}
	}
	return nil
}

// resumable reports whether another process may go on after a run ended: it was only
// stopped, its sandbox was lost, or it has handed over.
func resumable(ended *transcript.RunEnded) bool {
	return slices.Contains([]End{Cancelled, SandboxLost, VerificationPending, VerificationRejected}, End(ended.Reason))
}
