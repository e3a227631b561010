package integration

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// fail plays a kubelet that ends a pod as a whole.
func (w *world) fail(name, reason, message string) {
	GinkgoHelper()
	w.podStatus(name, func(st *corev1.PodStatus) {
		st.Phase, st.Reason, st.Message = corev1.PodFailed, reason, message
		for i := range st.ContainerStatuses {
			w.terminate(st, st.ContainerStatuses[i].Name, 137, "Error", "")
		}
	})
	w.settle()
}

// unscheduled plays a scheduler that does not place a pod.
func (w *world) unscheduled(name, reason, message string) {
	GinkgoHelper()
	w.podStatus(name, func(st *corev1.PodStatus) {
		st.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: reason, Message: message}}
	})
	w.settle()
}

// waitsBy is the condition under which a task waits.
func (w *world) waitsBy(name string) string {
	GinkgoHelper()
	for _, kind := range []string{v1alpha1.ConditionStalled, v1alpha1.ConditionReconciling} {
		if meta.IsStatusConditionTrue(w.task(name).Status.Conditions, kind) {
			return kind
		}
	}
	return ""
}

var _ = Describe("A runner that does not report", func() {
	It("is told of after a minute, costs the attempt after five, and is replaced", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Attempts(2).Obj())
		w.settle()
		w.silent = true
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Starting"), "that its pod runs is not that it runs")
		w.pass(50 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		w.pass(15 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown RunnerSilent"))
		Expect(w.saysOfTask("x")).To(HavePrefix("Pod x-1 runs, and its runner has not reported for 1m0s: it may not reach the API server"))
		Expect(w.eventLog()).To(ContainSubstring("Normal RunnerSilent"))
		w.pass(3 * time.Minute)
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(1))
		w.pass(time.Minute)
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
		Expect(w.task("x").Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonRunnerSilent))
		Expect(w.names(w.podList())).To(Equal([]string{"x-2"}))
		w.run("x-2")
		w.pass(5*time.Minute + time.Second)
		Expect(w.stands("x")).To(Equal("False RunnerSilent"))
		Expect(w.podList()).To(BeEmpty())
	})

	It("runs from when it has reported", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Active(60).Obj())
		w.settle()
		w.silent = true
		w.run("x-1")
		w.pass(50 * time.Second)
		w.silent = false
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		w.pass(55 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})
})

var _ = Describe("Containers that others have added to a pod", func() {
	running := func(ctx SpecContext) *world {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Attempts(1).Obj())
		w.settle()
		return w
	}
	sidecar := func(state corev1.ContainerState) func(*corev1.PodStatus) {
		return func(st *corev1.PodStatus) {
			st.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", Message: "containers with unready status: [mesh]"}}
			setContainer(st, "mesh", state)
		}
	}

	DescribeTable("as sidecars, keep nothing from running and from ending", func(ctx SpecContext, state corev1.ContainerState) {
		w := running(ctx)
		w.podStatus("x-1", sidecar(state))
		w.containersRun("x-1", "node")
		w.podStatus("x-1", sidecar(state))
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.ready("x")).To(Equal("True Ready"))
		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.stands("x")).To(Equal("True Completed"))
		w.podStatus("x-1", func(st *corev1.PodStatus) { // kubelet leaves the pod Running while another container runs
			w.terminate(st, "runner", 0, "Completed", "")
			w.terminate(st, "sandbox", 0, "Completed", "")
		})
		w.settle()
		w.pass(time.Hour)
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}), "its log is the record")
		Expect(w.ready("x")).To(Equal("False PodFinished"))
	},
		Entry("that are not ready", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such mesh"}}),
		Entry("that run", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}),
		Entry("that end", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 0, Reason: "Completed"}}),
		Entry("that fail", corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}}),
	)

	It("as init containers, are named when they fail", func(ctx SpecContext) {
		w := running(ctx)
		w.podStatus("x-1", func(st *corev1.PodStatus) {
			st.Phase = corev1.PodFailed
			st.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh-init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 7, Reason: "Error"}}}}
		})
		w.settle()
		w.pass(11 * time.Second)
		Expect(w.stands("x")).To(Equal("False PodFailed"))
		Expect(w.saysOfTask("x")).To(Equal("Init container mesh-init, which is not Sampan's, ended with exit code 7; this was attempt 1 of 1"))
	})

	It("as init containers, are named when they keep failing", func(ctx SpecContext) {
		w := running(ctx)
		w.podStatus("x-1", func(st *corev1.PodStatus) {
			st.InitContainerStatuses = []corev1.ContainerStatus{{Name: "mesh", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}}}}
		})
		w.settle()
		Expect(w.ready("x")).To(Equal("False PodFailed"))
		Expect(w.saysOfTask("x")).To(ContainSubstring("mesh"))
		w.podStatus("x-1", func(st *corev1.PodStatus) { st.InitContainerStatuses = nil })
		w.run("x-1")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})
})

