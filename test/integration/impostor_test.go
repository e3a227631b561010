package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// plainPod is a pod that has nothing to do with us.
func plainPod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "runner", Image: "theirs:1", Command: []string{"sleep", "infinity"}}}}}
}

// ownedBy writes an owner, as the operator does and as anybody can.
func ownedBy(owner client.Object, kind string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: new(true)}}
}

var _ = Describe("Who makes a pod of ours", Ordered, func() {
	const mallory = "mallory"
	var ns string
	var sb *v1alpha1.Sandbox
	var c client.Client
	refused := func(policy, text string) OmegaMatcher {
		return MatchError(And(ContainSubstring("'"+policy+"'"), ContainSubstring(text)))
	}

	BeforeEach(func(ctx SpecContext) {
		ns, c = guardedNamespace(ctx), as(mallory, "")
		account := podspec.ServiceAccount(ns)
		Expect(api.Client.Create(ctx, account)).To(Succeed())
		sb = objects.MakeSandbox("bench").Namespace(ns).Obj()
		Expect(api.Client.Create(ctx, sb)).To(Succeed())
		grant(ctx, mallory, ns, rule("", "*"), rule("sampan.dev", "*"), rule("networking.k8s.io", "*"), rule("operator.sampan.dev", "*"))
		awaitPolicy("sampan-pods", func() error {
			pod := plainPod(ns, "probe")
			pod.Labels = map[string]string{podspec.LabelSandbox: "x"}
			return c.Create(ctx, pod, client.DryRunAll)
		})
	})

	DescribeTable("is the operator", func(ctx SpecContext, text string, change func(*corev1.Pod)) {
		pod := plainPod(ns, "bench-1")
		change(pod)
		Expect(c.Create(ctx, pod)).To(refused("sampan-pods", text))
		Expect(c.Create(ctx, plainPod(ns, "plain"))).To(Succeed(), "other pods are nobody's business")
	},
		Entry("by its account", "with the ServiceAccount sampan-runner", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "sampan-runner" }),
		Entry("by the account's old field", "with the ServiceAccount sampan-runner", func(p *corev1.Pod) { p.Spec.DeprecatedServiceAccount = "sampan-runner" }),
		Entry("by who manages it", "label app.kubernetes.io/managed-by: sampan", func(p *corev1.Pod) { p.Labels = map[string]string{podspec.LabelManagedBy: podspec.ManagedBy} }),
		Entry("by its Sandbox's label", "a label under sampan.dev/", func(p *corev1.Pod) { p.Labels = map[string]string{podspec.LabelSandbox: "bench"} }),
		Entry("by its owner", "the owner Sandbox bench", func(p *corev1.Pod) { p.OwnerReferences = ownedBy(sb, "Sandbox") }),
		Entry("by an owner that does not control it", "the owner Sandbox bench", func(p *corev1.Pod) {
			p.OwnerReferences = ownedBy(sb, "Sandbox")
			p.OwnerReferences[0].Controller = nil
		}),
	)

	DescribeTable("is not who turns another into one", func(ctx SpecContext, change func(*corev1.Pod)) {
		pod := plainPod(ns, "plain")
		Expect(c.Create(ctx, pod)).To(Succeed())
		before := pod.DeepCopy()
		change(pod)
		Expect(c.Patch(ctx, pod, client.MergeFrom(before))).To(refused("sampan-pods", "are the operator's to write"))
	},
		Entry("by a label", func(p *corev1.Pod) { p.Labels = map[string]string{podspec.LabelSandbox: "bench"} }),
		Entry("by who manages it", func(p *corev1.Pod) { p.Labels = map[string]string{podspec.LabelManagedBy: podspec.ManagedBy} }),
		Entry("by an owner", func(p *corev1.Pod) { p.OwnerReferences = ownedBy(sb, "Sandbox") }),
	)

	DescribeTable("is the only one to change", func(ctx SpecContext, what string, change func(*corev1.Pod)) {
		pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "bench-1", RunnerImage: "runner:1", SandboxImage: "sandbox:1", Registry: "version: 1"})
		pod.OwnerReferences = ownedBy(sb, "Sandbox")
		operator := account("sampan-system", "sampan-controller-manager", "")
		Expect(operator.Create(ctx, pod)).To(Succeed())
		before := pod.DeepCopy()
		change(pod)
		err := c.Patch(ctx, pod, client.MergeFrom(before))
		if what == "" {
			Expect(err).NotTo(HaveOccurred())
			return
		}
		Expect(err).To(refused("sampan-pods", what))
	},
		Entry("the images", "stay as the operator has made them", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "theirs:1" }),
		Entry("the registry", "annotations under sampan.dev/", func(p *corev1.Pod) { p.Annotations["sampan.dev/models"] = "version: 2" }),
		Entry("what is open", "annotations under sampan.dev/", func(p *corev1.Pod) { p.Annotations["sampan.dev/egress"] = "[{}]" }),
		Entry("no registry", "annotations under sampan.dev/", func(p *corev1.Pod) { delete(p.Annotations, "sampan.dev/models") }),
		Entry("the Sandbox", "labels", func(p *corev1.Pod) { p.Labels[podspec.LabelSandbox] = "other" }),
		Entry("the wall around it", "labels", func(p *corev1.Pod) { delete(p.Labels, podspec.LabelSandbox) }),
		Entry("but not what is nobody's", "", func(p *corev1.Pod) {
			p.Annotations["note"], p.Labels["team"], p.Finalizers = "a", "b", []string{"example.com/hold"}
		}),
		Entry("nor does it keep what collects garbage from its work", "", func(p *corev1.Pod) { p.OwnerReferences = nil }),
	)

	It("adds a container to it", func(ctx SpecContext) {
		pod := podspec.Pod(podspec.Input{Sandbox: sb, PodName: "bench-1", RunnerImage: "runner:1", SandboxImage: "sandbox:1"})
		Expect(account("sampan-system", "sampan-controller-manager", "").Create(ctx, pod)).To(Succeed())
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{TargetContainerName: "runner",
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger", Image: "theirs:1"}}}
		Expect(c.SubResource("ephemeralcontainers").Update(ctx, pod)).To(refused("sampan-pods", "no other is added"))
	})

	It("gives tokens of a runner to kubelet alone", func(ctx SpecContext) {
		sa := podspec.ServiceAccount(ns)
		request := func() *authenticationv1.TokenRequest { return &authenticationv1.TokenRequest{} }
		Expect(c.SubResource("token").Create(ctx, sa, request())).To(refused("sampan-runner-tokens", "only that pod's kubelet"))
		other := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: ns}}
		Expect(api.Client.Create(ctx, other)).To(Succeed())
		Expect(c.SubResource("token").Create(ctx, other, request())).To(Succeed())
		grant(ctx, "system:node:n", ns, rule("", "serviceaccounts", "serviceaccounts/token"))
		Eventually(func() error {
			return as("system:node:n", "", "system:nodes").SubResource("token").Create(ctx, sa, request())
		}).
			WithTimeout(patience).Should(Succeed())
	})

	DescribeTable("makes what belongs to a Sandbox, a task or a pool", func(ctx SpecContext, make func() client.Object, kind string) {
		var owner client.Object = sb
		if kind == "AgentTask" {
			owner = objects.MakeTask("victim").Namespace(ns).Obj()
			Expect(api.Client.Create(ctx, owner)).To(Succeed())
		}
		if kind == "SandboxPool" {
			owner = objects.MakePool("spare", 1)
			owner.SetNamespace(ns)
			Expect(api.Client.Create(ctx, owner)).To(Succeed())
		}
		obj := make()
		obj.SetNamespace(ns)
		obj.SetOwnerReferences(ownedBy(owner, kind))
		text := "only Sampan's operator makes " + kind + " " + owner.GetName()
		Expect(c.Create(ctx, obj)).To(refused("sampan-owners", text))
		obj.SetOwnerReferences(nil)
		Expect(c.Create(ctx, obj)).To(Succeed())
		// Nor with an owner of that UID and another kind first, which nobody minds.
		for _, first := range [][]metav1.OwnerReference{nil, disguised(ownedBy(owner, kind))} {
			before := obj.DeepCopyObject().(client.Object)
			obj.SetOwnerReferences(first)
			Expect(c.Patch(ctx, obj, client.MergeFrom(before))).To(Succeed())
			before = obj.DeepCopyObject().(client.Object)
			obj.SetOwnerReferences(ownedBy(owner, kind))
			Expect(c.Patch(ctx, obj, client.MergeFrom(before))).To(refused("sampan-owners", text))
			obj.SetOwnerReferences(first)
		}
	},
		Entry("a claim", func() client.Object { return podspec.WorkspaceClaim(objects.MakeSandbox("other").Obj()) }, "Sandbox"),
		Entry("a policy", func() client.Object {
			return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
		}, "Sandbox"),
		Entry("a Sandbox", func() client.Object { return objects.MakeSandbox("victim").Image("theirs:1").Obj() }, "AgentTask"),
		Entry("a Sandbox that tasks would claim", func() client.Object { return objects.MakeSandbox("spare-x").Image("theirs:1").Obj() }, "SandboxPool"),
	)

	It("may be an administrator of the cluster", func(ctx SpecContext) {
		grant(ctx, "jane", "", rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}})
		pod := plainPod(ns, "bench-1")
		pod.Labels = map[string]string{podspec.LabelSandbox: "bench"}
		Eventually(func() error { return as("jane", "").Create(ctx, pod, client.DryRunAll) }).WithTimeout(patience).Should(Succeed())
	})
})

// disguised are the owners under a kind that is not ours.
func disguised(owners []metav1.OwnerReference) []metav1.OwnerReference {
	for i := range owners {
		owners[i].APIVersion, owners[i].Kind = "example.com/v1", "Widget"
	}
	return owners
}
