package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/testing/faults"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

func quantity(s string) *resource.Quantity { q := resource.MustParse(s); return &q }

func key(obj client.Object) types.NamespacedName { return client.ObjectKeyFromObject(obj) }

var _ = Describe("A named Sandbox", func() {
	It("waits to be made", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").In("dev").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown SandboxNotFound"))
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.task("x").Status.PodName).To(Equal("dev-1"))
	})

	It("runs one task at a time, in the order of their creation", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.create(objects.MakeTask("b").In("dev").Obj())
		w.settle()
		Expect(w.stands("b")).To(Equal("Unknown Running"))
		w.create(objects.MakeTask("c").In("dev").Obj())
		w.settle()
		Eventually(func() bool { // creation times have whole seconds
			return time.Now().Unix() > w.task("c").CreationTimestamp.Unix()
		}).WithTimeout(time.Minute).WithPolling(50 * time.Millisecond).Should(BeTrue())
		w.create(objects.MakeTask("a").In("dev").Obj())
		w.settle()
		Expect(w.stands("c")).To(Equal("Unknown SandboxBusy"))
		Expect(w.stands("a")).To(Equal("Unknown SandboxBusy"))

		w.report("b", v1alpha1.ReasonCompleted)
		Expect(w.stands("b")).To(Equal("True Completed"))
		Expect(w.stands("c")).To(Equal("Unknown Running"))
		Expect(w.stands("a")).To(Equal("Unknown SandboxBusy"))
		Expect(w.sandbox("dev").Status.TaskRef.Name).To(Equal("c"))

		w.delete(w.task("c"))
		w.settle()
		Expect(w.stands("a")).To(Equal("Unknown Running"))
		w.report("a", v1alpha1.ReasonMaxTurns)
		Expect(w.sandbox("dev").Status.TaskRef).To(BeZero())
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1"}))
	})

	It("gets another pod after a loss, before an attempt is spent on it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.create(objects.MakeTask("x").In("dev").Attempts(2).Obj())
		w.settle()
		w.lose("dev-1")
		t := w.task("x")
		Expect(t.Status.Attempts).To(HaveLen(1))
		Expect(t.Status.Attempt).To(BeEquivalentTo(2))
		Expect(t.Status.PodName).To(Equal("dev-2"))
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		w.run("dev-2")
		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.stands("x")).To(Equal("True Completed"))
	})

	It("is waited for while its crashed pod is replaced", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.create(objects.MakeTask("x").In("dev").Obj())
		w.settle()
		w.podStatus("dev-1", func(st *corev1.PodStatus) { w.terminate(st, "runner", 2, "Error", "") })
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown RunnerCrashed"))
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(1))
		w.pass(11 * time.Second)
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(2))
		Expect(w.task("x").Status.PodName).To(Equal("dev-2"))
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
	})

	It("gets another pod where a container of its pod cannot start", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj(), objects.MakeTask("x").In("dev").Obj())
		w.settle()
		w.startError("dev-1")
		Expect(w.ready("dev")).To(Equal("False SandboxLost"))
		w.pass(11 * time.Second)
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
		Expect(w.task("x").Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonSandboxLost))
		w.pass(11 * time.Second)
		Expect(w.task("x").Status.PodName).To(Equal("dev-2"))
		w.run("dev-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("is given back by a task that claimed it and did not get to say so", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").Obj()
		task := objects.MakeTask("x").In("dev").State(v1alpha1.TaskSuspended).Obj()
		w.create(sb, task)
		w.changeStatus(sb, func() { sb.Status.TaskRef = v1alpha1.TaskReference{Name: "x", UID: string(task.UID), Attempt: 1} })
		w.create(objects.MakeTask("y").In("dev").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Suspended"))
		Expect(w.sandbox("dev").Status.TaskRef.Name).To(Equal("y"))
	})

	It("costs an attempt, not the task, when its claim is taken away", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").Obj()
		w.create(sb, objects.MakeTask("x").In("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.changeStatus(sb, func() { sb.Status.TaskRef = v1alpha1.TaskReference{} })
		w.settle()
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(2))
		Expect(w.sandbox("dev").Status.TaskRef.Attempt).To(BeEquivalentTo(2))
	})

	It("is freed of a task that has vanished, and healed", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").Obj()
		w.create(sb)
		w.settle()
		w.run("dev-1")
		w.changeStatus(sb, func() { sb.Status.TaskRef = v1alpha1.TaskReference{Name: "gone", UID: "gone", Attempt: 1} })
		w.lose("dev-1")
		Expect(w.ready("dev")).To(Equal("False PodPending"))
		w.create(objects.MakeTask("x").In("dev").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.task("x").Status.PodName).To(Equal("dev-2"))
	})

	It("is held by a task that has ended until it is given back, since its runner may hang", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.create(objects.MakeTask("x").In("dev").Active(60).Obj())
		w.settle()
		w.create(objects.MakeTask("y").In("dev").Obj())
		w.settle()
		w.clock.Step(80 * time.Second)
		w.writes.Mode, w.writes.FailAt = faults.Crash, len(w.writes.Log)+1
		_, err := w.tasks.Reconcile(w.ctx, request(w.task("x")))
		Expect(err).To(MatchError(faults.ErrInjected))
		Expect(w.stands("x")).To(Equal("False DeadlineExceeded"))
		w.restart()
		_, err = w.tasks.Reconcile(w.ctx, request(w.task("y")))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.stands("y")).To(Equal("Unknown SandboxBusy"))
		w.settle()
		w.pass(10 * time.Second)
		Expect(w.task("y").Status.PodName).To(Equal("dev-2"))
	})

	It("is freed of a task that is deleted while it runs, and keeps its pod", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").With(idleAfter(600)).Obj())
		w.settle()
		w.run("dev-1")
		w.create(objects.MakeTask("x").In("dev").Obj())
		w.settle()
		w.delete(w.task("x"))
		w.settle()
		Expect(w.taskList()).To(BeEmpty())
		Expect(w.sandbox("dev").Status.TaskRef).To(BeZero())
		Expect(w.names(w.podList())).To(Equal([]string{"dev-1"}))
		Expect(w.nextLook("dev")).To(BeNumerically("~", 600*time.Second, 5*time.Second))
	})

	It("gets no pod before those of an earlier one of its name have ended, whatever their names", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.lose("dev-1")
		w.run("dev-2")
		w.kubelet = false
		w.delete(w.sandbox("dev"))
		w.settle()
		w.eventLog()
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.waitsFor(w.sandbox("dev").Status.Conditions, "Waiting for Pod dev-2 of an earlier Sandbox dev to be removed")
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1", "dev-2"}))
		w.kubelet = true
		w.settle()
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1", "dev-2", "dev-1"}))
	})

	It("is not taken from a task that the cache does not have yet", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		early := w.freeze("AgentTask")
		w.settle()
		w.run("dev-1")
		w.create(objects.MakeTask("x").In("dev").Obj())
		w.settle()
		w.restartWith(w.writes.Client((*early)[0].Client(w.cache.Writer(w.operator))))
		_, err := w.sandboxes.Reconcile(w.ctx, request(w.sandbox("dev")))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.sandbox("dev").Status.TaskRef.Name).To(Equal("x"))
	})

	It("loses the finalizers of earlier versions, and its task, too", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb, task := objects.MakeSandbox("dev").Obj(), objects.MakeTask("x").In("dev").Obj()
		sb.Finalizers, task.Finalizers = []string{"sampan.dev/sandbox", "example.com/theirs"}, []string{"sampan.dev/agenttask", "example.com/theirs"}
		w.create(sb, task)
		w.delete(task)
		_, err := w.tasks.Reconcile(w.ctx, request(task))
		Expect(err).NotTo(HaveOccurred())
		_, err = w.sandboxes.Reconcile(w.ctx, request(sb))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.task("x").Finalizers).To(Equal([]string{"example.com/theirs"}))
		Expect(w.sandbox("dev").Finalizers).To(Equal([]string{"example.com/theirs"}))
		w.strip(task)
		w.settle()
		w.delete(sb)
		w.settle()
		Expect(w.podList()).To(BeEmpty(), "though theirs keeps the Sandbox")
	})

	It("stops and goes on, and its task with it", func(ctx SpecContext) {
		w := newWorld(ctx)
		sb := objects.MakeSandbox("dev").Obj()
		w.create(sb)
		w.settle()
		w.run("dev-1")
		w.create(objects.MakeTask("x").In("dev").Attempts(1).Obj())
		w.settle()
		w.change(sb, func() { sb.Spec.State = v1alpha1.SandboxSuspended })
		w.settle()
		Expect(w.podList()).To(BeEmpty())
		Expect(w.ready("dev")).To(Equal("False Suspended"))
		Expect(w.stands("x")).To(Equal("Unknown SandboxSuspended"))
		w.change(sb, func() { sb.Spec.State = v1alpha1.SandboxRunning })
		w.settle()
		w.pass(11 * time.Second)
		Expect(w.task("x").Status.PodName).To(Equal("dev-2"))
		w.run("dev-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"dev-1", "dev-2"}))
	})

	It("goes away with its pod", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		w.run("dev-1")
		w.delete(w.sandbox("dev"))
		w.settle()
		Expect(w.sandboxList()).To(BeEmpty())
		Expect(w.podList()).To(BeEmpty())
	})

	It("gives each pod the registry of its time", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj())
		w.settle()
		reg := objects.MakeRegistry(w.ns, "")
		w.change(reg, func() { reg.Data["models.yaml"] += "- {id: other, provider: gateway}\n" })
		w.settle()
		Expect(w.pod("dev-1").Annotations["sampan.dev/models"]).To(And(ContainSubstring("gateway.example"), Not(ContainSubstring("other"))))
		w.lose("dev-1")
		Expect(w.pod("dev-2").Annotations["sampan.dev/models"]).To(ContainSubstring("other"))
	})

	It("shares its namespace's identity, and makes it once", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj(), objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.made["v1.ServiceAccount"]).To(Equal([]string{"sampan-runner"}))
		Expect(w.made["v1.RoleBinding"]).To(Equal([]string{"sampan-runner"}))
		Expect(w.pod("dev-1").Spec.ServiceAccountName).To(Equal("sampan-runner"))
	})
})

