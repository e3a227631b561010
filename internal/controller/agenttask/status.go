package agenttask

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
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

// standing says where a task stands that has not ended. What blocks it, so that
// somebody has to act, is an event, too.
func (s *scope) standing(reason, message string, blocked bool) {
	if c := meta.FindStatusCondition(s.task.Status.Conditions, v1alpha1.ConditionSucceeded); blocked && (c == nil || c.Reason != reason) {
		s.event(corev1.EventTypeWarning, reason, "Wait", "%s", message)
	}
	s.condition(metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown, Reason: reason, Message: message})
	s.condition(metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: message})
	suspended := reason == v1alpha1.ReasonSuspended
	s.abnormal(v1alpha1.ConditionStalled, blocked, reason, message)
	s.abnormal(v1alpha1.ConditionReconciling, !blocked && !suspended, reason, message)
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

// podEnded reports whether nothing of a pod runs any more.
func podEnded(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// leavingSince is when a pod that is being deleted had to be gone; the zero time
// for any other, and for none.
func leavingSince(pod *corev1.Pod) time.Time {
	if pod == nil || pod.DeletionTimestamp == nil {
		return time.Time{}
	}
	return pod.DeletionTimestamp.Time
}
