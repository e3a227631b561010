package agenttask

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

const (
	// defaultActive is limits.activeSeconds where it is not given.
	defaultActive = time.Hour
	// defaultAttempts is retry.maxAttempts where it is not given.
	defaultAttempts = 3
	// deadlineGrace lets the runner, which keeps the same deadline, report it itself.
	deadlineGrace = 15 * time.Second
	// stopGrace is how long a runner may take to stop by itself.
	stopGrace = 20 * time.Second
	// reportGrace is how long a runner may take to report that its sandbox is gone.
	reportGrace = 10 * time.Second
	// nodeGrace is how long a pod may be leaving before its node counts as lost. A
	// runner that is cut off gives up after three minutes without an answer, looked
	// for once a minute (internal/runner/contact.go): it must have by then.
	nodeGrace = 5 * time.Minute
)

// situation is what judge decides on: plain data about an open attempt.
type situation struct {
	task *v1alpha1.AgentTask
	// ready is the Sandbox's Ready condition; nil when it has none yet.
	ready *metav1.Condition
	// sandboxFound and podFound say what exists; podKnown that a pod was seen
	// before; sandboxClaimed that the Sandbox is held for this attempt.
	sandboxFound, sandboxClaimed, podFound, podKnown bool
	// sandboxLeaving: the Sandbox is being deleted. Its finalizer keeps it until
	// its pod is gone, so it is found for a while.
	sandboxLeaving bool
	// podLeavingSince is the pod's deletion time, if it is being deleted.
	podLeavingSince time.Time
	// runnerEnded: the runner container has ended.
	runnerEnded bool
	// result for this attempt, from the status or the runner's last words.
	result *v1alpha1.TaskResult
	now    time.Time
}

// verdictKind is what to do about an open attempt.
type verdictKind int

const (
	goOn verdictKind = iota
	// succeed and fail end the task.
	succeed
	fail
	// lose ends the attempt; the task may have another.
	lose
	// stop ends the attempt because the user wanted it to.
	stop
)

type verdict struct {
	kind            verdictKind
	reason, message string
	// blocked: a user has to mend something before it goes on.
	blocked bool
	// again is when to look next, 0 for when something changes.
	again time.Duration
}

// judge says what to do about an open attempt. A result comes before all else:
// what was proved stays proved, even if the pod died the moment after.
func judge(f situation) verdict {
	if f.result != nil {
		return f.judgeResult()
	}
	if v := f.judgeLoss(); v != nil {
		return *v
	}
	if f.task.Spec.State != v1alpha1.TaskActive {
		return f.judgeStop()
	}
	return f.judgeTime()
}

func (f situation) judgeResult() verdict {
	res := f.result
	switch res.Reason {
	case v1alpha1.ReasonCompleted:
		if missing := unproven(f.task, res); missing != "" {
			return verdict{kind: fail, reason: v1alpha1.ReasonInternal, message: "The runner reported success without proof: verify command " + missing + " has not passed"}
		}
		return verdict{kind: succeed, reason: res.Reason, message: summary(f.task, res)}
	case v1alpha1.ReasonCancelled:
		if f.task.Spec.State == v1alpha1.TaskCancelled {
			// Not by way of begin: the pod has ended by itself, and its log stays.
			return verdict{kind: fail, reason: res.Reason, message: cancelledMessage}
		}
		fallthrough
	case v1alpha1.ReasonSuspended:
		return verdict{kind: stop, reason: v1alpha1.ReasonSuspended, message: "Stopped on request"}
	case v1alpha1.ReasonInterrupted, v1alpha1.ReasonSandboxLost:
		return f.namedLoss(res)
	}
	return verdict{kind: fail, reason: res.Reason, message: res.Message}
}

// namedLoss waits a moment for kubelet to say why the runner or its sandbox
// went, which the runner cannot know.
func (f situation) namedLoss(res *v1alpha1.TaskResult) verdict {
	if !f.sandboxFound {
		return f.sandboxDeleted()
	}
	if v := f.judgeStart(); v != nil {
		return *v
	}
	if f.ready != nil && lossReasons[f.ready.Reason] && !runnerReasons[f.ready.Reason] {
		return verdict{kind: lose, reason: f.ready.Reason, message: f.ready.Message}
	}
	if f.sandboxLeaving {
		return f.sandboxDeleted()
	}
	if p := f.task.Status.Progress.LastProgressTime; p != nil && f.podFound {
		if wait := reportGrace - f.now.Sub(p.Time); wait > 0 {
			return verdict{reason: v1alpha1.ReasonRetrying, message: res.Message, again: wait}
		}
	}
	reason := res.Reason
	if reason == v1alpha1.ReasonInterrupted {
		reason = v1alpha1.ReasonPodLost
	}
	return verdict{kind: lose, reason: reason, message: res.Message}
}