var _ = Describe("What the cluster takes away", func() {
	It("is a place on a node, until there is one", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Attempts(1).Obj())
		w.settle()
		for n := 1; n <= 4; n++ {
			w.fail(fmt.Sprintf("x-%d", n), "OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu")
			w.pass(11 * time.Second)
			st := w.task("x").Status
			Expect(st.Attempts).To(HaveLen(n))
			Expect(st.Attempts[n-1].Reason).To(Equal(v1alpha1.ReasonNodeRejected))
			Expect(st.Interruptions).To(BeEquivalentTo(n))
			pause := min(5*time.Second<<(n-1), 5*time.Minute)
			w.pass(pause)
		}
		w.run("x-5")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.task("x").Status.FailedAttempts).To(BeZero())
	})

	It("is said while the pause lasts, whatever the task had to wait for meanwhile", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.fail("x-1", "Evicted", "The node was low on resource: memory.")
		Expect(w.stands("x")).To(Equal("Unknown Retrying"))
		By("an earlier look having found the registry broken")
		task := w.task("x")
		w.changeStatus(task, func() {
			for i := range task.Status.Conditions {
				task.Status.Conditions[i].Reason = v1alpha1.ReasonRegistryInvalid
			}
		})
		_, err := w.tasks.Reconcile(w.ctx, request(task))
		Expect(err).NotTo(HaveOccurred())
		Expect(w.stands("x")).To(Equal("Unknown Retrying"))
		Expect(w.saysOfTask("x")).To(HaveSuffix("the next one starts after a pause of 5s"))
	})

	It("is counted apart from what fails, and neither is forgotten with old attempts", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Attempts(4).Obj())
		w.settle()
		interruptions, failures := int32(0), int32(0)
		for n := 1; failures < 4; n++ {
			pod := fmt.Sprintf("x-%d", n)
			w.run(pod)
			if n%4 != 0 {
				w.fail(pod, "Evicted", "The node was low on resource: memory.")
				interruptions++
			} else {
				w.lose(pod)
				failures++
			}
			w.pass(11 * time.Second)
			w.pass(5 * time.Minute)
			Expect(w.task("x").Status.Interruptions).To(Equal(interruptions))
			Expect(w.task("x").Status.FailedAttempts).To(Equal(failures))
		}
		Expect(w.stands("x")).To(Equal("False PodLost"))
		Expect(w.saysOfTask("x")).To(HaveSuffix("this was attempt 4 of 4"))
		Expect(interruptions).To(BeEquivalentTo(12))
		Expect(w.task("x").Status.Attempts).To(HaveLen(10), "the last ones")
		Expect(w.made["v1.Pod"]).To(HaveLen(16))
	})

	It("is not what the task has used too much of", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Attempts(1).Obj())
		w.settle()
		w.run("x-1")
		w.fail("x-1", "Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.")
		w.pass(11 * time.Second)
		Expect(w.stands("x")).To(Equal("False StorageExceeded"))
	})

	DescribeTable("is a start that waits for the cluster: it costs no active time", func(ctx SpecContext, cause, reason string) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Active(60).Obj())
		w.settle()
		w.unscheduled("x-1", cause, "0/3 nodes are available")
		Expect(w.stands("x")).To(Equal("Unknown " + reason))
		Expect(w.saysOfTask("x")).To(Equal("0/3 nodes are available"))
		Expect(w.waitsBy("x")).To(Equal(v1alpha1.ConditionReconciling), "an autoscaler may bring a node, a queue admit the pod")
		Expect(w.eventLog()).To(ContainSubstring("Normal " + reason))
		w.pass(5 * time.Hour)
		Expect(w.stands("x")).To(Equal("Unknown " + reason))
		Expect(w.task("x").Status.ActiveSeconds).To(BeZero())
		w.podStatus("x-1", func(st *corev1.PodStatus) { st.Conditions = nil })
		w.run("x-1")
		w.pass(55 * time.Second)
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	},
		Entry("a node", corev1.PodReasonUnschedulable, v1alpha1.ReasonUnschedulable),
		Entry("a queue", corev1.PodReasonSchedulingGated, v1alpha1.ReasonQueued),
	)
})

