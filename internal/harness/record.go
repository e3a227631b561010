package harness

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// journal is the record of a run, and where the run stands by it.
type journal struct {
	transcript *transcript.Writer
	reporter   *Reporter
	clock      Clock
	// state is what follows from the events that were recorded so far.
	state state
	// turn is the one that events belong to: that of the next or the last reply,
	// counting from 1.
	turn int
	// synced counts what is on disk.
	synced TranscriptSummary
}

// record appends an event of the current turn and applies it; sync makes it last.
// The data is a pointer to its struct, as Decode gives it.
func (j *journal) record(data transcript.Data) error {
	at, err := j.transcript.Append(j.turn, data)
	if err != nil {
		return err
	}
	j.state = apply(j.state, event{turn: j.turn, time: at, data: data})
	return nil
}

// sync puts on disk what was appended and then, not before, reports it.
func (j *journal) sync(phase Phase, activity string) error {
	if err := j.transcript.Sync(); err != nil {
		return unwritten(err)
	}
	j.synced = j.summary()
	j.reporter.Tell(j.progress(phase, activity))
	return nil
}

// progress is where the run stands, with what it does now.
func (j *journal) progress(phase Phase, activity string) Progress {
	p := j.state.progress
	p.Phase, p.Activity = phase, text.Inline(j.transcript.Redact(activity))
	p.Time, p.Transcript = j.clock.Now(), j.synced
	return p
}

func unwritten(err error) *stop {
	return stopf(Internal, "The transcript could not be written: %v", err)
}

func (j *journal) summary() TranscriptSummary {
	return TranscriptSummary(j.transcript.Summary())
}

// notice tells the model something, as a user message, and records it.
func (j *journal) notice(kind transcript.NoticeKind, words string) error {
	return j.record(&transcript.Notice{Kind: kind, Text: words})
}

// writeEnd records the terminal event.
func (r *run) writeEnd(s *stop) error {
	if !r.started {
		// A transcript begins with run_started, however soon the run failed.
		r.started = true
		if err := r.log.record(startedEvent(r.cfg.Task, "", r.tools.specs)); err != nil {
			return err
		}
	}
	for _, call := range r.log.state.open {
		// Only a failure of the loop itself leaves any.
		if err := r.answer(call, unanswered(s)); err != nil {
			return err
		}
	}
	p := r.log.state.progress
	err := r.log.record(&transcript.RunEnded{
		Reason: string(s.reason), Category: s.category, Message: s.message, ExitCode: s.reason.ExitCode(),
		Model: p.Model, Turns: p.Turns, ToolCalls: p.ToolCalls, Failed: p.FailedToolCalls,
		Usage: p.Usage, CostUSD: p.CostUSD, Detail: s.detail, Checkpoint: s.checkpoint,
	})
	if err == nil {
		err = r.log.transcript.Sync()
	}
	if err != nil {
		return err
	}
	r.log.synced = r.log.summary()
	return nil
}

// startedEvent is the first event of a run.
func startedEvent(t Task, system string, specs []llm.ToolSpec) *transcript.RunStarted {
	l := t.Limits
	e := &transcript.RunStarted{
		Task: t.Name, SystemPrompt: system, Prompt: t.Prompt,
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
		var compact bytes.Buffer // as the record has it
		if json.Compact(&compact, s.Parameters) == nil {
			spec.Parameters = compact.Bytes()
		}
		e.Tools = append(e.Tools, spec)
	}
	for _, v := range t.Verify {
		e.Verify = append(e.Verify, transcript.Verification{
			Name: v.Name, Command: v.Command, TimeoutSeconds: seconds(v.Timeout), Separate: v.Separate,
		})
	}
	return e
}

// seconds rounds up, so that a limit is never recorded as none.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
