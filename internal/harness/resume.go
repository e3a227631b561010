package harness

import (
	"context"
	"slices"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/transcript"
)

const (
	interruptedText = "Interrupted: the program that ran this call died before it came to an end. It may have taken " +
		"effect in part or as a whole. Look before you repeat it."
	neverRunText = "Not run: the program stopped before it began this call. Make it again if you still need it."
)

// replay brings the state to where an earlier process has left it.
func (r *run) replay() (err error) {
	if len(r.cfg.Resume) == 0 {
		return nil
	}
	r.started = true
	if r.state, err = replay(r.cfg.Resume); err != nil {
		return stopf(Internal, "The transcript cannot be resumed: %v", err)
	}
	return nil
}

// resume goes on from the state of an earlier process. Calls that were under way
// are answered, since nobody knows how far they came; the model finds out.
func (r *run) resume(ctx context.Context) error {
	r.began = r.clock.Now().Add(-r.state.active)
	r.current = r.state.progress.Turns
	err := r.record(&transcript.RunResumed{
		FromSeq: r.cfg.Resume[len(r.cfg.Resume)-1].Seq, Messages: len(r.state.conv.messages),
	})
	if err != nil {
		return err
	}
	if err := r.bookLostCall(ctx); err != nil {
		return err
	}
	if err := r.answerOpenCalls(); err != nil {
		return err
	}
	if err := r.sync(PhaseStarting, "resuming"); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return stopFromContext(ctx)
	}
	return r.checkExecutor()
}

// bookLostCall charges the model call that the earlier process died in: the
// server did not know that nobody listens any more.
func (r *run) bookLostCall(ctx context.Context) error {
	lost := r.state.request
	if lost == nil {
		return nil
	}
	m := Model{ID: lost.Model}
	candidates, err := r.pool.candidates(ctx, r.state.conv.tokens())
	if err == nil {
		if i := slices.IndexFunc(candidates, func(c Model) bool { return c.ID == m.ID }); i >= 0 {
			m = candidates[i]
		}
	} // else the next turn says what is wrong with them
	r.current = r.state.progress.Turns + 1
	return r.bookFailure(m, r.guess(), &transcript.Retry{
		Model: m.ID, Attempt: 1, Category: llm.Stopped, GaveUp: true,
		Message: "the program died in the middle of the call to " + m.ID,
	})
}

// answerOpenCalls gives every call that the earlier process left open a result.
func (r *run) answerOpenCalls() error {
	recorded := len(r.state.open)
	for i, c := range r.state.unanswered() {
		text := interruptedText
		if i >= recorded {
			// The records of all calls are on disk before the first one begins.
			text = neverRunText
			if err := r.record(&transcript.ToolCall{ID: c.ID, Name: c.Name, Arguments: c.Arguments}); err != nil {
				return err
			}
		}
		if err := r.answer(c, outcome{result: ToolResult{Content: text, IsError: true}, synthetic: true}); err != nil {
			return err
		}
	}
	return nil
}

// endedBefore gives the result of a run whose transcript has its terminal
// event: it is over, and only the news of it may have been lost.
func (r *run) endedBefore() Result {
	r.synced = r.summary()
	ended, p := r.state.ended, r.progress("", "")
	p.Time = r.state.last
	return Result{
		Reason: End(ended.Reason), Category: ended.Category, Message: ended.Message,
		Verifications: r.state.verifications, Progress: p, Transcript: p.Transcript,
	}
}