// sandboxDeleted is the loss of an attempt whose Sandbox somebody deleted: the
// operator itself deletes none under an open attempt.
func (f situation) sandboxDeleted() verdict {
	return verdict{kind: lose, reason: v1alpha1.ReasonPodLost, message: "Sandbox " + f.task.Status.SandboxName + " was deleted"}
}

// runnerReasons only say that the runner ended, which it has told more of itself.
var runnerReasons = map[string]bool{v1alpha1.ReasonPodFinished: true, v1alpha1.ReasonRunnerCrashed: true}

// lossReasons are reasons of a Sandbox's Ready that cost the attempt.
var lossReasons = map[string]bool{
	v1alpha1.ReasonPodLost: true, v1alpha1.ReasonNodeLost: true, v1alpha1.ReasonEvicted: true,
	v1alpha1.ReasonOOMKilled: true, v1alpha1.ReasonRunnerCrashed: true, v1alpha1.ReasonSandboxLost: true,
	v1alpha1.ReasonPodFinished: true, v1alpha1.ReasonSuspended: true,
}

// judgeLoss says whether the attempt has lost what it runs in; nil if not.
func (f situation) judgeLoss() *verdict {
	if v := f.judgeStart(); v != nil {
		return v
	}
	switch {
	case !f.sandboxFound && (f.podKnown || named(f.task)):
		return new(f.sandboxDeleted())
	case f.sandboxFound && !f.sandboxClaimed:
		return &verdict{kind: lose, reason: v1alpha1.ReasonPodLost, message: "Sandbox " + f.task.Status.SandboxName + " was taken from this attempt: its spec.taskRef was changed"}
	case !f.podKnown:
		return nil
	}
	reason, message := f.loss()
	switch {
	case !f.podFound, f.runnerEnded:
		if reason == v1alpha1.ReasonPodFinished || (f.podFound && reason == v1alpha1.ReasonPodLost && !f.sandboxLeaving) {
			reason, message = v1alpha1.ReasonRunnerCrashed, "The runner ended without saying how the run ended"
		}
		return &verdict{kind: lose, reason: reason, message: message}
	case !f.podLeavingSince.IsZero():
		if wait := nodeGrace - f.now.Sub(f.podLeavingSince); wait > 0 {
			return &verdict{reason: v1alpha1.ReasonRetrying, message: message, again: wait}
		}
		return &verdict{kind: lose, reason: v1alpha1.ReasonNodeLost, message: "Pod " + f.task.Status.PodName + " does not go away; its node does not answer"}
	case f.ready != nil && lossReasons[f.ready.Reason]:
		if wait := reportGrace - f.now.Sub(f.ready.LastTransitionTime.Time); wait > 0 {
			return &verdict{reason: v1alpha1.ReasonRunning, message: message, again: wait}
		}
		return &verdict{kind: lose, reason: reason, message: message}
	}
	return nil
}

// loss says why the pod is lost, if it is.
func (f situation) loss() (reason, message string) {
	switch {
	case f.ready != nil && lossReasons[f.ready.Reason]:
		return f.ready.Reason, f.ready.Message
	case f.sandboxLeaving:
		v := f.sandboxDeleted()
		return v.reason, v.message
	case f.podFound:
		return v1alpha1.ReasonPodLost, "Pod " + f.task.Status.PodName + " is being deleted"
	}
	return v1alpha1.ReasonPodLost, "Pod " + f.task.Status.PodName + " is gone"
}

// judgeStart names what will never start.
func (f situation) judgeStart() *verdict {
	if f.ready != nil && f.ready.Status == metav1.ConditionFalse && f.ready.Reason == v1alpha1.ReasonSandboxServerMissing {
		return &verdict{kind: fail, reason: f.ready.Reason, message: f.ready.Message}
	}
	return nil
}

// judgeStop waits for a runner that was asked to stop, within bounds.
func (f situation) judgeStop() verdict {
	reason := v1alpha1.ReasonSuspending
	if f.task.Spec.State == v1alpha1.TaskCancelled {
		reason = v1alpha1.ReasonCancelling
	}
	running := f.ready != nil && f.ready.Status == metav1.ConditionTrue
	since := f.task.Status.StopRequestTime
	if running && since == nil {
		return verdict{reason: reason, message: "The runner is being stopped", again: stopGrace}
	}
	if running {
		if wait := stopGrace - f.now.Sub(since.Time); wait > 0 {
			return verdict{reason: reason, message: "The runner is being stopped", again: wait}
		}
	}
	if f.task.Spec.State == v1alpha1.TaskCancelled {
		return verdict{kind: stop, reason: v1alpha1.ReasonCancelled, message: cancelledMessage}
	}
	return verdict{kind: stop, reason: v1alpha1.ReasonSuspended, message: "Stopped on request"}
}

