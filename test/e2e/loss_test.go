package e2e

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

var _ = Describe("A task that loses its pod", func() {
	// start runs a task whose first attempt hangs in a command.
	start := func(spec string) (*space, string) {
		sleep, argument := sleeper()
		s := scripted(sleepsAtFirst("lost", sleep))
		s.apply(task("lost", "prompt: Wait.\n"+spec))
		awaitRunning(argument)
		// The turns that were finished must not be lost with the pod.
		Eventually(func(g Gomega) {
			p := s.get("lost").Status.Progress
			g.Expect(p.Turns).NotTo(BeNil())
			g.Expect(*p.Turns).To(BeEquivalentTo(2))
		}).Should(Succeed())
		return s, argument
	}

	DescribeTable("goes on in another",
		func(lose func(*space, *corev1.Pod), reasons ...any) {
			s, argument := start("")
			lose(s, s.pod("lost-1"))
			at := s.awaitEnd("lost", "True Completed")
			awaitGone(argument)
			Expect(at.Status.Attempt).To(BeEquivalentTo(2))
			Expect(at.Status.PodName).To(Equal("lost-2"))
			Expect(at.Status.Attempts).To(HaveLen(1))
			first := at.Status.Attempts[0]
			Expect(first.Number).To(BeEquivalentTo(1))
			Expect(first.PodName).To(Equal("lost-1"))
			Expect(first.Reason).To(BeElementOf(reasons...), first.Message)
			Expect(first.StartTime).NotTo(BeNil())
			Expect(first.CompletionTime).NotTo(BeNil())
			Expect(*first.Turns).To(BeEquivalentTo(2))
			Expect(*at.Status.Progress.Turns).To(BeEquivalentTo(4), "the second pod goes on where the first was")
			Expect(s.names("pods", podspec.LabelManagedBy+"=sampan")).To(ConsistOf("pod/lost-2"))
		},
		Entry("when it is deleted", func(s *space, pod *corev1.Pod) {
			kubectl("-n", s.name, "delete", "pod", pod.Name, "--wait=false")
		}, v1alpha1.ReasonPodLost),
		Entry("when it is deleted by force", func(s *space, pod *corev1.Pod) {
			kubectl("-n", s.name, "delete", "pod", pod.Name, "--force", "--grace-period=0", "--wait=false")
		}, v1alpha1.ReasonPodLost),
		Entry("when its runner is killed with SIGKILL", func(_ *space, pod *corev1.Pod) { signalRunner("SIGKILL", pod) },
			v1alpha1.ReasonRunnerCrashed),
		Entry("when its sandbox server is killed with SIGKILL", func(_ *space, pod *corev1.Pod) { killSandboxServer(pod) },
			v1alpha1.ReasonSandboxLost),
		Entry("when its Sandbox is deleted", func(s *space, _ *corev1.Pod) {
			kubectl("-n", s.name, "delete", "sandbox", "lost", "--wait=false")
			// The runner may see its sandbox go before anybody sees the pod gone.
		}, v1alpha1.ReasonPodLost, v1alpha1.ReasonSandboxLost),
	)

	It("runs again when it is evicted because its disk is full", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "if [ $HOSTNAME = full-1 ]; then head -c 100M /dev/zero > big; sleep 86400; fi; echo ran in $HOSTNAME", timeout_seconds: 600}}]
- expect: the run was stopped before this call came to an end
  toolCalls: [{name: bash, arguments: {command: "ls; echo ran in $HOSTNAME"}}]
- expect: ran in full-2
  text: Done at last.
