package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// forge lays out a pod that says to be a Sandbox's, as whoever may create pods can
// where the policies are not installed. It takes its time to end.
func (w *world) forge(sandbox, name string) {
	GinkgoHelper()
	pod := plainPod(w.ns, name)
	pod.Labels = podspec.Labels(w.sandbox(sandbox))
	pod.OwnerReferences = ownedBy(w.sandbox(sandbox), "Sandbox")
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "sandbox", Image: "theirs:1"})
	pod.Spec.NodeName = lostNode
	w.create(pod)
}

var _ = Describe("A pod that says to be a Sandbox's", func() {
	It("is deleted where the next one is due, and the Sandbox gets its own", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("bench").Obj())
		w.settle()
		w.run("bench-1")
		w.forge("bench", "bench-2")
		w.eventLog()
		w.delete(w.pod("bench-1"), client.GracePeriodSeconds(0))
		w.settle()
		Expect(w.ready("bench")).To(Equal("False PodPending"))
		Expect(meta.FindStatusCondition(w.sandbox("bench").Status.Conditions, v1alpha1.ConditionReady).Message).To(Equal(
			"Waiting for Pod bench-2 to be removed: it says to belong to this Sandbox, and its metadata.annotations is not what the operator gives its pod"))
		Expect(w.eventLog()).To(ContainSubstring("Warning PodNotOurs Deleted Pod bench-2, which somebody else made"))
		Expect(w.sandbox("bench").Status.PodUID).To(BeEmpty())

		w.create(objects.MakeTask("x").In("bench").Obj())
		w.delete(w.pod("bench-2"), client.GracePeriodSeconds(0))
		w.settle()
		w.run("bench-2")
		pod := w.pod("bench-2")
		Expect(pod.Spec.Containers[0].Image).To(Equal("runner:test"))
		Expect(w.sandbox("bench").Status.PodUID).To(Equal(string(pod.UID)))
		Expect(w.task("x").Status.PodUID).To(Equal(string(pod.UID)))
	})

	It("is nobody's once the recorded one has gone", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("bench").Obj(), objects.MakeTask("x").Attempts(1).Obj())
		w.settle()
		w.run("bench-1")
		w.run("x-1")
		for sandbox, name := range map[string]string{"bench": "bench-1", "x": "x-1"} {
			w.delete(w.pod(name), client.GracePeriodSeconds(0))
			w.forge(sandbox, name)
		}
		w.podStatus("x-1", func(st *corev1.PodStatus) {
			st.Phase = corev1.PodSucceeded
			w.terminate(st, podapi.RunnerContainer, 0, "Completed", lastWords(w.task("x"), 1, v1alpha1.ReasonCompleted))
		})
		w.settle()
		Expect(w.stands("x")).To(Equal("False PodLost"), "its last words are no runner's")
		Expect(w.task("x").Status.Result).To(BeZero())
		Expect(w.sandbox("bench").Status.PodName).To(Equal("bench-2"))
		Expect(w.sandbox("bench").Status.PodUID).To(Equal(string(w.pod("bench-2").UID)))
	})

	It("is deleted with a Sandbox that wants no pod, and is not taken for one meanwhile", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("bench").With(func(sb *v1alpha1.Sandbox) { sb.Spec.State = v1alpha1.SandboxSuspended }).Obj())
		w.settle()
		w.forge("bench", "bench-1")
		w.settle()
		Expect(w.pod("bench-1").DeletionTimestamp).NotTo(BeNil())
		Expect(w.sandbox("bench").Status.PodUID).To(BeEmpty())
	})

	// forget plays an operator that ended before it had recorded the pod it made.
	forget := func(w *world) {
		sb := w.sandbox("bench")
		before := sb.DeepCopy()
		sb.Status.PodName, sb.Status.PodUID = "", ""
		Expect(w.live.Status().Patch(w.ctx, sb, client.MergeFrom(before))).To(Succeed())
	}

	It("is ours where it is what we have made", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("bench").With(restricted).With(persistent).Obj())
		w.settle()
		w.run("bench-1")
		uid := w.pod("bench-1").UID
		forget(w)
		w.settle()
		Expect(w.sandbox("bench").Status.PodUID).To(Equal(string(uid)))
		Expect(w.ready("bench")).To(Equal("True Ready"))
		w.eventLog()
		forget(w)
		w.restart()
		w.settle()
		Expect(w.sandbox("bench").Status.PodUID).To(Equal(string(uid)))
		Expect(w.eventLog()).NotTo(ContainSubstring("PodCreated"), "it was only met")
		Expect(w.made["v1.Pod"]).To(Equal([]string{"bench-1"}))
		Expect(w.eventLog()).NotTo(ContainSubstring("PodNotOurs"))
	})

	It("is made again where it is not what we would make now", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("bench").Obj())
		w.settle()
		uid := w.pod("bench-1").UID
		forget(w)
		w.restart() // the one that has made it knows that it has
		w.sandboxes.Options.RunnerImage = "runner:later"
		w.settle()
		Expect(w.pod("bench-1").UID).NotTo(Equal(uid))
		Expect(w.sandbox("bench").Status.PodUID).To(Equal(string(w.pod("bench-1").UID)))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"bench-1", "bench-1"}))
	})
})

