package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

var _ = Describe("What a task waits for", func() {
	It("is a registry, then a model, and it goes on when both are there", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeTask("x").Model("other").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown RegistryNotFound"))
		reg := objects.MakeRegistry(w.ns, objects.RegistryDocument)
		w.create(reg)
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown ModelNotFound"))
		Expect(meta.IsStatusConditionTrue(w.task("x").Status.Conditions, v1alpha1.ConditionStalled)).To(BeTrue())
		Expect(w.sandboxList()).To(BeEmpty())
		w.change(reg, func() { reg.Data["models.yaml"] += "- {id: other, provider: gateway}\n" })
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		c := meta.FindStatusCondition(w.task("x").Status.Conditions, v1alpha1.ConditionModelResolved)
		Expect(c.Reason).To(Equal(v1alpha1.ReasonResolved))
	})

	It("is a registry that parses", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeRegistry(w.ns, "models: ["), objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown RegistryInvalid"))
	})

	It("is not a broken edit: the last valid registry stays in use", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		reg := objects.MakeRegistry(w.ns, "")
		w.change(reg, func() { reg.Data["models.yaml"] = "models: [" })
		w.eventLog()
		w.create(objects.MakeTask("y").Obj())
		w.settle()
		Expect(w.stands("y")).To(Equal("Unknown Starting"))
		Expect(w.pod("y-1")).NotTo(BeNil())
		c := meta.FindStatusCondition(w.task("y").Status.Conditions, v1alpha1.ConditionModelResolved)
		Expect(c.Status).To(Equal(metav1.ConditionTrue))
		Expect(c.Reason).To(Equal(v1alpha1.ReasonLastValidRegistry))
		Expect(w.eventLog()).To(ContainSubstring("RegistryInvalid"))
	})

	It("is the ConfigMap of its prompt", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").PromptFrom("words", "prompt").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown PromptNotFound"))
		words := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "words", Namespace: w.ns}, Data: map[string]string{"other": "x"}}
		w.create(words)
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown PromptNotFound"))
		w.change(words, func() { words.Data["prompt"] = "Do it." })
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
	})

	It("is the ConfigMap with the files of a verification", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").VerifyFiles("v", "true", "tests", "test.sh").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown VerifyFilesNotFound"))
		tests := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "tests", Namespace: w.ns}, Data: map[string]string{"other": "x"}}
		w.create(tests)
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown VerifyFilesNotFound"))
		w.change(tests, func() { tests.Data["test.sh"] = "exit 0" })
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
	})

	It("is not waited for for ever", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeTask("x").Active(60).Obj())
		w.settle()
		w.pass(50 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown RegistryNotFound"))
		w.pass(15 * time.Second)
		Expect(w.stands("x")).To(Equal("False RegistryNotFound"))
	})

	It("is waited for as long again after a resume", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		task := objects.MakeTask("x").Active(60).State(v1alpha1.TaskSuspended).Obj()
		w.create(task)
		w.settle()
		w.pass(time.Hour)
		w.change(task, func() { task.Spec.State = v1alpha1.TaskActive })
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown RegistryNotFound"), "the time before was not active time")
		w.pass(50 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown RegistryNotFound"))
		w.pass(15 * time.Second)
		Expect(w.stands("x")).To(Equal("False RegistryNotFound"))
	})

	It("is its pod, until the deadline", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Active(60).Image("nowhere/none").Obj())
		w.settle()
		w.podStatus("x-1", func(st *corev1.PodStatus) {
			setContainer(st, "sandbox", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"}})
		})
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown ImagePullFailed"))
		Expect(w.eventLog()).To(ContainSubstring("ImagePullFailed"))
		Expect(w.ready("x")).To(Equal("False ImagePullFailed"))
		w.pass(61 * time.Second)
		Expect(w.stands("x")).To(Equal("False DeadlineExceeded"))
		w.settle()
		Expect(w.podList()).To(BeEmpty(), "a pod that never started is not left waiting")
	})

	It("is a runner that keeps the deadline itself, and no longer", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Active(60).Obj())
		w.settle()
		w.run("x-1")
		w.pass(62 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		w.pass(15 * time.Second)
		Expect(w.stands("x")).To(Equal("False DeadlineExceeded"))
		Expect(w.podList()).To(BeEmpty())
	})

	It("makes no pod for a task that has ended meanwhile", func(ctx SpecContext) {
		w := newWorld(ctx)
		quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none", Namespace: w.ns}}
		quota.Spec.Hard = corev1.ResourceList{corev1.ResourcePods: *quantity("0")}
		w.create(quota)
		Expect(w.live.Get(w.ctx, key(quota), quota)).To(Succeed())
		quota.Status.Hard = quota.Spec.Hard
		quota.Status.Used = corev1.ResourceList{corev1.ResourcePods: *quantity("0")}
		Expect(w.live.Status().Update(w.ctx, quota)).To(Succeed())
		Eventually(func() string {
			w.delete(objects.MakeTask("x").Namespace(w.ns).Obj())
			w.settle()
			w.create(objects.MakeTask("x").Active(60).Obj())
			w.settle()
			return w.ready("x")
		}).WithTimeout(time.Minute).Should(Equal("False QuotaExceeded"))
		Expect(w.stands("x")).To(Equal("Unknown QuotaExceeded"))
		w.pass(61 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown QuotaExceeded"), "to wait for room is no active time")
		task := w.task("x")
		w.change(task, func() { task.Spec.State = v1alpha1.TaskCancelled })
		w.settle()
		Expect(w.stands("x")).To(Equal("False Cancelled"))
		w.delete(quota)
		made := len(w.made["v1.Pod"])
		w.pass(time.Minute)
		Expect(w.made["v1.Pod"]).To(HaveLen(made))
		Expect(w.podList()).To(BeEmpty())
	})

	It("ends at once where no command can run in the image", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Image("busybox").Obj())
		w.settle()
		w.podStatus("x-1", func(st *corev1.PodStatus) {
			setContainer(st, "runner", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
			w.terminate(st, "sandbox", podapi.ExitNoShell, "Error", "")
		})
		w.settle()
		Expect(w.stands("x")).To(Equal("False SandboxImageUnusable"))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
		Expect(w.podList()).To(BeEmpty(), "its runner would wait for ever")
	})
})

