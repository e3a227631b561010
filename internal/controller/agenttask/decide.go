package agenttask

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/text"
)

const (
	// deadlineGrace lets the runner, which keeps the same deadline, report it itself.
	deadlineGrace = 15 * time.Second
	// stopGrace is how long a runner may take to stop by itself.
	stopGrace = 20 * time.Second
	// reportGrace is how long a runner may take to report that its sandbox is gone.
	reportGrace = 10 * time.Second
	// contactNotice is after how long it is told that a runner that runs has not
	// reported, and contactLimit after how long its attempt counts as lost. A
	// runner reports for the first time after two seconds (internal/runner).
	contactNotice = time.Minute
	contactLimit  = 5 * time.Minute
	// maxPending is how long a task may wait for what comes by itself: quota, a
	// node, its turn in a Sandbox.
	maxPending = 24 * time.Hour
	// interruptionPause grows between these, and maxInterruptions bounds how often a
	// task that the cluster interrupts is started again.
	minInterruptionPause = 5 * time.Second
	maxInterruptionPause = 5 * time.Minute
	maxInterruptions     = 50
)

// attemptState is what decide looks at: plain data about an open attempt.
type attemptState struct {
	task *v1alpha1.AgentTask
	// spoke: the runner of this attempt has reported.
	spoke bool
	// ready is the Sandbox's Ready condition of this attempt, nil when it has none
	// yet; sandboxStalled that it waits for something that a user has to fix.
	ready          *metav1.Condition
	sandboxStalled bool
	// sandboxFound and podFound say what exists; podKnown that there was a pod;
	// sandboxClaimed that the Sandbox is held for this attempt.
	sandboxFound, sandboxClaimed, podFound, podKnown bool
	// sandboxTerminating: the Sandbox is being deleted, and something of others keeps it.
	sandboxTerminating bool
	// podTerminatingSince is the pod's deletion time, if it is being deleted.
	podTerminatingSince time.Time
	// runnerEnded: the runner container has ended, and when.
	runnerEnded   bool
	runnerEndedAt time.Time
	// result for this attempt, from the status or the termination message.
	result *v1alpha1.TaskResult
	now    time.Time
}

// decisionKind is what to do about an open attempt.
type decisionKind int

const (
	goOn decisionKind = iota
	// succeed and fail end the task.
	succeed
	fail
	// lose ends the attempt; the task may have another.
	lose
	// stop ends the attempt because the user wanted it to.
	stop
	// handOver ends the attempt because a pod of another kind is to go on.
	handOver
)

// waitKind says what ends a wait.
type waitKind int

const (
	// passes: it ends by itself.
	passes waitKind = iota
	// stalls: a user has to fix something first.
	stalls
)

type decision struct {
	kind            decisionKind
	reason, message string
	wait            waitKind
	// requeueAfter is when to look next, 0 for when something changes.
	requeueAfter time.Duration
}

// age is how long ago something was by a node's clock, which may be wrong: what is
// still to come counts as long ago.
func (f attemptState) age(then time.Time) time.Duration {
	if d := f.now.Sub(then); d >= 0 {
		return d
	}
	return reportGrace
}

// decide says what to do about an open attempt. A result comes before all else:
// what was proved stays proved, even if the pod died the moment after.
func decide(f attemptState) decision {
	if f.result != nil {
		return f.decideResult()
	}
	if d := f.decideLoss(); d != nil {
		return *d
	}
	if f.task.Spec.State != v1alpha1.TaskActive {
		return f.decideStop()
	}
	if f.spoke {
		return f.decideRunning()
	}
	return f.decideStarting()
}

func (f attemptState) decideResult() decision {
	res := f.result
	switch res.Reason {
	case v1alpha1.ReasonCompleted:
		if missing := unproven(f.task, res); missing != "" {
			return decision{kind: fail, reason: v1alpha1.ReasonInternal, message: "The runner reported success without proof: verify command " + missing + " has not passed"}
		}
		return decision{kind: succeed, reason: res.Reason, message: summary(f.task, res)}
	case v1alpha1.ReasonCancelled:
		if f.task.Spec.State == v1alpha1.TaskCancelled {
			// Not by way of begin: the pod has ended by itself, and its log stays.
			return decision{kind: fail, reason: res.Reason, message: cancelledMessage}
		}
		fallthrough
	case v1alpha1.ReasonSuspended:
		return decision{kind: stop, reason: v1alpha1.ReasonSuspended, message: "Stopped on request"}
	case v1alpha1.ReasonBudgetSpent:
		return decision{kind: stop, reason: res.Reason, message: res.Message}
	case v1alpha1.ReasonInterrupted, v1alpha1.ReasonSandboxLost:
		return f.namedLoss(res)
	case v1alpha1.ReasonVerificationPending, v1alpha1.ReasonVerificationRejected:
		return decision{kind: handOver, reason: res.Reason, message: res.Message}
	}
	return decision{kind: fail, reason: res.Reason, message: res.Message}
}

