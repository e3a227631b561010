package inpod

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/shopspring/decimal"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/recorded"
	"github.com/sampan-dev/sampan/internal/text"
)

const (
	// reportInterval is how often progress is written at most.
	reportInterval = 2 * time.Second
	// finalReportTimeout bounds the tries to write the result. After it the
	// operator takes it from the termination message.
	finalReportTimeout = 30 * time.Second
)

// terminationLog is where kubelet reads a container's termination message.
const terminationLog = "/dev/termination-log"

// reporter writes one run's status: now and then while it goes on, and at once
// when it ends.
type reporter struct {
	task  *v1alpha1.AgentTask
	pod   string
	prior priorUsage
	// logged is how many bytes of earlier transcripts are in the pod's log.
	logged         int64
	apply          func(context.Context, *v1alpha1.AgentTask, v1alpha1.AgentTaskStatus) error
	terminationLog string

	// progress is where the checkout and the run tell of themselves.
	progress *harness.Reporter

	mu     sync.Mutex
	latest harness.Progress
	// recorded: the transcript is in the record, and not only in the pod's log.
	recorded   bool
	checkpoint v1alpha1.CheckpointStatus
	// outputs are those of the task so far, also of earlier attempts.
	outputs []v1alpha1.OutputStatus
	// requested is what the run asks the Budgets of the namespace to let the task cost.
	requested string
	// waits is what the run waits for that it cannot tell itself.
	waits string
	wake  chan struct{}
	// urgent asks for a write without a pause before it.
	urgent chan struct{}
	done   chan struct{}
}

func newReporter(a *api, task *v1alpha1.AgentTask, pod string, b priorUsage) *reporter {
	r := &reporter{task: task, pod: pod, prior: b, outputs: task.Status.Outputs, apply: a.applyStatus, terminationLog: terminationLog,
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), done: make(chan struct{})}
	r.rouse() // the operator waits for a first report, whatever is in it
	r.progress = harness.NewReporter(r.note, nil)
	return r
}

// note takes the newest progress; it never blocks.
func (r *reporter) note(p harness.Progress) {
	r.mu.Lock()
	r.latest = p
	r.mu.Unlock()
	r.rouse()
}

// rouse asks for a write.
func (r *reporter) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run writes progress until ctx ends. What could not be written is written
// again, with what there is then: progress is a sum, not a log. The pause
// comes first: a short run tells only its result.
func (r *reporter) run(ctx context.Context) {
	defer close(r.done)
	for r.due(ctx) {
		if err := r.apply(ctx, r.task, r.current()); err != nil {
			r.rouse() // it is tried again after the pause, with what there is then
		}
	}
}

// due waits until something is to be written; false when ctx has ended.
func (r *reporter) due(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-r.urgent:
		return true
	case <-time.After(reportInterval):
	}
	select {
	case <-ctx.Done():
		return false
	case <-r.urgent:
	case <-r.wake:
	}
	return true
}

// request asks that the task may come to cost so much, at once: the run may wait for it.
func (r *reporter) request(upTo decimal.Decimal) {
	r.mu.Lock()
	r.requested = upTo.String()
	r.mu.Unlock()
	select {
	case r.urgent <- struct{}{}:
	default:
	}
}

// cost is what the task has cost so far.
func (r *reporter) cost() decimal.Decimal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prior.cost.Add(r.latest.CostUSD)
}

// before is what the task had cost before this run, as far as its record does not have it.
func (r *reporter) before() decimal.Decimal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prior.cost
}

// resumed notes that the run goes on from the record, which has some of what was used.
func (r *reporter) resumed(p harness.Progress) {
	r.mu.Lock()
	r.prior, r.latest, r.recorded = r.prior.less(p), p, true
	r.mu.Unlock()
}

// listener is how the record of the run is heard of.
func (r *reporter) listener() recorded.Listener {
	return recorded.Listener{Resumed: r.resumed, Kept: r.kept}
}