// judgeTime says where an attempt that goes on stands, and ends it when its
// time is up and the runner has not done so.
func (f situation) judgeTime() verdict {
	v := verdict{reason: v1alpha1.ReasonStarting, message: startingMessage(f.task)}
	running := f.ready != nil && f.ready.Status == metav1.ConditionTrue
	if f.ready != nil && f.ready.Status == metav1.ConditionFalse {
		v.message = f.ready.Message
		if f.ready.Reason != v1alpha1.ReasonPodPending && f.ready.Reason != v1alpha1.ReasonIdle {
			v.reason, v.blocked = f.ready.Reason, true
		}
	}
	if running {
		v.reason, v.message = v1alpha1.ReasonRunning, "The agent runs in Pod "+f.task.Status.PodName
	}
	left := deadline(f.task).Sub(f.now)
	if running {
		left += deadlineGrace
	}
	if left <= 0 {
		if said := meta.FindStatusCondition(f.task.Status.Conditions, v1alpha1.ConditionSucceeded); said != nil && f.ready == nil {
			v.reason, v.message = said.Reason, said.Message // nothing new is known of its Sandbox
		}
		return verdict{kind: fail, reason: v1alpha1.ReasonDeadlineExceeded,
			message: fmt.Sprintf("limits.activeSeconds (%d) has passed; the task stood at %s: %s", int(active(f.task).Seconds()), v.reason, v.message)}
	}
	v.again = left
	return v
}

// startingMessage holds from the opening of an attempt until its pod is there:
// one text, so that it is written once.
func startingMessage(task *v1alpha1.AgentTask) string {
	return fmt.Sprintf("Attempt %d is starting in Sandbox %s", task.Status.Attempt, task.Status.SandboxName)
}

// active is how long the task may be active.
func active(task *v1alpha1.AgentTask) time.Duration {
	if s := task.Spec.Limits.ActiveSeconds; s > 0 {
		return time.Duration(s) * time.Second
	}
	return defaultActive
}

// deadline is when the active time of a started task is up.
func deadline(task *v1alpha1.AgentTask) time.Time {
	return task.Status.StartTime.Add(active(task))
}

// waitUntil is how long a task may wait for something that a user has to mend:
// until its deadline or, where it has not been started or resumed yet, as long
// as its active time from when it first stalled.
func waitUntil(task *v1alpha1.AgentTask, now time.Time) time.Time {
	if task.Status.StartTime != nil {
		return deadline(task)
	}
	if c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionStalled); c != nil {
		return c.LastTransitionTime.Add(active(task))
	}
	return now.Add(active(task))
}

func maxAttempts(task *v1alpha1.AgentTask) int {
	if n := task.Spec.Retry.MaxAttempts; n > 0 {
		return int(n)
	}
	return defaultAttempts
}

// losses counts the attempts that were lost; those that the user stopped do not count.
func losses(task *v1alpha1.AgentTask) int {
	n := 0
	for _, a := range task.Status.Attempts {
		if a.Reason != v1alpha1.ReasonSuspended {
			n++
		}
	}
	return n
}

// unproven names the first verify command of a task that a result does not show
// as passed; empty if there is none.
func unproven(task *v1alpha1.AgentTask, res *v1alpha1.TaskResult) string {
	passed := map[string]bool{}
	for _, v := range res.Verifications {
		passed[v.Name] = v.Outcome == v1alpha1.VerificationPassed
	}
	for _, v := range task.Spec.Verify {
		if !passed[v.Name] {
			return v.Name
		}
	}
	return ""
}

func summary(task *v1alpha1.AgentTask, res *v1alpha1.TaskResult) string {
	turns := int32(0)
	if t := task.Status.Progress.Turns; t != nil {
		turns = *t
	}
	if len(res.Verifications) == 0 {
		return fmt.Sprintf("The agent finished after %d turns; the task has no verify command", turns)
	}
	return fmt.Sprintf("The agent finished after %d turns and %d of %d verify commands passed", turns, len(res.Verifications), len(res.Verifications))
}

func readyOf(sb *v1alpha1.Sandbox) *metav1.Condition {
	if sb == nil {
		return nil
	}
	return meta.FindStatusCondition(sb.Status.Conditions, v1alpha1.ConditionReady)
}