// suspending is the loss of an attempt whose named Sandbox is being suspended; empty if it
// is not.
func (f attemptState) suspending() (reason, message string) {
	if f.ready == nil || f.ready.Reason != v1alpha1.ReasonSuspending {
		return "", ""
	}
	return v1alpha1.ReasonSuspended, "Sandbox " + f.task.Status.SandboxName + " is being suspended"
}

// decideStop waits for a runner that was asked to stop, within bounds.
func (f attemptState) decideStop() decision {
	reason := v1alpha1.ReasonSuspending
	if f.task.Spec.State == v1alpha1.TaskCancelled {
		reason = v1alpha1.ReasonCancelling
	}
	running := f.spoke || f.ready != nil && f.ready.Status == metav1.ConditionTrue
	since := f.task.Status.StopRequestTime
	if running && since == nil {
		return decision{reason: reason, message: "The runner is being stopped", requeueAfter: stopGrace}
	}
	if running {
		if wait := stopGrace - f.now.Sub(since.Time); wait > 0 {
			return decision{reason: reason, message: "The runner is being stopped", requeueAfter: wait}
		}
	}
	if f.task.Spec.State == v1alpha1.TaskCancelled {
		return decision{kind: stop, reason: v1alpha1.ReasonCancelled, message: cancelledMessage}
	}
	return decision{kind: stop, reason: v1alpha1.ReasonSuspended, message: "Stopped on request"}
}

// decideRunning ends an attempt whose time is up when the runner has not done so.
func (f attemptState) decideRunning() decision {
	left := f.now.Sub(f.task.Status.RunningTime.Time)
	left = remaining(f.task) + deadlineGrace + outputsGrace(f.task) - left
	if left <= 0 {
		return decision{kind: fail, reason: v1alpha1.ReasonDeadlineExceeded,
			message: fmt.Sprintf("limits.activeSeconds (%d) has passed, and the runner has not stopped", int(active(f.task).Seconds()))}
	}
	who := "The agent runs"
	if verifies(f.task) {
		who = "The Separate verify commands run"
	}
	return decision{reason: v1alpha1.ReasonRunning, message: who + " in Pod " + f.task.Status.PodName, requeueAfter: left}
}

// outputsGrace lets the runner take what a task leaves once its time is up.
func outputsGrace(task *v1alpha1.AgentTask) time.Duration {
	if len(task.Spec.Outputs) == 0 {
		return 0
	}
	return v1alpha1.OutputsSeconds * time.Second
}

// decideStarting says what an attempt waits for whose runner has not reported, and
// ends the wait when it has taken too long.
func (f attemptState) decideStarting() decision {
	d := decision{reason: v1alpha1.ReasonStarting, message: startingMessage(f.task), requeueAfter: contactNotice}
	switch {
	case f.ready == nil:
		return f.awaitSandbox(d)
	case f.ready.Status == metav1.ConditionTrue:
		return f.awaitContact(d)
	}
	d.message = f.ready.Message
	if f.ready.Reason != v1alpha1.ReasonPodPending && f.ready.Reason != v1alpha1.ReasonIdle {
		d.reason = f.ready.Reason
	} else if verifies(f.task) {
		d.message += ", to run the Separate verify commands"
	}
	if !f.sandboxStalled {
		return f.within(d, f.task.Status.AttemptStartTime, maxPending)
	}
	d.wait = stalls
	since := &metav1.Time{Time: f.now}
	if c := meta.FindStatusCondition(f.task.Status.Conditions, v1alpha1.ConditionStalled); c != nil {
		since = &c.LastTransitionTime
	}
	return f.within(d, since, remaining(f.task))
}

// awaitSandbox bounds the time in which the attempt's Sandbox has to come. What has
// kept it from coming so far is what the task says; whether it still does is looked
// at again.
func (f attemptState) awaitSandbox(d decision) decision {
	conditions := f.task.Status.Conditions
	stalled, said := meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled), meta.FindStatusCondition(conditions, v1alpha1.ConditionSucceeded)
	if stalled != nil && said != nil {
		was := decision{reason: said.Reason, message: said.Message, wait: stalls}
		if was = f.within(was, &stalled.LastTransitionTime, remaining(f.task)); was.kind == fail {
			return was
		}
	}
	return f.within(d, f.task.Status.AttemptStartTime, maxPending)
}

