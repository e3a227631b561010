package integration

import (
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// runningProbe makes a probe of two models whose pod runs.
func runningProbe(ctx SpecContext, namespace string) *v1alpha1.ModelProbe {
	GinkgoHelper()
	probe := objects.MakeProbe("nightly", "small", "large")
	probe.Namespace = namespace
	Expect(api.Client.Create(ctx, probe)).To(Succeed())
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	probe.Status = v1alpha1.ModelProbeStatus{PodName: "nightly-probe", PodUID: podUID("nightly-probe"), Planned: 2, StartTime: &now,
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonProbing, Message: "runs", LastTransitionTime: now}}}
	Expect(api.Client.Status().Update(ctx, probe)).To(Succeed())
	return probe
}

var _ = Describe("Who writes what a probe has measured", Ordered, func() {
	var namespace string
	result := func(id string) map[string]any {
		return map[string]any{"id": id, "digest": "0123456789abcdef0123456789abcdef", "outcome": "Fits", "declared": "Good", "measured": "Good", "time": "2026-03-01T00:00:00Z"}
	}
	write := func(ctx SpecContext, c client.Client, status map[string]any) error {
		data, err := json.Marshal(map[string]any{"status": status})
		Expect(err).NotTo(HaveOccurred())
		probe := &v1alpha1.ModelProbe{ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: namespace}}
		return c.Status().Patch(ctx, probe, client.RawPatch(types.MergePatchType, data))
	}
	results := func(ids ...string) map[string]any {
		var out []any
		for _, id := range ids {
			out = append(out, result(id))
		}
		return map[string]any{"models": out}
	}
	forbidden := func(text string) OmegaMatcher {
		return MatchError(And(ContainSubstring("sampan-probe-status"), ContainSubstring(text)))
	}

	BeforeAll(func(ctx SpecContext) {
		everybodyMay(ctx)
		namespace = guardedNamespace(ctx)
		runningProbe(ctx, namespace)
		awaitPolicy("sampan-probe-status", func() error { return write(ctx, as("eve", ""), results("small")) })
	})
	BeforeEach(func(ctx SpecContext) {
		namespace = guardedNamespace(ctx)
		runningProbe(ctx, namespace)
	})

	It("is the runner of its pod, until it has ended", func(ctx SpecContext) {
		runner := account(namespace, "sampan-runner", "nightly-probe")
		Expect(write(ctx, runner, results("small"))).To(Succeed())
		Expect(write(ctx, runner, results("small", "large"))).To(Succeed())
		Expect(write(ctx, runner, results("small", "large", "other"))).To(forbidden("more results"))
		Expect(write(ctx, api.Client, map[string]any{"completionTime": "2026-03-01T00:00:00Z"})).To(Succeed())
		Expect(write(ctx, runner, results("small"))).To(forbidden("has ended"))
	})

	DescribeTable("is nobody else, whatever RBAC lets them do", func(ctx SpecContext, who func() client.Client) {
		Expect(write(ctx, who(), results("small"))).To(forbidden("only by the runner of the pod"))
	},
		Entry("a person", func() client.Client { return as("eve", "") }),
		Entry("another pod's runner", func() client.Client { return account(namespace, "sampan-runner", "x-1") }),
		Entry("a later pod of that name", func() client.Client { return account(namespace, "sampan-runner", "nightly-probe@another") }),
		Entry("a token that is bound to no pod", func() client.Client { return account(namespace, "sampan-runner", "") }),
		Entry("a pod of that name in another namespace", func() client.Client { return account("elsewhere", "sampan-runner", "nightly-probe") }),
		Entry("another account of the pod", func() client.Client { return account(namespace, "default", "nightly-probe") }),
	)

	DescribeTable("writes nothing else", func(ctx SpecContext, status map[string]any) {
		Expect(write(ctx, account(namespace, "sampan-runner", "nightly-probe"), status)).To(forbidden("only status.models"))
	},
		Entry("its end", map[string]any{"completionTime": "2026-03-01T00:00:00Z"}),
		Entry("its pod", map[string]any{"podUID": "another"}),
		Entry("how many there are", map[string]any{"planned": 1}),
		Entry("how many fit", map[string]any{"fit": 2}),
		Entry("what was probed", map[string]any{"registry": "a/b"}),
		Entry("its condition", map[string]any{"conditions": []any{}}),
	)

	It("is not who creates or changes the probe", func(ctx SpecContext) {
		forged := objects.MakeProbe("forged")
		forged.Namespace = namespace
		forged.Status = v1alpha1.ModelProbeStatus{PodName: "mine", Planned: 1}
		Expect(as("eve", "").Create(ctx, forged)).To(Succeed())
		Expect(api.Client.Get(ctx, client.ObjectKeyFromObject(forged), forged)).To(Succeed())
		Expect(forged.Status).To(BeZero())
		forged.Spec.Models = []string{"other"}
		Expect(as("eve", "").Update(ctx, forged)).To(MatchError(ContainSubstring("spec.models cannot be changed; create another ModelProbe")))
		forged.Spec.Models = nil
		forged.Spec.Limits.CostUSD = "2"
		Expect(as("eve", "").Update(ctx, forged)).To(MatchError(ContainSubstring("spec.limits cannot be changed")))
		forged.Spec.Limits.CostUSD = ""
		forged.Spec.TTLSecondsAfterFinished = new(int32(5))
		Expect(as("eve", "").Update(ctx, forged)).To(Succeed())
	})

	It("has a pod that only the operator makes", func(ctx SpecContext) {
		grant(ctx, "eve", namespace, rule("", "pods"))
		var probe v1alpha1.ModelProbe
		Expect(api.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: "nightly"}, &probe)).To(Succeed())
		pod := podspec.ProbePod(podspec.ProbeInput{Probe: &probe, RunnerImage: "runner:1", Seconds: 1, ActiveSeconds: 1, CostUSD: "1"})
		Expect(pod.Name).To(Equal(podapi.ProbePod("nightly")))
		Expect(as("eve", "").Create(ctx, pod)).To(MatchError(ContainSubstring("sampan-pods")))
		pod.Spec.ServiceAccountName, pod.Labels = "default", nil
		pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(&probe, v1alpha1.GroupVersion.WithKind("ModelProbe"))}
		Expect(as("eve", "").Create(ctx, pod)).To(MatchError(ContainSubstring("sampan-pods")))
	})

	It("is let by the role of runners, and asked for by that of users", func(ctx SpecContext) {
		for role, may := range map[string][2]bool{"sampan-runner": {false, true}, "sampan-edit": {true, false}, "sampan-view": {false, false}} {
			var r rbacv1.ClusterRole
			Expect(api.Client.Get(ctx, types.NamespacedName{Name: role}, &r)).To(Succeed())
			var creates, writes bool
			for _, rule := range r.Rules {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						creates = creates || resource == "modelprobes" && verb == "create"
						writes = writes || resource == "modelprobes/status" && (verb == "patch" || verb == "update")
					}
				}
			}
			Expect([2]bool{creates, writes}).To(Equal(may), role)
		}
	})
})