`)
		s.apply(task("full", "prompt: Fill the disk.\nsandbox: {template: {workspace: {sizeLimit: 32Mi}}}"))
		at := s.awaitEnd("full", "True Completed")
		Expect(at.Status.Attempts).To(HaveLen(1))
		Expect(at.Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonStorageExceeded))
		Expect(at.Status.Attempts[0].Message).To(ContainSubstring(`volume "workspace" exceeds the limit`))
	})

	It("runs again when its node is lost, once the old pod is gone", Serial, func() {
		s, argument := start("")
		silenceNode(s.pod("lost-1").Spec.NodeName, 20*time.Second)
		evictAsLost(s, "lost-1")
		Eventually(func(g Gomega) {
			at := s.get("lost")
			g.Expect(outcome(at)).To(Equal("Unknown " + v1alpha1.ReasonRetrying))
			g.Expect(succeeded(at).Message).To(HavePrefix("Pod lost-1 is being deleted because of its node"))
			g.Expect(at.Status.PodName).To(Equal("lost-1"), "the old pod still runs")
		}).Should(Succeed())
		at := s.awaitEnd("lost", "True Completed")
		awaitGone(argument)
		Expect(at.Status.Attempts).To(HaveLen(1))
		Expect(at.Status.Attempts[0].Reason).To(Equal(v1alpha1.ReasonNodeLost), at.Status.Attempts[0].Message)
		Expect(at.Status.Attempts[0].Turns).To(HaveValue(BeEquivalentTo(2)))
		Expect(at.Status.Attempts[0].NodeName).NotTo(BeEmpty())
	})

	It("ends when it has had all its attempts", func() {
		s, argument := start("retry: {maxAttempts: 1}")
		kubectl("-n", s.name, "delete", "pod", "lost-1", "--wait=false")
		at := s.awaitEnd("lost", "False PodLost")
		Expect(at.Status.Attempts).To(HaveLen(1))
		awaitGone(argument)
	})
})

// evictAsLost does what Kubernetes does to the pods of a node that does not answer,
// except when it is the only node: it patches a condition into the pod, and deletes it.
func evictAsLost(s *space, pod string) {
	GinkgoHelper()
	kubectl("-n", s.name, "patch", "pod", pod, "--subresource=status", "--patch", fmt.Sprintf(`status:
  conditions:
  - {type: DisruptionTarget, status: "True", reason: DeletionByTaintManager, message: "Taint manager: deleting due to NoExecute taint", lastTransitionTime: %q}`,
		time.Now().UTC().Format(time.RFC3339)))
	kubectl("-n", s.name, "delete", "pod", pod, "--wait=false")
}

var _ = Describe("A command that needs too much memory", func() {
	It("is ended by the kernel, and the agent is told and goes on", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "python3 -c 'len(bytes(1) * (300 << 20))'"}}]
- expect: the kernel ended a process because memory ran out
  text: I need less.
`)
		s.apply(task("greedy", "prompt: Use it all.\nsandbox: {template: {resources: {limits: {memory: 128Mi}}}}"))
		at := s.awaitEnd("greedy", "True Completed")
		Expect(at.Status.Attempt).To(BeEquivalentTo(1), "the server lives")
	})
})

var _ = Describe("While the operator is down", Serial, func() {
	var s *space
	BeforeEach(func() {
		s = scripted(`
turns:
- repeat: 2
  toolCalls: [{name: bash, arguments: {command: "until test -e release; do sleep 0.1; done", timeout_seconds: 600}}]
- text: Finished alone.
`)
		s.apply(task("alone", "prompt: Wait for the sign.\nverify: [{name: sign, command: test -e release}]"))
		s.awaitReason("alone", v1alpha1.ReasonRunning)
		scaleOperator("0")
		DeferCleanup(scaleOperator, "1")
	})

	// finish lets the run come to its end, all by itself.
	finish := func() {
		s.exec("alone-1", "sandbox", "touch release")
		Eventually(func() corev1.PodPhase { return s.pod("alone-1").Status.Phase }).
			Should(BeElementOf(corev1.PodSucceeded, corev1.PodFailed))
		Expect(outcome(s.get("alone"))).To(HavePrefix("Unknown"), "nobody is there to say it")
	}

	It("a task ends, and its result is there afterwards", func() {
		finish()
		Expect(s.get("alone").Status.Result.Reason).To(Equal(v1alpha1.ReasonCompleted))
		scaleOperator("1")
		at := s.awaitEnd("alone", "True Completed")
		Expect(at.Status.Attempt).To(BeEquivalentTo(1))
		Expect(at.Status.Result.Message).To(Equal("Finished alone."))
	})

	It("a runner that cannot write the result either leaves it in its last words", func() {
		kubectl("-n", s.name, "delete", "rolebinding", "-l", podspec.LabelManagedBy+"=sampan")
		finish()
		Expect(s.get("alone").Status.Result.Reason).To(BeEmpty())
		scaleOperator("1")
		at := s.awaitEnd("alone", "True Completed")
		Expect(at.Status.Attempt).To(BeEquivalentTo(1))
		Expect(*at.Status.Progress.Turns).To(BeEquivalentTo(3))
		Expect(at.Status.Result.Verifications).To(HaveLen(1))
		transcriptOf(at) // though the runner complained in the same log
	})

	It("a task whose pod is lost goes on afterwards", func() {
		kubectl("-n", s.name, "delete", "pod", "alone-1")
		scaleOperator("1")
		Eventually(func() int32 { return s.get("alone").Status.Attempt }).Should(BeEquivalentTo(2))
		s.awaitExec("alone-2", "sandbox", "touch release")
		s.awaitEnd("alone", "True Completed")
	})
})

func scaleOperator(replicas string) {
	GinkgoHelper()
	kubectl("-n", operatorNamespace, "scale", "deployment/"+operatorDeployment, "--replicas="+replicas)
	if replicas != "0" {
		kubectl("-n", operatorNamespace, "rollout", "status", "deployment/"+operatorDeployment, "--timeout=2m")
		return
	}
	kubectl("-n", operatorNamespace, "wait", "--for=delete", "pod", "--selector=app.kubernetes.io/component=manager", "--timeout=2m")
}
