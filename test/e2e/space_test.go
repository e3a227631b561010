package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// space is the namespace of one scenario.
type space struct {
	name    string
	witness *witness
}

// newSpace makes a namespace, watches it, and at the end checks what the
// witness saw, tells what went wrong, and deletes it.
func newSpace() *space {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-",
		Labels: map[string]string{
			runLabel:                             run,
			"pod-security.kubernetes.io/enforce": "restricted",
			"pod-security.kubernetes.io/warn":    "restricted",
		},
	}}
	Expect(cluster.Create(suiteContext(), ns)).To(Succeed())
	s := &space{name: ns.Name}
	ctx, cancel := context.WithCancel(suiteContext())
	s.witness = watchSpace(ctx, s.name)
	DeferCleanup(func() {
		cancel()
		s.witness.stopped.Wait()
		problems := s.witness.problems()
		failed := CurrentSpecReport().Failed() || len(problems) > 0
		if failed {
			s.explain()
		}
		if !failed || os.Getenv("E2E_KEEP") == "" {
			kubectl("delete", "namespace", s.name, "--wait=false")
		}
		Expect(problems).To(BeEmpty(), "what the witness saw")
	})
	return s
}

// registry is a registry document for models that play the ConfigMap "script".
const registry = `
version: 1
default: {name: scripted}
providers:
  scripted: {type: scripted, script: {configMapName: script, key: script.yaml}}
models:
- {id: scripted, provider: scripted, contextWindow: 200000, pricing: {inputPerMTok: "0.50", outputPerMTok: "2.00"}}
`

// scripted makes a namespace whose default model plays a script.
func scripted(script string) *space {
	GinkgoHelper()
	s := newSpace()
	s.applyRegistry(registry)
	s.applyConfigMap("script", "script.yaml", script)
	return s
}

// apply is kubectl apply, as a user does it.
func (s *space) apply(manifests ...string) {
	GinkgoHelper()
	_, err := tryKubectl(strings.Join(manifests, "\n---\n"), "-n", s.name, "apply", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
}

func (s *space) applyObject(obj client.Object) {
	GinkgoHelper()
	data, err := json.Marshal(obj)
	Expect(err).NotTo(HaveOccurred())
	s.apply(string(data))
}

func (s *space) applyRegistry(document string) {
	GinkgoHelper()
	s.applyConfigMap("sampan-models", "models.yaml", document)
}

func (s *space) applyConfigMap(name, key, value string) {
	GinkgoHelper()
	s.applyObject(&corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{key: value},
	})
}

func (s *space) applySecret(name string, data map[string]string) {
	GinkgoHelper()
	s.applyObject(&corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data,
	})
}

// task is the manifest of an AgentTask; spec is its YAML, without indentation.
func task(name, spec string) string {
	return fmt.Sprintf("apiVersion: sampan.dev/v1alpha1\nkind: AgentTask\nmetadata: {name: %s}\nspec:\n  %s",
		name, strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  "))
}

// set changes spec.state, as `kubectl patch` does.
func (s *space) set(name string, state v1alpha1.TaskState) {
	GinkgoHelper()
	kubectl("-n", s.name, "patch", "agenttask", name, "--type=merge", "-p", fmt.Sprintf(`{"spec":{"state":%q}}`, state))
}

// get reads an AgentTask.
func (s *space) get(name string) *v1alpha1.AgentTask {
	GinkgoHelper()
	at := &v1alpha1.AgentTask{}
	Expect(cluster.Get(suiteContext(), types.NamespacedName{Namespace: s.name, Name: name}, at)).To(Succeed())
	return at
}

// pod reads a Pod.
func (s *space) pod(name string) *corev1.Pod {
	GinkgoHelper()
	pod := &corev1.Pod{}
	Expect(cluster.Get(suiteContext(), types.NamespacedName{Namespace: s.name, Name: name}, pod)).To(Succeed())
	return pod
}

// exec runs a shell command in a container of a pod.
func (s *space) exec(pod, container, command string) string {
	GinkgoHelper()
	out, err := s.tryExec(pod, container, command)
	Expect(err).NotTo(HaveOccurred())
	return out
}

func (s *space) tryExec(pod, container, command string) (string, error) {
	return tryKubectl("", "-n", s.name, "exec", pod, "-c", container, "--", "bash", "-c", command)
}

// awaitExec waits until a command succeeds in a container that may not be there yet.
func (s *space) awaitExec(pod, container, command string) {
	GinkgoHelper()
	Eventually(func() error {
		_, err := s.tryExec(pod, container, command)
		return err
	}).Should(Succeed())
}

// succeeded is the Succeeded condition, an empty one while there is none.
func succeeded(at *v1alpha1.AgentTask) metav1.Condition {
	if c := meta.FindStatusCondition(at.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// outcome is a condition in the words of `kubectl get`: "True Completed".
func outcome(at *v1alpha1.AgentTask) string {
	c := succeeded(at)
	return string(c.Status) + " " + c.Reason
}

// awaitEnd waits for a task to end and wants it to end that way.
func (s *space) awaitEnd(name, want string) *v1alpha1.AgentTask {
	GinkgoHelper()
	var at *v1alpha1.AgentTask
	Eventually(func() metav1.ConditionStatus {
		at = s.get(name)
		return succeeded(at).Status
	}).Should(BeElementOf(metav1.ConditionTrue, metav1.ConditionFalse), "AgentTask %s does not end", name)
	Expect(outcome(at)).To(Equal(want), "%s; result: %s", succeeded(at).Message, at.Status.Result.Message)
	Expect(at.Status.CompletionTime).NotTo(BeNil())
	return at
}

// awaitReason waits until a task that has not ended stands at a reason.
func (s *space) awaitReason(name, reason string) *v1alpha1.AgentTask {
	GinkgoHelper()
	var at *v1alpha1.AgentTask
	Eventually(func(g Gomega) {
		at = s.get(name)
		g.Expect(outcome(at)).To(Equal("Unknown "+reason), succeeded(at).Message)
	}).Should(Succeed())
	return at
}

// names lists the objects of a kind that match a selector.
func (s *space) names(kind, selector string) []string {
	GinkgoHelper()
	return strings.Fields(kubectl("-n", s.name, "get", kind, "-l", selector, "-o", "name"))
}
