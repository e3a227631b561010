package harness

import (
	"context"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/llm/broker"
	"github.com/sampan-dev/sampan/internal/transcript"
)

const (
	interruptedText = "Interrupted: the program that ran this call died before it came to an end. It may have taken " +
		"effect in part or as a whole. Look before you repeat it."
	unknownText = "Unknown: the container that ran this call was lost before it came to an end. Nothing of it is left in the " +
		"workspace; elsewhere it may have taken effect. Look before you repeat it."
	neverRunText = "Not run: the program stopped before it began this call. Make it again if you still need it."
)

// replay brings the state to where an earlier process has left it.
func (r *run) replay() error {
	if r.cfg.Resume.Events() == 0 {
		return nil
	}
	r.started = true
	r.log.state = r.cfg.Resume.state
	if err := r.cfg.Resume.err; err != nil {
		return stopf(Internal, "The transcript cannot be resumed: %v", err)
	}
	p := r.log.state.progress
	r.budget.ledger.Book(broker.Spent{Usage: p.Usage, CostUSD: p.CostUSD})
	r.tellPrompt()
	return nil
}

// tellPrompt has the conversation say what the task does, where the record has that
// without its secrets.
func (r *run) tellPrompt() {
	began, prompt := r.cfg.Resume.began, r.cfg.Task.Prompt
	if began == nil || began.Prompt == prompt || began.Prompt == "" || began.Prompt != r.log.transcript.Redact(prompt) {
		return
	}
	conv := &r.log.state.conv
	if before, found := strings.CutSuffix(conv.messages[conv.pinned].Content, began.Prompt); found {
		conv.reword(conv.pinned, before+prompt)
	}
}

// resume goes on from the state of an earlier process. Calls that were under way
// are answered, since nobody knows how far they came; the model finds out.
func (r *run) resume(ctx context.Context) error {
	if err := r.takeUp(); err != nil {
		return err
	}
	if err := r.models.bookLostCall(ctx); err != nil {
		return err
	}
	if err := r.answerOpenCalls(ctx); err != nil {
		return err
	}
	if err := r.reconcile(); err != nil {
		return err
	}
	if err := r.log.sync(PhaseStarting, "resuming"); err != nil {
		return err
	}
	r.keepResumed()
	if ctx.Err() != nil {
		return stopFromContext(ctx)
	}
	return r.checkExecutor()
}

// takeUp records that this process goes on where an earlier one has ended.
func (r *run) takeUp() error {
	r.budget.began = r.clock.Now().Add(-r.log.state.active)
	r.log.turn = r.log.state.progress.Turns
	return r.log.record(&transcript.RunResumed{
		FromSeq: r.cfg.Resume.Events(), Messages: len(r.log.state.conv.messages),
	})
}

// bookLostCall charges the model call that the earlier process died in: the
// server did not know that nobody listens any more.
func (c *caller) bookLostCall(ctx context.Context) error {
	lost := c.log.state.request
	if lost == nil {
		return nil
	}
	m := broker.Model{ID: lost.Model}
	candidates, err := c.broker.Candidates(ctx, c.log.state.conv.tokens())
	if err == nil {
		if i := slices.IndexFunc(candidates, func(c broker.Model) bool { return c.ID == m.ID }); i >= 0 {
			m = candidates[i]
		}
	} // else the next turn says what is wrong with them
	c.log.turn = c.log.state.progress.Turns + 1
	return c.bookFailure(m, c.charged(c.guess(), lost.MaxOutputTokens), &transcript.Retry{
		Model: m.ID, Attempt: 1, Category: llm.Stopped, GaveUp: true,
		Message: "the program died in the middle of the call to " + m.ID,
	})
}

// answerOpenCalls gives every call that the earlier process left open a result: those
// that only read are made again, and what became of the others nobody knows.
func (r *run) answerOpenCalls(ctx context.Context) error {
	calls := r.log.state.unanswered()
	recorded := min(len(r.log.state.open), len(calls))
	for _, c := range calls[:recorded] {
		o, err := r.answerOpen(ctx, c)
		if err != nil {
			return err
		}
		if err := r.answer(c, o); err != nil {
			return err
		}
	}
	// The records of all calls are on disk before the first one begins.
	return r.answerUnbegun(calls[recorded:])
}

func (r *run) answerOpen(ctx context.Context, c llm.ToolCall) (outcome, error) {
	switch {
	case r.tools.readOnly(c.Name) && ctx.Err() == nil:
		if end := r.ready(ctx); end != nil {
			return outcome{}, end
		}
		o := r.tools.runOne(ctx, c)
		if o.end != nil {
			return outcome{}, o.end
		}
		return o, nil
	case r.cfg.Restored != nil:
		return synthetic(unknownText), nil
	}
	return synthetic(interruptedText), nil
}

// endedBefore gives the result of a run whose transcript has its terminal
// event: it is over, and only the news of it may have been lost.
func (r *run) endedBefore(ended *transcript.RunEnded) Result {
	r.log.synced = r.log.summary()
	p := r.log.progress("", "")
	p.Time = r.log.state.last
	return Result{
		Reason: End(ended.Reason), Category: ended.Category, Message: ended.Message,
		Verifications: r.log.state.verifications, Progress: p, Transcript: p.Transcript,
	}
}
