package sandbox

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/text"
)

// maxMessage keeps a condition's message short; the whole is in the pod.
const maxMessage = 1024

// problem is what keeps a pod from being made.
type problem struct {
	reason, message string
	// passing says that it goes by itself; any other a user has to fix.
	passing bool
}

// facts are what a reconcile saw. apply turns them into conditions.
type facts struct {
	// now is one time for all of a reconcile.
	now time.Time
	// conflict tells of an object that is in the way and belongs to somebody else;
	// remains says of one that it goes by itself.
	conflict, remains string

	problem   *problem
	suspended bool
	// idle: it was not used for spec.idleSeconds.
	idle bool
	// keeping is set while its workspace is kept before its pod goes.
	keeping *keeping
	// lost: the pod is gone and must not be replaced now.
	lost bool
	// noAttempt: the task whose own Sandbox it is has no open attempt.
	noAttempt bool
	// over: that task has ended, and its pod has been removed since.
	over bool
	podState
}

// obstructed reports whether an object that is not the Sandbox's is in the way.
func (f facts) obstructed() bool { return f.conflict != "" || f.remains != "" }

// podState is what a pod's own status says.
type podState struct {
	phase podPhase
	// reason and message of Ready.
	reason, message string
	// diedAt is when a dead pod died.
	diedAt time.Time
}

// podPhase is where a pod stands for us.
type podPhase int

const (
	podNone podPhase = iota
	// podWaiting: it starts, or waits for something that heals by itself.
	podWaiting
	// podBlocked: it waits for a user to mend something.
	podBlocked
	podReady
	// podDead: it will not work any more.
	podDead
)

func (s podState) dead() bool { return s.phase == podDead }

// telling reports whether there is more to tell of a pod than that it starts.
func (s podState) telling() bool {
	return s.phase != podWaiting || s.reason != v1alpha1.ReasonPodPending
}

// observePod records the pod's state, its address and its node.
func (r *Reconciler) observePod(ctx context.Context, s *scope) {
	if s.pod == nil {
		return
	}
	s.facts.podState = stateOf(s.pod)
	s.observeRestored()
	if s.facts.telling() { // else each of them would be a write of its own
		s.sandbox.Status.PodIP = s.pod.Status.PodIP
		s.sandbox.Status.NodeName = s.pod.Spec.NodeName
	}
	if s.facts.reason == v1alpha1.ReasonUnschedulable && podapi.Persistent(s.sandbox) {
		s.requeue = slowStart // the cause may be told later
		if p := r.claimProblem(ctx, s.sandbox); p != nil {
			s.facts.podState = podState{phase: podBlocked, reason: p.reason, message: p.message}
		}
		return
	}
	if s.facts.telling() {
		return
	}
	if age := r.Clock.Since(s.pod.CreationTimestamp.Time); age < slowStart {
		s.requeue = slowStart - age
		return
	}
	s.requeue = slowStart
	s.facts.podState = r.slowState(ctx, s.pod, s.facts.podState)
}

// apply writes the conditions that the facts ask for.
func (f facts) apply(sb *v1alpha1.Sandbox) {
	sb.Status.ObservedGeneration = sb.Generation
	state := f.podState
	switch {
	case f.conflict != "":
		state = podState{phase: podBlocked, reason: v1alpha1.ReasonNameConflict, message: f.conflict}
	case f.remains != "":
		state = podState{phase: podWaiting, reason: v1alpha1.ReasonPodPending, message: f.remains}
	case f.problem != nil:
		state = podState{phase: podBlocked, reason: f.problem.reason, message: f.problem.message}
		if f.problem.passing {
			state.phase = podWaiting
		}
	case f.keeping != nil:
		state = f.keeping.state()
	case f.suspended:
		state = podState{phase: podNone, reason: v1alpha1.ReasonSuspended, message: "spec.state is Suspended" + whatIsKept(sb)}
	case f.idle:
		state = podState{phase: podNone, reason: v1alpha1.ReasonIdle,
			message: fmt.Sprintf("It was not used for spec.idleSeconds (%d); the next task gets a new pod", sb.Spec.IdleSeconds) + whatIsKept(sb)}
	case f.noAttempt:
		state = podState{phase: podNone, reason: v1alpha1.ReasonIdle, message: "The task has no attempt under way"}
	case f.over:
		state = podState{phase: podNone, reason: v1alpha1.ReasonPodFinished, message: "The task has ended, and there is no pod of it any more"}
	case f.lost:
		state = podState{phase: podDead, reason: v1alpha1.ReasonPodLost, message: "Pod " + sb.Status.PodName + " is gone"}
	case f.phase == podNone:
		state = podState{phase: podWaiting, reason: v1alpha1.ReasonPodPending, message: "The pod is being made"}
	}
	f.setCondition(sb, v1alpha1.ConditionReady, state.phase == podReady, true, state)
	f.setCondition(sb, v1alpha1.ConditionReconciling, state.phase == podWaiting, false, state)
	// A pod that finished is no failure, and there is nothing for anybody to mend.
	stalled := state.phase == podBlocked || state.phase == podDead && state.reason != v1alpha1.ReasonPodFinished
	f.setCondition(sb, v1alpha1.ConditionStalled, stalled, false, state)
	if f.keeping != nil {
		state.reason = f.keeping.why
	}
	f.setCondition(sb, v1alpha1.ConditionSuspending, f.keeping != nil, false, state)
}

// setCondition sets a condition; those that are abnormal when True are removed
// when they are not, as kstatus wants it.
func (f facts) setCondition(sb *v1alpha1.Sandbox, kind string, on, keep bool, state podState) {
	if !on && !keep {
		meta.RemoveStatusCondition(&sb.Status.Conditions, kind)
		return
	}
	status := metav1.ConditionFalse
	if on {
		status = metav1.ConditionTrue
	}
	message := text.Clip(text.OneLine(state.message), maxMessage)
	if message == "" {
		message = state.reason
	}
	meta.SetStatusCondition(&sb.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, ObservedGeneration: sb.Generation,
		Reason: state.reason, Message: message, LastTransitionTime: metav1.NewTime(f.now),
	})
}
