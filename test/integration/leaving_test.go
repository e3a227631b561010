package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("What leaves slowly", func() {
	// A lost attempt whose pod stays on a node that does not answer.
	leaving := func(ctx SpecContext) *world {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Active(60).Obj())
		w.settle()
		w.runOn("x-1", lostNode)
		w.pass(10 * time.Second)
		w.report("x", v1alpha1.ReasonSandboxLost)
		w.pass(time.Second)
		st := w.task("x").Status
		Expect(st.Attempts).To(HaveLen(1))
		Expect(st.PodName).To(Equal("x-2"), "from now on the old runner may not report")
		Expect(w.pod("x-1").DeletionTimestamp).NotTo(BeNil())
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.saysOfTask("x")).To(Equal("Waiting for Pod x-1 of an earlier attempt to be removed"))
		return w
	}

	It("is waited for before the next attempt has its pod, but not for ever", func(ctx SpecContext) {
		w := leaving(ctx)
		w.pass(4 * time.Minute)
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}))
		w.pass(time.Minute + 30*time.Second) // that is how long a pod may take by itself
		Expect(w.names(w.podList())).To(Equal([]string{"x-1", "x-2"}))
		w.run("x-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("is waited for from when it began to leave, however long ago the attempt was lost", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Active(3600).Obj())
		w.settle()
		w.runOn("x-1", lostNode)
		w.applyStatus("x", map[string]any{"result": map[string]any{"attempt": int64(1), "reason": v1alpha1.ReasonSandboxLost, "message": "Gone."}})
		w.writes.Mode, w.writes.FailAt = faults.Crash, len(w.writes.Log)+1
		_, err := w.tasks.Reconcile(w.ctx, request(w.task("x")))
		Expect(err).To(MatchError(faults.ErrInjected))
		task := w.task("x")
		Expect(task.Status.Attempts).To(HaveLen(1))
		Expect(w.pod("x-1").DeletionTimestamp).To(BeNil())
		By("the operator having been away for half an hour since") // the API server's clock cannot be moved ahead
		task.Status.Attempts[0].CompletionTime.Time = task.Status.Attempts[0].CompletionTime.Add(-time.Hour / 2)
		Expect(w.live.Status().Update(w.ctx, task)).To(Succeed())
		w.restart()
		w.settle()
		Expect(w.pod("x-1").DeletionTimestamp).NotTo(BeNil())
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}))
	})

	It("is waited for, too, where nobody had recorded the pod", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").Obj()
		w.create(task)
		w.settle()
		Expect(w.sandbox("x").Status.PodName).To(BeEmpty())
		w.kubelet = false
		w.bind("x-1", "node")
		w.change(task, func() { task.Spec.State = v1alpha1.TaskSuspended })
		w.settle()
		Expect(w.pod("x-1").DeletionTimestamp).NotTo(BeNil())
		w.change(task, func() { task.Spec.State = v1alpha1.TaskActive })
		w.settle()
		w.pass(time.Minute)
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
		w.kubelet = true
		w.settle()
		w.run("x-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("does not keep a task from being cancelled", func(ctx SpecContext) {
		w := leaving(ctx)
		task := w.task("x")
		w.change(task, func() { task.Spec.State = v1alpha1.TaskCancelled })
		w.settle()
		Expect(w.stands("x")).To(Equal("False Cancelled"))
		w.pass(10 * time.Minute)
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
	})

	It("is a runner that has not stopped, and is made to when its task ends meanwhile", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").Obj()
		w.create(task)
		w.settle()
		w.silent = true
		w.run("x-1")
		w.clock.Step(6 * time.Minute)
		for range 2 { // before the Sandbox's controller has seen the next attempt
			_, err := w.tasks.Reconcile(w.ctx, request(task))
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(w.task("x").Status.PodName).To(Equal("x-2"))
		w.change(task, func() { task.Spec.State = v1alpha1.TaskCancelled })
		_, err := w.tasks.Reconcile(w.ctx, request(task))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.stands("x")).To(Equal("False Cancelled"))
		w.settle()
		w.pass(time.Minute)
		Expect(w.podList()).To(BeEmpty(), "it can report nothing, and would go on asking the model")
	})

	It("costs the task none of its time", func(ctx SpecContext) {
		w := leaving(ctx)
		Expect(w.task("x").Status.ActiveSeconds).To(BeNumerically("~", 10, 2))
		w.pass(6 * time.Minute)
		w.run("x-2")
		w.pass(60 * time.Second) // the runner keeps the deadline itself, and has a moment to say so
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		w.pass(10 * time.Second)
		Expect(w.stands("x")).To(Equal("False DeadlineExceeded"))
	})

	DescribeTable("is a runner in a named Sandbox: one that hangs costs the pod, so that the next task gets one that answers",
		func(ctx SpecContext, stop func(w *world, task *v1alpha1.AgentTask)) {
			w := newWorld(ctx)
			w.create(objects.MakeSandbox("dev").Obj())
			w.settle()
			w.run("dev-1")
			w.create(objects.MakeTask("x").In("dev").Active(60).Obj())
			w.settle()
			w.create(objects.MakeTask("y").In("dev").Obj())
			w.settle()
			Expect(w.stands("x")).To(Equal("Unknown Running"))
			stop(w, w.task("x"))
			Expect(w.names(w.podList())).To(Equal([]string{"dev-1"}), "the runner has time to stop by itself")
			Expect(w.stands("y")).To(Equal("Unknown SandboxBusy"))
			w.pass(20 * time.Second)
			w.pass(10 * time.Second)
			Expect(w.task("y").Status.PodName).To(Equal("dev-2"))
			w.run("dev-2")
			Expect(w.stands("y")).To(Equal("Unknown Running"))
		},
		Entry("after it was cancelled", func(w *world, task *v1alpha1.AgentTask) {
			w.change(task, func() { task.Spec.State = v1alpha1.TaskCancelled })
			w.settle()
			w.pass(10 * time.Second)
		}),
		Entry("after its time", func(w *world, _ *v1alpha1.AgentTask) { w.pass(70 * time.Second) }),
	)

	It("starts nothing in a namespace that goes", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj(), objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("x-1")
		w.run("dev-1")
		w.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}})
		w.lose("x-1") // settles, and fails on any error
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.podList()).To(HaveLen(1))
		w.lose("dev-1")
		Expect(w.ready("dev")).To(Equal("False PodPending"))
		w.delete(w.sandbox("dev"))
		w.delete(w.task("x"))
		w.settle()
		Expect(w.taskList()).To(BeEmpty())
		Expect(w.sandboxList()).To(BeEmpty())
		Expect(w.podList()).To(BeEmpty())
	})

	It("keeps the pod whose runner has told the end", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.create(objects.MakeTask("x").In("dev").Obj())
		w.settle()
		task := w.task("x")
		w.change(task, func() { task.Spec.State = v1alpha1.TaskCancelled })
		w.report("x", v1alpha1.ReasonCancelled)
		Expect(w.stands("x")).To(Equal("False Cancelled"))
		w.pass(time.Minute)
		Expect(w.names(w.podList())).To(Equal([]string{"dev-1"}))
		Expect(w.sandbox("dev").Status.TaskRef).To(BeZero())
	})
})