var _ = Describe("What a user asks of a task", func() {
	It("is to pause and to go on", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").Active(60).Attempts(1).Obj()
		w.create(task)
		w.settle()
		w.run("x-1")
		w.pass(50 * time.Second)
		w.change(task, func() { task.Spec.State = v1alpha1.TaskSuspended })
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Suspending"))
		w.report("x", v1alpha1.ReasonSuspended)
		Expect(w.stands("x")).To(Equal("Unknown Suspended"))
		Expect(w.task("x").Status.Attempts[0].Message).To(Equal("Stopped on request"), "and not the runner's last words")
		Expect(w.podList()).To(BeEmpty())
		Expect(w.ready("x")).To(Equal("False Idle"), "its Sandbox stays, with its workspace")
		w.pass(time.Hour)
		w.change(task, func() { task.Spec.State = v1alpha1.TaskActive })
		w.settle()
		Expect(w.stands("x")).To(starting)
		Expect(w.task("x").Status.PodName).To(Equal("x-2"))
		w.run("x-2")
		w.pass(50 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Running"), "the time starts anew")
		w.lose("x-2")
		Expect(w.stands("x")).To(Equal("False PodLost"))
		Expect(w.task("x").Status.Attempts).To(HaveLen(2), "what the user stopped is no loss")
	})

	It("is to pause, though the runner does not answer", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").Obj()
		w.create(task)
		w.settle()
		w.run("x-1")
		w.change(task, func() { task.Spec.State = v1alpha1.TaskSuspended })
		w.settle()
		w.pass(10 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Suspending"))
		w.pass(15 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Suspended"))
		Expect(w.podList()).To(BeEmpty())
	})

	It("is to cancel it before it starts", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").State(v1alpha1.TaskCancelled).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("False Cancelled"))
		Expect(w.task("x").Status.Attempt).To(BeZero())
		Expect(w.made["v1.Pod"]).To(BeEmpty())
	})

	It("is to cancel it before its pod runs", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").Obj()
		w.create(task)
		w.settle()
		w.change(task, func() { task.Spec.State = v1alpha1.TaskCancelled })
		w.settle()
		Expect(w.stands("x")).To(Equal("False Cancelled"))
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
		Expect(w.task("x").Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonCancelled))
		Expect(w.task("x").Status.Attempts[0].Message).To(Equal("Cancelled on request"))
		Expect(w.eventLog()).To(ContainSubstring("Normal Cancelled Cancelled on request"))
	})

	It("is to cancel it while it runs, and to keep the record", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").Obj()
		w.create(task)
		w.settle()
		w.run("x-1")
		w.change(task, func() { task.Spec.State = v1alpha1.TaskCancelled })
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Cancelling"))
		w.report("x", v1alpha1.ReasonCancelled)
		Expect(w.stands("x")).To(Equal("False Cancelled"))
		Expect(w.eventLog()).To(ContainSubstring("Normal Cancelled Cancelled on request"))
		w.exit("x-1", 1, "")
		w.pass(time.Minute)
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}), "the transcript is the ended pod's log")
	})

	It("is to cancel it though the runner does not answer", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").Obj()
		w.create(task)
		w.settle()
		w.run("x-1")
		w.change(task, func() { task.Spec.State = v1alpha1.TaskCancelled })
		w.settle()
		w.pass(25 * time.Second)
		Expect(w.stands("x")).To(Equal("False Cancelled"))
		w.pass(time.Minute)
		Expect(w.podList()).To(BeEmpty())
	})
})
