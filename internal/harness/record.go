package harness

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// append records an event of the current turn; sync makes it last.
func (r *run) append(data transcript.Data) error {
	return r.cfg.Transcript.Append(r.current, data)
}

// sync puts on disk what was appended and then, not before, reports it.
func (r *run) sync(phase Phase, activity string) error {
	if err := r.cfg.Transcript.Sync(); err != nil {
		return unwritten(err)
	}
	r.progress.Phase, r.progress.Activity = phase, text.Inline(r.cfg.Transcript.Redact(activity))
	r.progress.Time = r.clock.Now()
	r.progress.Transcript = r.summary()
	r.report.tell(r.progress)
	return nil
}

func unwritten(err error) *stop {
	return stopf(Internal, "The transcript could not be written: %v", err)
}

func (r *run) summary() TranscriptSummary {
	s := r.cfg.Transcript.Summary()
	return TranscriptSummary{Events: s.Events, Bytes: s.Bytes, Digest: s.Digest}
}

// notice tells the model something, as a user message, and records it.
func (r *run) notice(kind transcript.NoticeKind, words string) error {
	r.conv.add(llm.Message{Role: llm.RoleUser, Content: words})
	return r.append(transcript.Notice{Kind: kind, Text: words})
}

// writeEnd records the terminal event.
func (r *run) writeEnd(s *stop) error {
	if !r.started {
		// A transcript begins with run_started, however soon the run failed.
		r.started = true
		if err := r.append(startedEvent(r.cfg.Task, "", r.specs, nil)); err != nil {
			return err
		}
	}
	for _, call := range slices.Clone(r.open) {
		// Only a failure of the loop itself leaves any.
		if err := r.answer(call, unanswered(s)); err != nil {
			return err
		}
	}
	err := r.append(transcript.RunEnded{
		Reason: string(s.reason), Category: s.category, Message: s.message, ExitCode: s.reason.ExitCode(),
		Model: r.progress.Model, Turns: r.progress.Turns, ToolCalls: r.progress.ToolCalls,
		Failed: r.progress.FailedToolCalls, Usage: r.progress.Usage, CostUSD: r.progress.CostUSD, Detail: s.detail,
	})
	if err == nil {
		err = r.cfg.Transcript.Sync()
	}
	if err != nil {
		return err
	}
	r.progress.Transcript = r.summary()
	return nil
}

// startedEvent is the first event of a run.
func startedEvent(t Task, system string, specs []llm.ToolSpec, ids []string) transcript.RunStarted {
	l := t.Limits
	e := transcript.RunStarted{
		Task: t.Name, SystemPrompt: system, Prompt: t.Prompt, Models: ids,
		Limits: transcript.Limits{
			Turns: l.Turns, ActiveSeconds: seconds(l.Active), InputTokens: l.InputTokens,
			OutputTokens: l.OutputTokens, ToolSeconds: seconds(l.Tool),
		},
	}
	if l.CostUSD.IsPositive() {
		e.Limits.CostUSD = l.CostUSD.String()
	}
	for _, s := range specs {
		spec := transcript.ToolSpec{Name: s.Name, Description: s.Description}
		if json.Valid(s.Parameters) {
			spec.Parameters = s.Parameters
		}
		e.Tools = append(e.Tools, spec)
	}
	for _, v := range t.Verify {
		e.Verify = append(e.Verify, transcript.Verification{
			Name: v.Name, Command: v.Command, TimeoutSeconds: seconds(v.Timeout),
		})
	}
	return e
}

// seconds rounds up, so that a limit is never recorded as none.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
