package e2e

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// justDone needs no tool: the model has answered before the sandbox is there, and
// must not be called done without one.
const justDone = "turns: [{text: Done.}]"

func resolved(at *v1alpha1.AgentTask) metav1.Condition {
	if c := meta.FindStatusCondition(at.Status.Conditions, v1alpha1.ConditionModelResolved); c != nil {
		return *c
	}
	return metav1.Condition{}
}

var _ = Describe("Any image", func() {
	It("runs a task, also one without the sandbox server", func() {
		s := scripted(`
turns:
- toolCalls: [{name: bash, arguments: {command: "command -v agent-runner || echo there is none; echo x > /run/sampan-bin/agent-runner"}}]
- expectMatch: "there is none\n(.|\n)*Read-only file system"
  toolCalls: [{name: write_file, arguments: {path: made, content: "in any image\n"}}]
- text: Done.
`)
		s.apply(task("plain", "prompt: Look around.\nverify: [{name: made, command: grep -q any made}]\nsandbox: {template: {image: '"+plainImage+"'}}"))
		s.awaitEnd("plain", "True Completed")
	})
})

var _ = Describe("A cause is named", func() {
	It("of a sandbox image without a shell", func() {
		s := scripted(justDone)
		s.apply(task("bare", "prompt: Run.\nsandbox: {template: {image: "+managerImage+"}}"))
		at := s.awaitEnd("bare", "False SandboxImageUnusable")
		Expect(succeeded(at).Message).To(ContainSubstring("neither bash nor sh"))
		Expect(at.Status.Attempt).To(BeEquivalentTo(1), "another attempt would not help")
	})

	It("of an image that cannot be pulled", func() {
		s := scripted(justDone)
		s.apply(task("nopull", "prompt: Run.\nsandbox: {template: {image: 'images.invalid/nothing/here:1'}}"))
		at := s.awaitReason("nopull", v1alpha1.ReasonImagePullFailed)
		Expect(succeeded(at).Message).To(ContainSubstring("images.invalid/nothing/here:1"))
		Expect(meta.IsStatusConditionTrue(at.Status.Conditions, v1alpha1.ConditionStalled)).To(BeTrue())
	})

	It("of a sandbox that cannot start in its memory, after as many attempts as there may be", func() {
		s := scripted(justDone)
		s.apply(task("tiny", "prompt: Run.\nretry: {maxAttempts: 2}\n"+
			"sandbox: {template: {resources: {limits: {memory: 1Mi}}}}"))
		at := s.awaitEnd("tiny", "False SandboxLost")
		Expect(succeeded(at).Message).To(ContainSubstring("could not start"))
		Expect(at.Status.Attempt).To(BeEquivalentTo(2))
	})

	It("of a pod that no node takes", func() {
		s := scripted(justDone)
		s.apply(task("nonode", "prompt: Run.\nlimits: {activeSeconds: 1}\n"+
			"sandbox: {template: {scheduling: {nodeSelector: {example.com/later: here}}}}"))
		at := s.awaitReason("nonode", v1alpha1.ReasonUnschedulable)
		Expect(succeeded(at).Message).To(ContainSubstring("nodes are available"))
		By("leaving it time, since an autoscaler may bring a node")
		Expect(meta.IsStatusConditionTrue(at.Status.Conditions, v1alpha1.ConditionReconciling)).To(BeTrue())
		kubectl("label", "node", "--all", "example.com/later=here")
		DeferCleanup(func() { kubectl("label", "node", "--all", "example.com/later-") })
		s.awaitEnd("nonode", "True Completed")
	})

	It("of an unknown model, and the mended registry lets it go on", func() {
		s := scripted(justDone)
		s.apply(task("model", "prompt: Run.\nmodel: {name: scriptde}"))
		at := s.awaitReason("model", v1alpha1.ReasonModelNotFound)
		Expect(succeeded(at).Message).To(ContainSubstring("scriptde"))
		Expect(resolved(at).Status).To(Equal(metav1.ConditionFalse))
		Expect(s.names("pods", "app.kubernetes.io/managed-by=sampan")).To(BeEmpty())

		s.applyRegistry(registry + "- {id: scriptde, provider: scripted}\n")
		at = s.awaitEnd("model", "True Completed")
		Expect(at.Status.Progress.Model).To(Equal("scriptde"))
		Expect(resolved(at).Reason).To(Equal(v1alpha1.ReasonResolved))
	})

	It("of a registry that is missing, then broken, then mended", func() {
		s := newSpace()
		s.applyConfigMap("script", "script.yaml", justDone)
		s.apply(task("early", "prompt: Run."))
		s.awaitReason("early", v1alpha1.ReasonRegistryNotFound)
		s.applyRegistry(strings.Replace(registry, "type: scripted", "type: telepathy", 1))
		at := s.awaitReason("early", v1alpha1.ReasonRegistryInvalid)
		Expect(succeeded(at).Message).To(And(ContainSubstring("telepathy"), ContainSubstring("line 5")))
		s.applyRegistry(registry)
		s.awaitEnd("early", "True Completed")
	})

	It("of a broken edit of the registry, while the last valid one serves", func() {
		s := scripted(justDone)
		s.apply(task("before", "prompt: Run."))
		s.awaitEnd("before", "True Completed")

		s.applyRegistry(registry + "- {id: other, provider: nowhere}\n")
		s.apply(task("during", "prompt: Run."))
		at := s.awaitEnd("during", "True Completed")
		Expect(resolved(at).Reason).To(Equal(v1alpha1.ReasonLastValidRegistry))
		Expect(resolved(at).Message).To(ContainSubstring("nowhere"))
		Eventually(func() string {
			return kubectl("-n", s.name, "get", "events", "--field-selector=involvedObject.name=sampan-models",
				"-o", "jsonpath={range .items[*]}{.type} {.reason} {.message}{end}")
		}).Should(And(ContainSubstring("Warning RegistryInvalid"), ContainSubstring("nowhere")))

		s.applyRegistry(registry)
		s.apply(task("after", "prompt: Run."))
		Expect(resolved(s.awaitEnd("after", "True Completed")).Reason).To(Equal(v1alpha1.ReasonResolved))
	})

	It("of a Secret with a prompt that is missing, and is then created", func() {
		s := scripted("cases: [{match: hush, turns: [{text: I keep it.}]}]")
		s.apply(task("secret", "promptFrom: {secretKeyRef: {name: errand, key: text}}"))
		at := s.awaitReason("secret", v1alpha1.ReasonSecretNotFound)
		Expect(succeeded(at).Message).To(ContainSubstring("errand"))
		s.applySecret("errand", map[string]string{"text": "A matter to hush up."})
		at = s.awaitEnd("secret", "True Completed")
		Expect(at.Status.Result.Message).To(Equal("I keep it."))
	})

	It("of a ConfigMap with a prompt that is missing, and is then created", func() {
		s := scripted("cases: [{match: the errand, turns: [{text: Done.}]}]")
		s.apply(task("map", "promptFrom: {configMapKeyRef: {name: errand, key: text}}"))
		at := s.awaitReason("map", v1alpha1.ReasonPromptNotFound)
		Expect(succeeded(at).Message).To(ContainSubstring("errand"))
		s.applyConfigMap("errand", "another", "nothing")
		Eventually(func() string { return succeeded(s.get("map")).Message }).Should(ContainSubstring("no key text"))
		s.applyConfigMap("errand", "text", "Run the errand.")
		s.awaitEnd("map", "True Completed")
	})

	It("of a Secret with a model's key that is missing", func() {
		s := newSpace()
		s.applyRegistry(modelServerRegistry("model-key"))
		s.apply(task("keyless", "prompt: Run."))
		at := s.awaitReason("keyless", v1alpha1.ReasonSecretNotFound)
		Expect(succeeded(at).Message).To(ContainSubstring("model-key"))
	})
})
