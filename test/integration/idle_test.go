package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// idleAfter and goneAfter set the times of a Sandbox without a task.
func idleAfter(seconds int32) func(*v1alpha1.Sandbox) {
	return func(sb *v1alpha1.Sandbox) { sb.Spec.IdleSeconds = seconds }
}

func goneAfter(seconds int32) func(*v1alpha1.Sandbox) {
	return func(sb *v1alpha1.Sandbox) { sb.Spec.TTLSeconds = seconds }
}

// nextLook is when the Sandbox's controller wants to look again by itself.
func (w *world) nextLook(name string) time.Duration {
	GinkgoHelper()
	again, err := w.sandboxes.Reconcile(w.ctx, request(w.sandbox(name)))
	Expect(err).NotTo(HaveOccurred())
	return again.RequeueAfter
}

var _ = Describe("An idle Sandbox", func() {
	It("gives up its pod, and the next task brings a new one", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(idleAfter(60)).Obj())
		w.settle()
		w.run("dev-1")
		Expect(w.nextLook("dev")).To(And(BeNumerically(">", 50*time.Second), BeNumerically("<=", 60*time.Second)))
		w.pass(50 * time.Second)
		Expect(w.ready("dev")).To(Equal("True Ready"))
		w.pass(10 * time.Second)
		Expect(w.ready("dev")).To(Equal("False Idle"))
		Expect(w.podList()).To(BeEmpty())
		Expect(w.eventLog()).To(ContainSubstring("Normal Idle"))
		w.pass(time.Hour)
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1"}))
		Expect(w.nextLook("dev")).To(BeZero(), "nothing is left to wait for")

		w.create(objects.MakeTask("x").In("dev").Attempts(1).Obj())
		for range 3 { // before the Sandbox's controller has seen the claim
			_, err := w.tasks.Reconcile(w.ctx, request(w.task("x")))
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(w.sandbox("dev").Status.TaskRef.Name).To(Equal("x"))
		Expect(w.stands("x")).To(Equal("Unknown Starting"), "nothing is wrong with it")
		w.settle()
		Expect(w.stands("x")).To(starting)
		Expect(w.task("x").Status.PodName).To(Equal("dev-2"))
		w.run("dev-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("is not idle while a task has it, and counts from its end", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(idleAfter(60)).With(goneAfter(90)).Obj(), objects.MakeTask("x").In("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.pass(10 * time.Minute)
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		ended := w.clock.Now()
		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.sandbox("dev").Status.LastActivityTime.Time).To(BeTemporally("~", ended, 2*time.Second))
		w.pass(50 * time.Second)
		Expect(w.ready("dev")).To(Equal("True Ready"))
		w.pass(12 * time.Second)
		Expect(w.ready("dev")).To(Equal("False Idle"))
	})

	It("is not idle while it is used from outside, as its runner reports", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(idleAfter(60)).Obj())
		w.settle()
		w.run("dev-1")
		w.pass(50 * time.Second)
		sb := w.sandbox("dev")
		w.changeStatus(sb, func() { sb.Status.LastActivityTime = new(metav1.NewTime(w.clock.Now()).Rfc3339Copy()) })
		w.pass(50 * time.Second)
		Expect(w.ready("dev")).To(Equal("True Ready"))
		Expect(w.nextLook("dev")).To(And(BeNumerically(">", 0), BeNumerically("<=", 11*time.Second)))
		w.pass(12 * time.Second)
		Expect(w.ready("dev")).To(Equal("False Idle"))
	})

	It("is not claimed while its pod goes away, so that no attempt is lost with it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(idleAfter(60)).Obj())
		w.settle()
		w.run("dev-1")
		w.kubelet = false
		w.pass(61 * time.Second)
		Expect(w.pod("dev-1").DeletionTimestamp).NotTo(BeNil())
		w.create(objects.MakeTask("x").In("dev").Attempts(1).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Idle"))
		Expect(meta.IsStatusConditionTrue(w.task("x").Status.Conditions, v1alpha1.ConditionReconciling)).To(BeTrue(), "nobody has to mend anything")
		Expect(w.sandbox("dev").Status.TaskRef).To(BeZero())
		w.kubelet = true
		w.settle()
		w.run("dev-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.task("x").Status.Attempts).To(BeEmpty())
	})

	It("is not idle for a task that came first, though it was about to be", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(idleAfter(60)).Obj())
		w.settle()
		w.run("dev-1")
		w.lag(100, "Sandbox") // a controller that does not see the claim
		w.clock.Step(61 * time.Second)
		w.create(objects.MakeTask("x").In("dev").Attempts(1).Obj())
		for range 3 {
			_, err := w.tasks.Reconcile(w.ctx, request(w.task("x")))
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(w.sandbox("dev").Status.TaskRef.Name).To(Equal("x"))
		for range 3 {
			_, err := w.sandboxes.Reconcile(w.ctx, request(w.sandbox("dev")))
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(w.pod("dev-1").DeletionTimestamp).To(BeNil())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1"}))
	})

	It("keeps its pod when its time is changed at the last moment", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").With(idleAfter(60)).Obj()
		w.create(sb)
		w.settle()
		w.run("dev-1")
		w.clock.Step(61 * time.Second)
		_, err := w.sandboxes.Reconcile(w.ctx, request(sb))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.ready("dev")).To(Equal("False Idle"))
		w.lag(100, "Sandbox") // a controller that does not see the change
		w.change(sb, func() { sb.Spec.IdleSeconds = 3600 })
		_, err = w.sandboxes.Reconcile(w.ctx, request(sb))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.pod("dev-1").DeletionTimestamp).To(BeNil())
		w.settle()
		Expect(w.ready("dev")).To(Equal("True Ready"))
	})

	It("counts anew from a resume", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").With(idleAfter(60)).Obj()
		w.create(sb)
		w.settle()
		w.change(sb, func() { sb.Spec.State = v1alpha1.SandboxSuspended })
		w.settle()
		w.pass(time.Hour)
		Expect(w.ready("dev")).To(Equal("False Suspended"))
		w.change(sb, func() { sb.Spec.State = v1alpha1.SandboxRunning })
		w.settle()
		Expect(w.names(w.podList())).To(Equal([]string{"dev-2"}))
		w.run("dev-2")
		w.pass(50 * time.Second)
		Expect(w.ready("dev")).To(Equal("True Ready"))
	})
})

