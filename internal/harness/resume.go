package harness

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

const (
	interruptedText = "Interrupted: the program that ran this call died before it came to an end. It may have taken " +
		"effect in part or as a whole. Look before you repeat it."
	neverRunText = "Not run: the program stopped before it began this call. Make it again if you still need it."
)

// resume rebuilds the run from the transcript of an earlier process and goes
// on from there. Calls that were under way are answered, since nobody knows
// how far they came; the model finds out.
func (r *run) resume(ctx context.Context) error {
	r.started = true
	re := replay{run: r, calls: map[string]llm.ToolCall{}}
	for _, e := range r.cfg.Resume {
		if err := re.event(e); err != nil {
			return stopf(Internal, "The transcript cannot be resumed: %v", err)
		}
	}
	if r.conv == nil {
		return stopf(Internal, "The transcript cannot be resumed: it does not begin with %s.", transcript.TypeRunStarted)
	}
	r.began = r.clock.Now().Add(-re.active)
	r.current = r.progress.Turns
	err := r.append(transcript.RunResumed{
		FromSeq: r.cfg.Resume[len(r.cfg.Resume)-1].Seq, Messages: len(r.conv.messages),
	})
	if err != nil {
		return err
	}
	if err := re.bookLostCall(ctx); err != nil {
		return err
	}
	if err := re.answerOpenCalls(); err != nil {
		return err
	}
	if p := re.pending; p != nil && len(re.recorded) == 0 {
		// Nothing followed from the reply yet: its calls, if any, did not begin,
		// since their record would be on disk.
		r.unheeded = &llm.Response{Message: p.Message, FinishReason: p.FinishReason, Usage: p.Usage, Model: p.ServedBy}
	}
	if err := r.sync(PhaseStarting, "resuming"); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return stopFromContext(ctx)
	}
	return r.checkExecutor()
}

// replay is the state while events are read.
type replay struct {
	*run
	// pending is the last response, until something followed from it.
	pending *transcript.Response
	// calls of the last response by id; recorded are those with an event of their own.
	calls    map[string]llm.ToolCall
	recorded map[string]bool
	answered map[string]bool
	// asked is the last request, until something came back.
	asked *transcript.Request
	print *fingerprint
	// active is the time that earlier processes spent.
	active time.Duration
	last   time.Time
}

// event applies one event to the run.
func (re *replay) event(e transcript.Event) error {
	data, err := e.Decode()
	if err != nil {
		return err
	}
	if re.conv == nil && e.Type != transcript.TypeRunStarted {
		return fmt.Errorf("event %d is %s before %s", e.Seq, e.Type, transcript.TypeRunStarted)
	}
	// Between two processes nobody worked on the task.
	if !re.last.IsZero() && e.Type != transcript.TypeRunResumed {
		re.active += max(e.Time.Sub(re.last), 0)
	}
	re.last = e.Time
	switch d := data.(type) {
	case *transcript.RunStarted:
		re.conv = newConversation(re.specs)
		re.conv.add(llm.Message{Role: llm.RoleSystem, Content: d.SystemPrompt}, llm.Message{Role: llm.RoleUser, Content: d.Prompt})
	case *transcript.Request:
		re.asked = d
	case *transcript.Response:
		re.asked = nil
		re.response(e.Turn, d)
	case *transcript.Retry:
		re.asked = nil
		if d.Usage != nil {
			re.progress.Usage.Add(*d.Usage)
		}
		if d.CostUSD != nil {
			re.progress.CostUSD = re.progress.CostUSD.Add(*d.CostUSD)
		}
	case *transcript.ToolCall:
		re.recorded[d.ID] = true
	case *transcript.ToolResult:
		re.result(d)
	case *transcript.Notice:
		re.notice(d)
	case *transcript.Verification:
		re.verification(d)
	case *transcript.Compaction:
		re.conv.replace(applyCompaction(re.conv.messages, *d))
	}
	return nil
}

func (re *replay) response(turn int, d *transcript.Response) {
	re.progress.Turns, re.progress.Model, re.pool.current = turn, d.Model, d.Model
	re.progress.CostUSD = re.progress.CostUSD.Add(d.CostUSD)
	re.progress.Usage.Add(d.Usage)
	if !d.Usage.Estimated {
		re.conv.calibrate(d.Usage.InputTokens)
	}
	if d.Kept {
		re.conv.add(d.Message)
	}
	if classify(&llm.Response{Message: d.Message, FinishReason: d.FinishReason}) != replyEmpty {
		re.empties = 0
	}
	re.pending = d
	re.recorded, re.answered = map[string]bool{}, map[string]bool{}
	re.print = newFingerprint()
	for _, c := range d.Message.ToolCalls {
		re.calls[c.ID] = c
		re.callIDs[c.ID] = true
		re.idleClaims = 0
	}
}

