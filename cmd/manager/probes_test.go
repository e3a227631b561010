package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// checkProbes is a probe with the manager's own rights, caches and watches: its pod is made
// once, and how that ends is told.
func checkProbes(t *testing.T, api *cluster.Cluster) {
	t.Helper()
	probe := objects.MakeProbe("nightly")
	probe.Namespace = "work"
	create(t, api, probe)
	await(t, "making the pod of a probe", func() bool {
		return api.Client.Get(t.Context(), client.ObjectKeyFromObject(probe), probe) == nil && probe.Status.PodUID != ""
	})
	var pod corev1.Pod
	if err := api.Client.Get(t.Context(), types.NamespacedName{Namespace: "work", Name: podapi.ProbePod("nightly")}, &pod); err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodFailed
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: podapi.RunnerContainer, State: corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "no models"}}}}
	if err := api.Client.Status().Update(t.Context(), &pod); err != nil {
		t.Fatal(err)
	}
	var c *metav1.Condition
	await(t, "telling how the pod of a probe has ended", func() bool {
		if err := api.Client.Get(t.Context(), client.ObjectKeyFromObject(probe), probe); err != nil {
			return false
		}
		c = meta.FindStatusCondition(probe.Status.Conditions, v1alpha1.ConditionComplete)
		return probe.Status.CompletionTime != nil
	})
	if c.Reason != v1alpha1.ReasonRunnerCrashed || c.Message != "Container runner ended with exit code 1: no models" {
		t.Errorf("the condition is %+v", c)
	}
	if err := api.Client.Delete(t.Context(), probe); err != nil {
		t.Fatal(err)
	}
}