// within ends the task where a wait has taken too long.
func (f attemptState) within(d decision, since *metav1.Time, limit time.Duration) decision {
	left := limit - f.now.Sub(since.Time)
	if left <= 0 {
		return decision{kind: fail, reason: v1alpha1.ReasonDeadlineExceeded,
			message: fmt.Sprintf("The task has waited for %s at %s: %s", limit, d.reason, d.message)}
	}
	d.requeueAfter = left
	if d.wait == passes { // no watch need tell what a start waits for
		d.requeueAfter = min(left, contactNotice)
	}
	return d
}

// awaitContact bounds the time in which a runner that runs has to report.
func (f attemptState) awaitContact(d decision) decision {
	pod := f.task.Status.PodName
	since := f.ready.LastTransitionTime.Time
	if began := f.task.Status.AttemptStartTime; began.After(since) { // the pod of a named Sandbox was there before
		since = began.Time
	}
	silent := f.now.Sub(since)
	message := fmt.Sprintf("Pod %s runs, and its runner has not reported for %s: it may not reach the API server; see the log of its container runner, and the NetworkPolicies of the namespace",
		pod, silent.Truncate(contactNotice))
	switch {
	case silent >= remaining(f.task)+deadlineGrace:
		return decision{kind: fail, reason: v1alpha1.ReasonDeadlineExceeded,
			message: fmt.Sprintf("limits.activeSeconds (%d) has passed. %s", int(active(f.task).Seconds()), message)}
	case silent >= contactLimit:
		return decision{kind: lose, reason: v1alpha1.ReasonRunnerSilent, message: message}
	case silent >= contactNotice:
		d.reason, d.message = v1alpha1.ReasonRunnerSilent, message
		d.requeueAfter = min(contactNotice-silent%contactNotice, remaining(f.task)+deadlineGrace-silent)
	default:
		d.message = "Pod " + pod + " runs; its runner is starting"
		d.requeueAfter = min(contactNotice, remaining(f.task)+deadlineGrace) - silent
	}
	return d
}

// startingMessage holds from the opening of an attempt until its pod is there:
// one text, so that it is written once.
func startingMessage(task *v1alpha1.AgentTask) string {
	what := ""
	if verifies(task) {
		what = ", which runs the Separate verify commands,"
	}
	return fmt.Sprintf("Attempt %d%s is starting in Sandbox %s", task.Status.Attempt, what, task.Status.SandboxName)
}

// active is how long the task may be active.
func active(task *v1alpha1.AgentTask) time.Duration {
	if s := task.Spec.Limits.ActiveSeconds; s > 0 {
		return time.Duration(s) * time.Second
	}
	return time.Duration(v1alpha1.DefaultActiveSeconds) * time.Second
}

// remaining is how much of its active time a task has left, without what the
// current attempt has used.
func remaining(task *v1alpha1.AgentTask) time.Duration {
	return active(task) - time.Duration(task.Status.ActiveSeconds)*time.Second
}

func maxAttempts(task *v1alpha1.AgentTask) int32 {
	if n := task.Spec.Retry.MaxAttempts; n > 0 {
		return n
	}
	return v1alpha1.DefaultMaxAttempts
}

// unproven names the first verify command of a task that a result does not show
// as passed, by an attempt that runs such commands; empty if there is none.
func unproven(task *v1alpha1.AgentTask, res *v1alpha1.TaskResult) string {
	passed := map[string]bool{}
	for _, v := range res.Verifications {
		passed[v.Name] = v.Outcome == v1alpha1.VerificationPassed
	}
	for _, v := range task.Spec.Verify {
		if !passed[v.Name] || v.Isolation == v1alpha1.VerificationSeparate && !verifies(task) {
			return v.Name
		}
	}
	return ""
}

func summary(task *v1alpha1.AgentTask, res *v1alpha1.TaskResult) string {
	turns := text.Plural(int(ptr.Deref(task.Status.Progress.Turns, 0)), "turn")
	if len(res.Verifications) == 0 {
		return fmt.Sprintf("The agent finished after %s; the task has no verify command", turns)
	}
	return fmt.Sprintf("The agent finished after %s and %d of %d verify commands passed", turns, len(res.Verifications), len(res.Verifications))
}

func readyOf(sb *v1alpha1.Sandbox) *metav1.Condition {
	if sb == nil {
		return nil
	}
	return meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
}
