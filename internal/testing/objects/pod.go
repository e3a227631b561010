package objects

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pod builds a pod's status, as kubelet and the scheduler write it.
type Pod struct{ pod corev1.Pod }

// MakePod begins a pod that is waiting to be scheduled.
func MakePod(name string) *Pod {
	return &Pod{corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}}
}

// Obj gives the pod.
func (b *Pod) Obj() *corev1.Pod { return b.pod.DeepCopy() }

// Phase sets the phase.
func (b *Pod) Phase(p corev1.PodPhase) *Pod { b.pod.Status.Phase = p; return b }

// Failed says that kubelet ended the pod as a whole.
func (b *Pod) Failed(reason, message string) *Pod {
	b.pod.Status.Phase, b.pod.Status.Reason, b.pod.Status.Message = corev1.PodFailed, reason, message
	return b
}

// Leaving sets the deletion time.
func (b *Pod) Leaving(at metav1.Time) *Pod { b.pod.DeletionTimestamp = &at; return b }

// Condition sets a condition.
func (b *Pod) Condition(kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) *Pod {
	b.pod.Status.Conditions = append(b.pod.Status.Conditions, corev1.PodCondition{Type: kind, Status: status, Reason: reason, Message: message})
	return b
}

// Running says that a container runs.
func (b *Pod) Running(container string) *Pod {
	return b.container(container, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
}

// Waiting says what a container waits for.
func (b *Pod) Waiting(container, reason, message string) *Pod {
	return b.container(container, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}})
}

// Terminated says how a container ended.
func (b *Pod) Terminated(container string, exitCode int32, reason, message string) *Pod {
	return b.container(container, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: exitCode, Reason: reason, Message: message, FinishedAt: metav1.Unix(1000, 0),
	}})
}

func (b *Pod) container(name string, state corev1.ContainerState) *Pod {
	b.pod.Status.ContainerStatuses = slices.DeleteFunc(b.pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Name == name })
	b.pod.Status.ContainerStatuses = append(b.pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, State: state})
	return b
}