var _ = Describe("A persistent workspace of the task's own", func() {
	It("is one claim for all attempts, and outlives a suspension", func(ctx SpecContext) {
		w := newWorld(ctx)
		task := objects.MakeTask("x").With(func(t *v1alpha1.AgentTask) {
			t.Spec.Sandbox.Template = objects.MakeSandbox("").With(persistent).Obj().Spec.Template
		}).Obj()
		w.create(task)
		w.settle()
		claim := w.claim("x")
		Expect(metav1.IsControlledBy(claim, w.sandbox("x"))).To(BeTrue())
		Expect(claimName(w.pod("x-1"))).To(Equal("x"))
		w.run("x-1")

		By("losing a pod")
		w.lose("x-1")
		Expect(claimName(w.pod("x-2"))).To(Equal("x"))
		w.run("x-2")

		By("suspending and resuming")
		w.change(task, func() { task.Spec.State = v1alpha1.TaskSuspended })
		w.settle()
		w.report("x", v1alpha1.ReasonSuspended)
		Expect(w.stands("x")).To(Equal("Unknown Suspended"))
		Expect(w.podList()).To(BeEmpty())
		w.pass(time.Hour)
		Expect(w.claim("x").UID).To(Equal(claim.UID))
		w.change(task, func() { task.Spec.State = v1alpha1.TaskActive })
		w.settle()
		Expect(claimName(w.pod("x-3"))).To(Equal("x"))
		w.run("x-3")
		w.report("x", v1alpha1.ReasonCompleted)
		w.exit("x-3", 0, "")
		Expect(w.claim("x").UID).To(Equal(claim.UID))
		Expect(w.made["v1.PersistentVolumeClaim"]).To(Equal([]string{"x"}))
		Expect(w.made["v1alpha1.Sandbox"]).To(Equal([]string{"x"}))
	})
})