var _ = Describe("A Sandbox that has rested often", func() {
	It("waits for a pod that dies young, and not for one that served long", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").Obj()
		w.create(sb)
		w.settle()
		for range 5 {
			w.change(sb, func() { sb.Spec.State = v1alpha1.SandboxSuspended })
			w.settle()
			w.change(sb, func() { sb.Spec.State = v1alpha1.SandboxRunning })
			w.settle()
		}
		w.run("dev-6")
		w.exit("dev-6", 1, "")
		w.pass(4 * time.Minute)
		Expect(w.names(w.podList())).To(Equal([]string{"dev-6"}))
		w.pass(time.Minute)
		Expect(w.names(w.podList())).To(Equal([]string{"dev-7"}))

		w.run("dev-7")
		w.pass(10 * time.Minute)
		w.exit("dev-7", 1, "")
		Expect(w.names(w.podList())).To(Equal([]string{"dev-7"}))
		w.pass(10 * time.Second)
		Expect(w.names(w.podList())).To(Equal([]string{"dev-8"}))
	})
})

var _ = Describe("A Sandbox with a TTL", func() {
	It("goes when no task has come for so long", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(idleAfter(30)).With(goneAfter(60)).Obj(), objects.MakeTask("x").In("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.pass(2 * time.Minute)
		Expect(w.sandboxList()).To(HaveLen(1), "not while a task has it")
		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.nextLook("dev")).To(And(BeNumerically(">", 20*time.Second), BeNumerically("<=", 30*time.Second)))
		w.pass(40 * time.Second)
		Expect(w.ready("dev")).To(Equal("False Idle"))
		Expect(w.nextLook("dev")).To(And(BeNumerically(">", 0), BeNumerically("<=", 20*time.Second)))
		w.pass(20 * time.Second)
		Expect(w.sandboxList()).To(BeEmpty())
		Expect(w.podList()).To(BeEmpty())
	})

	It("stays for a task that came first", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(goneAfter(60)).Obj())
		w.settle()
		w.run("dev-1")
		w.lag(100, "Sandbox")
		w.clock.Step(61 * time.Second)
		w.create(objects.MakeTask("x").In("dev").Obj())
		for range 3 {
			_, err := w.tasks.Reconcile(w.ctx, request(w.task("x")))
			Expect(err).NotTo(HaveOccurred())
		}
		_, err := w.sandboxes.Reconcile(w.ctx, request(w.sandbox("dev")))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.sandbox("dev").DeletionTimestamp).To(BeNil())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("may be changed, and a task's own Sandbox has none", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").Obj()
		w.create(sb, objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.change(w.sandbox("x"), func() {})
		own := w.sandbox("x")
		w.change(own, func() { own.Spec.IdleSeconds, own.Spec.TTLSeconds = 1, 1 })
		w.change(sb, func() { sb.Spec.TTLSeconds = 60 })
		w.settle()
		w.report("x", v1alpha1.ReasonCompleted)
		w.exit("x-1", 0, "")
		w.pass(61 * time.Second)
		Expect(w.names(w.sandboxList())).To(Equal([]string{"x"}), "it keeps the task's log")
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}))
	})
})