var _ = Describe("A Sandbox that says to be a task's", func() {
	It("is not, with another template", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) { t.Spec.State = v1alpha1.TaskSuspended }).Obj()
		w.create(task)
		forged := objects.MakeSandbox("x").Image("theirs:1").With(func(sb *v1alpha1.Sandbox) {
			sb.OwnerReferences = ownedBy(task, "AgentTask")
		}).Obj()
		w.create(forged)
		w.changeStatus(forged, func() { forged.Status.TaskRef = v1alpha1.TaskReference{Name: "x", UID: string(task.UID), Attempt: 1} })
		w.settle()
		Expect(w.ready("x")).To(Equal("False Idle"))
		w.change(task, func() { task.Spec.State = v1alpha1.TaskActive })
		w.settle()
		Expect(w.ready("x")).To(Equal("False NameConflict"), "it would get the task's prompt")
		Expect(w.stands("x")).To(Equal("Unknown NameConflict"))
		Expect(meta.FindStatusCondition(w.task("x").Status.Conditions, v1alpha1.ConditionSucceeded).Message).To(ContainSubstring("does not belong to this task"))
		Expect(w.podList()).To(BeEmpty())
		w.delete(forged)
		w.pass(10 * time.Second)
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.pod("x-1").Spec.Containers[1].Image).To(Equal("sandbox:test"))
	})
})

