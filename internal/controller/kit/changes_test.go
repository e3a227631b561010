package kit_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/kit"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// runningPod is on a node and runs.
func runningPod() *objects.Pod {
	return objects.MakePod("x").Phase(corev1.PodRunning).Running("runner").Running("sandbox").
		Condition(corev1.PodScheduled, corev1.ConditionTrue, "", "").Condition(corev1.PodReady, corev1.ConditionTrue, "", "")
}

func TestPodFacts(t *testing.T) {
	made := func() *objects.Pod { return objects.MakePod("x") }
	edited := func(pod *objects.Pod, edit func(*corev1.Pod)) *corev1.Pod {
		out := pod.Obj()
		edit(out)
		return out
	}
	for name, c := range map[string]struct {
		before, after *corev1.Pod
		want          bool
	}{
		"it is put on a node": {made().Obj(), made().Condition(corev1.PodScheduled, corev1.ConditionTrue, "", "").Obj(), false},
		"its containers are being made": {made().Obj(), made().Waiting("runner", "ContainerCreating", "").
			Condition(corev1.PodReady, corev1.ConditionFalse, "ContainersNotReady", "containers with unready status: [runner]").Obj(), false},
		"it has an address": {runningPod().Obj(), edited(runningPod(), func(p *corev1.Pod) { p.Status.PodIP = "192.0.2.1" }), false},
		"a condition of somebody else": {runningPod().Obj(), edited(runningPod(), func(p *corev1.Pod) {
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "example.com/gate", Status: corev1.ConditionTrue})
		}), false},
		"no node takes it": {made().Obj(), made().Condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/1 nodes").Obj(), true},
		"another reason why": {made().Condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/1 nodes").Obj(),
			made().Condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/2 nodes").Obj(), true},
		"a node takes it after all": {made().Condition(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", "0/1 nodes").Obj(),
			made().Condition(corev1.PodScheduled, corev1.ConditionTrue, "", "").Obj(), true},
		"an image cannot be pulled": {made().Obj(), made().Waiting("sandbox", "ErrImagePull", "no such image").Obj(), true},
		"it runs":                   {made().Obj(), runningPod().Obj(), true},
		"it is ready": {made().Phase(corev1.PodRunning).Running("runner").Obj(),
			made().Phase(corev1.PodRunning).Running("runner").Condition(corev1.PodReady, corev1.ConditionTrue, "", "").Obj(), true},
		"a container ends": {runningPod().Obj(), runningPod().Terminated("runner", 0, "Completed", "{}").Obj(), true},
		"an init container fails": {made().Obj(), edited(made(), func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "injected", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}}
		}), true},
		"it is disrupted":      {runningPod().Obj(), runningPod().Condition(corev1.DisruptionTarget, corev1.ConditionTrue, "EvictionByEvictionAPI", "drain").Obj(), true},
		"kubelet ends it":      {runningPod().Obj(), runningPod().Failed("Evicted", "disk").Obj(), true},
		"it is being deleted":  {runningPod().Obj(), runningPod().Leaving(metav1.Unix(1, 0)).Obj(), true},
		"it is labelled":       {runningPod().Obj(), edited(runningPod(), func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }), true},
		"it gets another note": {runningPod().Obj(), edited(runningPod(), func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }), true},
		"another of its name":  {runningPod().Obj(), edited(runningPod(), func(p *corev1.Pod) { p.UID = "another" }), true},
		"it gets an owner": {runningPod().Obj(), edited(runningPod(), func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "Sandbox", Name: "x", Controller: new(true)}}
		}), true},
	} {
		check(t, name, kit.Changes(kit.PodFacts), c.before, c.after, c.want)
	}
}

func TestRunnerReport(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.AgentTask)
		want   bool
	}{
		"the first word":     {func(x *v1alpha1.AgentTask) { x.Status.Progress.Turns = new(int32(0)) }, true},
		"the result":         {func(x *v1alpha1.AgentTask) { x.Status.Result.Reason = v1alpha1.ReasonCompleted }, true},
		"another spec":       {func(x *v1alpha1.AgentTask) { x.Generation++ }, true},
		"our own conditions": {func(x *v1alpha1.AgentTask) { x.Status.Conditions = []metav1.Condition{{Type: "Ready"}} }, false},
		"our own finalizer":  {func(x *v1alpha1.AgentTask) { x.Finalizers = []string{"a/b"} }, false},
		"nothing":            {func(*v1alpha1.AgentTask) {}, false},
	} {
		task := objects.MakeTask("x").Obj()
		after := task.DeepCopy()
		c.change(after)
		check(t, name, kit.Changes(kit.RunnerReport), task, after, c.want)
	}
	before, after := objects.MakeTask("x").Obj(), objects.MakeTask("x").Obj()
	before.Status.Progress.Turns, after.Status.Progress.Turns = new(int32(1)), new(int32(2))
	check(t, "more progress", kit.Changes(kit.RunnerReport), before, after, false)
}

func check(t *testing.T, name string, p predicate.Predicate, before, after client.Object, want bool) {
	t.Helper()
	if got := p.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != want {
		t.Errorf("%s: passes is %v, want %v", name, got, want)
	}
	if !p.Create(event.CreateEvent{Object: after}) || !p.Delete(event.DeleteEvent{Object: after}) {
		t.Errorf("%s: coming or going does not pass", name)
	}
}
