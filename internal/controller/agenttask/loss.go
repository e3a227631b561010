package agenttask

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
)

// namedLoss waits a moment for kubelet to say why the runner or its sandbox
// went, which the runner cannot know.
func (f attemptState) namedLoss(res *v1alpha1.TaskResult) decision {
	if !f.sandboxFound {
		return f.sandboxDeleted()
	}
	if v := f.decideImageUnusable(); v != nil {
		return *v
	}
	if f.ready != nil && lossReasons[f.ready.Reason] && !runnerReasons[f.ready.Reason] {
		return decision{kind: lose, reason: f.ready.Reason, message: f.ready.Message}
	}
	if reason, message := f.suspending(); reason != "" {
		return decision{kind: lose, reason: reason, message: message}
	}
	if f.sandboxTerminating {
		return f.sandboxDeleted()
	}
	if p := f.task.Status.Progress.LastProgressTime; p != nil && f.podFound {
		if wait := reportGrace - f.age(p.Time); wait > 0 {
			return decision{reason: v1alpha1.ReasonRetrying, message: res.Message, requeueAfter: wait}
		}
	}
	reason := res.Reason
	if reason == v1alpha1.ReasonInterrupted {
		reason = v1alpha1.ReasonPodLost
	}
	return decision{kind: lose, reason: reason, message: res.Message}
}

// sandboxDeleted is the loss of an attempt whose Sandbox somebody deleted: the
// operator itself deletes none under an open attempt.
func (f attemptState) sandboxDeleted() decision {
	return decision{kind: lose, reason: v1alpha1.ReasonPodLost, message: "Sandbox " + f.task.Status.SandboxName + " was deleted"}
}

// runnerReasons only say that the runner ended, which it has told more of itself.
var runnerReasons = map[string]bool{v1alpha1.ReasonPodFinished: true, v1alpha1.ReasonRunnerCrashed: true}

// lossReasons are reasons of a Sandbox's Ready that cost the attempt.
var lossReasons = map[string]bool{
	v1alpha1.ReasonPodLost: true, v1alpha1.ReasonNodeLost: true, v1alpha1.ReasonEvicted: true,
	v1alpha1.ReasonOOMKilled: true, v1alpha1.ReasonRunnerCrashed: true, v1alpha1.ReasonSandboxLost: true,
	v1alpha1.ReasonPodFinished: true, v1alpha1.ReasonSuspended: true, v1alpha1.ReasonStorageExceeded: true,
	v1alpha1.ReasonNodeRejected: true, v1alpha1.ReasonPodFailed: true,
}

// interrupts reports whether a reason says that the cluster has taken the pod away,
// for which neither the task nor its agent can be blamed.
func interrupts(reason string) bool {
	switch reason {
	case v1alpha1.ReasonEvicted, v1alpha1.ReasonNodeLost, v1alpha1.ReasonNodeRejected:
		return true
	}
	return false
}

// interruptionPause is how long to wait before the attempt after the n-th
// interruption, from 1.
func interruptionPause(n int32) time.Duration {
	return min(minInterruptionPause<<min(max(n-1, 0), 10), maxInterruptionPause)
}

// decideLoss says whether the attempt has lost what it runs in; nil if not.
func (f attemptState) decideLoss() *decision {
	if v := f.decideImageUnusable(); v != nil {
		return v
	}
	switch {
	case !f.sandboxFound && (f.spoke || named(f.task)):
		return new(f.sandboxDeleted())
	case f.sandboxFound && !f.sandboxClaimed && named(f.task):
		return &decision{kind: lose, reason: v1alpha1.ReasonPodLost, message: "Sandbox " + f.task.Status.SandboxName + " was taken from this attempt: its status.taskRef was changed"}
	case !f.sandboxFound, !f.podKnown:
		return nil
	}
	return f.decidePodLoss()
}

// decidePodLoss says whether the attempt has lost its pod; nil if not.
func (f attemptState) decidePodLoss() *decision {
	reason, message := f.loss()
	switch {
	case f.podFound && f.runnerEnded && f.ready != nil && f.ready.Status == metav1.ConditionTrue && f.age(f.runnerEndedAt) < reportGrace:
		// Why it has ended, and so what the loss is counted as, is about to be told.
		return &decision{reason: v1alpha1.ReasonRunning, message: "The runner of Pod " + f.task.Status.PodName + " has ended", requeueAfter: reportGrace - f.age(f.runnerEndedAt)}
	case !f.podFound, f.runnerEnded:
		if reason == v1alpha1.ReasonPodFinished || (f.podFound && reason == v1alpha1.ReasonPodLost && !f.sandboxTerminating) {
			reason, message = v1alpha1.ReasonRunnerCrashed, "The runner ended without saying how the run ended"
		}
		return &decision{kind: lose, reason: reason, message: message}
	case !f.podTerminatingSince.IsZero():
		if wait := kit.NodeGrace - f.now.Sub(f.podTerminatingSince); wait > 0 {
			return &decision{reason: v1alpha1.ReasonRetrying, message: message, requeueAfter: wait}
		}
		return &decision{kind: lose, reason: v1alpha1.ReasonNodeLost, message: "Pod " + f.task.Status.PodName + " does not go away; its node does not answer"}
	case f.ready != nil && lossReasons[f.ready.Reason]:
		if wait := reportGrace - f.now.Sub(f.ready.LastTransitionTime.Time); wait > 0 {
			return &decision{reason: v1alpha1.ReasonRunning, message: message, requeueAfter: wait}
		}
		return &decision{kind: lose, reason: reason, message: message}
	}
	return nil
}

// loss says why the pod is lost, if it is.
func (f attemptState) loss() (reason, message string) {
	switch {
	case f.ready != nil && lossReasons[f.ready.Reason]:
		return f.ready.Reason, f.ready.Message
	case f.ready != nil && f.ready.Reason == v1alpha1.ReasonSuspending:
		return f.suspending()
	case f.sandboxTerminating:
		v := f.sandboxDeleted()
		return v.reason, v.message
	case f.podFound:
		return v1alpha1.ReasonPodLost, "Pod " + f.task.Status.PodName + " is being deleted"
	}
	return v1alpha1.ReasonPodLost, "Pod " + f.task.Status.PodName + " is gone"
}

// decideImageUnusable names what will never start.
func (f attemptState) decideImageUnusable() *decision {
	if f.ready != nil && f.ready.Status == metav1.ConditionFalse && f.ready.Reason == v1alpha1.ReasonSandboxImageUnusable {
		return &decision{kind: fail, reason: f.ready.Reason, message: f.ready.Message}
	}
	return nil
}
