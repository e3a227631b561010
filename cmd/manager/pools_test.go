package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/cluster"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// checkPools is the life of a pool with the manager's own rights, caches and watches: it
// is filled, a task claims what runs, it fills up again, and it is emptied.
func checkPools(t *testing.T, api *cluster.Cluster) {
	t.Helper()
	pool := objects.MakePool("spare", 2)
	pool.Namespace = "work"
	create(t, api, pool)
	ready := func(n int32) func() bool {
		return func() bool {
			startPods(t, api)
			key := types.NamespacedName{Namespace: "work", Name: "spare"}
			return api.Client.Get(t.Context(), key, pool) == nil && pool.Status.ReadyReplicas != nil &&
				*pool.Status.ReadyReplicas == n && *pool.Status.Replicas == n
		}
	}
	await(t, "filling the pool", ready(2))

	task := objects.MakeTask("pooled").Namespace("work").From("spare").Obj()
	create(t, api, task)
	var sb v1alpha1.Sandbox
	await(t, "claiming a Sandbox", func() bool {
		return api.Client.Get(t.Context(), client.ObjectKeyFromObject(task), task) == nil && task.Status.SandboxName != "" &&
			api.Client.Get(t.Context(), types.NamespacedName{Namespace: "work", Name: task.Status.SandboxName}, &sb) == nil &&
			metav1.IsControlledBy(&sb, task)
	})
	if c := task.Status.Claim; c.Outcome != v1alpha1.ClaimHit {
		t.Errorf("the claim is %+v", c)
	}
	await(t, "telling the task's Sandbox whom it is held by", func() bool {
		return api.Client.Get(t.Context(), client.ObjectKeyFromObject(&sb), &sb) == nil && sb.Status.TaskRef.Name == task.Name
	})
	await(t, "filling up", ready(2))

	before := pool.DeepCopy()
	pool.Spec.Replicas = new(int32(0))
	if err := api.Client.Patch(t.Context(), pool, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	await(t, "emptying the pool", ready(0))
	if err := api.Client.Get(t.Context(), client.ObjectKeyFromObject(&sb), &sb); err != nil {
		t.Errorf("what was claimed: %v", err)
	}
	for _, obj := range []client.Object{task, pool} {
		if err := api.Client.Delete(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// startPods plays kubelet for the pods of the pool.
func startPods(t *testing.T, api *cluster.Cluster) {
	t.Helper()
	var pods corev1.PodList
	if err := api.Client.List(t.Context(), &pods, client.InNamespace("work"), client.MatchingLabels{"sampan.dev/pool": "spare"}); err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Status.Phase == corev1.PodRunning || pod.DeletionTimestamp != nil {
			continue
		}
		pod.Status.Phase = corev1.PodRunning
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		for _, name := range []string{podapi.RunnerContainer, podapi.SandboxContainer} {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses,
				corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
		}
		if err := client.IgnoreNotFound(api.Client.Status().Update(t.Context(), pod)); err != nil {
			t.Fatal(err)
		}
	}
}