// foreignBinding has the name of the runners' binding, and gives other rights.
func foreignBinding() *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "sampan-runner", Namespace: "default"},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}}
}

var _ = Describe("An object in the way", func() {
	It("is another's Sandbox", func(ctx SpecContext) {
		w := newWorld(ctx)
		foreign := objects.MakeSandbox("x").Image("theirs").Obj()
		w.create(foreign, objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown NameConflict"))
		Expect(w.sandbox("x").Spec.Template.Image).To(Equal("theirs"))
		Expect(w.sandbox("x").UID).To(Equal(foreign.UID))
		w.delete(w.sandbox("x"))
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.sandbox("x").UID).NotTo(Equal(foreign.UID))
	})

	DescribeTable("is neither taken nor changed, and going on needs nothing but its removal", func(ctx SpecContext, foreign func() client.Object) {
		w := newWorld(ctx)
		obj := foreign()
		w.create(obj)
		version := obj.GetResourceVersion()
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.ready("x")).To(Equal("False NameConflict"))
		Expect(w.stands("x")).To(Equal("Unknown NameConflict"))
		Expect(w.live.Get(w.ctx, key(obj), obj)).To(Succeed())
		Expect(obj.GetResourceVersion()).To(Equal(version))
		Expect(w.made["v1.Pod"]).To(BeEmpty())
		w.delete(obj, client.GracePeriodSeconds(0))
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
	},
		Entry("a Pod", func() client.Object {
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x-1", Namespace: "default"},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
		}),
		Entry("a Pod of another API's Sandbox", func() client.Object {
			theirs := metav1.OwnerReference{APIVersion: "agents.example.com/v1alpha1", Kind: "Sandbox", Name: "x-1", UID: "1", Controller: new(true)}
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x-1", Namespace: "default", OwnerReferences: []metav1.OwnerReference{theirs}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
		}),
		Entry("a RoleBinding", func() client.Object { return foreignBinding() }),
	)

	It("is looked at again though no watch tells of it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(foreignBinding(), objects.MakeSandbox("dev").Obj())
		w.settle()
		again, err := w.sandboxes.Reconcile(w.ctx, request(w.sandbox("dev")))
		Expect(err).NotTo(HaveOccurred())
		Expect(again.RequeueAfter).To(BeNumerically(">", 0))
	})
})
