package integration

import (
	"encoding/json"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/objects"
	"github.com/sampan-dev/sampan/internal/text"
)

var _ = Describe("A task's life", func() {
	It("goes from its Sandbox and its pod to success", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		t := w.task("x")
		Expect(t.Status.PodName).To(Equal("x-1"))
		Expect(t.Status.SandboxName).To(Equal("x"))
		Expect(metav1.IsControlledBy(w.sandbox("x"), t)).To(BeTrue())
		Expect(metav1.IsControlledBy(w.pod("x-1"), w.sandbox("x"))).To(BeTrue())

		w.run("x-1")
		Expect(w.ready("x")).To(Equal("True Ready"))
		Expect(w.stands("x")).To(Equal("Unknown Running"))

		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.stands("x")).To(Equal("True Completed"))
		w.exit("x-1", 0, "")
		Expect(w.task("x").Status.Attempts).To(BeEmpty())
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}), "the ended pod stays for its log")
		Expect(w.ready("x")).To(Equal("False PodFinished"))
		Expect(meta.FindStatusCondition(w.sandbox("x").Status.Conditions, v1alpha1.ConditionStalled)).To(BeNil(), "that is no failure")
		Expect(w.eventLog()).To(Equal("Normal Completed The agent finished after 3 turns; the task has no verify command"), "a start is no event")
	})

	DescribeTable("ends as the runner reports it", func(ctx SpecContext, reason, want string) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.report("x", reason)
		Expect(w.stands("x")).To(Equal(want))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}), "an end is not retried")
	},
		Entry(nil, v1alpha1.ReasonVerificationFailed, "False VerificationFailed"),
		Entry(nil, v1alpha1.ReasonMaxTurns, "False MaxTurns"),
		Entry(nil, v1alpha1.ReasonDeadlineExceeded, "False DeadlineExceeded"),
		Entry(nil, v1alpha1.ReasonBudgetExceeded, "False BudgetExceeded"),
		Entry(nil, v1alpha1.ReasonLoopDetected, "False LoopDetected"),
		Entry(nil, v1alpha1.ReasonEmptyResponse, "False EmptyResponse"),
		Entry(nil, v1alpha1.ReasonContextExhausted, "False ContextExhausted"),
		Entry(nil, v1alpha1.ReasonModelUnavailable, "False ModelUnavailable"),
		Entry(nil, v1alpha1.ReasonWorkspaceFailed, "False WorkspaceFailed"),
		Entry(nil, v1alpha1.ReasonProtocolMismatch, "False ProtocolMismatch"),
		Entry(nil, v1alpha1.ReasonInternal, "False Internal"),
	)

	It("stops a pod that runs on after the end", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.report("x", v1alpha1.ReasonCompleted)
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}))
		w.pass(30 * time.Second)
		Expect(w.podList()).To(BeEmpty())
		Expect(w.stands("x")).To(Equal("True Completed"))
	})

	It("takes the result from the termination message when the runner could not write it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.exit("x-1", 0, lastWords(w.task("x"), 1, v1alpha1.ReasonCompleted))
		Expect(w.stands("x")).To(Equal("True Completed"))
		st := w.task("x").Status
		Expect(st.Result.Message).To(Equal("From the last words."))
		Expect(*st.Progress.Turns).To(BeEquivalentTo(7))
		Expect(st.Transcript.URI).To(Equal(logOf(w.ns, "x-1")))
	})

	It("shows the last words as what they are, and follows them nowhere", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		task := w.task("x")
		hostile := strings.Repeat("\x1b[2J\u202e\n", 500)
		data, err := json.Marshal(podapi.TerminationMessage{
			TaskUID: string(task.UID), Progress: v1alpha1.TaskProgress{Turns: new(int32(7)), Activity: hostile},
			Result: v1alpha1.TaskResult{Attempt: 1, Reason: v1alpha1.ReasonMaxTurns, Message: hostile,
				Verifications: []v1alpha1.VerificationStatus{{Name: "v", Outcome: v1alpha1.VerificationFailed, Message: hostile}}},
			Transcript: v1alpha1.TranscriptStatus{URI: logOf("kube-system", "x-1")},
		})
		Expect(err).NotTo(HaveOccurred())
		w.exit("x-1", 4, string(data))
		Expect(w.stands("x")).To(Equal("False MaxTurns"))
		st := w.task("x").Status
		Expect(st.Transcript.URI).To(BeEmpty())
		all := st.Result.Message + st.Result.Verifications[0].Message + st.Progress.Activity
		for _, c := range st.Conditions {
			Expect(c.Message).NotTo(ContainSubstring("\n"))
			all += c.Message
		}
		Expect(all).To(ContainSubstring(`\x1b[2J\u202e`))
		Expect(text.Visible(all)).To(Equal(all))
	})

	It("believes no last words of another task, another attempt, or the sandbox container", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Attempts(1).Obj(), objects.MakeTask("y").Attempts(1).Obj(), objects.MakeTask("z").Attempts(1).Obj())
		w.settle()
		w.run("x-1")
		w.exit("x-1", 1, lastWords(w.task("y"), 1, v1alpha1.ReasonCompleted))
		Expect(w.stands("x")).To(Equal("False RunnerCrashed"))
		w.run("y-1")
		w.exit("y-1", 1, lastWords(w.task("y"), 2, v1alpha1.ReasonCompleted))
		Expect(w.stands("y")).To(Equal("False RunnerCrashed"))
		Expect(w.task("y").Status.Result).To(BeZero())
		w.run("z-1")
		w.podStatus("z-1", func(st *corev1.PodStatus) {
			st.Phase = corev1.PodFailed
			w.terminate(st, "runner", 1, "Error", "")
			w.terminate(st, "sandbox", 0, "Completed", lastWords(w.task("z"), 1, v1alpha1.ReasonCompleted))
		})
		w.settle()
		Expect(w.stands("z")).To(Equal("False RunnerCrashed"))
	})

	It("starts again after a loss, and gives up after maxAttempts", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Attempts(2).Obj())
		w.settle()
		w.run("x-1")
		w.lose("x-1")
		t := w.task("x")
		Expect(t.Status.Attempt).To(BeEquivalentTo(2))
		Expect(t.Status.PodName).To(Equal("x-2"))
		Expect(t.Status.Attempts).To(HaveLen(1))
		Expect(t.Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonPodLost))
		Expect(t.Status.Attempts[0].NodeName).To(Equal("node"))
		Expect(w.names(w.sandboxList())).To(Equal([]string{"x"}))
		Expect(w.names(w.podList())).To(Equal([]string{"x-2"}))

		w.run("x-2")
		w.lose("x-2")
		Expect(w.stands("x")).To(Equal("False PodLost"))
		Expect(w.task("x").Status.Attempts).To(HaveLen(2))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1", "x-2"}))
	})

	It("says of a loss that its Sandbox was deleted", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.kubelet = false
		w.delete(w.sandbox("x"))
		w.settle()
		Expect(w.saysOfTask("x")).To(Equal("Waiting for Pod x-1 of an earlier Sandbox x to be removed"))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"x-1"}))
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
		Expect(w.task("x").Status.Attempts[0].Message).To(Equal("Sandbox x was deleted"))
		Expect(w.eventLog()).To(ContainSubstring("Warning PodLost Attempt 1 was lost: Sandbox x was deleted"))
		w.kubelet = true
		w.settle()
		w.run("x-2")
		Expect(w.stands("x")).To(Equal("Unknown Running"))
	})

	It("spends an attempt on a container that cannot start, which kubelet does not try again", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Attempts(2).Obj())
		w.settle()
		for _, pod := range []string{"x-1", "x-2"} {
			w.startError(pod)
			w.pass(11 * time.Second)
		}
		Expect(w.stands("x")).To(Equal("False SandboxLost"))
		c := meta.FindStatusCondition(w.task("x").Status.Conditions, v1alpha1.ConditionSucceeded)
		Expect(c.Message).To(Equal("Container sandbox could not start: memory limit too low; this was attempt 2 of 2"))
		Expect(w.task("x").Status.Attempts).To(HaveLen(2))
		Expect(w.podList()).To(BeEmpty(), "its runner would wait for ever")
	})

	It("leaves a lost node's pod behind, fenced off", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.runOn("x-1", lostNode)
		w.delete(w.pod("x-1"))
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Retrying"))
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(1))
		w.pass(4 * time.Minute)
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(1), "a runner that is cut off may not have given up yet")
		w.pass(time.Minute + 30*time.Second) // that is how long a pod may take by itself
		Expect(w.stands("x")).To(Equal("Unknown Retrying"))
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
		w.pass(5 * time.Second)
		t := w.task("x")
		Expect(t.Status.Attempt).To(BeEquivalentTo(2))
		Expect(t.Status.PodName).To(Equal("x-2"))
		Expect(t.Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonNodeLost))
		Expect(w.names(w.podList())).To(ConsistOf("x-1", "x-2"))
	})

	It("waits for the pod of a lost node that comes back", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.kubelet = false
		w.delete(w.pod("x-1"))
		w.podStatus("x-1", func(st *corev1.PodStatus) {
			st.Conditions = append(st.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByTaintManager"})
		})
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Retrying"))
		w.podStatus("x-1", func(st *corev1.PodStatus) { w.terminate(st, podapi.RunnerContainer, 1, "Error", "") })
		w.settle()
		Expect(w.task("x").Status.Attempts).To(HaveLen(1))
		Expect(w.task("x").Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonNodeLost))
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}), "its sandbox may still run")
		w.kubelet = true
		w.pass(time.Minute)
		Expect(w.task("x").Status.Attempt).To(BeEquivalentTo(2))
		Expect(w.names(w.podList())).To(Equal([]string{"x-2"}))
	})

	It("is deleted after its TTL", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").TTL(60).Obj())
		w.settle()
		w.run("x-1")
		w.report("x", v1alpha1.ReasonMaxTurns)
		w.exit("x-1", 1, "")
		w.pass(50 * time.Second)
		Expect(w.taskList()).To(HaveLen(1))
		w.pass(10 * time.Second)
		Expect(w.taskList()).To(BeEmpty())
		Expect(w.sandboxList()).To(BeEmpty())
		Expect(w.podList()).To(BeEmpty())
	})

	It("goes away with its pod when it is deleted while it runs", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Obj())
		w.settle()
		w.run("x-1")
		w.kubelet = false
		w.garbage = false
		w.delete(w.task("x"))
		w.settle()
		Expect(w.taskList()).To(BeEmpty(), "nothing keeps it")
		Expect(w.names(w.podList())).To(Equal([]string{"x-1"}))
		Expect(w.nextLook("x")).To(BeZero(), "its Sandbox is the garbage collector's")
		w.garbage = true
		w.settle()
		Expect(w.pod("x-1").DeletionTimestamp).NotTo(BeNil())
		Expect(w.sandboxList()).To(BeEmpty(), "nothing keeps it, either")
		w.kubelet = true
		w.settle()
		Expect(w.taskList()).To(BeEmpty())
		Expect(w.sandboxList()).To(BeEmpty())
		Expect(w.podList()).To(BeEmpty())
	})
})
