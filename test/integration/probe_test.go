package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/controller/adminpolicy"
	"github.com/sampan-dev/sampan/internal/controller/modelregistry"
	"github.com/sampan-dev/sampan/internal/models"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// fleet has two models of a group, of which the first one is asked before the other.
const fleet = `version: 1
default: {group: coding}
providers:
  gateway: {type: openai, baseURL: https://gateway.example/v1, apiKey: {secretName: model-keys, key: gateway}}
  free: {type: openai, baseURL: http://free.models.svc:8080/v1}
models:
- {id: small, provider: gateway, fallbackGroup: coding}
- {id: large, provider: free, fallbackGroup: coding, priority: 1}
`

func (w *world) probeList() []v1alpha1.ModelProbe {
	GinkgoHelper()
	var l v1alpha1.ModelProbeList
	Expect(w.cache.Newest(&l)).To(Succeed())
	return l.Items
}

func (w *world) probe(name string) *v1alpha1.ModelProbe {
	GinkgoHelper()
	var p v1alpha1.ModelProbe
	Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: name}, &p)).To(Succeed())
	return &p
}

// complete is "status reason: message" of a probe.
func (w *world) complete(name string) string {
	GinkgoHelper()
	c := meta.FindStatusCondition(w.probe(name).Status.Conditions, v1alpha1.ConditionComplete)
	Expect(c).NotTo(BeNil())
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// probing makes a probe of the fleet whose pod runs.
func (w *world) probing(name string, ids ...string) {
	GinkgoHelper()
	w.create(objects.MakeProbe(name, ids...))
	w.settle()
	w.bind(name+"-probe", "node")
	w.podStatus(name+"-probe", func(st *corev1.PodStatus) {
		st.Phase = corev1.PodRunning
		setContainer(st, podapi.RunnerContainer, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	})
	w.settle()
}

// digestOf is that of an entry of the registry.
func digestOf(document, id string) string {
	GinkgoHelper()
	reg, err := models.Parse([]byte(document))
	Expect(err).NotTo(HaveOccurred())
	m, ok := reg.Model(id)
	Expect(ok).To(BeTrue())
	return models.Candidate{Model: m, Provider: reg.Providers[m.Provider]}.Digest()
}

// fleetWorld is a world with the fleet.
func fleetWorld(ctx SpecContext) *world {
	w := emptyWorld(ctx)
	w.create(objects.MakeRegistry(w.ns, fleet))
	return w
}

// result is what a runner writes of a model.
func (w *world) result(document, id string, outcome v1alpha1.ProbeOutcome, measured v1alpha1.ProbeLevel) v1alpha1.ProbedModel {
	return v1alpha1.ProbedModel{ID: id, Digest: digestOf(document, id), Outcome: outcome, Declared: "Good", Measured: measured, Time: new(metav1.NewTime(w.clock.Now()))}
}

// measure plays the runner of a probe.
func (w *world) measure(name string, results ...v1alpha1.ProbedModel) {
	GinkgoHelper()
	data, err := json.Marshal(map[string]any{"status": map[string]any{"models": results}})
	Expect(err).NotTo(HaveOccurred())
	Expect(w.live.Status().Patch(w.ctx, w.probe(name), client.RawPatch(types.MergePatchType, data))).To(Succeed())
	w.settle()
}

// probedModels is the life of a probe, from its creation to its deletion.
func probedModels(w *world) {
	GinkgoHelper()
	w.probing("nightly")
	w.measure("nightly", w.result(objects.RegistryDocument, "demo", v1alpha1.ProbeFits, "Excellent"))
	Expect(w.complete("nightly")).To(Equal("True Probed: 1 of 1 models fit"))
	w.delete(w.probe("nightly"))
	w.settle()
	Expect(w.podList()).To(BeEmpty())
	Expect(w.made["v1.Pod"]).To(Equal([]string{"nightly-probe"}))
}

var _ = Describe("A probe", func() {
	It("does not run where a Budget holds, which it would not count in", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.create(budgetOf("daily", "1"), objects.MakeProbe("nightly", "small"))
		w.settle()
		Expect(w.complete("nightly")).To(HavePrefix("False Budgeted: "))
		Expect(w.podList()).To(BeEmpty())
	})

	It("has one pod with the keys of its models alone, and ends when each has a result", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly", "small")
		Expect(w.complete("nightly")).To(Equal("Unknown Probing: 0 of 1 models have a result"))
		pod := w.pod("nightly-probe")
		Expect(pod.Spec.Containers).To(HaveLen(1))
		runner := pod.Spec.Containers[0]
		Expect(runner.Command).To(Equal([]string{"agent-runner", "probe", "--in-cluster"}))
		var secrets []string
		for _, e := range runner.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				secrets = append(secrets, e.Name+"="+e.ValueFrom.SecretKeyRef.Name)
			}
		}
		Expect(secrets).To(ConsistOf("SAMPAN_KEY_GATEWAY=model-keys"))
		Expect(pod.Annotations["sampan.dev/models"]).To(And(ContainSubstring("small"), Not(ContainSubstring("large"))))
		var ingress networkingv1.NetworkPolicy
		Expect(w.live.Get(w.ctx, types.NamespacedName{Namespace: w.ns, Name: podspec.IngressPolicyName}, &ingress)).To(Succeed())
		selector, err := metav1.LabelSelectorAsSelector(&ingress.Spec.PodSelector)
		Expect(err).NotTo(HaveOccurred())
		Expect(selector.Matches(labels.Set(pod.Labels))).To(BeTrue(), "nobody may reach it")

		w.measure("nightly", w.result(fleet, "small", v1alpha1.ProbeBelowLevel, "None"))
		Expect(w.complete("nightly")).To(Equal("True Probed: 0 of 1 models fit; below the level: small"))
		Expect(w.eventLog()).To(ContainSubstring("Probed 0 of 1 models fit"))
		st := w.probe("nightly").Status
		Expect(st.Registry).To(Equal(w.ns + "/sampan-models"))
		Expect(*st.Unfit).To(BeEquivalentTo(1))
		Expect(w.made["v1.Pod"]).To(Equal([]string{"nightly-probe"}))
	})

	It("keeps an unfit model from tasks where the registry says so, until its entry is mended", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		exclude := fleet + "routing: {unfit: Exclude}\n"
		registry := objects.MakeRegistry(w.ns, "")
		w.change(registry, func() { registry.Data[modelregistry.Key] = exclude })
		w.probing("nightly")
		w.measure("nightly", w.result(exclude, "small", v1alpha1.ProbeBelowLevel, "None"), w.result(exclude, "large", v1alpha1.ProbeFits, "Good"))
		at := w.probe("nightly").Status.Models[0].Time.UTC().Format(time.RFC3339)

		w.create(objects.MakeTask("any").Obj(), objects.MakeTask("named").Model("small").Obj())
		w.settle()
		Expect(resolved(w.task("any"))).To(HavePrefix("True Resolved: Model large "))
		Expect(w.pod("any-1").Annotations["sampan.dev/models"]).NotTo(ContainSubstring("small"))
		Expect(resolved(w.task("named"))).To(And(HavePrefix("False ModelNotFound: "),
			ContainSubstring("small calls tools at level None, as probe %s/nightly has measured at %s, Good is needed", w.ns, at)))

		By("mending the entry")
		mended := strings.Replace(exclude, "{id: small,", "{id: small, quirks: {textToolCalls: salvage},", 1)
		w.change(registry, func() { registry.Data[modelregistry.Key] = mended })
		w.settle()
		Expect(resolved(w.task("named"))).To(HavePrefix("True Resolved: Model small "))

		By("probing it again")
		w.clock.Step(time.Minute)
		w.probing("again", "small")
		w.measure("again", w.result(mended, "small", v1alpha1.ProbeServerTrouble, ""))
		w.create(objects.MakeTask("busy").Model("small").Obj())
		w.settle()
		Expect(resolved(w.task("busy"))).To(HavePrefix("True Resolved"), "a busy server says nothing of its model")
	})

	It("does not matter to tasks where the registry does not say so", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly", "small")
		w.measure("nightly", w.result(fleet, "small", v1alpha1.ProbeBelowLevel, "None"))
		w.create(objects.MakeTask("any").Obj())
		w.settle()
		Expect(resolved(w.task("any"))).To(HavePrefix("True Resolved: Model small "))
	})

	DescribeTable("says at once what is to be mended", func(ctx SpecContext, document string, ids []string, want string) {
		w := fleetWorld(ctx)
		registry := objects.MakeRegistry(w.ns, "")
		w.change(registry, func() { registry.Data[modelregistry.Key] = document })
		w.create(objects.MakeProbe("nightly", ids...))
		w.settle()
		Expect(w.complete("nightly")).To(HavePrefix(want))
		Expect(w.probe("nightly").Status.CompletionTime).NotTo(BeNil())
		Expect(w.made["v1.Pod"]).To(BeEmpty())
	},
		Entry("a model that is not there", fleet, []string{"smal"}, "False ModelNotFound: spec.models: "),
		Entry("one of another scope", strings.Replace(fleet, "{id: small,", "{id: small, scopes: [gold],", 1), []string{"small"}, "False ModelNotFound: spec.models: "),
		Entry("a registry that is broken", "models: [", nil, "False RegistryInvalid: "),
		Entry("a registry whose models are off", strings.ReplaceAll(fleet, "fallbackGroup: coding", "fallbackGroup: coding, disabled: true"), nil, "False NothingToProbe: "),
	)

	It("tells of an image that cannot be pulled, and gives up after a while", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.create(objects.MakeProbe("nightly"))
		w.settle()
		w.bind("nightly-probe", "node")
		w.podStatus("nightly-probe", func(st *corev1.PodStatus) {
			setContainer(st, podapi.RunnerContainer, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"}})
		})
		w.settle()
		Expect(w.complete("nightly")).To(Equal("Unknown ImagePullFailed: Container runner: no such image"))
		w.pass(11 * time.Minute)
		Expect(w.complete("nightly")).To(And(HavePrefix("False ImagePullFailed: "), HaveSuffix("no such image")))
		Expect(w.podList()).To(BeEmpty())
	})

	It("keeps the results of a pod that fails, and says why", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly")
		w.measure("nightly", w.result(fleet, "large", v1alpha1.ProbeFits, "Good"))
		Expect(w.complete("nightly")).To(Equal("Unknown Probing: 1 of 2 models have a result"))
		w.podStatus("nightly-probe", func(st *corev1.PodStatus) {
			st.Phase = corev1.PodFailed
			w.terminate(st, podapi.RunnerContainer, 1, "Error", "reading the registry: \x1b[2Jit is gone\nin two lines")
		})
		w.settle()
		Expect(w.complete("nightly")).To(HavePrefix("False RunnerCrashed: Container runner ended with exit code 1: reading the registry: "))
		Expect(w.complete("nightly")).To(And(HaveSuffix("; 1 of 2 models have a result"), Not(ContainSubstring("\x1b")), Not(ContainSubstring("\n"))))
		Expect(*w.probe("nightly").Status.Fit).To(BeEquivalentTo(1))
	})

	It("ends when its pod is gone, and when it takes too long", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("lost")
		w.lose("lost-probe")
		Expect(w.complete("lost")).To(Equal("False PodLost: Pod lost-probe is gone"))
		w.probing("slow")
		w.pass(15*time.Minute + 50*time.Second)
		Expect(w.complete("slow")).To(HavePrefix("Unknown Probing"))
		w.pass(time.Minute)
		Expect(w.complete("slow")).To(Equal("False DeadlineExceeded: Pod slow-probe has not ended in time"))
		Expect(w.podList()).To(BeEmpty())
	})

	It("makes no second pod, however old its cache is", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.lag(5, "ModelProbe", "Pod")
		w.probing("nightly", "small")
		w.measure("nightly", w.result(fleet, "small", v1alpha1.ProbeFits, "Good"))
		Expect(w.complete("nightly")).To(HavePrefix("True Probed"))
		Expect(w.made["v1.Pod"]).To(HaveLen(1))
	})

	It("takes no pod that somebody else has made", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		pod := objects.MakePod("nightly-probe").Obj()
		pod.Spec.Containers = []corev1.Container{{Name: "other", Image: "other:1"}}
		w.create(pod, objects.MakeProbe("nightly"))
		w.settle()
		Expect(w.complete("nightly")).To(Equal("Unknown NameConflict: Pod nightly-probe exists and does not belong to this ModelProbe; delete it, or use another name"))
		w.delete(pod, client.GracePeriodSeconds(0))
		w.pass(10 * time.Second)
		Expect(w.complete("nightly")).To(HavePrefix("Unknown Probing"))
	})

	It("keeps the results that its controller does not see yet when its pod ends", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly", "small")
		w.lag(100, "ModelProbe")
		w.measure("nightly", w.result(fleet, "small", v1alpha1.ProbeFits, "Good"))
		w.podStatus("nightly-probe", func(st *corev1.PodStatus) {
			st.Phase = corev1.PodSucceeded
			w.terminate(st, podapi.RunnerContainer, 0, "Completed", "")
		})
		w.settle()
		w.lag(0, "ModelProbe")
		w.settle()
		Expect(w.complete("nightly")).To(Equal("True Probed: 1 of 1 models fit"))
	})

	It("makes no pod for a probe that has ended, and that its controller sees as it was", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		pod := objects.MakePod("nightly-probe").Obj()
		pod.Spec.Containers = []corev1.Container{{Name: "other", Image: "other:1"}}
		w.create(pod, objects.MakeProbe("nightly"))
		w.settle()
		w.lag(100, "ModelProbe")
		probe := w.probe("nightly")
		w.changeStatus(probe, func() { probe.Status.CompletionTime = new(metav1.NewTime(w.clock.Now())) })
		w.delete(pod, client.GracePeriodSeconds(0))
		w.settle()
		Expect(w.made["v1.Pod"]).To(BeEmpty())
	})

	It("has lost its pod where another one of the name is there", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly", "small")
		w.delete(w.pod("nightly-probe"), client.GracePeriodSeconds(0))
		other := objects.MakePod("nightly-probe").Obj()
		other.Spec.Containers = []corev1.Container{{Name: podapi.RunnerContainer, Image: "other:1"}}
		w.create(other)
		w.settle()
		Expect(w.complete("nightly")).To(Equal("False PodLost: Pod nightly-probe is gone"))
	})

	It("is opened a way out of the operator's namespace, where a policy closes all", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probes.Registry.OperatorNamespace = w.ns
		w.create(objects.MakeProbe("nightly"))
		w.settle()
		var egress networkingv1.NetworkPolicy
		Expect(w.live.Get(ctx, types.NamespacedName{Namespace: w.ns, Name: podspec.ProbePolicyName("nightly")}, &egress)).To(Succeed())
		Expect(egress.Spec.Egress).To(ContainElement(networkingv1.NetworkPolicyEgressRule{}))
		Expect(w.pod("nightly-probe").DeletionTimestamp).To(BeNil())
	})

	It("waits for the pod of an earlier one of its name", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("nightly", "small")
		first := w.pod("nightly-probe").UID
		w.garbage = false
		w.delete(w.probe("nightly"))
		w.settle()
		w.create(objects.MakeProbe("nightly", "small"))
		w.settle()
		Expect(w.complete("nightly")).To(Equal("Unknown PodPending: Waiting for Pod nightly-probe of an earlier ModelProbe nightly to be removed"))
		w.garbage = true
		w.pass(10 * time.Second)
		Expect(w.complete("nightly")).To(HavePrefix("Unknown Probing: "))
		Expect(w.pod("nightly-probe").UID).NotTo(Equal(first))
	})

	It("goes with its pod when it is deleted, and by itself after its time", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		w.probing("gone", "small")
		w.delete(w.probe("gone"))
		w.settle()
		Expect(w.podList()).To(BeEmpty())
		short := objects.MakeProbe("short", "absent")
		short.Spec.TTLSecondsAfterFinished = new(int32(60))
		w.create(short)
		w.settle()
		Expect(w.probeList()).To(HaveLen(1))
		w.pass(61 * time.Second)
		Expect(w.probeList()).To(BeEmpty())
	})

	It("is held to the administrator's policy", func(ctx SpecContext) {
		w := fleetWorld(ctx)
		operator := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns + "-operator"}}
		Expect(api.Client.Create(ctx, operator)).To(Succeed())
		bounds := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Name, Name: adminpolicy.ConfigMapName},
			Data: map[string]string{adminpolicy.Key: "version: 1\nnamespaceRegistries: false\n"}}
		Expect(api.Client.Create(ctx, bounds)).To(Succeed())
		w.restartWith(w.live)
		w.create(objects.MakeProbe("own"))
		w.settle()
		Expect(w.complete("own")).To(HavePrefix("False PolicyViolation: "))
		allow := func(namespace string) {
			bounds.Data[adminpolicy.Key] = "version: 1\nnetwork: {open: false, allow: [{namespaces: [" + namespace + "]}]}\n"
			Expect(api.Client.Update(ctx, bounds)).To(Succeed())
			w.restartWith(w.live)
		}
		allow("elsewhere")
		w.create(objects.MakeProbe("far", "large"))
		w.settle()
		Expect(w.complete("far")).To(And(HavePrefix("False PolicyViolation: "), ContainSubstring("providers.free.baseURL")))
		allow("models")
		w.create(objects.MakeProbe("near", "large"))
		w.settle()
		var egress networkingv1.NetworkPolicy
		Expect(w.live.Get(ctx, types.NamespacedName{Namespace: w.ns, Name: podspec.ProbePolicyName("near")}, &egress)).To(Succeed())
		selector, err := metav1.LabelSelectorAsSelector(&egress.Spec.PodSelector)
		Expect(err).NotTo(HaveOccurred())
		Expect(selector.Matches(labels.Set(w.pod("near-probe").Labels))).To(BeTrue())
		Expect(metav1.IsControlledBy(&egress, w.probe("near"))).To(BeTrue())
	})
})

// resolved is "status reason: message" of a task's ModelResolved.
func resolved(task *v1alpha1.AgentTask) string {
	c := meta.FindStatusCondition(task.Status.Conditions, v1alpha1.ConditionModelResolved)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}