func (re *replay) result(d *transcript.ToolResult) {
	re.progress.ToolCalls++
	if d.IsError {
		re.progress.FailedToolCalls++
	}
	re.conv.add(llm.Message{Role: llm.RoleTool, Content: d.Content, ToolCallID: d.ID})
	if re.pending == nil {
		return
	}
	re.answered[d.ID] = true
	re.print.add(re.calls[d.ID], d.Content, time.Duration(d.DurationMillis)*time.Millisecond)
	if len(re.answered) == len(re.pending.Message.ToolCalls) {
		re.loops.add(re.print.turn())
		re.pending = nil
	}
}

func (re *replay) notice(d *transcript.Notice) {
	re.conv.add(llm.Message{Role: llm.RoleUser, Content: d.Text})
	re.pending = nil
	switch d.Kind {
	case transcript.NoticeSoftLimit:
		re.warned = true
	case transcript.NoticeLoop:
		re.loops.warned = true
	case transcript.NoticeEmptyReply, transcript.NoticeMissingToolCall:
		re.empties++
	case transcript.NoticeVerificationFailed:
		re.idleClaims++
		re.unproven = true
	}
}

func (re *replay) verification(d *transcript.Verification) {
	v := VerificationResult{Name: d.Name, Passed: d.Passed, ExitCode: d.ExitCode, Message: text.ClipStart(d.Output, verifyMessage)}
	i := slices.IndexFunc(re.verifications, func(old VerificationResult) bool { return old.Name == d.Name })
	if i < 0 {
		re.verifications = append(re.verifications, v)
		return
	}
	re.verifications[i] = v
}

// bookLostCall charges the model call that the earlier process died in: the
// server did not know that nobody listens any more.
func (re *replay) bookLostCall(ctx context.Context) error {
	if re.asked == nil {
		return nil
	}
	m := Model{ID: re.asked.Model}
	candidates, err := re.pool.candidates(ctx, re.conv.tokens())
	if err == nil {
		if i := slices.IndexFunc(candidates, func(c Model) bool { return c.ID == m.ID }); i >= 0 {
			m = candidates[i]
		}
	} // else the next turn says what is wrong with them
	re.current = re.progress.Turns + 1
	return re.bookFailure(m, re.guess(), transcript.Retry{
		Model: m.ID, Attempt: 1, Category: llm.Stopped, GaveUp: true,
		Message: "the program died in the middle of the call to " + m.ID,
	})
}

// answerOpenCalls gives every call that the earlier process left open a
// result. Calls are answered in order, so the open ones are the last.
func (re *replay) answerOpenCalls() error {
	if re.pending == nil || len(re.recorded) == 0 {
		return nil
	}
	for _, c := range re.pending.Message.ToolCalls {
		if re.answered[c.ID] {
			continue
		}
		text := interruptedText
		if !re.recorded[c.ID] {
			// The records of all calls are on disk before the first one begins.
			text = neverRunText
			if err := re.append(transcript.ToolCall{ID: c.ID, Name: c.Name, Arguments: c.Arguments}); err != nil {
				return err
			}
		}
		if err := re.answer(c, outcome{result: ToolResult{Content: text, IsError: true}, synthetic: true}); err != nil {
			return err
		}
	}
	return nil
}

// endedBefore gives the result of a run whose transcript has its terminal
// event: it is over, and only the news of it may have been lost.
func endedBefore(cfg Config) (Result, bool) {
	if len(cfg.Resume) == 0 {
		return Result{}, false
	}
	last := cfg.Resume[len(cfg.Resume)-1]
	data, err := last.Decode()
	ended, ok := data.(*transcript.RunEnded)
	if err != nil || !ok {
		return Result{}, false
	}
	re := replay{run: newRun(cfg.withDefaults())}
	for _, e := range cfg.Resume {
		if d, err := e.Decode(); err == nil {
			if v, ok := d.(*transcript.Verification); ok {
				re.verification(v)
			}
		}
	}
	p := Progress{
		Model: ended.Model, Turns: ended.Turns, ToolCalls: ended.ToolCalls, FailedToolCalls: ended.Failed,
		Usage: ended.Usage, CostUSD: ended.CostUSD, Time: last.Time, Transcript: re.summary(),
	}
	return Result{
		Reason: End(ended.Reason), Category: ended.Category, Message: ended.Message,
		Verifications: re.verifications, Progress: p, Transcript: p.Transcript,
	}, true
}