var _ = Describe("A pod of an attempt that no status has yet", func() {
	// starting is a task whose pod is there, and whose Sandbox has not recorded it.
	starting := func(ctx SpecContext) (*world, *v1alpha1.AgentTask) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.sandbox("x").Status.PodUID).To(BeEmpty())
		return w, w.task("x")
	}
	// reported lets the pod run and its runner report before the Sandbox's controller looks.
	reported := func(w *world, task *v1alpha1.AgentTask) {
		w.containersRun("x-1", "node")
		w.speak()
		for range 2 {
			_, err := w.tasks.Reconcile(w.ctx, request(task))
			Expect(err).NotTo(HaveOccurred())
		}
	}

	It("is not lost when its runner reports first", func(ctx SpecContext) {
		w, task := starting(ctx)
		reported(w, task)
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		again, err := w.tasks.Reconcile(w.ctx, request(task))
		Expect(err).NotTo(HaveOccurred())
		Expect(again.RequeueAfter).To(BeNumerically("<=", 5*time.Second), "no watch tells when the pod is known")
		w.settle()
		Expect(w.task("x").Status.PodUID).To(Equal(string(w.pod("x-1").UID)))
		Expect(w.task("x").Status.Attempts).To(BeEmpty())
	})

	It("is lost when it goes after that, and is not made a second time", func(ctx SpecContext) {
		w, task := starting(ctx)
		reported(w, task)
		w.lose("x-1")
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
		Expect(w.task("x").Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonPodLost))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1", "x-2"}))
	})

	It("is made again when it goes before that", func(ctx SpecContext) {
		w, _ := starting(ctx)
		w.lose("x-1")
		Expect(w.task("x").Status.Attempts).To(BeEmpty(), "nothing was lost")
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1", "x-1"}))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("keeps the record of a run that is over before the Sandbox's controller looks", func(ctx SpecContext) {
		w, task := starting(ctx)
		reported(w, task)
		w.applyStatus("x", map[string]any{"progress": map[string]any{"attempt": int64(1), "turns": 3},
			"result": map[string]any{"attempt": int64(1), "reason": v1alpha1.ReasonCompleted, "message": "Done."}})
		_, err := w.tasks.Reconcile(w.ctx, request(task))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.stands("x")).To(Equal("True Completed"))
		w.exit("x-1", 0, "")
		w.pass(time.Minute)
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}))
		Expect(w.ready("x")).To(Equal("False PodFinished"))
	})

	It("is ours after a restart where it is what we have made", func(ctx SpecContext) {
		w, _ := starting(ctx)
		uid := w.pod("x-1").UID
		w.restart()
		w.settle()
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.sandbox("x").Status.PodUID).To(Equal(string(uid)))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
		Expect(w.eventLog()).NotTo(ContainSubstring("PodNotOurs"))
	})

	It("is made again after a restart where it is not what we would make now", func(ctx SpecContext) {
		w, _ := starting(ctx)
		w.restart()
		w.sandboxes.Options.RunnerImage = "runner:later"
		w.settle()
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1", "x-1"}))
		Expect(w.pod("x-1").Spec.Containers[0].Image).To(Equal("runner:later"))
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("is not one that somebody else was quicker to make, even before it tells anything", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").Obj()
		w.create(task)
		_, err := w.tasks.Reconcile(w.ctx, request(task))
		Expect(err).NotTo(HaveOccurred())
		w.forge("x", "x-1")
		w.settle()
		Expect(w.pod("x-1").DeletionTimestamp).NotTo(BeNil())
		Expect(w.saysOfTask("x")).To(HavePrefix("Waiting for Pod x-1 to be removed: it says to belong to this Sandbox"))
		Expect(w.eventLog()).To(ContainSubstring("Warning PodNotOurs Deleted Pod x-1, which somebody else made"))
		Expect(w.task("x").Status.PodUID).To(BeEmpty())
		w.delete(w.pod("x-1"), client.GracePeriodSeconds(0))
		w.settle()
		w.run("x-1")
		Expect(w.pod("x-1").Spec.Containers[0].Image).To(Equal("runner:test"))
		Expect(w.task("x").Status.PodUID).To(Equal(string(w.pod("x-1").UID)))
	})

	It("is not one that somebody else has made for the next attempt", func(ctx SpecContext) {
		w, _ := starting(ctx)
		w.run("x-1")
		w.forge("x", "x-2")
		w.eventLog()
		w.delete(w.pod("x-1"), client.GracePeriodSeconds(0))
		w.settle()
		Expect(w.eventLog()).To(ContainSubstring("Warning PodNotOurs Deleted Pod x-2, which somebody else made"))
		w.podStatus("x-2", func(st *corev1.PodStatus) {
			w.terminate(st, podapi.RunnerContainer, 0, "Completed", lastWords(w.task("x"), 2, v1alpha1.ReasonCompleted))
		})
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		w.delete(w.pod("x-2"), client.GracePeriodSeconds(0))
		w.settle()
		w.run("x-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})
})
