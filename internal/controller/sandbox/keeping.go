package sandbox

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
)

const (
	// answerWithin is how long a runner may take to say that it keeps the workspace, and
	// keepWithin how long it may be at it without saying that it failed. One that does not
	// keep to that hangs, and its pod goes.
	answerWithin = 2 * time.Minute
	keepWithin   = time.Hour
)

// notKept is the reason of the event that what a workspace has had since its last checkpoint
// goes with its pod.
const notKept = "WorkspaceNotKept"

// keeping is a workspace that is being kept before its pod goes.
type keeping struct {
	// why the pod is to go: Suspended or Idle.
	why string
	// failed is why the runner could not keep it so far; it tries again.
	failed string
	// leaving is the pod that is on its way out.
	leaving string
}

func (k *keeping) state() podState {
	switch {
	case k.leaving != "":
		return podState{phase: podWaiting, reason: v1alpha1.ReasonSuspending, message: "Waiting for Pod " + k.leaving + " to be removed"}
	case k.failed != "":
		return podState{phase: podBlocked, reason: v1alpha1.ReasonSuspending, message: "The pod stays, since its workspace cannot be kept: " + k.failed +
			". It is tried again; delete the pod if you would rather lose what it has done since the last checkpoint"}
	}
	return podState{phase: podWaiting, reason: v1alpha1.ReasonSuspending, message: "The workspace is being kept before the pod goes"}
}

// suspending reports whether a runner was asked to keep its workspace.
func suspending(sb *v1alpha1.Sandbox) bool {
	return meta.IsStatusConditionTrue(sb.Status.Conditions, v1alpha1.ConditionSuspending)
}

// putAside removes the pod once the record has its workspace. Where its runner cannot be
// asked to keep that, since the cluster has no record, or the pod does not run, it is
// removed at once; an event tells what is lost with it. Until the pod is gone its runner
// lets nobody in.
func (r *Reconciler) putAside(ctx context.Context, s *scope, why string) error {
	if s.pod == nil && podapi.Kept(s.sandbox) { // the cache may not have it yet
		var err error
		if s.pod, err = r.livePod(ctx, s); err != nil {
			return err
		}
	}
	if s.pod == nil || !podapi.Kept(s.sandbox) {
		return r.removePod(ctx, s)
	}
	s.facts.keeping = &keeping{why: why}
	if s.pod.DeletionTimestamp == nil {
		lost := s.lost()
		if lost == "" && !s.kept() {
			if s.said(v1alpha1.CheckpointFailed) {
				s.facts.keeping.failed = s.sandbox.Status.Checkpoint.Message
			}
			s.requeue = problemInterval
			return nil
		}
		if err := r.confirm(ctx, s); err != nil {
			return err
		}
		if lost != "" && stateOf(s.pod).phase != podWaiting { // else no tool has run in it
			s.event(corev1.EventTypeWarning, notKept, "Stop", "The workspace goes with Pod %s: %s", s.pod.Name, lost)
		}
	}
	if s.facts.keeping.leaving = s.pod.Name; !suspending(s.before) {
		s.facts.keeping = nil // its runner was not asked for anything, and its end comes at once
	}
	return r.removePod(ctx, s)
}

// said reports whether the runner of the pod says so of its last checkpoint.
func (s *scope) said(state v1alpha1.CheckpointState) bool {
	c := s.sandbox.Status.Checkpoint
	return c.PodUID == string(s.pod.UID) && c.State == state
}

// kept reports whether the record has the workspace as it is, since its runner was asked.
func (s *scope) kept() bool {
	return suspending(s.before) && s.said(v1alpha1.CheckpointComplete)
}

// lost says why nothing more can be kept of a workspace; empty as long as it can.
func (s *scope) lost() string {
	if !podspec.Keeps(s.pod) {
		return "the cluster had no record when the pod was made, or an earlier version of the operator made it"
	}
	if state := stateOf(s.pod); state.phase != podReady {
		return "what came after the last checkpoint is lost, as the pod does not run: " + state.message
	}
	asked := meta.FindStatusCondition(s.before.Status.Conditions, v1alpha1.ConditionSuspending)
	if asked == nil || s.said(v1alpha1.CheckpointFailed) || s.said(v1alpha1.CheckpointComplete) {
		return ""
	}
	within := answerWithin
	if s.said(v1alpha1.CheckpointTaking) {
		within = keepWithin
	}
	if s.facts.now.Sub(asked.LastTransitionTime.Time) < within {
		return ""
	}
	return fmt.Sprintf("what came after the last checkpoint is lost, as its runner does not answer for %s", within)
}

// whatIsKept is what a message says of the workspace of a Sandbox without a pod.
func whatIsKept(sb *v1alpha1.Sandbox) string {
	switch c := sb.Status.Checkpoint; {
	case !podapi.Kept(sb):
		return ""
	case c.Time == nil:
		return "; nothing of an earlier workspace is kept"
	default:
		return fmt.Sprintf("; its workspace is kept as of %s", c.Time.UTC().Format(time.RFC3339))
	}
}