// kept notes a checkpoint.
func (r *reporter) kept(c record.Checkpoint, message string) {
	r.mu.Lock()
	r.checkpoint = checkpointOf(c, text.Clip(message, maxCheckpointMessage))
	r.mu.Unlock()
	r.rouse()
}

// left notes the outputs of the run.
func (r *reporter) left(outputs []v1alpha1.OutputStatus) {
	r.mu.Lock()
	r.outputs = outputs
	r.mu.Unlock()
	r.rouse()
}

// waiting notes what the run waits for; empty when it goes on.
func (r *reporter) waiting(what string) {
	r.mu.Lock()
	r.waits = what
	r.mu.Unlock()
	r.rouse()
}

// current is the status of a run that goes on.
func (r *reporter) current() v1alpha1.AgentTaskStatus {
	r.mu.Lock()
	p, waits := r.latest, r.waits
	r.mu.Unlock()
	p.Activity = cmp.Or(waits, p.Activity)
	return r.status(p, p.Transcript)
}

func (r *reporter) status(p harness.Progress, t harness.TranscriptSummary) v1alpha1.AgentTaskStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := v1alpha1.AgentTaskStatus{Progress: r.taskProgress(p), Checkpoint: r.checkpoint, Outputs: r.outputs}
	if r.recorded {
		status.Transcript = transcriptIn(r.task.Namespace, r.task.Name, t)
	} else {
		status.Transcript = transcriptOf(r.task.Namespace, r.pod, r.logged, t)
	}
	return status
}

func (r *reporter) taskProgress(p harness.Progress) v1alpha1.TaskProgress {
	out := r.prior.progress(p)
	out.Attempt, out.RequestedUSD = r.task.Status.Attempt, r.requested
	return out
}

// finish writes the result, first where it cannot fail, then to the API server.
// Progress must have ended, so that nothing older is written after it.
func (r *reporter) finish(ctx context.Context, res harness.Result, reason string) error {
	status := r.status(res.Progress, res.Transcript)
	status.Progress.Activity = ""
	status.Result = resultOf(r.task.Status.Attempt, res, reason)
	wordsErr := r.writeTerminationMessage(status)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalReportTimeout)
	defer cancel()
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := r.apply(ctx, r.task, status)
		if final(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(finalReportTimeout), backoff.WithBackOff(newBackOff()))
	if err != nil {
		err = fmt.Errorf("writing the result to the status: %w", err)
	}
	return errors.Join(err, wordsErr)
}

func newBackOff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 100*time.Millisecond, 5*time.Second
	return b
}

// final tells an answer that will not change: the task is gone or another's,
// or the status is not to our schema.
func final(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) ||
		apierrors.IsConflict(err) || apierrors.IsBadRequest(err)
}

// writeTerminationMessage leaves the result for the operator, cut so that it fits.
func (r *reporter) writeTerminationMessage(status v1alpha1.AgentTaskStatus) error {
	message := podapi.TerminationMessage{TaskUID: string(r.task.UID), Result: status.Result, Progress: status.Progress, Transcript: status.Transcript}
	for _, limit := range []int{maxResultMessage, 512, 64} {
		if m := text.Clip(message.Result.Message, limit); m != message.Result.Message {
			message.Result.Message = m
			message.Result.Truncated = []v1alpha1.TruncatedField{v1alpha1.TruncatedMessage, v1alpha1.TruncatedVerifications}
		}
		if limit < maxResultMessage {
			for i := range message.Result.Verifications {
				message.Result.Verifications[i].Message = ""
			}
		}
		data, err := json.Marshal(message)
		if err != nil {
			return fmt.Errorf("encoding the termination message: %w", err)
		}
		if len(data) <= podapi.MaxTerminationMessageBytes {
			return os.WriteFile(r.terminationLog, data, 0o644)
		}
	}
	return fmt.Errorf("the termination message does not fit into %d bytes", podapi.MaxTerminationMessageBytes)
}
