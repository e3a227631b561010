package integration

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// newPolicy makes the administrator's policy in the world's operator namespace.
func (w *world) newPolicy(document string) *corev1.ConfigMap {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-operator"}}
	Expect(w.live.Create(w.ctx, ns)).To(Succeed())
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: adminpolicy.ConfigMapName, Namespace: ns.Name}, Data: map[string]string{adminpolicy.Key: document}}
	w.create(cm)
	return cm
}

// editPolicy edits it, and settles.
func (w *world) editPolicy(cm *corev1.ConfigMap, document string) {
	GinkgoHelper()
	w.change(cm, func() { cm.Data[adminpolicy.Key] = document })
	w.settle()
}

func labelled(labels map[string]string) func(*v1alpha1.AgentTask) {
	return func(t *v1alpha1.AgentTask) { t.Spec.Sandbox.Template.Metadata.Labels = labels }
}

// saysOfTask is the message of a task's Succeeded.
func (w *world) saysOfTask(name string) string {
	GinkgoHelper()
	return meta.FindStatusCondition(w.task(name).Status.Conditions, v1alpha1.ConditionSucceeded).Message
}

var _ = Describe("The administrator's policy", func() {
	It("keeps a label off a pod, with words, until it allows it", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").With(labelled(map[string]string{"team": "a"})).Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown PolicyViolation"))
		Expect(w.saysOfTask("x")).To(Equal(`The administrator's policy does not allow spec.sandbox.template.metadata.labels: "team" (policy: metadata.labels)`))
		Expect(meta.IsStatusConditionTrue(w.task("x").Status.Conditions, v1alpha1.ConditionStalled)).To(BeTrue())
		Expect(w.eventLog()).To(ContainSubstring("Warning PolicyViolation"))
		Expect(w.sandboxList()).To(BeEmpty())

		w.newPolicy("version: 1\nmetadata: {labels: [team]}\n")
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.podList()).To(HaveLen(1))
		Expect(w.podList()[0].Labels).To(HaveKeyWithValue("team", "a"))
	})

	It("ends the wait of a task that it goes on to refuse", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.create(objects.MakeTask("x").Active(60).With(labelled(map[string]string{"team": "a"})).Obj())
		w.settle()
		w.pass(61 * time.Second)
		Expect(w.stands("x")).To(Equal("False PolicyViolation"))
		Expect(w.made["v1.Pod"]).To(BeEmpty())
	})

	It("holds for a Sandbox, and for the next pod of one that runs", func(ctx SpecContext) {
		w := newWorld(ctx)
		policy := w.newPolicy("version: 1\nimages: [\"registry.example.com/**\"]\n")
		w.create(objects.MakeSandbox("box").Image("registry.example.com/a").Obj(), objects.MakeSandbox("other").Image("busybox").Obj())
		w.settle()
		Expect(w.ready("other")).To(Equal("False PolicyViolation"))
		Expect(meta.FindStatusCondition(w.sandbox("other").Status.Conditions, v1alpha1.ConditionStalled).Message).
			To(Equal(`The administrator's policy does not allow spec.template.image: "busybox" (policy: images)`))
		Expect(w.names(w.podList())).To(Equal([]string{"box-1"}))
		w.run("box-1")

		w.editPolicy(policy, "version: 1\nimages: [\"docker.io/library/busybox\"]\n")
		w.pass(time.Minute)
		Expect(w.ready("box")).To(Equal("True Ready"), "what runs is left alone")
		Expect(w.ready("other")).To(BeElementOf("False PodPending", "False Unschedulable"), "it has a pod, and nobody plays a scheduler")
		w.lose("box-1")
		w.pass(time.Minute)
		Expect(w.ready("box")).To(Equal("False PolicyViolation"))
	})

	It("is the last valid one while an edit is broken", func(ctx SpecContext) {
		w := newWorld(ctx)
		policy := w.newPolicy("version: 1\nmetadata: {labels: [team]}\n")
		w.settle()
		w.create(objects.MakeTask("a").With(labelled(map[string]string{"team": "a"})).Obj())
		w.settle()
		Expect(w.stands("a")).To(Equal("Unknown Starting"))
		w.eventLog()
		w.editPolicy(policy, "version: 1\nmetadata: {label: []}\n")
		w.create(objects.MakeTask("b").With(labelled(map[string]string{"team": "a"})).Obj(),
			objects.MakeTask("c").With(labelled(map[string]string{"other": "a"})).Obj())
		w.settle()
		Expect(w.stands("b")).To(Equal("Unknown Starting"))
		Expect(w.stands("c")).To(Equal("Unknown PolicyViolation"))
		Expect(w.eventLog()).To(ContainSubstring(
			`Warning PolicyInvalid the last valid one stays in use: line 2:12: unknown field "label"; did you mean labels?`))
	})

	It("lets nothing through where it was broken from the start", func(ctx SpecContext) {
		w := newWorld(ctx)
		policy := w.newPolicy("version: 1\nimages: debian\n")
		w.create(objects.MakeTask("x").Obj(), objects.MakeSandbox("box").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown PolicyInvalid"))
		Expect(w.saysOfTask("x")).To(ContainSubstring("nothing starts until it is fixed: ConfigMap " + w.ns + "-operator/sampan-policy: line 2:9: "))
		Expect(w.ready("box")).To(Equal("False PolicyInvalid"))
		Expect(w.podList()).To(BeEmpty())

		w.editPolicy(policy, "version: 1\n")
		Expect(w.stands("x")).To(Equal("Unknown Starting"))
		Expect(w.ready("box")).To(Equal("False PodPending"))
		w.editPolicy(policy, "version: 1\nimages: debian\n")
		w.restart() // what it took before is forgotten
		w.create(objects.MakeTask("y").Obj())
		w.settle()
		Expect(w.stands("y")).To(Equal("Unknown PolicyInvalid"))
		w.delete(policy)
		w.settle()
		Expect(w.stands("y")).To(Equal("Unknown Starting"), "without a document the default holds")
	})

	It("gives a pod what its template leaves out", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.newPolicy("version: 1\ndefaults:\n  metadata: {labels: {team: platform}}\n  imagePullSecrets: [{name: regcred}]\n  runner: {resources: {limits: {memory: 1Gi}}}\n")
		w.create(objects.MakeTask("x").Obj(), objects.MakeSandbox("box").Image("busybox").Obj())
		w.settle()
		Expect(w.podList()).To(HaveLen(2))
		for _, pod := range w.podList() {
			Expect(pod.Labels).To(HaveKeyWithValue("team", "platform"), "no template may ask for it")
			Expect(pullSecrets(&pod)).To(Equal([]string{"regcred"}))
			Expect(pod.Spec.Containers[0].Resources.Limits.Memory().String()).To(Equal("1Gi"))
		}
		Expect(w.sandbox("box").Spec.Template.ImagePullSecrets).To(BeEmpty(), "the spec is its user's")
	})

	It("decides whether a namespace has a registry of its own", func(ctx SpecContext) {
		w := newWorld(ctx)
		policy := w.newPolicy("version: 1\nnamespaceRegistries: false\n")
		w.create(objects.MakeTask("x").Obj(), objects.MakeSandbox("box").Obj())
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown PolicyViolation"))
		Expect(w.saysOfTask("x")).To(ContainSubstring("ConfigMap sampan-models: a model registry of the namespace's own (policy: namespaceRegistries is false: delete it to use the operator's)"))
		Expect(w.ready("box")).To(Equal("False PolicyViolation"))

		w.create(objects.MakeRegistry(policy.Namespace, objects.RegistryDocument))
		w.delete(objects.MakeRegistry(w.ns, ""))
		w.settle()
		Expect(w.stands("x")).To(Equal("Unknown Starting"), "it has the operator's")
		Expect(w.ready("box")).To(Equal("False PodPending"))
	})

	It("bounds where a namespace's own models may lead", func(ctx SpecContext) {
		w := emptyWorld(ctx)
		w.create(objects.MakeRegistry(w.ns, `version: 1
default: {name: demo}
providers: {inner: {type: openai, baseURL: "http://10.0.0.5:6379/v1"}}
models: [{id: demo, provider: inner}]
`))
		policy := w.newPolicy("version: 1\nnetwork: {open: false}\n")
		restricted := objects.MakeSandbox("box").With(func(sb *v1alpha1.Sandbox) { sb.Spec.Template.Network.Egress = v1alpha1.EgressRestricted }).Obj()
		w.create(restricted, objects.MakeSandbox("open").Obj())
		w.settle()
		Expect(w.ready("open")).To(Equal("False PolicyViolation"))
		Expect(w.ready("box")).To(Equal("False PolicyViolation"))
		Expect(meta.FindStatusCondition(w.sandbox("box").Status.Conditions, v1alpha1.ConditionReady).Message).
			To(ContainSubstring(`ConfigMap sampan-models: providers.inner.baseURL: opens "10.0.0.5/32 ports 6379" (policy: network.allow)`))
		w.editPolicy(policy, "version: 1\nnetwork: {open: false, allow: [{cidrs: [10.0.0.0/8], ports: [6379]}]}\n")
		Expect(w.ready("box")).To(Equal("False PodPending"))
	})
})
