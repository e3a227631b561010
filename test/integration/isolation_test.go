package integration

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sampan-dev/sampan/internal/podspec"
	"github.com/sampan-dev/sampan/internal/testing/objects"
)

// Admission webhooks change pods after the operator has made them. Here the operator
// creates what one would have made of its pod.
var _ = Describe("What a webhook makes of a Sandbox's pod", func() {
	DescribeTable("is refused where it takes away what divides its containers", func(ctx SpecContext, want string, change func(*corev1.Pod)) {
		ns := guardedNamespace(ctx)
		Expect(api.Client.Create(ctx, podspec.ServiceAccount(ns))).To(Succeed())
		operator := account("sampan-system", "sampan-controller-manager", "")
		pod := func() *corev1.Pod {
			sb := objects.MakeSandbox("bench").Namespace(ns).Obj()
			return podspec.Pod(podspec.Input{Sandbox: sb, PodName: "bench-1", RunnerImage: "runner:1", SandboxImage: "sandbox:1", Registry: "version: 1"})
		}
		awaitPolicy("sampan-pod-isolation", func() error {
			bad := pod()
			bad.Spec.ShareProcessNamespace = new(true)
			return operator.Create(ctx, bad, client.DryRunAll)
		})
		made := pod()
		change(made)
		err := operator.Create(ctx, made)
		if want == "" {
			Expect(err).NotTo(HaveOccurred())
			return
		}
		Expect(err).To(MatchError(And(ContainSubstring("'sampan-pod-isolation'"), ContainSubstring(want))))
	},
		Entry("processes", "sets shareProcessNamespace", func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = new(true) }),
		Entry("the node's processes", "sets shareProcessNamespace, hostPID", func(p *corev1.Pod) { p.Spec.HostPID = true }),
		Entry("the node's network", "hostNetwork", func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
		Entry("the runner's token", "automountServiceAccountToken", func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = new(true) }),
		Entry("the token by default", "automountServiceAccountToken", func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil }),
		Entry("rights", "sets privileged", func(p *corev1.Pod) {
			p.Spec.Containers[1].SecurityContext.AllowPrivilegeEscalation, p.Spec.Containers[1].SecurityContext.Privileged = nil, new(true)
		}),
		Entry("a capability", "capabilities.add", func(p *corev1.Pod) {
			p.Spec.Containers[1].SecurityContext.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
		}),
		Entry("all of the security context", "allowPrivilegeEscalation", func(p *corev1.Pod) { p.Spec.Containers[1].SecurityContext = nil }),
		Entry("the label of its network policy", "keeps the label", func(p *corev1.Pod) { p.Labels = nil }),
		Entry("its models", "annotation sampan.dev/models", func(p *corev1.Pod) { p.Annotations = map[string]string{"x": "y"} }),
		Entry("and may have a sidecar, variables, and another manager's label", "", func(p *corev1.Pod) {
			p.Labels[podspec.LabelManagedBy] = "platform"
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "mesh", Image: "mesh:1"})
			p.Spec.Containers[1].Env = append(p.Spec.Containers[1].Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/x.so"})
			p.Spec.HostAliases = []corev1.HostAlias{{IP: "192.0.2.1", Hostnames: []string{"x.example.com"}}}
		}),
	)
})
