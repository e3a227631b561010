package kit

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// Changes is a predicate of a watch: an update passes if it changes the object's spec,
// labels, annotations or owner, if it begins the object's deletion, or if it changes
// what status gives of it. A controller's own writes wake it for nothing else.
func Changes[T client.Object](status func(T) any) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld, e.ObjectNew
		return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration() ||
			before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() ||
			!maps.Equal(before.GetLabels(), after.GetLabels()) || !maps.Equal(before.GetAnnotations(), after.GetAnnotations()) ||
			!equality.Semantic.DeepEqual(metav1.GetControllerOf(before), metav1.GetControllerOf(after)) ||
			!equality.Semantic.DeepEqual(status(before.(T)), status(after.(T)))
	}}
}

// report is what a task's runner tells that its controller acts on.
type report struct {
	Heard  bool
	Result v1alpha1.TaskResult
}

// RunnerReport is for Changes of a task: that its runner has spoken, and the result.
// How far it is comes every two seconds, and is the user's to read.
func RunnerReport(task *v1alpha1.AgentTask) any {
	return report{Heard: task.Status.Progress.Turns != nil, Result: task.Status.Result}
}

// PodFacts is for Changes of a pod: that it runs, waits for something, ends, or is
// being disrupted. That it was put on a node, that its containers are being made, and
// what its address is, is looked at when one of these happens.
func PodFacts(pod *corev1.Pod) any {
	f := corev1.PodStatus{Phase: pod.Status.Phase, Reason: pod.Status.Reason, Message: pod.Status.Message}
	for _, c := range pod.Status.Conditions {
		if tells(c) {
			f.Conditions = append(f.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message})
		}
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, c := range list {
			if w := c.State.Waiting; w != nil && starting[w.Reason] || c.State == (corev1.ContainerState{}) {
				continue
			}
			f.ContainerStatuses = append(f.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: c.State, LastTerminationState: c.LastTerminationState, Ready: c.Ready, RestartCount: c.RestartCount})
		}
	}
	return f
}

// starting are the reasons for which the containers of every pod wait at first.
var starting = map[string]bool{"": true, "ContainerCreating": true, "PodInitializing": true}

// tells reports whether somebody acts on a pod's condition.
func tells(c corev1.PodCondition) bool {
	switch c.Type {
	case corev1.PodReady, corev1.DisruptionTarget:
		return c.Status == corev1.ConditionTrue
	case corev1.PodScheduled:
		return c.Status == corev1.ConditionFalse
	}
	return false
}
