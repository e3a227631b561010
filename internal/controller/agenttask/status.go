package agenttask

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/text"
)

// maxMessage keeps a condition's message short; the whole is in the transcript.
const maxMessage = 512

// condition sets a condition of the task.
func (s *scope) condition(c metav1.Condition) {
	c.ObservedGeneration = s.task.Generation
	c.LastTransitionTime = metav1.NewTime(s.now)
	if c.Message = text.Clip(text.OneLine(c.Message), maxMessage); c.Message == "" {
		c.Message = c.Reason
	}
	meta.SetStatusCondition(&s.task.Status.Conditions, c)
}

// setInProgress says where a task is that has not ended. What it waits for that is
// not its own doing is an event, too; a Warning where somebody has to act.
func (s *scope) setInProgress(reason, message string, wait waitKind) {
	if c := meta.FindStatusCondition(s.task.Status.Conditions, v1alpha1.ConditionSucceeded); c == nil || c.Reason != reason {
		switch {
		case wait == stalls:
			s.event(corev1.EventTypeWarning, reason, "Wait", "%s", message)
		case !usual[reason]:
			s.event(corev1.EventTypeNormal, reason, "Wait", "%s", message)
		}
	}
	s.condition(metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown, Reason: reason, Message: message})
	s.condition(metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: message})
	suspended := reason == v1alpha1.ReasonSuspended
	s.abnormal(v1alpha1.ConditionStalled, wait == stalls, reason, message)
	s.abnormal(v1alpha1.ConditionReconciling, wait == passes && !suspended, reason, message)
}

// setRecorded says whether what the task does outlives its pods, once its runner has
// said where it writes.
func (s *scope) setRecorded() {
	uri := s.task.Status.Transcript.URI
	switch {
	case uri == "":
	case ownRecord(uri, s.task):
		s.condition(metav1.Condition{Type: v1alpha1.ConditionRecorded, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRecorded,
			Message: "The transcript, and the state to go on from, outlive the pod"})
	default:
		s.condition(metav1.Condition{Type: v1alpha1.ConditionRecorded, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonNoRecord,
			Message: "No sampan-record runs: the transcript goes with the pod, and another pod begins anew"})
	}
}

// ownRecord reports whether a transcript is the one in the task's record.
func ownRecord(uri string, task *v1alpha1.AgentTask) bool {
	return uri == podapi.TranscriptPath(task.Namespace, task.Name)
}

// usual are the reasons that each task passes through by itself or by its user's
// wish: they are no events.
var usual = map[string]bool{
	v1alpha1.ReasonStarting: true, v1alpha1.ReasonRunning: true, v1alpha1.ReasonRetrying: true,
	v1alpha1.ReasonSuspending: true, v1alpha1.ReasonSuspended: true, v1alpha1.ReasonCancelling: true,
}

// finish says how a task ended.
func (s *scope) finish(succeeded bool, reason, message string) {
	status := metav1.ConditionFalse
	if succeeded {
		status = metav1.ConditionTrue
	}
	s.condition(metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: status, Reason: reason, Message: message})
	s.condition(metav1.Condition{Type: v1alpha1.ConditionReady, Status: status, Reason: reason, Message: message})
	s.abnormal(v1alpha1.ConditionStalled, !succeeded, reason, message)
	s.abnormal(v1alpha1.ConditionReconciling, false, reason, message)
	s.task.Status.CompletionTime = new(metav1.NewTime(s.now))
}

// abnormal sets a condition that is present only while it is True.
func (s *scope) abnormal(kind string, on bool, reason, message string) {
	if !on {
		meta.RemoveStatusCondition(&s.task.Status.Conditions, kind)
		return
	}
	s.condition(metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message})
}

// podEnded reports whether nothing of ours runs in a pod any more. A container that
// somebody has injected may run on; the pod stays for its log all the same.
func podEnded(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return true
	}
	return containerEnded(pod, podapi.RunnerContainer) && containerEnded(pod, podapi.SandboxContainer)
}

func containerEnded(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Name == name && c.State.Terminated != nil })
}

// terminatingSince is when a pod that is being deleted had to be gone; the zero time
// for any other, and for none.
func terminatingSince(pod *corev1.Pod) time.Time {
	if pod == nil || pod.DeletionTimestamp == nil {
		return time.Time{}
	}
	return pod.DeletionTimestamp.Time
}
