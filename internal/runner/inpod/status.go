package inpod

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/text"
)

// Bounds of the API on texts.
const (
	maxResultMessage       = 2048
	maxVerificationMessage = 128
	maxActivity            = 128
	maxCheckpointMessage   = 256
)

// priorUsage is what earlier attempts used; the status shows the sum.
type priorUsage struct {
	turns, toolCalls, failedToolCalls int32
	input, cached, output             int64
	cost                              decimal.Decimal
	accuracy                          v1alpha1.UsageAccuracy
}

// priorUsageOf reads what a task has used so far.
func priorUsageOf(p v1alpha1.TaskProgress) (priorUsage, error) {
	b := priorUsage{
		turns: value(p.Turns), toolCalls: value(p.ToolCalls), failedToolCalls: value(p.FailedToolCalls),
		input: value(p.Usage.InputTokens), cached: value(p.Usage.CachedInputTokens), output: value(p.Usage.OutputTokens),
		accuracy: p.Usage.Accuracy,
	}
	if s := p.Usage.CostUSD; s != "" {
		cost, err := decimal.NewFromString(s)
		if err != nil {
			return b, fmt.Errorf("status.progress.usage.costUSD: %q is not a decimal number", s)
		}
		b.cost = cost
	}
	return b, nil
}

// remaining takes what earlier attempts used off the limits that hold over all
// attempts. The name of a limit that is used up already is returned.
func (b priorUsage) remaining(l *harness.Limits) (usedUp string) {
	if l.InputTokens > 0 {
		if l.InputTokens -= b.input; l.InputTokens <= 0 {
			usedUp = "inputTokens"
		}
	}
	if l.OutputTokens > 0 {
		if l.OutputTokens -= b.output; l.OutputTokens <= 0 {
			usedUp = "outputTokens"
		}
	}
	if l.CostUSD.IsPositive() {
		if l.CostUSD = l.CostUSD.Sub(b.cost); !l.CostUSD.IsPositive() {
			usedUp = "costUSD"
		}
	}
	return usedUp
}

// progress is what a task's status says of a run.
func (b priorUsage) progress(p harness.Progress) v1alpha1.TaskProgress {
	accuracy := v1alpha1.UsageReported
	if p.Usage.Estimated || b.accuracy == v1alpha1.UsageEstimated {
		accuracy = v1alpha1.UsageEstimated
	}
	out := v1alpha1.TaskProgress{
		Model: p.Model, Turns: new(b.turns + int32(p.Turns)), ToolCalls: new(b.toolCalls + int32(p.ToolCalls)), //nolint:gosec // counted from 0, and bounded by limits.turns
		FailedToolCalls: new(b.failedToolCalls + int32(p.FailedToolCalls)), //nolint:gosec // as above
		Activity:        text.Clip(strings.ToValidUTF8(p.Activity, ""), maxActivity),
		Usage: v1alpha1.TaskUsage{
			InputTokens: new(b.input + p.Usage.InputTokens), CachedInputTokens: new(b.cached + p.Usage.CachedInputTokens),
			OutputTokens: new(b.output + p.Usage.OutputTokens),
			CostUSD:      b.cost.Add(p.CostUSD).String(), Accuracy: accuracy,
		},
	}
	if !p.Time.IsZero() {
		out.LastProgressTime = new(metav1.NewTime(p.Time))
	}
	return out
}

// resultOf is what a task's status says of the end of a run.
func resultOf(attempt int32, res harness.Result, reason string) v1alpha1.TaskResult {
	out := v1alpha1.TaskResult{Attempt: attempt, Reason: reason, Message: text.Clip(res.Message, maxResultMessage)}
	if out.Message != res.Message {
		out.Truncated = append(out.Truncated, v1alpha1.TruncatedMessage)
	}
	cut := false
	for _, v := range res.Verifications {
		s := v1alpha1.VerificationStatus{Name: v.Name, Outcome: v1alpha1.VerificationFailed, Message: text.ClipStart(v.Message, maxVerificationMessage)}
		if v.Passed {
			s.Outcome = v1alpha1.VerificationPassed
		}
		if v.ExitCode != nil {
			s.ExitCode = new(int32(*v.ExitCode)) //nolint:gosec // a process has one of 0 to 255
		}
		cut = cut || s.Message != v.Message
		out.Verifications = append(out.Verifications, s)
	}
	if cut {
		out.Truncated = append(out.Truncated, v1alpha1.TruncatedVerifications)
	}
	return out
}

// less takes away what the record has: a run that goes on counts that itself.
func (b priorUsage) less(p harness.Progress) priorUsage {
	b.turns = max(b.turns-int32(p.Turns), 0)                               //nolint:gosec // as in progress
	b.toolCalls = max(b.toolCalls-int32(p.ToolCalls), 0)                   //nolint:gosec // as in progress
	b.failedToolCalls = max(b.failedToolCalls-int32(p.FailedToolCalls), 0) //nolint:gosec // as in progress
	b.input = max(b.input-p.Usage.InputTokens, 0)
	b.cached = max(b.cached-p.Usage.CachedInputTokens, 0)
	b.output = max(b.output-p.Usage.OutputTokens, 0)
	b.cost = decimal.Max(b.cost.Sub(p.CostUSD), decimal.Zero)
	return b
}

// transcriptIn points at the transcript in the task's record.
func transcriptIn(namespace, task string, t harness.TranscriptSummary) v1alpha1.TranscriptStatus {
	if t.Events == 0 {
		return v1alpha1.TranscriptStatus{}
	}
	return v1alpha1.TranscriptStatus{URI: podapi.TranscriptPath(namespace, task), Events: new(t.Events), Bytes: new(t.Bytes), Digest: t.Digest}
}

// checkpointOf is what a task's status says of a checkpoint.
func checkpointOf(c record.Checkpoint, message string) v1alpha1.CheckpointStatus {
	return v1alpha1.CheckpointStatus{Turn: new(int32(c.Turn)), Events: new(c.Events), Files: new(c.Files), Bytes: new(c.Bytes), Message: message} //nolint:gosec // bounded by limits.turns
}

// transcriptOf points at the runner's log, which is the transcript, byte for
// byte, after those of the tasks that the pod has served before: they are so many
// bytes. The limit leaves out what came later: more events, and what a runner that
// could not report said on stderr, which is in the same log.
func transcriptOf(namespace, pod string, before int64, t harness.TranscriptSummary) v1alpha1.TranscriptStatus {
	if t.Events == 0 {
		return v1alpha1.TranscriptStatus{} // the run ended before the agent began
	}
	uri := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log?container=%s&limitBytes=%d", namespace, pod, podapi.RunnerContainer, before+t.Bytes)
	return v1alpha1.TranscriptStatus{URI: uri, Events: new(t.Events), Bytes: new(t.Bytes), Digest: t.Digest}
}

func value[T int32 | int64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}
