package podspec

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxEgressBytes is several times what a rule for each provider of a registry takes.
const maxEgressBytes = 32 << 10

// cachedConditions are those that are looked at, and whose times tell when something
// last happened to a pod.
func cachedConditions(in []corev1.PodCondition) []corev1.PodCondition {
	out := make([]corev1.PodCondition, 0, 2)
	for _, c := range in {
		if c.Type == corev1.PodScheduled || c.Type == corev1.PodReady || c.Type == corev1.DisruptionTarget {
			out = append(out, c)
		}
	}
	return out
}

// Cached strips from a pod all that is not looked at again once it has been made:
// the registry that it carries, its containers and volumes. A pod that ended is kept
// for as long as its task. Where a pod is compared with the one that is wanted, it
// is read from the API server.
func Cached(pod *corev1.Pod) {
	pod.ManagedFields = nil
	maps.DeleteFunc(pod.Annotations, func(key, value string) bool {
		return key != annotationEgress && key != annotationKeeps || len(value) > maxEgressBytes
	})
	if len(pod.Annotations) == 0 {
		pod.Annotations = nil // an empty map is as large as it was
	}
	maps.DeleteFunc(pod.Labels, func(key, _ string) bool { return key != LabelManagedBy && key != LabelSandbox })
	pod.Finalizers = nil
	owner := metav1.GetControllerOf(pod)
	pod.OwnerReferences = nil
	if owner != nil {
		pod.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	pod.Spec = corev1.PodSpec{NodeName: pod.Spec.NodeName}
	st := pod.Status
	pod.Status = corev1.PodStatus{Phase: st.Phase, Conditions: cachedConditions(st.Conditions), Message: st.Message, Reason: st.Reason, PodIP: st.PodIP, StartTime: st.StartTime}
	pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses = cachedContainers(st.ContainerStatuses), cachedContainers(st.InitContainerStatuses)
}

func cachedContainers(in []corev1.ContainerStatus) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, c := range in {
		out = append(out, corev1.ContainerStatus{
			Name: c.Name, State: c.State, LastTerminationState: c.LastTerminationState, Ready: c.Ready, RestartCount: c.RestartCount,
		})
	}
	return out
}