var _ = Describe("A task's own Sandbox", func() {
	It("is not another task's to name, neither while it runs nor after", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.create(objects.MakeTask("thief").In("x").Active(60).Obj())
		refused := func() {
			GinkgoHelper()
			Expect(w.stands("thief")).To(Equal("Unknown SandboxNotShared"))
			Expect(w.saysOfTask("thief")).To(Equal("spec.sandbox.sandboxRef: Sandbox x belongs to AgentTask x alone, which has made it for itself; name a Sandbox that you have created"))
			Expect(w.waitsBy("thief")).To(Equal(v1alpha1.ConditionStalled))
			Expect(w.task("thief").Status.PodName).To(BeEmpty())
			Expect(w.sandbox("x").Status.TaskRef.Name).To(Equal("x"))
		}
		w.settle()
		refused()
		w.report("x", v1alpha1.ReasonCompleted)
		w.exit("x-1", 0, "")
		w.pass(30 * time.Second)
		refused()
		w.pass(40 * time.Second)
		Expect(w.stands("thief")).To(Equal("False SandboxNotShared"))
		Expect(w.stands("x")).To(Equal("True Completed"))
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}))
	})

	It("says nothing false when its ended pod has been collected", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.report("x", v1alpha1.ReasonCompleted)
		w.exit("x-1", 0, "")
		w.eventLog()
		w.lose("x-1")
		w.pass(time.Hour)
		Expect(w.stands("x")).To(Equal("True Completed"))
		Expect(w.ready("x")).To(Equal("False PodFinished"))
		Expect(meta.FindStatusCondition(w.sandbox("x").Status.Conditions, v1alpha1.ConditionReady).Message).To(Equal("The task has ended, and there is no pod of it any more"))
		Expect(meta.FindStatusCondition(w.sandbox("x").Status.Conditions, v1alpha1.ConditionStalled)).To(BeNil())
		Expect(w.eventLog()).To(BeEmpty())
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
	})

	It("does not lose a pod that has lost its labels, and takes it away in the end", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		pod := w.pod("x-1")
		w.change(pod, func() { pod.Labels = nil })
		w.hideUnlabelled()
		w.pass(time.Hour / 2)
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.ready("x")).To(Equal("True Ready"))
		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.stands("x")).To(Equal("True Completed"))
		w.delete(w.task("x"))
		w.settle()
		Expect(w.podList()).To(BeEmpty())
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
	})
})

var _ = Describe("A claim of a named Sandbox", func() {
	It("is not where a user's replacement of the Sandbox would clear it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeSandbox("dev").Obj(), objects.MakeTask("x").In("dev").Attempts(1).Obj())
		w.settle()
		w.run("dev-1")
		held := w.sandbox("dev").Status.TaskRef
		Expect(held.Name).To(Equal("x"))
		replacement := objects.MakeSandbox("dev").Namespace(w.ns).With(idleAfter(3600)).Obj()
		replacement.ResourceVersion = w.sandbox("dev").ResourceVersion
		Expect(w.live.Update(w.ctx, replacement)).To(Succeed())
		w.pass(time.Minute)
		Expect(w.sandbox("dev").Spec.IdleSeconds).To(BeEquivalentTo(3600))
		Expect(w.sandbox("dev").Status.TaskRef).To(Equal(held))
		Expect(w.stands("x")).To(Equal("Unknown Running"))
		Expect(w.task("x").Status.Attempts).To(BeEmpty())
		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.stands("x")).To(Equal("True Completed"))
	})
})

var _ = Describe("The identity of a namespace's runners", func() {
	for _, kind := range []string{"own", "named"} {
		It("is put back while a pod lives: "+kind+" Sandbox", func(ctx SpecContext) {
			w := newWorld(ctx)
			if kind == "own" {
				w.create(objects.MakeTask("x").Obj())
			} else {
				w.create(objects.MakeSandbox("x").Obj())
			}
			w.settle()
			w.run("x-1")
			key := types.NamespacedName{Namespace: w.ns, Name: podspec.RunnerName}
			var account corev1.ServiceAccount
			var binding rbacv1.RoleBinding
			for _, obj := range []client.Object{&account, &binding} {
				Expect(w.live.Get(w.ctx, key, obj)).To(Succeed())
				w.delete(obj)
			}
			w.settle()
			Expect(w.live.Get(w.ctx, key, &account)).To(Succeed())
			Expect(w.live.Get(w.ctx, key, &binding)).To(Succeed())
			want := binding.DeepCopy().Subjects

			By("binding others")
			w.change(&binding, func() {
				binding.Subjects = []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "mallory"}}
			})
			w.settle()
			Expect(w.live.Get(w.ctx, key, &binding)).To(Succeed())
			Expect(binding.Subjects).To(Equal(want))
			Expect(w.ready("x")).To(Equal("True Ready"))
			Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
		})
	}
})
